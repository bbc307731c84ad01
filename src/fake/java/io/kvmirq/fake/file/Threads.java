/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SignalAnswer;
import io.kvmirq.uapi.Signals;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.WeakHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The threads of the calling process, and the signals that one thread sends to another. The fake runs no signal handler
 * and kills no process, so a signal may only go to a thread that blocks it or is in KVM_RUN, which it ends. Source:
 * kernel/signal.c. The caller holds the kernel's lock.
 */
public final class Threads {
    private static final int PROCESS = 1000;
    /** SIGKILL and SIGSTOP, which cannot be blocked. */
    private static final long NEVER_BLOCKED = Signals.set(9) | Signals.set(19);

    private final Map<Thread, Own> threads = new WeakHashMap<>();
    private final ByteBuffer result = ByteBuffer.allocate(Signals.SET_SIZE).order(ByteOrder.nativeOrder());
    private int last = PROCESS;

    /** The pending and the blocked signals of a thread. */
    private static final class Own {
        private final int number;
        private final int[] pending = new int[Signals.LAST + 1];
        private long blocked;
        /** The signal mask of KVM_RUN; null outside of it. */
        private @Nullable Long blockedInRun;

        Own(int number) {
            this.number = number;
        }

        /** The lowest pending signal of a set; 0 for none. */
        int next(long set) {
            for (int signal = 1; signal <= Signals.LAST; signal++) {
                if (pending[signal] != 0 && (set & Signals.set(signal)) != 0) {
                    return signal;
                }
            }
            return 0;
        }
    }

    /** The state of a thread that has made none of these calls: it blocks nothing and gets no signals. */
    private final Own nothing = new Own(0);

    private Own known() {
        return threads.getOrDefault(Thread.currentThread(), nothing);
    }

    private Own current() {
        return threads.computeIfAbsent(Thread.currentThread(), thread -> new Own(++last));
    }

    // System calls

    public static int process() {
        return PROCESS;
    }

    public int thread() {
        return current().number;
    }

    /** tgkill(2). */
    public int send(KernelOfFile host, int process, int thread, int signal) {
        if (process <= 0 || thread <= 0) {
            return host.refuse(SignalAnswer.SIGNAL_TARGET);
        }
        Own target = process == PROCESS ? find(thread) : null;
        if (target == null) {
            return host.refuse(SignalAnswer.SIGNAL_NO_THREAD);
        }
        if (signal < 0 || signal > Signals.LAST) {
            return host.refuse(SignalAnswer.SIGNAL_TARGET);
        }
        if (signal == 0) {
            return 0;
        }
        if ((target.blocked & Signals.set(signal)) == 0) {
            throw new NotModelledException("signal " + signal + " to a thread that does not block it");
        }
        target.pending[signal] = signal < Signals.FIRST_REAL_TIME ? 1 : target.pending[signal] + 1;
        host.time().changed();
        return 0;
    }

    private @Nullable Own find(int number) {
        for (Map.Entry<Thread, Own> entry : threads.entrySet()) {
            if (entry.getValue().number == number && entry.getKey().isAlive()) {
                return entry.getValue();
            }
        }
        return null;
    }

    /** rt_sigprocmask(2). */
    public int mask(KernelOfFile host, int how, long set, long before, long size) {
        if (size != Signals.SET_SIZE) {
            return host.refuse(SignalAnswer.SIGNAL_SET_SIZE);
        }
        long old = known().blocked;
        if (set != 0) {
            ByteBuffer given = host.memory().copyIn(set, Signals.SET_SIZE);
            if (given == null) {
                return host.refuse(SignalAnswer.SIGNAL_SET_FAULT);
            }
            long signals = given.getLong(0) & ~NEVER_BLOCKED;
            long next =
                    switch (how) {
                        case Signals.SIG_BLOCK -> old | signals;
                        case Signals.SIG_UNBLOCK -> old & ~signals;
                        case Signals.SIG_SETMASK -> signals;
                        default -> 0;
                    };
            if (how < Signals.SIG_BLOCK || how > Signals.SIG_SETMASK) {
                return host.refuse(SignalAnswer.SIGNAL_HOW);
            }
            if (known().next(~next) != 0) {
                throw new NotModelledException("a pending signal that a thread no longer blocks");
            }
            current().blocked = next;
        }
        boolean written = before == 0 || host.memory().copyOut(before, result.putLong(0, old), Signals.SET_SIZE);
        return written ? 0 : host.refuse(SignalAnswer.SIGNAL_SET_FAULT);
    }

    /** rt_sigtimedwait(2). */
    public int await(KernelOfFile host, long set, long information, long timeout, long size) {
        if (size != Signals.SET_SIZE) {
            return host.refuse(SignalAnswer.SIGNAL_SET_SIZE);
        }
        ByteBuffer given = host.memory().copyIn(set, Signals.SET_SIZE);
        ByteBuffer limit = timeout == 0 ? null : host.memory().copyIn(timeout, Uapi.Timespec.SIZE);
        if (given == null || timeout != 0 && limit == null) {
            return host.refuse(SignalAnswer.SIGNAL_SET_FAULT);
        }
        if (information != 0) {
            throw new NotModelledException("siginfo_t of a signal");
        }
        long nanos = limit == null ? Long.MAX_VALUE : FakeTime.nanos(limit);
        if (nanos < 0) {
            return host.refuse(SignalAnswer.SIGNAL_TIMEOUT);
        }
        long wanted = given.getLong(0);
        int signal = host.time().await(nanos, () -> known().next(wanted));
        if (signal == 0) {
            return host.refuse(SignalAnswer.SIGNAL_NONE);
        }
        host.note(SignalAnswer.SIGNAL_QUEUED);
        current().pending[signal]--;
        return signal;
    }

    // KVM_RUN

    /** Enters KVM_RUN. {@code blocked} is the vCPU's mask of KVM_SET_SIGNAL_MASK; null if none was set. */
    public void beginRun(@Nullable Long blocked) {
        Own own = known();
        if (own != nothing) {
            own.blockedInRun = blocked == null ? own.blocked : blocked & ~NEVER_BLOCKED;
        }
    }

    public void endRun() {
        known().blockedInRun = null;
    }

    /** Whether a signal ends the current KVM_RUN of this thread. */
    public boolean endsRun() {
        Own own = known();
        return own.blockedInRun != null && own.next(~own.blockedInRun) != 0;
    }
}
