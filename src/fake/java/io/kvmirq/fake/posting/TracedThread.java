/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import java.util.List;
import java.util.Map;

/**
 * A vCPU thread as tracepoints show it. {@code kvm_fpu} marks the begin and the end of {@code KVM_RUN}. Outside of it
 * the thread sleeps.
 */
final class TracedThread {
    private static final String SWITCH = "sched_switch";
    /** The fields of {@code kvm_exit} for HLT, on Intel and on AMD. */
    private static final Map<String, Long> HLT_OF_VMX = Map.of("isa", 1L, "exit_reason", 12L);

    private static final Map<String, Long> HLT_OF_SVM = Map.of("isa", 2L, "exit_reason", 120L);
    private static final long RUNNABLE = 0;
    private static final long ASLEEP = 1;
    private static final long EINTR = 4;

    private final Tracepoints to;
    private final boolean isIntel;
    private final int tid;
    /** The processor; negative for none. */
    private int cpu = -1;

    private boolean inRun;
    private boolean halted;

    TracedThread(Tracepoints to, boolean isIntel) {
        this.to = to;
        this.isIntel = isIntel;
        this.tid = to.newThread();
    }

    int tid() {
        return tid;
    }

    void comes(int here) {
        cpu = here;
        to.pass(0, here, SWITCH, List.of(0, tid), fields(0, RUNNABLE, tid));
    }

    /** Enters {@code KVM_RUN}, and wakes the thread if it sleeps. */
    void runs() {
        if (!inRun) {
            inRun = true;
            pass("kvm_fpu", Map.of("load", 1L));
        }
        awake();
    }

    void enters(int vcpu) {
        pass("kvm_entry", Map.of("vcpu_id", (long) vcpu));
    }

    void halts() {
        halted = true;
        pass("kvm_exit", isIntel ? HLT_OF_VMX : HLT_OF_SVM);
    }

    /** Ends the halt. */
    void awake() {
        if (halted) {
            halted = false;
            pass("kvm_vcpu_wakeup", Map.of("ns", 1000L, "waited", 1L, "valid", 1L));
        }
    }

    /** Returns from {@code KVM_RUN}. */
    void leaves() {
        halted = false;
        if (inRun) {
            inRun = false;
            pass("kvm_fpu", Map.of());
            pass("kvm_userspace_exit", Map.of("errno", -EINTR));
        }
        sleeps();
    }

    /** The host preempts the thread. */
    void isPreempted() {
        goes(RUNNABLE);
    }

    void sleeps() {
        goes(ASLEEP);
    }

    private void goes(long state) {
        int left = cpu;
        cpu = -1;
        to.pass(tid, left, SWITCH, List.of(tid, 0), fields(tid, state, 0));
    }

    private void pass(String event, Map<String, Long> fields) {
        to.pass(tid, cpu, event, List.of(tid), fields);
    }

    private static Map<String, Long> fields(long previous, long state, long next) {
        return Map.of("prev_pid", previous, "prev_state", state, "next_pid", next);
    }
}
