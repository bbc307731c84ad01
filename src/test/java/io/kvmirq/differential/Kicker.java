/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.uapi.Signals;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * Ends a KVM_RUN that lasts, by a signal. A guest that halts would never leave. The runs are those of one thread, which
 * blocks the signal elsewhere.
 */
final class Kicker implements AutoCloseable {
    private static final int SIGNAL = 60;
    private static final long LASTS = TimeUnit.MILLISECONDS.toNanos(1);

    private final Libc libc;
    /** The set of the signal, what was blocked before, and no time. */
    private final ByteBuffer sets = Buffers.allocate(2 * Signals.SET_SIZE + Uapi.Timespec.SIZE);

    private final long address;
    private final ByteBuffer mask;
    private final long process;
    private final long runner;
    private final Thread thread;
    private final Object lock = new Object();
    /** An odd number while the runner is in KVM_RUN. */
    private volatile long runs;

    private boolean sent;
    private volatile boolean closed;

    /** For runs of the calling thread. */
    Kicker(Libc libc) {
        this.libc = libc;
        address = libc.addressOf(sets.putLong(0, Signals.set(SIGNAL)));
        libc.syscall(
                SystemCall.RT_SIGPROCMASK, Signals.SIG_BLOCK, address, address + Signals.SET_SIZE, Signals.SET_SIZE);
        mask = Buffers.allocate(Uapi.KvmSignalMask.SIZE + Signals.SET_SIZE)
                .putInt(Uapi.KvmSignalMask.LEN, Signals.SET_SIZE)
                .putLong(Uapi.KvmSignalMask.SIZE, sets.getLong(Signals.SET_SIZE) & ~Signals.set(SIGNAL));
        process = libc.syscall(SystemCall.GETPID, 0, 0, 0, 0);
        runner = libc.syscall(SystemCall.GETTID, 0, 0, 0, 0);
        thread = new Thread(this::watch, "kicker");
        thread.setDaemon(true);
        thread.start();
    }

    /** Lets the signal end the runs of a vCPU. */
    int prepare(int vcpu) {
        return libc.ioctl(vcpu, Uapi.KVM_SET_SIGNAL_MASK, libc.addressOf(mask));
    }

    /** KVM_RUN. Where it lasts, it ends by EINTR. */
    int run(int vcpu) {
        synchronized (lock) {
            runs++;
        }
        try {
            return libc.ioctl(vcpu, Uapi.KVM_RUN, 0);
        } finally {
            synchronized (lock) {
                runs++;
                if (sent) {
                    sent = false;
                    libc.syscall(
                            SystemCall.RT_SIGTIMEDWAIT, address, 0, address + 2 * Signals.SET_SIZE, Signals.SET_SIZE);
                }
            }
        }
    }

    private void watch() {
        long seen = 0;
        while (!closed) {
            LockSupport.parkNanos(LASTS);
            long now = runs;
            if (now % 2 == 1 && now == seen) {
                kick(now);
            }
            seen = now;
        }
    }

    private void kick(long run) {
        synchronized (lock) {
            if (runs == run && !sent) {
                sent = libc.syscall(SystemCall.TGKILL, process, runner, SIGNAL, 0) == 0;
            }
        }
    }

    @Override
    public void close() {
        closed = true;
        LockSupport.unpark(thread);
    }
}
