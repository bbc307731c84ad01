/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.KernelException;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.Objects;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Waits for many eventfds in one thread and calls their handlers when they are signalled. Handlers are registered in
 * two ways:
 *
 * <pre>{@code
 * try (EventLoop loop = EventLoop.create(kernel)) {
 *     loop.registerDoorbell(queue, () -> look(queue));   // edge-triggered: a guest's doorbell
 *     loop.register(event, count -> inject(message));    // level-triggered: each signal counts
 *     loop.run();                                        // until another thread, or a handler, closes the loop
 * }
 * }</pre>
 *
 * <p>A doorbell only signals that there is work elsewhere, as in a virtqueue. The loop never reads its eventfd, so a
 * doorbell is several times faster than {@link #register}. Use doorbells for ioeventfds. Rings (signals) coalesce: one
 * handler call serves all earlier rings, and each ring is followed by a call. A handler that is registered or resumed
 * may also be called without a ring.
 *
 * <p>With {@link #register}, the loop reads the count and passes it to the handler. Use this in a VMM without in-kernel
 * interrupt controllers.
 *
 * <p>Handlers run one at a time, in the thread that is in {@link #run} or {@link #runOnce}. They may call all of the
 * loop's methods except run, runOnce and the polls. If a handler throws, {@code run} and {@code poll} throw its
 * exception, unless it is a RuntimeException and {@link #onFailure} has set a listener. The handler stays registered,
 * but does not get the same count again. After an exception, the next {@code run} or {@code poll} begins with the
 * handlers not yet called.
 *
 * <p>While an irqfd is assigned to an eventfd, the eventfd's handler is not called, because KVM consumes each signal
 * first.
 *
 * <p>Thread-safe. {@link #run} and {@link #runOnce} block, and end on {@link Thread#interrupt}, with the interrupt
 * status still set. A virtual thread may only poll with a timeout of 0. Only one thread at a time may run handlers.
 * Waiting, draining and calling a handler allocate nothing.
 *
 * {@snippet class="io.kvmirq.snippets.KernelSnippetsTest" region="loop"}
 */
public final class EventLoop implements AutoCloseable {
    private static final long WAKE_NUMBER = Handlers.NONE;

    private final Kernel kernel;
    private final EpollSet set;
    /** Signalled by an interrupt and by {@link #close}, after which it is never drained. */
    private final EventFd wake;
    /** Ends a wait of the dispatcher when its thread is interrupted. */
    private final Interruption interruption;
    /** Uses of {@link #set} and {@link #wake}. {@link #close} or the dispatcher, whichever is last, closes both. */
    private final UseCount uses = new UseCount();

    private final Handlers handlers;
    private volatile @Nullable FailureHandler failures;
    private volatile boolean closed;
    /** Whether the kernel refused the write that wakes the dispatcher, so that {@link #wake}'s entry wakes it. */
    private volatile boolean forced;
    /** The number of ready entries in {@link #set}, and of handled ones among them. Only the dispatcher uses both. */
    private int ready;

    private int next;

    private EventLoop(Kernel kernel) {
        this.kernel = Objects.requireNonNull(kernel, "kernel is null");
        RemoteFence fence = new RemoteFence(kernel.libc());
        try (Undo undo = new Undo()) {
            this.set = undo.add(new EpollSet(kernel));
            this.wake = undo.add(EventFd.create(kernel));
            this.interruption = new Interruption(this::wakeDispatcher);
            set.add(wake.fd(), WAKE_NUMBER, Epoll.EPOLLIN);
            this.handlers = new Handlers(fence, set);
            undo.keep();
        }
    }

    /**
     * Creates a loop without registrations. A process's first loop takes about 10 ms, because the kernel registers the
     * process for membarrier(2), which lets {@link Registration#close} wait for a running handler without slowing
     * handlers down.
     *
     * @throws KernelException EMFILE or ENFILE, because the loop needs two descriptors; ENOMEM
     */
    public static EventLoop create(Kernel kernel) {
        return new EventLoop(kernel);
    }

    /** Receives an eventfd's signals. */
    @FunctionalInterface
    public interface Handler {
        /** @param count the number of signals since the last call, unsigned, not 0; always 1 for a semaphore */
        void signalled(long count);
    }

    /** A listener for handlers that throw. */
    @FunctionalInterface
    public interface FailureHandler {
        /**
         * Called in the handler's thread. If it throws, {@link #run} or {@link #runOnce} throws its exception, with
         * {@code failure} as a suppressed exception. If this method throws a {@link
         * ClosedHandleException} and the registration is closed, the exception is ignored, because the handler's handles
         * may have been closed with it.
         *
         * @param registration the handler's registration, even if the handler closed it
         * @param failure the handler's exception
         */
        void failed(Registration registration, RuntimeException failure);
    }

    /**
     * Sets a listener for handlers' RuntimeExceptions, after which the loop continues. {@link #run} and {@link
     * #runOnce} throw a handler's {@link Error}s, and without a listener also its RuntimeExceptions. A second call
     * replaces the listener.
     */
    public void onFailure(FailureHandler handler) {
        Objects.requireNonNull(handler, "handler is null: pass the code that handles failures");
        failures = handler;
    }

    /**
     * Calls {@code handler} for signals of {@code event}, at once if it was signalled before. The registration keeps
     * the eventfd open, so after {@link EventFd#close} its file stays open until the registration is closed. Until
     * then, do not close the descriptor of a {@link Ownership#BORROWED} eventfd.
     *
     * @throws KernelException EEXIST if this loop already waits for the eventfd; ENOSPC beyond
     *     /proc/sys/fs/epoll/max_user_watches; ENOMEM
     * @throws ClosedHandleException if the loop or the eventfd is closed
     */
    public Registration register(EventFd event, Handler handler) {
        requireHandler(event, handler);
        return add(event, number -> new Registration.Counted(handlers, number, event, handler, false));
    }

    /** Registers a handler like {@link #register}, but paused. It is not called before {@link Registration#resume}. */
    public Registration registerPaused(EventFd event, Handler handler) {
        requireHandler(event, handler);
        return add(event, number -> new Registration.Counted(handlers, number, event, handler, true));
    }

    /**
     * Calls {@code handler} after {@code event} was signalled, and at once if its count is not 0. The loop does not
     * reset the count. The handler may drain the eventfd before it looks for work, because draining afterwards may lose
     * a ring. The registration keeps the eventfd open, as in {@link #register}.
     *
     * @throws KernelException as {@link #register}
     * @throws ClosedHandleException if the loop or the eventfd is closed
     */
    public Registration registerDoorbell(EventFd event, Runnable handler) {
        requireHandler(event, handler);
        return add(event, number -> new Registration.Doorbell(handlers, number, event, handler));
    }

    private static void requireHandler(EventFd event, Object handler) {
        Objects.requireNonNull(handler, () -> "handler is null: pass the code that handles signals of " + event);
        Objects.requireNonNull(event, "event is null");
    }

    private Registration add(EventFd event, LongFunction<Registration> numbered) {
        handlers.lock.lock();
        try (Undo undo = new Undo()) {
            if (closed) {
                throw new ClosedHandleException(toString());
            }
            Fd held = event.fd();
            undo.step(() -> kernel.calls().hold(held), held::exit);
            Registration made = numbered.apply(handlers.registrations.next());
            made.enter(undo);
            undo.keep();
            if (!made.isPaused()) {
                event.feedsLoop(true);
            }
            return made;
        } finally {
            handlers.lock.unlock();
        }
    }

    /**
     * A descriptor that is readable while a registered eventfd is signalled. A VMM may lease it for its own epoll set,
     * and call {@link #pollNanos} with timeout 0 when it is readable.
     */
    public Fd fd() {
        return set.fd();
    }

    /**
     * Calls handlers until {@link #close}, or until this thread is interrupted. Returns at once if the loop is closed
     * already.
     *
     * @throws RuntimeException a handler's exception, see {@link #onFailure}; the loop stays open
     * @throws IllegalStateException on a virtual thread; if another thread is in {@code run} or {@link #runOnce}; if a
     *     handler calls this method
     */
    public void run() {
        if (begin("EventLoop.run", -1)) {
            try {
                while (!closed && !Thread.currentThread().isInterrupted()) {
                    round(-1);
                }
            } finally {
                end();
            }
        }
    }

    /**
     * Waits until an eventfd is signalled, and calls the handlers of all signalled eventfds, at most 256 per call. For
     * a VMM with its own loop.
     *
     * @return the number of handlers that were called; 0 if {@link #close} or an interrupt ended the wait
     * @throws ClosedHandleException if the loop was closed before the call
     * @throws RuntimeException as {@link #run}
     * @throws IllegalStateException as {@link #run}
     */
    public int runOnce() {
        return turn(-1);
    }

    /**
     * Waits and calls handlers like {@link #runOnce}, for a limited time.
     *
     * @param timeout the maximum wait; zero or negative does not wait, and is allowed on a virtual thread
     * @return the number of handlers that were called; also 0 after the timeout
     */
    public int poll(Duration timeout) {
        return turn(Interruption.nanos(timeout));
    }

    /**
     * Waits and calls handlers like {@link #poll(Duration)}, without allocating.
     *
     * @param timeout the maximum wait in nanoseconds; zero or negative does not wait
     */
    public int pollNanos(long timeout) {
        return turn(Math.max(0, timeout));
    }

    /** @param timeoutNanos negative for no limit */
    private int turn(long timeoutNanos) {
        if (!begin(timeoutNanos < 0 ? "EventLoop.runOnce" : "EventLoop.poll", timeoutNanos)) {
            throw new ClosedHandleException(toString());
        }
        try {
            long start = timeoutNanos <= 0 ? 0 : System.nanoTime();
            long left = timeoutNanos;
            int called = round(left);
            while (called == 0
                    && left != 0
                    && !closed
                    && !Thread.currentThread().isInterrupted()) {
                left = Interruption.left(timeoutNanos, start);
                called = round(left);
            }
            return called;
        } finally {
            end();
        }
    }

    /** @param runner null if the runner ended meanwhile */
    private static String name(@Nullable Thread runner) {
        return runner == null ? "another thread" : "thread '" + runner.getName() + "'";
    }

    /** @return false if the loop is closed */
    private boolean begin(String call, long timeoutNanos) {
        if (timeoutNanos != 0) {
            CurrentThread.requirePlatform(call);
        }
        if (!handlers.dispatcher.compareAndSet(null, Thread.currentThread())) {
            throw new IllegalStateException(call + ": " + this + " is run by " + name(handlers.dispatcher.get())
                    + " already, and handlers run in one thread at a time");
        }
        boolean open = uses.begin();
        if (!open) {
            handlers.dispatcher.set(null);
        }
        return open;
    }

    private void end() {
        handlers.dispatcher.setRelease(null);
        if (uses.finish()) {
            release();
        }
    }

    private int round(long timeoutNanos) {
        handlers.called = 0;
        try {
            if (next == ready) {
                next = 0;
                ready = 0;
                ready = await(timeoutNanos);
            }
            while (next < ready) {
                dispatch(set.data(next++));
            }
        } finally {
            handlers.moveTo(WAKE_NUMBER);
            if (next < ready) {
                wakeDispatcher(); // a handler threw: wakes pollers of fd() for the rest, whose edges were reported
            }
        }
        return handlers.called;
    }

    /** Polls first, because ready entries need no interrupt hook, which costs a tenth of a round. */
    private int await(long timeoutNanos) {
        int found = set.await(0);
        if (found > 0 || timeoutNanos == 0) {
            return found;
        }
        interruption.enter();
        try {
            return set.await(Interruption.once(timeoutNanos));
        } finally {
            interruption.leave();
        }
    }

    private void dispatch(long number) {
        if (number == WAKE_NUMBER) {
            awake();
            return;
        }
        handlers.moveTo(number);
        Runnable handler = handlers.registrations.find(number);
        if (handler != null) {
            handlers.called++;
            try {
                handler.run();
            } catch (RuntimeException e) {
                @Nullable FailureHandler hears = failures;
                if (hears == null) {
                    throw e;
                }
                tell(hears, handlers.failed(number), e);
            }
        }
    }

    private static void tell(FailureHandler hears, Registration registration, RuntimeException failure) {
        try {
            hears.failed(registration, failure);
        } catch (RuntimeException e) {
            if (!(e instanceof ClosedHandleException) || !registration.isClosed()) {
                if (e != failure) {
                    e.addSuppressed(failure);
                }
                throw e;
            }
        }
    }

    /** Handles a wake-up by an interrupt, an unfinished round, or {@link #close}, which has set its flag. */
    private void awake() {
        if (!closed) {
            wake.drain();
            if (forced) {
                forced = false;
                calm();
            }
        }
    }

    private void calm() {
        handlers.lock.lock();
        try {
            set.listen(wake.fd(), WAKE_NUMBER, Epoll.EPOLLIN);
        } finally {
            handlers.lock.unlock();
        }
    }

    /**
     * Ends {@link #run}, {@link #runOnce} and all registrations. After this call no handler runs, except a handler that
     * made the call itself. Signals that were not handled stay in their eventfds. Never fails. While the JVM exits,
     * waits at most 500 ms for a running handler. After that, its eventfd and the loop stay open.
     */
    @Override
    public void close() {
        handlers.lock.lock();
        try {
            closed = true;
            wakeDispatcher();
            // A second caller also waits for the handler that the first one waits for.
            handlers.registrations.forEach(Registration::close);
        } finally {
            handlers.lock.unlock();
        }
        if (uses.end()) {
            release();
        }
    }

    private void wakeDispatcher() {
        if (uses.begin()) {
            try {
                if (!wake.wake()) {
                    set.force(wake.fd(), WAKE_NUMBER);
                    forced = true; // set last, so that the dispatcher undoes only a completed change
                }
            } finally {
                if (uses.finish()) {
                    release();
                }
            }
        }
    }

    private void release() {
        wake.close();
        set.close();
    }

    @Override
    public String toString() {
        return "event loop of " + set.fd();
    }
}
