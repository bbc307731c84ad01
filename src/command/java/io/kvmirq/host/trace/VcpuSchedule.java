/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.facts.ThreadStat;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.IntConsumer;

/**
 * The schedule of threads that run vCPUs, from tracepoints. {@code kvm_fpu} brackets each {@code KVM_RUN}: "load" follows
 * its {@code vcpu_load()}, "unload" comes before its {@code vcpu_put()}. A thread that sleeps in {@code KVM_RUN} is a
 * blocked vCPU only after a HLT; a page of the guest may be the reason too. Between the HLT and the sleep, and between the
 * wake-up and {@code kvm_vcpu_wakeup}, KVM changes the posting of the vCPU at a moment that no event marks: the phase is
 * not known there. For one thread.
 *
 * <p>Source: {@code kvm_arch_vcpu_ioctl_run()} in arch/x86/kvm/x86.c, {@code kvm_vcpu_halt()} and {@code kvm_sched_out()}
 * in virt/kvm/kvm_main.c, {@code trace_sched_switch} in kernel/sched/core.c.
 */
public final class VcpuSchedule implements TraceReader.Sink {
    public static final String SWITCH = "sched_switch";
    public static final String FPU = "kvm_fpu";
    public static final String USERSPACE = "kvm_userspace_exit";
    public static final String WAKEUP = "kvm_vcpu_wakeup";
    public static final String EXIT = "kvm_exit";

    /** The threads that {@link #SWITCH} names. */
    private static final String PREVIOUS_TID = "prev_pid";

    private static final String NEXT_TID = "next_pid";

    private static final int VMX = 1;
    private static final int HLT_OF_VMX = 12;
    private static final int HLT_OF_SVM = 120;
    /** Basic exit reason on VMX. The other bits are flags. */
    private static final int BASIC_REASON = 0xffff;

    /** The exits of {@link #EXIT} that are a HLT: of VMX and of SVM. */
    public static final String HALTS = "exit_reason == " + HLT_OF_VMX + " || exit_reason == " + HLT_OF_SVM;

    /** The tracepoints that it reads, with the filter of each. */
    public static final Map<String, String> EVENTS = Map.of(
            "sched/" + SWITCH, "",
            "kvm/" + FPU, "",
            "kvm/" + USERSPACE, "",
            "kvm/" + WAKEUP, "",
            "kvm/" + EXIT, HALTS);

    private static final String LOST = "the trace buffer overflowed, and its thread has hit no KVM tracepoint since";
    private static final String NO_EVENT = "its thread hit no KVM tracepoint";
    private static final String RUNNABLE = "R";
    private static final String STATE = "prev_state";
    private static final String LOAD = "load";
    private static final String REASON = "exit_reason";

    /** The phase of a vCPU. Immutable. */
    public sealed interface Phase {
        /** It runs in {@code KVM_RUN}, in the guest or in KVM, on a CPU of this number. */
        record Running(int cpu) implements Phase {}

        /** In {@code KVM_RUN}: the host took the CPU away, and the vCPU could run. */
        record Preempted() implements Phase {}

        /** In {@code KVM_RUN}: the guest has halted, and the thread sleeps until an interrupt wakes it. */
        record Blocked() implements Phase {}

        /** Outside of {@code KVM_RUN}. */
        record InUserSpace() implements Phase {}

        /**
         * Not known.
         *
         * @param why a clause without a full stop
         */
        record Unknown(String why) implements Phase {}
    }

    private static final class Tracked {
        /** The CPU that it is on; negative if it is on none or that is not known. */
        int cpu = -1;
        /** The names of its state since it left its CPU: R if it could run. Empty if it is on one, or not known. */
        String asleep = "";

        Optional<Boolean> inRun = Optional.empty();
        /** Whether its guest has halted, and no wake-up was seen. */
        boolean halted;

        long runs;
        long halts;
        String unknown = NO_EVENT;
        boolean seen;
        /** Whether it neither entered nor left {@code KVM_RUN}, as far as all events say. */
        boolean stays = true;

        void forget(String why) {
            cpu = -1;
            asleep = "";
            inRun = Optional.empty();
            halted = false;
            unknown = why;
            stays = false;
        }

        void on(int here) {
            cpu = here;
            asleep = "";
        }

        Phase phase() {
            if (inRun.isEmpty()) {
                return new Phase.Unknown(unknown);
            }
            if (!inRun.get()) {
                return new Phase.InUserSpace();
            }
            if (cpu >= 0) {
                return halted
                        ? new Phase.Unknown("its guest halts or wakes, and no event shows when KVM blocks it")
                        : new Phase.Running(cpu);
            }
            if (asleep.equals(RUNNABLE)) {
                return halted
                        ? new Phase.Unknown("the host preempted it while its guest halted or woke")
                        : new Phase.Preempted();
            }
            return asleep.equals("S") && halted
                    ? new Phase.Blocked()
                    : new Phase.Unknown(
                            "its thread sleeps in KVM_RUN (state " + asleep + "), and no HLT was seen before");
        }
    }

    private final Map<Integer, Tracked> threads = new HashMap<>();
    private final IntConsumer changed;

    /**
     * The vCPUs of threads whose phases are not known yet.
     *
     * @param tids the numbers of the threads
     * @param changed takes the number of each thread that an event or a loss concerns
     */
    public VcpuSchedule(Iterable<Integer> tids, IntConsumer changed) {
        tids.forEach(tid -> threads.put(tid, new Tracked()));
        this.changed = changed;
    }

    /** The next event. Those of other threads change nothing. */
    @Override
    public void event(TraceEvent event) {
        if (event.name().equals(SWITCH)) {
            threadSwitch(event);
            return;
        }
        int tid = event.tid();
        Tracked thread = threads.get(tid);
        if (thread == null || event.hardIrq()) {
            return;
        }
        read(event, thread);
        changed.accept(tid);
    }

    private void read(TraceEvent event, Tracked thread) {
        switch (event.name()) {
            case FPU -> {
                OptionalLong load = event.number(LOAD);
                if (load.isEmpty()) {
                    forget(unreadable(event));
                    return;
                }
                run(thread, event, load.getAsLong() != 0);
                thread.runs += load.getAsLong();
            }
            case USERSPACE -> run(thread, event, false);
            case WAKEUP -> {
                run(thread, event, true);
                thread.halts++;
            }
            case EXIT -> {
                OptionalLong reason = event.number(REASON);
                if (reason.isEmpty()) {
                    forget(unreadable(event));
                    return;
                }
                run(thread, event, true);
                thread.halted = event.number("isa").orElse(0) == VMX
                        ? (reason.getAsLong() & BASIC_REASON) == HLT_OF_VMX
                        : reason.getAsLong() == HLT_OF_SVM;
            }
            default -> {}
        }
    }

    private static void run(Tracked thread, TraceEvent event, boolean inRun) {
        thread.seen = true;
        thread.stays = false;
        thread.on(event.cpu());
        thread.inRun = Optional.of(inRun);
        thread.halted = false;
    }

    /** A newer kernel may rename a field or a word. */
    private static String unreadable(TraceEvent event) {
        return "this kernel records " + event.name() + " in another format";
    }

    private void threadSwitch(TraceEvent event) {
        OptionalLong from = event.number(PREVIOUS_TID);
        OptionalLong to = event.number(NEXT_TID);
        if (from.isEmpty() || to.isEmpty() || !event.namesFlags(STATE)) {
            forget(unreadable(event));
            return;
        }
        Tracked previous = threads.get((int) from.getAsLong());
        if (previous != null) {
            previous.seen = true;
            if (previous.inRun.isPresent() && previous.cpu != event.cpu()) {
                previous.forget("its thread left a CPU on which it was not seen");
            }
            previous.cpu = -1;
            // A state without a flag is to run.
            Set<String> flags = event.flags(STATE);
            previous.asleep = flags.isEmpty() ? RUNNABLE : String.join("|", flags);
            if (flags.contains("X") || flags.contains("Z")) {
                previous.forget("its thread ended");
            }
            changed.accept((int) from.getAsLong());
        }
        Tracked next = threads.get((int) to.getAsLong());
        if (next != null) {
            next.seen = true;
            if (next.inRun.isPresent() && next.cpu >= 0) {
                next.forget("its thread moved to a CPU, and the trace does not show that it left another");
            }
            next.on(event.cpu());
            changed.accept((int) to.getAsLong());
        }
    }

    /** Events are missing at this place: no phase is known until the next event that tells it. */
    @Override
    public void lost() {
        forget(LOST);
    }

    private void forget(String why) {
        threads.forEach((tid, thread) -> {
            thread.seen = true;
            thread.forget(why);
            changed.accept(tid);
        });
    }

    /**
     * A thread that passed no tracepoint of KVM while it was watched, and no event was lost: it neither entered nor left
     * {@code KVM_RUN}. If its guest ran meanwhile, it is there. If it passed no other tracepoint, it never left its CPU.
     *
     * @param before the thread when the watch had begun
     * @param after before the watch ended
     */
    public void quiet(int tid, ThreadStat before, ThreadStat after) {
        Tracked thread = threads.get(tid);
        if (thread == null
                || !thread.stays
                || before.began() != after.began()
                || after.guestTicks() <= before.guestTicks()) {
            return;
        }
        if (!thread.seen && before.isRunnable() && after.isRunnable() && before.cpu() == after.cpu()) {
            thread.on(after.cpu());
            thread.seen = true;
        }
        if (thread.seen) {
            thread.inRun = Optional.of(true);
        }
    }

    /**
     * A thread that runs its vCPU no more.
     *
     * @param why a clause without a full stop
     */
    public void gone(int tid, String why) {
        Tracked thread = threads.get(tid);
        if (thread != null) {
            thread.forget(why);
        }
    }

    /** The phase of a thread's vCPU now. */
    public Phase phase(int tid) {
        Tracked thread = threads.get(tid);
        return thread == null ? new Phase.Unknown("its thread is not known") : thread.phase();
    }

    /** Entries of a thread to {@code KVM_RUN} that were seen. */
    public long runs(int tid) {
        Tracked thread = threads.get(tid);
        return thread == null ? 0 : thread.runs;
    }

    /** Halts of its guest that a thread was seen to end, with a sleep or without. */
    public long halts(int tid) {
        Tracked thread = threads.get(tid);
        return thread == null ? 0 : thread.halts;
    }
}
