/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.uapi.Signals;
import io.kvmirq.uapi.Uapi;
import java.lang.invoke.VarHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * Ends KVM_RUN from another thread, without a signal handler. The vCPU thread blocks one signal, which only KVM_RUN
 * unblocks ({@code kvm_sigset_activate()} in virt/kvm/kvm_main.c). If a run has begun, a kick sends this signal, which
 * while pending also ends a KVM_RUN that is about to begin. Otherwise the kick sets {@code immediate_exit}, which ends
 * the next run. At most one signal is in flight, and the run that it ends consumes it before returning. Thread-safe.
 */
final class KickCalls extends Calls {
    private static final int EAGAIN = -Errno.EAGAIN.number();
    private static final int EINTR = -Errno.EINTR.number();
    private static final int ATTEMPTS = 4000;
    private static final long PAUSE_NANOS = 50_000;
    private static final int TIMEOUT_AT = Signals.SET_SIZE;

    /** The vCPU thread's position in a run, and whether a signal to it is in flight. */
    private enum State {
        /** Outside of KVM_RUN. */
        OUT,
        /** The vCPU is moving to another thread. */
        MOVING,
        /** The vCPU is in KVM_RUN, or about to enter it. */
        RUNNING,
        /** The vCPU is in KVM_RUN, and another thread is sending the signal. */
        SENDING,
        /** The vCPU is in KVM_RUN, and the signal was sent. */
        SENT,
        /** The run has ended, and its thread is reading the exit. */
        LEAVING
    }

    /** The signal set, followed by a timeout of 0. */
    private final ByteBuffer set = Buffers.allocate(TIMEOUT_AT + Uapi.Timespec.SIZE);

    private final AtomicReference<State> state = new AtomicReference<>(State.OUT);
    /** The thread that may run the vCPU. It changes only in {@link State#MOVING}. */
    private volatile Thread thread = Thread.currentThread();
    /** The Linux id of {@link #thread}; 0 before its first run. */
    private volatile long number;

    private final WatchedVcpu watched;
    private long setAddress;
    private long process;
    private int signal;

    KickCalls(Kernel kernel, WatchedVcpu watched) {
        super(kernel);
        this.watched = watched;
    }

    // The thread of the vCPU

    /** The thread that may use the vCPU. */
    Thread thread() {
        return thread;
    }

    /** @throws IllegalStateException while another thread runs the vCPU, or moves it */
    void moveHere(Object vcpu) {
        if (!state.compareAndSet(State.OUT, State.MOVING)) {
            throw new IllegalStateException(vcpu + " is run by thread '" + thread.getName()
                    + "' and cannot move to '" + Thread.currentThread().getName()
                    + "': call VcpuThreads.pause, or kick it and move it when its run has ended");
        }
        if (thread != Thread.currentThread()) {
            thread = Thread.currentThread();
            number = 0;
        }
        state.set(State.OUT);
    }

    /** Prepares to enter KVM_RUN. Returns false if another thread owns the vCPU, else {@link #end} must follow. */
    boolean begin() {
        if (!state.compareAndSet(State.OUT, State.RUNNING)) {
            return false;
        }
        if (thread != Thread.currentThread()) {
            state.set(State.OUT);
            return false;
        }
        watched.enters();
        // Pairs with the fence in send(). Either KVM_RUN sees immediate_exit, or send() sees RUNNING.
        VarHandle.fullFence();
        return true;
    }

    /** Whether the thread has blocked the signal. */
    boolean isReady() {
        return number != 0;
    }

    /** Blocks the signal in this thread permanently. Returns the KVM_SET_SIGNAL_MASK argument that unblocks it. */
    ByteBuffer block() {
        signal = kickSignal();
        setAddress = libc().addressOf(set.putLong(0, Signals.set(signal)));
        ByteBuffer before = Buffers.allocate(Signals.SET_SIZE);
        try {
            long result = libc().syscall(
                            SystemCall.RT_SIGPROCMASK,
                            Signals.SIG_BLOCK,
                            setAddress,
                            libc().addressOf(before),
                            Signals.SET_SIZE);
            check((int) result, KernelCall.SIGNAL_MASK, Set.of(), () -> "signal=" + signal);
        } finally {
            Reference.reachabilityFence(before);
        }
        return Buffers.allocate(Uapi.KvmSignalMask.SIZE + Signals.SET_SIZE)
                .putInt(Uapi.KvmSignalMask.LEN, Signals.SET_SIZE)
                .putLong(Uapi.KvmSignalMask.SIZE, before.getLong(0) & ~set.getLong(0));
    }

    /** Records that KVM_RUN now unblocks the signal, after a test that it can be sent. */
    void ready() {
        process = libc().syscall(SystemCall.GETPID, 0, 0, 0, 0);
        long caller = libc().syscall(SystemCall.GETTID, 0, 0, 0, 0);
        // A system call filter may refuse both. A kick would then miss the thread, so its run would not end.
        check((int) Math.min(process, caller), KernelCall.SIGNAL_SEND, Set.of(), () -> "getpid and gettid");
        check(sentToItself(caller), KernelCall.SIGNAL_SEND, Set.of(), () -> "to its own thread, as a kick");
        number = caller;
        VarHandle.fullFence(); // as in begin(): send() sees the number, or KVM_RUN sees immediate_exit
    }

    /** Sends the signal to this thread, where it is blocked, and consumes it. Returns 0 or {@code -errno}. */
    private int sentToItself(long caller) {
        int result;
        int failures = 0;
        while ((result = (int) libc().syscall(SystemCall.TGKILL, process, caller, signal, 0)) == EAGAIN
                && ++failures < ATTEMPTS) {
            LockSupport.parkNanos(PAUSE_NANOS);
        }
        if (result == 0) {
            takeSignal();
        }
        return result;
    }

    /** Records KVM_RUN's return, and returns whether it consumed a kick's signal. {@link #left} must follow. */
    boolean end() {
        while (!state.compareAndSet(State.RUNNING, State.LEAVING)) {
            if (state.get() == State.SENT) {
                takeSignal();
                state.set(State.LEAVING);
                return true;
            }
            Thread.onSpinWait();
        }
        return false;
    }

    /** Records that the run is over, so that another thread may take the vCPU. */
    void left() {
        state.set(State.OUT);
    }

    private void takeSignal() {
        try {
            long taken;
            do {
                taken = libc().syscall(
                                SystemCall.RT_SIGTIMEDWAIT, setAddress, 0, setAddress + TIMEOUT_AT, Signals.SET_SIZE);
            } while (taken == EINTR);
        } finally {
            Reference.reachabilityFence(set);
        }
    }

    // Any thread

    /**
     * Sends the signal if the thread is in KVM_RUN, or about to enter it. Makes at most {@value #ATTEMPTS} attempts,
     * because tgkill fails with EAGAIN while the user has too many pending signals, and a system call filter may refuse
     * it forever.
     *
     * @return whether this signal or another one ends the run; if not, {@code immediate_exit} must end the next run
     */
    boolean send() {
        // Pairs with the fence in begin(). Before a second call, the caller has set immediate_exit.
        VarHandle.fullFence();
        int failures = 0;
        while (true) {
            State now = state.get();
            if (now == State.SENDING || now == State.SENT) {
                return true;
            }
            if (now != State.RUNNING || number == 0) {
                return false;
            }
            if (state.compareAndSet(State.RUNNING, State.SENDING)) {
                long result = libc().syscall(SystemCall.TGKILL, process, number, signal, 0);
                state.set(result == 0 ? State.SENT : State.RUNNING);
                if (result == 0) {
                    return true;
                }
                if (++failures == ATTEMPTS) {
                    warnOnce(
                            "vcpu kick",
                            ": tgkill fails with " + Errno.ofResult(result)
                                    + ", so a run goes on until its guest exits");
                    return false;
                }
                LockSupport.parkNanos(PAUSE_NANOS);
            }
        }
    }
}
