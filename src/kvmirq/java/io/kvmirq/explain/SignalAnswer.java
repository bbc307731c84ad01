/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.refusal;

/** Refusals and behaviours of signals, by which a thread ends another thread's KVM_RUN. */
public enum SignalAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first
    SIGNAL_SET_SIZE(refusal(MEASURED, SIGNAL_MASK, EINVAL, "a signal set has 8 bytes", "the last argument",
        "kernel/signal.c sigprocmask").also(SIGNAL_WAIT)),
    SIGNAL_HOW(refusal(MEASURED, SIGNAL_MASK, EINVAL, "the change is not SIG_BLOCK, SIG_UNBLOCK or SIG_SETMASK",
        "the first argument", "kernel/signal.c sigprocmask()")),
    SIGNAL_SET_FAULT(refusal(MEASURED, SIGNAL_MASK, EFAULT, "a signal set is not in this process's memory",
        "the addresses", "kernel/signal.c sigprocmask").also(SIGNAL_WAIT)),
    SIGNAL_TARGET(refusal(MEASURED, SIGNAL_SEND, EINVAL, "a process or thread id is not above 0, or the signal is above 64",
        "the arguments", "kernel/signal.c do_tkill()")),
    SIGNAL_NO_THREAD(refusal(MEASURED, SIGNAL_SEND, ESRCH, "the process has no such thread: it has ended",
        "ls /proc/PID/task", "kernel/signal.c do_send_specific()")),
    SIGNAL_QUEUE_FULL(refusal(UNTESTED, SIGNAL_SEND, EAGAIN, "the user has as many signals pending as RLIMIT_SIGPENDING"
        + " allows", "SigQ in /proc/PID/status against ulimit -i", "kernel/signal.c __send_signal_locked()")),
    SIGNAL_NONE(refusal(MEASURED, SIGNAL_WAIT, EAGAIN, "none of the signals arrived before the timeout",
        "SigPnd in /proc/PID/task/TID/status", "kernel/signal.c do_sigtimedwait()")),
    SIGNAL_TIMEOUT(refusal(MEASURED, SIGNAL_WAIT, EINVAL, "the timeout is not a time", "seconds and nanoseconds",
        "kernel/signal.c do_sigtimedwait()")),
    SIGNAL_QUEUED(behaviour(MEASURED, "every instance of a real-time signal is kept, and the lowest number is taken first",
        "kernel/signal.c next_signal()")),
    VCPU_SIGNAL_SET(refusal(MEASURED, VCPU_SIGNALS, EINVAL, "a vCPU's signal set has 8 bytes",
        "kvm_signal_mask.len", "kvm_main.c kvm_vcpu_ioctl()")),
    RUN_SIGNAL(refusal(MEASURED, VCPU_RUN, EINTR, "a signal arrived that the vCPU does not block, or immediate_exit is set",
        "KVM_SET_SIGNAL_MASK; not an error: this is how a VMM leaves KVM_RUN", "x86.c vcpu_run()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    SignalAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
