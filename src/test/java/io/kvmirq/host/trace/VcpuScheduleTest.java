/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The schedule of vCPUs from a trace in the formats of Linux 6.18, beside a plain model of the schedule. */
class VcpuScheduleTest {
    private static final int TID = ScheduleModel.FIRST_TID;
    private static final int PROGRAMS = 400;
    private static final int STEPS = 120;
    private static final List<String> NAMES =
            List.of("CPU 0/KVM", "a prev_pid=0 b", "x next_pid=1 y", " ==> next_comm=", "vcpu");

    private static final String KERNEL = "x86-6.18-pvm";

    private static Map<Integer, EventFormat> formats = Map.of();
    private static Optional<TextTrace> pages = Optional.empty();

    @BeforeAll
    static void readFormats() throws IOException {
        pages = Optional.of(new TextTrace(RecordedTracing.resource(KERNEL + ".formats")));
        formats = RecordedTracing.formats(KERNEL).values().stream()
                .collect(Collectors.toMap(EventFormat::id, Function.identity()));
    }

    private static VcpuSchedule schedule(int threads) {
        return new VcpuSchedule(IntStream.range(TID, TID + threads).boxed().toList(), tid -> {});
    }

    private static void read(VcpuSchedule schedule, String line) {
        read(schedule, line, formats);
    }

    private static void read(VcpuSchedule schedule, String line, Map<Integer, EventFormat> known) {
        pages.orElseThrow()
                .pages(line, false)
                .forEach((cpu, all) ->
                        all.forEach(page -> RecordedTracing.PAGES.read(page, cpu, known, new PageFormat.Sink() {
                            @Override
                            public void lost(long nanos) {
                                schedule.lost();
                            }

                            @Override
                            public void event(TraceEvent event) {
                                schedule.event(event);
                            }
                        })));
    }

    /** The steps of one thread, and its phase after the last. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "''                       | unknown",
                "load                     | running 1",
                "load unload              | user",
                "load unload exit         | user",
                "load out:R               | preempted",
                "load out:R+              | preempted",
                "load out:R in            | running 1",
                "load out:R in:2          | running 2",
                "load hlt out:S           | blocked",
                "load hlt:HLT_MTF out:S   | blocked",
                "load hlt:hlt out:S       | blocked",
                "load unload irq          | user",
                "load hlt out:S in        | unknown",
                "load hlt out:S in wakeup | running 1",
                "load hlt out:S in out:S  | blocked",
                "load hlt                 | unknown",
                "load hlt wakeup          | running 1",
                "load hlt out:R           | unknown",
                "load out:S               | unknown",
                "load out:D               | unknown",
                "load out:S in            | running 1",
                "load hlt wakeup out:S    | unknown",
                "load unload out:S        | user",
                "load unload out:S in:3   | user",
                "load unload out:X        | unknown",
                "load unload out:Z        | unknown",
                "in                       | unknown",
                "out:R                    | unknown",
                "wakeup                   | running 1",
                "load lost                | unknown",
                "load lost in             | unknown",
                "load lost in load        | running 1",
                "load unload lost out:S   | unknown",
                "load in:2                | unknown",
                "load out:R out:R         | unknown",
            })
    void phaseFollowsFromTheEvents(String steps, String phase) {
        VcpuSchedule schedule = schedule(1);
        for (String step : steps.split(" ")) {
            step(schedule, step);
        }
        assertThat(word(schedule.phase(TID))).isEqualTo(phase);
        assertThat(schedule.runs(TID))
                .as("entries to KVM_RUN")
                .isEqualTo(List.of(steps.split(" ")).stream()
                        .filter("load"::equals)
                        .count());
    }

    private static void step(VcpuSchedule schedule, String step) {
        String[] words = step.split(":");
        String header = "       CPU 0/KVM-4712    [001] d..2.   123.456789: ";
        switch (words[0]) {
            case "irq" -> read(schedule, header.replace("d..", "d.h") + "kvm_fpu: load");
            case "load", "unload" -> read(schedule, header + "kvm_fpu: " + step);
            case "exit" -> read(schedule, header + "kvm_userspace_exit: reason KVM_EXIT_IO (2)");
            case "wakeup" -> read(schedule, header + "kvm_vcpu_wakeup: wait time 12 ns, polling valid");
            case "hlt" ->
                read(
                        schedule,
                        header
                                + "kvm_exit: vcpu 0 reason " + (words.length > 1 ? words[1] : "HLT")
                                + " rip 0x10 info1 0x0000000000000000 info2"
                                + " 0x0000000000000000 intr_info 0x00000000 error_code 0x00000000 requests"
                                + " 0x0000000000000000");
            case "out" ->
                read(
                        schedule,
                        header + "sched_switch: prev_comm=CPU 0/KVM prev_pid=4712 prev_prio=120 prev_state=" + words[1]
                                + " ==> next_comm=swapper/1 next_pid=0 next_prio=120");
            case "in" ->
                read(
                        schedule,
                        "          <idle>-0    [00" + (words.length > 1 ? words[1] : "1")
                                + "] d..2.   123.456789: sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=120"
                                + " prev_state=R ==> next_comm=CPU 0/KVM next_pid=4712 next_prio=120");
            case "lost" -> schedule.lost();
            default -> assertThat(step).isEmpty();
        }
    }

    private static String word(Phase phase) {
        if (phase instanceof Phase.Running running) {
            return "running " + running.cpu();
        }
        return phase instanceof Phase.Preempted
                ? "preempted"
                : phase instanceof Phase.Blocked ? "blocked" : phase instanceof Phase.InUserSpace ? "user" : "unknown";
    }

    /** A newer kernel may rename a field, or no longer name the flags. */
    @ParameterizedTest
    @CsvSource({
        "sched_switch, prev_pid;, prev_tid;",
        "sched_switch, next_pid;, next_tid;",
        "sched_switch, __print_flags, __print_bits",
        "kvm_fpu, load;, on;",
        "kvm_exit, exit_reason;, why;",
    })
    void eventOfAnUnknownFormMakesThePhaseUnknown(String name, String text, String changed) throws IOException {
        String newer = RecordedTracing.resource(KERNEL + ".formats").replace(text, changed);
        Map<Integer, EventFormat> known = new HashMap<>();
        for (String file : newer.split("(?m)^(?=name: )")) {
            EventFormat format = EventFormat.parse(file).orElseThrow();
            known.put(format.id(), format);
        }
        VcpuSchedule schedule = schedule(1);
        String header = "       CPU 0/KVM-4712    [001] d..2.   123.456789: ";
        read(schedule, header + "kvm_fpu: load");
        read(
                schedule,
                header
                        + switch (name) {
                            case "kvm_fpu" -> "kvm_fpu: load";
                            case "kvm_exit" -> "kvm_exit: vcpu 0 reason HLT rip 0x10";
                            default ->
                                "sched_switch: prev_comm=a prev_pid=4712 prev_prio=120 prev_state=S ==> next_comm=b"
                                        + " next_pid=0 next_prio=120";
                        },
                known);
        assertThat(schedule.phase(TID))
                .isEqualTo(new Phase.Unknown("this kernel records " + name + " in another format"));
    }

    /** A guest that spins on a CPU of its own passes no tracepoint. */
    @Test
    void threadThatNeverSwitchesRunsIfItsGuestDoes() {
        ThreadStat before = stat("R", 100, 3, 50);
        assertThat(quiet(before, stat("R", 100, 3, 80))).isEqualTo(new Phase.Running(3));
        assertThat(word(quiet(before, stat("R", 100, 3, 50))))
                .as("its guest did not run")
                .isEqualTo("unknown");
        assertThat(word(quiet(before, stat("R", 101, 3, 80))))
                .as("another thread")
                .isEqualTo("unknown");
        assertThat(word(quiet(before, stat("S", 100, 3, 80)))).as("it sleeps").isEqualTo("unknown");
        assertThat(word(quiet(before, stat("R", 100, 2, 80)))).as("it moved").isEqualTo("unknown");
        assertThat(ThreadStat.parse("1 (a) b) R 1")).isEmpty();
        assertThat(ThreadStat.parse("")).isEmpty();
        String text =
                "1 (a) R 1 1 1 0 -1 4 0 0 0 0 10 20 0 0 20 0 5 0 100 3133440 359 1 1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 50";
        assertThat(ThreadStat.parse(text + "\n").map(ThreadStat::guestTicks))
                .as("the last field")
                .contains(50L);
        assertThat(ThreadStat.parse(text.replace(" 100 ", " 100\t ")))
                .as("a tab in a field")
                .isEmpty();
    }

    /** A guest that spins and shares its CPU passes sched_switch alone. */
    @ParameterizedTest
    @CsvSource({
        "out:R, 80, preempted",
        "out:R in, 80, running 1",
        "out:R in:2, 80, running 2",
        "out:R, 50, unknown",
        "out:S, 80, unknown",
        "unload out:R, 80, user",
        "lost out:R, 80, unknown",
        "out:R lost in, 80, unknown",
    })
    void threadThatStaysInTheRunIsWhereTheHostPutsIt(String steps, int guestTicks, String phase) {
        VcpuSchedule schedule = schedule(1);
        for (String step : steps.split(" ")) {
            step(schedule, step);
        }
        schedule.quiet(TID, stat("R", 100, 1, 50), stat("R", 100, 1, guestTicks));
        assertThat(word(schedule.phase(TID))).isEqualTo(phase);
    }

    @Test
    void lossIsNoQuietThread() {
        VcpuSchedule schedule = schedule(1);
        schedule.lost();
        schedule.quiet(TID, stat("R", 100, 3, 50), stat("R", 100, 3, 80));
        assertThat(word(schedule.phase(TID))).isEqualTo("unknown");
    }

    private static Phase quiet(ThreadStat before, ThreadStat after) {
        VcpuSchedule schedule = schedule(1);
        schedule.quiet(TID, before, after);
        return schedule.phase(TID);
    }

    private static ThreadStat stat(String state, int began, int cpu, int guest) {
        return ThreadStat.parse("4712 (a) b S 1) " + state + " 1 1 1 0 -1 4 0 0 0 0 10 20 0 0 20 0 5 0 " + began
                        + " 3133440 359 1 1 1 0 0 0 0 0 0 0 0 0 0 17 " + cpu + " 0 0 0 " + guest + " 0 1 2")
                .orElseThrow();
    }

    /** Changes a line. Empty for a line that the buffer had no room for. */
    private interface Recorder {
        Optional<String> record(String line, Choices random);
    }

    /** Compares each phase that is not unknown, and returns how many there were. */
    private static int compare(Recorder recorder) {
        int[] known = new int[1];
        Search.run("schedule", 0, PROGRAMS, random -> {
            ScheduleModel model = new ScheduleModel(random, NAMES);
            VcpuSchedule schedule = schedule(NAMES.size());
            while (random.step(STEPS)) {
                for (String line : model.step()) {
                    random.note(line);
                    recorder.record(line, random).ifPresentOrElse(text -> read(schedule, text), schedule::lost);
                }
                for (int i = 0; i < NAMES.size(); i++) {
                    Phase phase = schedule.phase(TID + i);
                    if (!(phase instanceof Phase.Unknown)) {
                        known[0]++;
                        assertThat(model.truth(i)).as("phase of %d", TID + i).contains(phase);
                    }
                }
            }
        });
        return known[0];
    }

    @Test
    void phasesAreThoseOfTheModel() {
        assertThat(compare((line, random) -> Optional.of(line)))
                .as("of %d", PROGRAMS * STEPS * NAMES.size())
                .isGreaterThan(PROGRAMS * STEPS * 2);
    }

    @Test
    void lostEventGivesAnUnknownPhaseAndNeverAWrongOne() {
        assertThat(compare((line, random) -> random.nextInt(20) == 0 ? Optional.empty() : Optional.of(line)))
                .isGreaterThan(PROGRAMS * STEPS / 2);
    }

    /** The comparison sees a recorder that is wrong. */
    @ParameterizedTest
    @CsvSource({
        "sched_switch, [999]",
        "' [001] ', ' [002] '",
        "kvm_fpu: load, kvm_fpu: unload",
        "prev_state=S, prev_state=R",
    })
    void wrongRecorderIsSeen(String text, String wrong) {
        Recorder recorder = (line, random) ->
                Optional.of(wrong.equals("[999]") && line.contains(text) ? "# left out" : line.replace(text, wrong));
        assertThatThrownBy(() -> compare(recorder)).hasMessageFindingMatch("schedule, seed \\d+, \\d of \\d+ steps: ");
    }
}
