/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.undo.ExitAwareWait;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Relays a level-triggered line. VFIO masks the device's line when it signals, and the signal raises the guest's line.
 * The guest's EOI lowers the guest's line and unmasks the device, which signals again if it still asserts its line. The
 * injector lowers the line itself, or {@link #endOfInterrupt} does.
 *
 * <p>A signal and an EOI can arrive at once in two threads, and the injector may take locks that the EOI's thread
 * holds. So no lock is held while the injector runs. Instead, each thread records its event, and the first thread
 * handles them all, an EOI before a signal.
 */
final class RelayedLine extends RelayedIrq {
    private static final int MOST_FAILURES = 3;
    private static final int SIGNALLED = 1;
    private static final int ENDED = 2;
    private static final int MASKED = 4;
    private static final int STOPPED = 8;
    /** The injector has lowered the line that an {@link Assertion} raised. */
    private static final int LOWERED = 16;
    /** A thread is acting, and also handles the events that other threads record. */
    private static final int BUSY = 32;

    private final Userspace.Injector injector;
    private final Gsi gsi;
    private final Runnable unmaskDevice;
    private final ForwardCalls calls;
    private final AtomicInteger happened = new AtomicInteger();
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition idle = lock.newCondition();
    private volatile @Nullable Thread acting;
    // Only the acting thread uses these fields
    private boolean asserted;
    /** Whether the injector failed to raise or lower an asserted line, so that the line may be high or low. */
    private boolean lowers;
    /** Whether the injector itself lowers the line at the guest's EOI. */
    private boolean isEndedByInjector;

    private Assertion assertion = new Assertion();

    private int failures;
    /** Whether an Error interrupted the last unmask of the device. */
    private volatile boolean owesUnmask;

    /** One assertion of the line. The injector may report its end late, after the line was raised again. */
    private final class Assertion implements Runnable {
        private volatile boolean ended;

        @Override
        public void run() {
            ended = true;
            happened(LOWERED);
        }
    }

    /** @param unmaskDevice unmasks the device's line, which signals at once if the device asserts it */
    RelayedLine(Userspace userspace, EventFd event, Gsi gsi, Runnable unmaskDevice) {
        super(userspace, event);
        this.calls = new ForwardCalls(event.fd().kernel());
        this.injector = userspace.injector();
        this.gsi = gsi;
        this.unmaskDevice = unmaskDevice;
    }

    @Override
    void signalled() {
        happened(SIGNALLED);
    }

    /** Handles a guest EOI: lowers a high line and unmasks the device, or leaves both to the thread at work. */
    void endOfInterrupt() {
        happened(ENDED);
    }

    /** Lowers an asserted line. A device that still asserts its line signals the eventfd again. */
    @Override
    void beginSettle() {
        happened(MASKED);
    }

    @Override
    void settle() {
        super.settle();
        beginSettle();
        awaitInjection();
    }

    /** Lowers the line and leaves the device masked. */
    @Override
    public void close() {
        super.close();
        happened(STOPPED);
        awaitInjection();
    }

    /** Waits for the acting thread. In that thread itself, returns at once, because its injection is the last one. */
    private void awaitInjection() {
        lock.lock();
        try {
            ExitAwareWait.uninterruptibly(
                    () -> !is(BUSY, happened.get()) || acting == Thread.currentThread(), idle::awaitNanos);
        } finally {
            lock.unlock();
        }
    }

    private void tellWaiting() {
        lock.lock();
        try {
            idle.signalAll();
        } finally {
            lock.unlock();
        }
    }

    private void happened(int what) {
        if ((happened.getAndAccumulate(what | BUSY, (now, more) -> now | more) & BUSY) != 0) {
            return;
        }
        @Nullable Throwable failure = null;
        do {
            acting = Thread.currentThread();
            try {
                act(happened.getAndSet(BUSY));
            } catch (RuntimeException | Error e) {
                failure = e;
            }
            acting = null;
        } while (!happened.compareAndSet(BUSY, 0));
        tellWaiting();
        if (failure instanceof Error error) {
            throw error;
        }
        if (failure instanceof RuntimeException exception) {
            throw exception;
        }
    }

    private void act(int what) {
        boolean signalled = is(SIGNALLED, what);
        boolean ends = is(ENDED, what) && (owesUnmask || asserted && (lowers || !isEndedByInjector));
        if (asserted && assertion.ended) {
            asserted = false;
            owesUnmask = true;
            ends = true;
        }
        if (is(STOPPED, what)) {
            calls.tellInjector(this::lower);
            return;
        }
        if (is(MASKED, what) ? asserted || owesUnmask || signalled : ends) {
            try {
                lower();
            } finally {
                unmaskDevice();
            }
        }
        if (signalled && !is(MASKED, what) && (!asserted || lowers)) {
            if (is(MASKED | STOPPED, happened.get())) {
                happened.getAndAccumulate(SIGNALLED, (now, more) -> now | more); // handled in the next turn
            } else {
                raise();
            }
        }
    }

    private void unmaskDevice() {
        owesUnmask = true;
        unmaskDevice.run();
        owesUnmask = false;
    }

    @Override
    void resuming() {
        if (owesUnmask) {
            unmaskDevice();
        }
    }

    private static boolean is(int state, int what) {
        return (what & state) != 0;
    }

    private void lower() {
        if (asserted) {
            lowers = true;
            injector.line(gsi, false);
            asserted = false;
            lowers = false;
        }
    }

    /** Raises the line. On failure, unmasks the device a few times to signal again, as the guest may send no EOI. */
    private void raise() {
        asserted = true;
        lowers = true;
        assertion = new Assertion();
        try {
            isEndedByInjector = injector.raiseUntilEoi(gsi, assertion);
            lowers = false;
            failures = 0;
        } catch (RuntimeException | Error e) {
            if (failures++ < MOST_FAILURES) {
                try {
                    TearDown.quietly(this::lower);
                } finally {
                    unmaskDevice();
                }
            }
            throw e;
        }
    }
}
