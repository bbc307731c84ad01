/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import java.util.List;

/**
 * The thread of a vCPU as tracepoints show it. {@code kvm_fpu} brackets {@code KVM_RUN}. The thread sleeps while it is
 * outside of it.
 */
final class TracedThread {
    private static final String IDLE = "<idle>";
    private static final String EXIT = "kvm_exit";

    private final Tracepoints to;
    private final int vcpu;
    private final int tid;
    /** Negative: none. */
    private int cpu = -1;

    private boolean inRun;
    private boolean halted;

    TracedThread(Tracepoints to, int vcpu) {
        this.to = to;
        this.vcpu = vcpu;
        this.tid = to.newThread();
    }

    int tid() {
        return tid;
    }

    /** It comes to a processor. */
    void comes(int here) {
        cpu = here;
        to.pass(IDLE, 0, here, "sched_switch", List.of(0, tid), text("swapper/" + here, 0, "R", name(), tid));
    }

    /** It is in {@code KVM_RUN}; a vCPU that has slept is awake. */
    void runs() {
        if (!inRun) {
            inRun = true;
            pass("kvm_fpu", "load");
        }
        awake();
    }

    /** Its guest halts. */
    void halts() {
        halted = true;
        pass(
                EXIT,
                "vcpu " + vcpu + " reason HLT rip 0x0 info1 0x0000000000000000 info2 0x0000000000000000 intr_info"
                        + " 0x00000000 error_code 0x00000000 requests 0x0000000000000000");
    }

    /** The halt is over. */
    void awake() {
        if (halted) {
            halted = false;
            pass("kvm_vcpu_wakeup", "wait time 1000 ns, polling valid");
        }
    }

    /** {@code KVM_RUN} returns. */
    void leaves() {
        halted = false;
        if (inRun) {
            inRun = false;
            pass("kvm_fpu", "unload");
            pass("kvm_userspace_exit", "reason restart (4)");
        }
        goes("S");
    }

    /** @param state why it leaves its processor: R if it could run, S if it sleeps */
    void goes(String state) {
        int left = cpu;
        cpu = -1;
        to.pass(name(), tid, left, "sched_switch", List.of(tid, 0), text(name(), tid, state, "swapper/" + left, 0));
    }

    private void pass(String event, String text) {
        to.pass(name(), tid, cpu, event, List.of(tid), text);
    }

    private String name() {
        return "CPU " + vcpu + "/KVM";
    }

    private static String text(String previous, int tid, String state, String next, int nextTid) {
        return "prev_comm=" + previous + " prev_pid=" + tid + " prev_prio=120 prev_state=" + state + " ==> next_comm="
                + next + " next_pid=" + nextTid + " next_prio=120";
    }
}
