/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.uapi.Epoll;
import io.kvmirq.undo.Undo;
import java.lang.System.Logger.Level;

/**
 * An eventfd registered with an {@link EventLoop}, and its handler. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.KernelSnippetsTest" region="loop"}
 */
public abstract sealed class Registration implements AutoCloseable {
    private static final int PAUSED = 1;
    private static final int CLOSED = 2;

    final Handlers handlers;
    private final EventFd event;
    /** The epoll events that the registration waits for unless it is paused. */
    private final int events;

    final long number;
    /** 0 or one of the constants above. Guarded by the lock. */
    private int state;

    private Registration(Handlers handlers, long number, EventFd event, int events, boolean paused) {
        this.handlers = handlers;
        this.number = number;
        this.event = event;
        this.events = events;
        this.state = paused ? PAUSED : 0;
    }

    /** The handler that the loop calls when epoll reports the eventfd. */
    abstract Runnable handler();

    /** Starts waiting for signals, unless the registration is paused. The caller holds the lock. */
    void enter(Undo undo) {
        Slots<Registration> slots = handlers.registrations;
        undo.step(
                () -> {
                    slots.put(number, this, handler());
                    if (state == 0) {
                        slots.open(number); // before the kernel may report it
                    }
                },
                () -> slots.remove(number, this));
        handlers.set.add(event.fd(), number, state == 0 ? events : 0);
    }

    boolean isPaused() {
        return state != 0;
    }

    boolean isClosed() {
        handlers.lock.lock();
        try {
            return state == CLOSED;
        } finally {
            handlers.lock.unlock();
        }
    }

    /** The eventfd whose signals the handler gets. */
    public EventFd event() {
        return event;
    }

    /**
     * Stops calling the handler until {@link #resume}. Signals stay in the eventfd, and the handler has received all
     * drained ones. If the handler itself pauses, its current run is the last. Idempotent. The call waits for a running
     * handler, so do not hold a lock that the handler needs.
     *
     * @throws ClosedHandleException after {@link #close}
     */
    public void pause() {
        beginPause();
        awaitHandler();
    }

    /**
     * Pauses like {@link #pause}, but does not wait for a running handler. Use it while you hold a lock that the
     * handler needs.
     *
     * @throws ClosedHandleException after {@link #close}
     */
    public void beginPause() {
        handlers.lock.lock();
        try {
            requireOpen();
            holdBack();
        } finally {
            handlers.lock.unlock();
        }
    }

    /** The caller holds the lock. */
    private void holdBack() {
        if (state == 0) {
            state = PAUSED;
            handlers.registrations.shut(number);
            event.feedsLoop(false);
            handlers.set.listen(event.fd(), number, 0);
        }
    }

    /**
     * Pauses a registration whose eventfd cannot be read, which epoll would otherwise report forever. Called only by
     * the dispatcher, possibly after close.
     */
    void giveUp() {
        handlers.lock.lock();
        try {
            holdBack();
        } finally {
            handlers.lock.unlock();
        }
    }

    /**
     * Ends a {@link #pause}. Signals that arrived during the pause reach the handler at once. A doorbell's handler is
     * called at once if the eventfd's count is not 0.
     *
     * @throws ClosedHandleException after {@link #close}
     */
    public void resume() {
        handlers.lock.lock();
        try {
            requireOpen();
            if (state == PAUSED) {
                try (Undo undo = new Undo()) {
                    // Before the kernel may report it, because an edge is reported once.
                    undo.step(() -> handlers.registrations.open(number), () -> handlers.registrations.shut(number));
                    handlers.set.unmute(event.fd(), number, events);
                    undo.keep();
                }
                state = 0;
                event.feedsLoop(true);
            }
        } finally {
            handlers.lock.unlock();
        }
    }

    /**
     * Ends the registration, waits like {@link #pause}, and releases the eventfd's file. Idempotent, never fails. While
     * the JVM exits, the wait ends after at most 500 ms, and the file then stays open.
     */
    @Override
    public void close() {
        handlers.lock.lock();
        try {
            if (state != CLOSED) {
                handlers.set.remove(event.fd());
                if (state == 0) {
                    event.feedsLoop(false);
                }
                state = CLOSED;
                handlers.registrations.shut(number);
            }
            boolean ended = handlers.awaitEnd(number);
            if (ended && handlers.registrations.owner(number) == this) {
                handlers.remove(this);
                event.fd().exit();
            }
        } finally {
            handlers.lock.unlock();
        }
    }

    private void requireOpen() {
        if (state == CLOSED) {
            throw new ClosedHandleException(toString());
        }
    }

    /**
     * Waits until the handler is not running. A call from the handler itself returns at once. Do not hold a lock that
     * the handler needs. Call {@link #pause} first, because repeated signals may keep the handler running.
     */
    public void awaitHandler() {
        handlers.lock.lock();
        try {
            handlers.awaitEnd(number);
        } finally {
            handlers.lock.unlock();
        }
    }

    @Override
    public String toString() {
        return "registration of " + event;
    }

    /** A level-triggered registration. */
    static final class Counted extends Registration {
        private final EventLoop.Handler handler;

        Counted(Handlers handlers, long number, EventFd event, EventLoop.Handler handler, boolean paused) {
            super(handlers, number, event, Epoll.EPOLLIN, paused);
            this.handler = handler;
        }

        @Override
        Runnable handler() {
            return this::takeCount;
        }

        private void takeCount() {
            long signals = drained();
            if (signals == 0) {
                handlers.called--;
            } else {
                handler.signalled(signals);
            }
        }

        private long drained() {
            try {
                return event().drain(event().fd().number(), handlers.count);
            } catch (RuntimeException e) {
                giveUp();
                event().fd().kernel().log(Level.ERROR, event() + " cannot be read; its registration is paused", e);
                return 0;
            }
        }
    }

    /** An edge-triggered registration. The kernel reports each write once, even if nobody reads the eventfd. */
    static final class Doorbell extends Registration {
        private final Runnable handler;

        Doorbell(Handlers handlers, long number, EventFd event, Runnable handler) {
            super(handlers, number, event, Epoll.EPOLLIN | Epoll.EPOLLET, false);
            this.handler = handler;
        }

        @Override
        Runnable handler() {
            return handler;
        }
    }
}
