/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.testing.Choices;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * A plain model of threads that run vCPUs on four CPUs. It says of each thread where it is, and writes the trace that the
 * kernel would.
 */
final class ScheduleModel {
    static final int CPUS = 4;
    static final int FIRST_TID = 4712;

    /** Where a thread of a vCPU is in its program. */
    private enum At {
        USER,
        GUEST,
        HALTING,
        WAKING,
        FAULTING
    }

    private static final class Task {
        At at = At.USER;
        int cpu = -1;
        String state = "S";
    }

    private final Choices random;
    private final List<Task> tasks = new ArrayList<>();
    private final List<String> names;
    private long micros = 1_000_000;

    /** @param names of the threads */
    ScheduleModel(Choices random, List<String> names) {
        this.random = random;
        this.names = names;
        names.forEach(name -> tasks.add(new Task()));
    }

    /** The phase of a thread as the model knows it; empty where no event of the kernel tells it. */
    Optional<Phase> truth(int index) {
        Task task = tasks.get(index);
        return switch (task.at) {
            case USER -> Optional.of(new Phase.InUserSpace());
            case GUEST -> Optional.of(task.cpu >= 0 ? new Phase.Running(task.cpu) : new Phase.Preempted());
            case HALTING ->
                task.cpu < 0 && task.state.equals("S") ? Optional.of(new Phase.Blocked()) : Optional.empty();
            case WAKING, FAULTING -> Optional.empty();
        };
    }

    /** A step of one thread: the lines that the kernel prints. */
    List<String> step() {
        int index = random.nextInt(tasks.size());
        Task task = tasks.get(index);
        List<String> lines = new ArrayList<>();
        if (task.cpu < 0) {
            come(index, task, lines);
            return lines;
        }
        switch (random.nextInt(4)) {
            case 0 -> go(index, task, random.nextBoolean() ? "R" : "R+", lines);
            case 1 -> {
                if (task.at == At.GUEST) {
                    lines.add(line(index, task.cpu, "kvm_fpu: unload"));
                    lines.add(line(index, task.cpu, "kvm_userspace_exit: reason KVM_EXIT_IO (2)"));
                    task.at = At.USER;
                } else if (task.at == At.USER) {
                    go(index, task, "S", lines);
                }
            }
            default -> onward(index, task, lines);
        }
        return lines;
    }

    private void onward(int index, Task task, List<String> lines) {
        switch (task.at) {
            case USER -> {
                lines.add(line(index, task.cpu, "kvm_fpu: load"));
                task.at = At.GUEST;
            }
            case GUEST -> {
                if (random.nextInt(4) == 0) {
                    task.at = At.FAULTING;
                    go(index, task, random.nextBoolean() ? "D" : "S", lines);
                } else {
                    lines.add(line(
                            index,
                            task.cpu,
                            "kvm_exit: vcpu " + index + " reason " + (random.nextBoolean() ? "HLT" : "hlt")
                                    + " rip 0x1000 info1 0x0000000000000000 info2 0x0000000000000000 intr_info 0x00000000"
                                    + " error_code 0x00000000 requests 0x0000000000000000"));
                    task.at = At.HALTING;
                }
            }
            case HALTING -> go(index, task, "S", lines);
            case WAKING -> {
                lines.add(line(
                        index,
                        task.cpu,
                        "kvm_vcpu_wakeup: " + (random.nextBoolean() ? "wait" : "poll")
                                + " time 1000 ns, polling valid"));
                task.at = At.GUEST;
            }
            case FAULTING -> throw new IllegalStateException("a fault is over when its thread comes back");
        }
    }

    private void come(int index, Task task, List<String> lines) {
        List<Integer> free = new ArrayList<>();
        for (int cpu = 0; cpu < CPUS; cpu++) {
            int here = cpu;
            if (tasks.stream().noneMatch(other -> other.cpu == here)) {
                free.add(cpu);
            }
        }
        if (free.isEmpty()) {
            return;
        }
        int cpu = free.get(random.nextInt(free.size()));
        lines.add(line("<idle>", 0, cpu, switchText("swapper/" + cpu, 0, "R", name(index), FIRST_TID + index)));
        task.cpu = cpu;
        if (task.at == At.HALTING) {
            task.at = random.nextInt(3) == 0 ? At.HALTING : At.WAKING;
        } else if (task.at == At.FAULTING) {
            task.at = At.GUEST;
        }
    }

    private void go(int index, Task task, String state, List<String> lines) {
        lines.add(line(index, task.cpu, switchText(name(index), FIRST_TID + index, state, "swapper/" + task.cpu, 0)));
        task.cpu = -1;
        task.state = state;
    }

    private String name(int index) {
        return names.get(index);
    }

    private static String switchText(String previous, int tid, String state, String next, int nextTid) {
        return "sched_switch: prev_comm=" + previous + " prev_pid=" + tid + " prev_prio=120 prev_state=" + state
                + " ==> next_comm=" + next + " next_pid=" + nextTid + " next_prio=120";
    }

    private String line(int index, int cpu, String event) {
        return line(name(index), FIRST_TID + index, cpu, event);
    }

    private String line(String name, int tid, int cpu, String event) {
        micros++;
        return String.format(
                Locale.ROOT,
                "%16s-%-7d [%03d] d..2. %d.%06d: %s",
                name,
                tid,
                cpu,
                micros / 1_000_000,
                micros % 1_000_000,
                event);
    }
}
