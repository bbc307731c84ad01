/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.EventFdId;
import io.kvmirq.KernelException;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicIntegerFieldUpdater;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReferenceFieldUpdater;
import java.util.function.Function;
import java.util.function.IntSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A kernel counter for signals (eventfd(2)). An irqfd turns a device's signal on an eventfd into a guest interrupt, and
 * an ioeventfd turns a guest write into a signal.
 *
 * <p>Thread-safe. {@link #signal}, {@link #drain} and {@link #await} allocate nothing on a platform thread. {@code
 * signal} and {@code drain} may run on virtual threads. {@code drain} never blocks, but {@code signal} blocks at the
 * maximum count if other code opened the eventfd without O_NONBLOCK. {@code await} blocks until a signal, its timeout,
 * {@link #close} or {@link Thread#interrupt}. A virtual thread may call it only with a timeout of 0.
 *
 * <p>Source: fs/eventfd.c.
 *
 * {@snippet class="io.kvmirq.snippets.KernelSnippetsTest" region="eventfd"}
 */
public final class EventFd implements AutoCloseable {
    private static final String KIND = "eventfd";
    private static final int NO_WAKE = -1;
    private static final String WARNING_FED = "fed";
    /** One failed write must not leave a thread waiting. Only a system call filter can make every write fail. */
    private static final int WAKE_ATTEMPTS = 10;

    /** For more eventfds than this, the descriptor limit is checked before any is created. */
    private static final int MOST_UNCHECKED_EVENTFDS = 1 << 16;

    private static final int EMFILE = -Errno.EMFILE.number();
    private static final int EAGAIN = -Errno.EAGAIN.number();
    private static final int EINTR = -Errno.EINTR.number();

    private static final AtomicLong LAST_ID = new AtomicLong();
    private static final AtomicReferenceFieldUpdater<EventFd, @Nullable Waits> WAITS =
            AtomicReferenceFieldUpdater.newUpdater(EventFd.class, Waits.class, "waits");
    private static final AtomicIntegerFieldUpdater<EventFd> LOOPS =
            AtomicIntegerFieldUpdater.newUpdater(EventFd.class, "loops");

    private final Kernel kernel;
    private final Fd fd;
    private final boolean foreign;
    private final long id;
    /** Null until the first wait, because thousands of irqfds' eventfds never wait. */
    private volatile @Nullable Waits waits;

    /** Not volatile, because thousands of irqfds are assigned with one fence. A reader that misses it does not warn. */
    private boolean feedsIrqfd;
    /** The number of event loop registrations that are not paused. */
    private volatile int loops;

    private EventFd(Fd fd, boolean foreign) {
        this.id = LAST_ID.incrementAndGet();
        this.kernel = fd.kernel();
        this.fd = fd;
        this.foreign = foreign;
    }

    /**
     * Creates an eventfd with count 0. Each {@link #drain} sets the count to 0.
     *
     * @throws io.kvmirq.KernelException EMFILE or ENFILE if no descriptor is free; ENOMEM if memory is short
     */
    public static EventFd create(Kernel kernel) {
        Objects.requireNonNull(kernel, "kernel is null");
        return make(kernel, kernel.backend()::eventfdCreate, "", EventFd::owned);
    }

    /**
     * Creates a semaphore eventfd with count 0. Each {@link #drain} subtracts 1 from the count.
     *
     * @throws io.kvmirq.KernelException as {@link #create}
     */
    public static EventFd createSemaphore(Kernel kernel) {
        return make(
                kernel,
                Objects.requireNonNull(kernel, "kernel is null").backend()::eventfdCreateSemaphore,
                "semaphore",
                EventFd::owned);
    }

    /**
     * Creates {@code count} eventfds like {@link #create}, or none if any fails.
     *
     * @throws IllegalArgumentException if the count is negative
     * @throws io.kvmirq.KernelException as {@link #create}
     */
    public static List<EventFd> createAll(Kernel kernel, int count) {
        Objects.requireNonNull(kernel, "kernel is null");
        if (count < 0) {
            throw new IllegalArgumentException(count + " eventfds: expected 0 or more");
        }
        if (count > MOST_UNCHECKED_EVENTFDS
                && DescriptorLimit.isBelow(kernel.backend().libc().hostFiles(), count)) {
            throw failed(kernel, EMFILE, 0, count);
        }
        return Fd.make(
                kernel,
                KIND,
                count,
                numbers -> kernel.backend().eventfdsCreate(numbers, count),
                (result, made) -> failed(kernel, result, made, count),
                EventFd::owned);
    }

    private static KernelException failed(Kernel kernel, int result, int made, int count) {
        String which = made + 1 + " of " + count;
        if (result != EMFILE) {
            return failed(kernel, result, which);
        }
        String why = DescriptorLimit.why(kernel.backend().libc().hostFiles(), count - made);
        return new KernelException(KernelCall.EVENTFD_CREATE.label(), which, Errno.EMFILE, why);
    }

    private static EventFd owned(Fd fd) {
        return new EventFd(fd, false);
    }

    private static <T> T make(Kernel kernel, IntSupplier create, String operands, Function<Fd, T> owner) {
        return Fd.make(kernel, KIND, create, result -> failed(kernel, result, operands), owner);
    }

    private static KernelException failed(Kernel kernel, int result, String operands) {
        return kernel.calls().failure(result, KernelCall.EVENTFD_CREATE, Set.of(), () -> operands);
    }

    /**
     * Wraps an eventfd opened elsewhere. O_NONBLOCK is not changed, because all of the eventfd's descriptors share it.
     *
     * @param number the number of an open eventfd descriptor of this process
     * @throws IllegalArgumentException if {@code number} is negative, or if /proc shows that the descriptor is not open
     *     or belongs to another kind of file, such as a regular file, which {@link #signal} would overwrite
     */
    public static EventFd adopt(Kernel kernel, int number, Ownership ownership) {
        Objects.requireNonNull(ownership, "ownership is null");
        return Objects.requireNonNull(kernel, "kernel is null")
                .calls()
                .adopted(
                        KIND,
                        number,
                        ownership,
                        fd -> new EventFd(fd, true),
                        "an eventfd, made by eventfd(2)",
                        FileKind.EVENTFD.label());
    }

    boolean isAdopted() {
        return foreign;
    }

    private Set<Condition> known() {
        return foreign ? Set.of() : Set.of(Condition.OWN_EVENTFD);
    }

    /**
     * This eventfd's identity in this process. It is never reused, and differs from {@code eventfd-id} in
     * /proc/PID/fdinfo. An eventfd that {@link #adopt} wraps twice has two identities.
     */
    public EventFdId id() {
        return new EventFdId(id);
    }

    /**
     * Records whether an irqfd consumes the signals. A full fence and {@link #warnIfLoopsWait} must follow. This method
     * and {@link #feedsLoop} each write before they read what the other writes, so at least one of them warns.
     */
    void feedsIrqfd(boolean on) {
        feedsIrqfd = on;
    }

    void warnIfLoopsWait() {
        if (loops > 0) {
            warnIfFed();
        }
    }

    /** Counts an event loop that starts or stops waiting for signals. */
    void feedsLoop(boolean on) {
        LOOPS.addAndGet(this, on ? 1 : -1);
        VarHandle.fullFence();
        if (on) {
            warnIfFed();
        }
    }

    /** Warns a reader that KVM consumes the signals first. */
    private void warnIfFed() {
        if (feedsIrqfd && !kernel.reports().hasWarned(WARNING_FED)) {
            kernel.reports()
                    .warnOnce(
                            WARNING_FED,
                            fd + " feeds an irqfd, so KVM consumes each signal first: drain, await and an EventLoop"
                                    + " see none; mask the irqfd, or use another eventfd" + kernel.here());
        }
    }

    /** The eventfd's descriptor. {@link Fd#lease} returns its number. */
    public Fd fd() {
        return fd;
    }

    /**
     * Adds 1 to the count.
     *
     * @throws io.kvmirq.KernelException EAGAIN if the count is 2^64 - 2; without O_NONBLOCK the call blocks instead
     * @throws ClosedHandleException after {@link #close}
     */
    public void signal() {
        signal(1);
    }

    /**
     * Adds to the eventfd's count. An irqfd injects one interrupt, whatever the count. A {@code count} of 0, as in
     * {@code to.signal(from.drain())}, writes nothing, because a write of 0 would wake an irqfd.
     *
     * @param count the number to add, unsigned, at most 2^64 - 2
     * @throws io.kvmirq.KernelException EAGAIN if the sum would exceed 2^64 - 2; EINVAL for a count of 2^64 - 1
     */
    public void signal(long count) {
        int raw = fd.enter();
        try {
            if (count == 0) {
                return;
            }
            int result;
            do {
                result = kernel.backend().eventfdSignal(raw, count);
            } while (foreign && result == EINTR); // the write blocked, and added nothing
            if (result < 0) {
                throw kernel.calls()
                        .failure(
                                result,
                                KernelCall.EVENTFD_WRITE,
                                known(),
                                () -> "eventfd=" + raw + " count=" + Long.toUnsignedString(count));
            }
        } finally {
            fd.exit();
        }
    }

    /**
     * Reads the count and sets it to 0, or subtracts 1 from a semaphore's count, without waiting.
     *
     * @return the count, unsigned (1 for a semaphore), or 0 if nothing was signalled
     * @throws io.kvmirq.KernelException EINVAL if {@link #adopt} wrapped a descriptor of another kind of file
     */
    public long drain() {
        warnIfFed();
        ByteBuffer count = kernel.scratch(); // first, because it may throw
        try {
            int raw = fd.enter();
            try {
                return drain(raw, count);
            } finally {
                fd.exit();
            }
        } finally {
            kernel.done(count);
        }
    }

    /**
     * Drains like {@link #drain()}, even after {@link #close}, for the holder of a lease.
     *
     * @param raw the leased descriptor's number
     * @param count 8 bytes; no other thread may use them during the call
     */
    long drain(int raw, ByteBuffer count) {
        KernelBackend backend = kernel.backend();
        int result = foreign ? backend.eventfdDrainForeign(raw, count) : backend.eventfdDrain(raw, count);
        if (result == EAGAIN) {
            return 0;
        }
        if (result < 0) {
            throw kernel.calls().failure(result, KernelCall.EVENTFD_READ, known(), () -> "eventfd=" + raw);
        }
        return count.getLong(0);
    }

    /**
     * Waits without a timeout until the count is not 0.
     *
     * @return true if the count is not 0; false if the thread was interrupted; its interrupt status stays set
     * @throws io.kvmirq.KernelException EMFILE, ENFILE or ENOMEM, because the first call that has to wait makes a
     *     wake-up eventfd, which {@link #close} or an interrupt signals to end the wait. After an interrupt, the next
     *     waiting thread makes a new one
     * @throws ClosedHandleException if the eventfd was closed before or during the call
     * @throws IllegalStateException on a virtual thread
     */
    public boolean await() {
        return waits(-1);
    }

    /**
     * Waits like {@link #await()}, for a limited time.
     *
     * @param timeout the maximum wait; zero or negative does not wait
     * @return true if the count is not 0; false after the timeout or an interrupt, which {@link Thread#isInterrupted}
     *     distinguishes
     * @throws IllegalStateException on a virtual thread, unless the timeout is 0
     */
    public boolean await(Duration timeout) {
        return awaitNanos(Interruption.nanos(timeout));
    }

    /**
     * Waits like {@link #await(Duration)}, without allocating.
     *
     * @param timeout the maximum wait in nanoseconds; zero or negative does not wait
     */
    public boolean awaitNanos(long timeout) {
        return waits(Math.max(0, timeout));
    }

    /** @param timeoutNanos negative for no limit */
    private boolean waits(long timeoutNanos) {
        if (timeoutNanos != 0) {
            CurrentThread.requirePlatform("EventFd.await");
        }
        warnIfFed();
        int raw = fd.enter();
        try {
            long start = timeoutNanos <= 0 ? 0 : System.nanoTime();
            long left = timeoutNanos;
            while (true) {
                int ready = waitOnce(raw, left);
                if (ready < 0 && ready != EINTR) {
                    throw kernel.calls().failure(ready, KernelCall.EVENTFD_WAIT, known(), () -> "eventfd=" + raw);
                }
                if (ready == KernelBackend.READY_FD) {
                    return true;
                }
                requireOpen();
                if (ready > 0 && (ready & KernelBackend.READY_FD) != 0) {
                    return true;
                }
                left = Interruption.left(timeoutNanos, start);
                if (ready == 0 && left == 0
                        || ready >= 0 && Thread.currentThread().isInterrupted()) {
                    return false;
                }
            }
        } finally {
            fd.exit();
        }
    }

    /** @return as {@link KernelBackend#fdWait} */
    private int waitOnce(int raw, long timeoutNanos) {
        Waits all = waits;
        Fd waker = all == null ? null : all.waker(null);
        if (waker == null) {
            // This does not wait, so it needs no wake descriptor.
            int ready = kernel.backend().fdWait(raw, NO_WAKE, 0);
            if (ready != 0 || timeoutNanos == 0) {
                return ready;
            }
            waker = makeWaker();
        }
        try {
            if (timeoutNanos == 0) {
                return kernel.backend().fdWait(raw, waker.number(), 0);
            }
            Interruption hook = waits().interruption;
            hook.enter();
            try {
                return kernel.backend().fdWait(raw, waker.number(), Interruption.once(timeoutNanos));
            } finally {
                hook.leave();
            }
        } finally {
            waker.exit();
        }
    }

    /** Ends waits. Its monitor is private, because a caller may hold the eventfd's while an await is interrupted. */
    private final class Waits {
        final Interruption interruption = new Interruption(this::interrupted);
        /**
         * Signalled by {@link #close} or an interrupt and never drained, so that every waiting thread returns. Null
         * after an interrupt until the next wait makes a new one.
         */
        private @Nullable Fd wake;

        /** Wakes all waiting threads. Threads that were not interrupted wait again, on a new wake descriptor. */
        private synchronized void interrupted() {
            Fd waker = wake;
            if (waker != null && !waker.isClosed()) {
                wake = null;
                wake(waker);
                waker.close();
            }
        }

        /** Starts using the current wake descriptor or, if there is none, {@code made}. */
        synchronized @Nullable Fd waker(@Nullable Fd made) {
            requireOpen();
            if (wake == null) {
                wake = made;
            }
            if (wake != null) {
                wake.enter();
            }
            return wake;
        }

        /** @return whether the kernel woke the waiting threads */
        synchronized boolean close() {
            if (wake == null || wake.isClosed()) {
                return true;
            }
            boolean woken = wake(wake);
            wake.close();
            return woken;
        }
    }

    private void requireOpen() {
        if (fd.isClosed()) {
            throw new ClosedHandleException(fd.toString());
        }
    }

    /** Pairs with {@link #close}, which closes the descriptor first and then reads {@link #waits}. */
    private Waits waits() {
        if (waits == null) {
            WAITS.compareAndSet(this, null, new Waits());
        }
        return Objects.requireNonNull(waits);
    }

    /** Makes the wake descriptor, unless another thread was first. */
    private Fd makeWaker() {
        Fd made = make(kernel, kernel.backend()::eventfdCreate, "", fd -> fd);
        boolean used = false;
        try {
            Fd waker = Objects.requireNonNull(waits().waker(made));
            used = waker == made;
            return waker;
        } finally {
            if (!used) {
                made.close();
            }
        }
    }

    /**
     * Ends every {@link #await} and refuses new calls. The descriptor stays open while it is leased, for example by an
     * irqfd. Idempotent, never fails.
     */
    @Override
    public void close() {
        fd.close();
        Waits all = waits;
        if (all != null && !all.close()) {
            kernel.reports()
                    .warnOnce(
                            "asleep",
                            fd
                                    + " was closed, and the kernel refuses the write that wakes a thread in await, so"
                                    + " the thread waits until its timeout: allow write(2) on eventfds in the system"
                                    + " call filter");
        }
    }

    /** Signals during tear-down. @return whether the kernel accepted the signal */
    boolean wake() {
        return wake(fd);
    }

    private boolean wake(Fd signalled) {
        int raw = signalled.enter();
        try {
            for (int attempt = 0; attempt < WAKE_ATTEMPTS; attempt++) {
                if (kernel.backend().eventfdSignal(raw, 1) >= 0) {
                    return true;
                }
            }
            return false;
        } finally {
            signalled.exit();
        }
    }

    @Override
    public String toString() {
        return fd.toString();
    }
}
