/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.uapi.Epoll;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * Waits for many eventfds in one thread, and calls the handler of each that was signalled. There are two ways:
 *
 * <pre>{@code
 * try (EventLoop loop = EventLoop.create(kernel)) {
 *     loop.registerDoorbell(queue, () -> look(queue));   // edge-triggered: a guest's doorbell
 *     loop.register(event, count -> inject(message));    // level-triggered: each signal counts
 *     loop.run();                                        // until another thread, or a handler, closes the loop
 * }
 * }</pre>
 *
 * <p>A doorbell says only that there is work; the work itself is stored elsewhere, as in the queues of virtio. The loop
 * never reads a doorbell's eventfd, which makes it several times quicker. Use doorbells for ioeventfds. Rings coalesce:
 * the handler begins at least once after each ring, and once for all the rings before it begins. It may also be called
 * without a new ring, when it is registered or resumed.
 *
 * <p>{@link #register} reads the count of each eventfd and passes it to the handler. Use it for a VMM without in-kernel
 * interrupt controllers.
 *
 * <p>Handlers run one at a time, in the thread that is in {@link #run} or {@link #poll}. They may call every method of
 * the loop except these two. If a handler throws, the loop logs an error, keeps the handler registered and goes on; the
 * count of that call is not passed again.
 *
 * <p>An eventfd that feeds an irqfd is never seen here while the irqfd is assigned: KVM takes each signal first.
 *
 * <p>Thread-safe. {@link #run} and {@link #poll} block, do not end on {@link Thread#interrupt}, and refuse virtual
 * threads. Only one thread at a time may be in them. Waiting, draining and calling a handler allocate nothing.
 */
public final class EventLoop implements AutoCloseable {
    /** No registration has it; its slot is the first. */
    private static final long WAKE = Long.MIN_VALUE;

    private final Kernel kernel;
    private final EpollSet epoll;
    /** {@link #epoll}, or a ring with it. */
    private final ReadySet set;
    /** Signalled by {@link #close} and never drained. */
    private final EventFd wake;
    /** Uses of {@link #set} and {@link #wake}: {@link #close} or the dispatcher, whichever ends last, closes both. */
    private final UseCount uses = new UseCount();

    private final ByteBuffer count = Buffers.allocate(Long.BYTES);
    /** The thread in {@link #run} or {@link #poll}. */
    private final AtomicReference<@Nullable Thread> dispatcher = new AtomicReference<>();

    /** For all changes of registrations. Never held while a handler runs. */
    private final ReentrantLock lock = new ReentrantLock();

    private final Condition handled = lock.newCondition();
    /**
     * The number of the registration whose handler runs, if it is open. The dispatcher writes this, then looks whether
     * it is; who ends a registration's runs shuts it, then reads this: one of both sees the other.
     */
    private final AtomicLong running = new AtomicLong(WAKE);
    /** Threads that wait for a handler's end. They count up, then read {@link #running}; the dispatcher the reverse. */
    private final AtomicInteger waiting = new AtomicInteger();

    /** Between the write and the read of each side. */
    private final RemoteFence fence;

    private final Slots<Registration> registrations = new Slots<>();
    private volatile boolean closed;
    /** Handlers that this round has called. Of the dispatcher. */
    private int called;

    private EventLoop(Kernel kernel, int completions) {
        this.kernel = kernel;
        this.fence = new RemoteFence(kernel.libc());
        try (Undo undo = new Undo()) {
            this.epoll = undo.add(new EpollSet(kernel));
            this.wake = undo.add(EventFd.create(kernel));
            epoll.add(wake.fd(), WAKE, Epoll.EPOLLIN);
            this.set = completions == 0 ? epoll : new UringSet(kernel, epoll, wake.fd(), WAKE, lock, completions);
            undo.keep();
        }
    }

    /**
     * A loop without registrations. The first loop of a process takes about 10 ms, because the kernel registers the
     * process for membarrier(2). Thanks to it {@link Registration#close} waits for a running handler without a cost for
     * handlers.
     *
     * @throws KernelException EMFILE, ENFILE, ENOMEM: it needs two descriptors
     */
    public static EventLoop create(Kernel kernel) {
        return new EventLoop(kernel, 0);
    }

    /**
     * A loop without registrations that waits for doorbells with io_uring. This needs Linux 6.1 or newer, a kernel that
     * allows io_uring, and a free descriptor for the ring. Otherwise the loop uses epoll, and {@link #refusedIoUring}
     * says why.
     *
     * <p>A ring belongs to the thread that waits, so another thread in {@link #poll} or {@link #run} makes a new one. A
     * registration that is closed while no thread is in them keeps the kernel's file of its eventfd open until one is,
     * or until the loop is closed. If more than a thousand doorbells ring between two waits, every handler is called,
     * some twice.
     *
     * @throws KernelException as {@link #create}
     */
    public static EventLoop withIoUring(Kernel kernel) {
        return withIoUring(kernel, UringSet.COMPLETIONS);
    }

    static EventLoop withIoUring(Kernel kernel, int completions) {
        return new EventLoop(kernel, completions);
    }

    /** Whether doorbells are waited for with io_uring. Once false it stays false. */
    public boolean usesIoUring() {
        return set instanceof UringSet ring && ring.refused().isEmpty();
    }

    /**
     * The refusal for which a loop of {@link #withIoUring} uses epoll: at the beginning, or when the kernel refused
     * something later, such as a ring for another thread. Such a loop goes on without losing an event.
     */
    public Optional<KernelException> refusedIoUring() {
        return set instanceof UringSet ring ? ring.refused() : Optional.empty();
    }

    /** Takes the signals of an eventfd. */
    @FunctionalInterface
    public interface Handler {
        /** @param count signals since the last time, unsigned, not 0; of a semaphore always 1 */
        void signalled(long count);
    }

    /**
     * Calls {@code handler} for the signals of {@code event}. Signals from before this call reach it at once. The
     * registration leases the eventfd: closing it earlier takes effect when the registration is closed. A borrowed
     * eventfd must stay open as long.
     *
     * @throws KernelException EEXIST if this loop has the eventfd already; ENOSPC beyond
     *     /proc/sys/fs/epoll/max_user_watches; ENOMEM
     * @throws ClosedHandleException if the loop or the eventfd is closed
     */
    public Registration register(EventFd event, Handler handler) {
        requireHandler(event, handler);
        return add(event, number -> new Counted(number, event, handler, false));
    }

    /** As {@link #register}, paused: the handler gets nothing before {@link Registration#resume}. */
    public Registration registerPaused(EventFd event, Handler handler) {
        requireHandler(event, handler);
        return add(event, number -> new Counted(number, event, handler, true));
    }

    /**
     * Calls {@code handler} after {@code event} was signalled, and once now if its count is not 0. The count stays in
     * the eventfd. The handler may drain it before it looks for work; a drain after that may take a ring away. The
     * registration leases the eventfd, as that of {@link #register}.
     *
     * @throws KernelException as {@link #register}
     * @throws ClosedHandleException if the loop or the eventfd is closed
     */
    public Registration registerDoorbell(EventFd event, Runnable handler) {
        requireHandler(event, handler);
        return add(event, number -> new Doorbell(number, event, handler));
    }

    private static void requireHandler(EventFd event, Object handler) {
        Objects.requireNonNull(handler, () -> "handler is null: give the code that takes the signals of " + event);
    }

    private Registration add(EventFd event, LongFunction<Registration> numbered) {
        lock.lock();
        try (Undo undo = new Undo()) {
            if (closed) {
                throw new ClosedHandleException(toString());
            }
            Fd held = event.fd();
            undo.step(() -> kernel.calls().held(held), held::exit);
            Registration made = numbered.apply(registrations.next());
            undo.step(() -> made.enter(registrations), () -> registrations.remove(made.number, made));
            boolean paused = made.state != 0;
            set.add(held, made.number, paused ? 0 : made.events);
            undo.keep();
            if (!paused) {
                event.feedsLoop(true);
            }
            return made;
        } finally {
            lock.unlock();
        }
    }

    /**
     * To be leased by a VMM that waits in an epoll set of its own: readable while a registered eventfd is signalled,
     * and {@link #poll} with timeout 0 handles it.
     *
     * @throws IllegalStateException for a loop of {@link #withIoUring}
     */
    public Fd fd() {
        if (set != epoll) {
            throw new IllegalStateException(this + " may use io_uring, which only it can wait for: use"
                    + " EventLoop.create for a loop inside of another epoll set");
        }
        return epoll.fd();
    }

    /**
     * Calls handlers until {@link #close}; returns at once if the loop is closed already.
     *
     * @throws IllegalStateException on a virtual thread; if another thread is in {@code run} or {@link #poll}; from a
     *     handler
     */
    public void run() {
        if (begin("EventLoop.run")) {
            try {
                while (!closed) {
                    round(-1);
                }
            } finally {
                end();
            }
        }
    }

    /**
     * Waits until an eventfd is signalled, and calls the handlers of all signalled eventfds. This is one round, for a
     * VMM with a loop of its own. A round ends after 256 handlers, and with io_uring earlier if the kernel gives fewer
     * at once; the next round calls the others.
     *
     * @param timeout waits at most this long; not at all when zero or negative
     * @return the number of handlers that were called; 0 after the timeout, or if {@link #close} ended the wait
     * @throws ClosedHandleException if the loop was closed before
     * @throws IllegalStateException as {@link #run}
     */
    public int poll(Duration timeout) {
        return poll(EventFd.nanos(timeout));
    }

    /**
     * As {@link #poll(Duration)}, allocating nothing.
     *
     * @param timeoutNanos negative: for ever
     */
    public int poll(long timeoutNanos) {
        if (!begin("EventLoop.poll")) {
            throw new ClosedHandleException(toString());
        }
        try {
            long start = timeoutNanos <= 0 ? 0 : System.nanoTime();
            long left = timeoutNanos;
            int called = round(left);
            while (called == 0 && (left != 0 || set.mayHaveMore()) && !closed) {
                left = left <= 0 ? left : Math.max(0, timeoutNanos - (System.nanoTime() - start));
                called = round(left);
            }
            return called;
        } finally {
            end();
        }
    }

    /** @return false if the loop is closed */
    private boolean begin(String call) {
        CurrentThread.requirePlatform(call);
        if (!dispatcher.compareAndSet(null, Thread.currentThread())) {
            throw new IllegalStateException(call + ": " + this + " is run by " + dispatcher.get()
                    + " already, and handlers run in one thread at a time");
        }
        boolean open = uses.begin();
        if (!open) {
            dispatcher.set(null);
        }
        return open;
    }

    private void end() {
        dispatcher.setRelease(null);
        if (uses.finish()) {
            release();
        }
    }

    private int round(long timeoutNanos) {
        int ready = set.await(timeoutNanos);
        called = 0;
        try {
            for (int i = 0; i < ready; i++) {
                dispatch(set.data(i));
            }
        } finally {
            moveTo(WAKE);
        }
        return called;
    }

    private void dispatch(long number) {
        moveTo(number);
        Runnable handler = registrations.find(number);
        if (handler != null) {
            called++;
            try {
                handler.run();
            } catch (Throwable e) {
                kernel.log(Level.ERROR, failure(number), e);
            }
        }
    }

    private String failure(long number) {
        lock.lock();
        try {
            Registration failed = registrations.owner(number);
            return failed == null || failed.number != number
                    ? "a handler failed after it closed its registration"
                    : "the handler of " + failed.event() + " failed; it stays registered";
        } finally {
            lock.unlock();
        }
    }

    /** Ends the run of one handler, and begins that of another: one fence is enough for both. */
    private void moveTo(long next) {
        running.setRelease(next);
        fence.pass();
        if (waiting.get() != 0) {
            lock.lock();
            try {
                handled.signalAll();
            } finally {
                lock.unlock();
            }
        }
    }

    /**
     * Ends {@link #run}, {@link #poll} and all registrations. When it returns, no handler is running or will run,
     * unless called from a handler: that one is the last. Other signals stay in their eventfds. Never fails.
     */
    @Override
    public void close() {
        lock.lock();
        try {
            closed = true;
            wakeDispatcher();
            // A second caller also waits for the handler that the first one waits for.
            registrations.forEach(Registration::close);
        } finally {
            lock.unlock();
        }
        if (uses.end()) {
            release();
        }
    }

    private void wakeDispatcher() {
        if (uses.begin()) {
            try {
                if (!wake.wake()) {
                    set.force(wake.fd(), WAKE);
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
        return "event loop of " + epoll.fd();
    }

    /** Level-triggered. */
    private final class Counted extends Registration {
        private final Handler handler;

        Counted(long number, EventFd event, Handler handler, boolean paused) {
            super(number, event, Epoll.EPOLLIN, paused);
            this.handler = handler;
        }

        @Override
        Runnable handler() {
            return this::takeCount;
        }

        private void takeCount() {
            long signals = drained();
            if (signals == 0) {
                called--;
            } else {
                handler.signalled(signals);
            }
        }

        private long drained() {
            try {
                return event().drain(event().fd().number(), count);
            } catch (RuntimeException e) {
                pause(); // or the kernel would report it for ever
                kernel.log(Level.ERROR, event() + " cannot be read; its registration is paused", e);
                return 0;
            }
        }
    }

    /** Edge-triggered: each write makes the kernel report an eventfd once more, read or not. */
    private final class Doorbell extends Registration {
        private final Runnable handler;

        Doorbell(long number, EventFd event, Runnable handler) {
            super(number, event, Epoll.EPOLLIN | Epoll.EPOLLET, false);
            this.handler = handler;
        }

        @Override
        Runnable handler() {
            return handler;
        }
    }

    /** An eventfd of a loop, and its handler. Thread-safe. */
    public abstract sealed class Registration implements AutoCloseable permits Counted, Doorbell {
        private static final int PAUSED = 1;
        private static final int CLOSED = 2;

        private final EventFd event;
        /** Those of epoll that it waits for while it is not paused. */
        private final int events;

        private final long number;
        /** 0 or one of the above; of the lock. */
        private int state;

        private Registration(long number, EventFd event, int events, boolean paused) {
            this.number = number;
            this.event = event;
            this.events = events;
            this.state = paused ? PAUSED : 0;
        }

        /** To be called when the eventfd is reported. */
        abstract Runnable handler();

        private void enter(Slots<Registration> slots) {
            slots.put(number, this, handler());
            if (state == 0) {
                slots.open(number); // before the kernel may report it
            }
        }

        /** The eventfd whose signals the handler gets. */
        public EventFd event() {
            return event;
        }

        /**
         * Holds signals back: they stay in the eventfd. When it returns, the handler is not running and will not run
         * until {@link #resume}, and it got all that was drained; called from the handler itself, this run is the last.
         * Pausing twice is pausing once. Do not hold a lock that the handler needs.
         *
         * @throws IllegalStateException after {@link #close}
         */
        public void pause() {
            beginPause();
            awaitHandler();
        }

        /**
         * As {@link #pause}, without waiting for a handler that runs: for a caller with a lock that the handler needs.
         *
         * @throws IllegalStateException after {@link #close}
         */
        public void beginPause() {
            lock.lock();
            try {
                requireOpen();
                if (state == 0) {
                    state = PAUSED;
                    registrations.shut(number);
                    event.feedsLoop(false);
                    set.mute(event.fd(), number, events);
                }
            } finally {
                lock.unlock();
            }
        }

        /**
         * Ends {@link #pause}. Signals that came during the pause are delivered at once. A doorbell's handler is called
         * at once if its eventfd's count is not 0.
         *
         * @throws IllegalStateException after {@link #close}
         */
        public void resume() {
            lock.lock();
            try {
                requireOpen();
                if (state == PAUSED) {
                    try (Undo undo = new Undo()) {
                        // Before the kernel may report it: an edge is reported once.
                        undo.step(() -> registrations.open(number), () -> registrations.shut(number));
                        set.unmute(event.fd(), number, events);
                        undo.keep();
                    }
                    state = 0;
                    event.feedsLoop(true);
                }
            } finally {
                lock.unlock();
            }
        }

        /** As {@link #pause}, for good: the eventfd may be registered again. Idempotent, never fails. */
        @Override
        public void close() {
            lock.lock();
            try {
                if (state != CLOSED) {
                    set.remove(event.fd(), number);
                    if (state == 0) {
                        event.feedsLoop(false);
                    }
                    state = CLOSED;
                    registrations.shut(number);
                }
                awaitHandlerLocked();
                if (registrations.owner(number) == this) {
                    registrations.remove(number, this);
                    event.fd().exit();
                }
            } finally {
                lock.unlock();
            }
        }

        private void requireOpen() {
            if (state == CLOSED) {
                throw new IllegalStateException(this + " is closed: register the eventfd again");
            }
        }

        /**
         * Waits until the handler is not running; not at all in the handler. Do not hold a lock that it needs. Pause first:
         * of signals that follow each other, one may always be in the handler.
         */
        public void awaitHandler() {
            lock.lock();
            try {
                awaitHandlerLocked();
            } finally {
                lock.unlock();
            }
        }

        private void awaitHandlerLocked() {
            Thread other = dispatcher.get();
            if (other != null && other != Thread.currentThread()) {
                waiting.incrementAndGet();
                fence.make(other);
                while (running.getAcquire() == number) {
                    handled.awaitUninterruptibly();
                }
                waiting.decrementAndGet();
            }
        }

        @Override
        public String toString() {
            return "registration of " + event;
        }
    }
}
