/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.trace.RecordedTracing;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The vCPUs of guests: on the fake, on hosts with traces, and in files. */
class ExplainVcpusTest {
    private static final String FORMATS = "x86-6.18-pvm";

    /** A host whose threads passed what a trace says. */
    private static final class Traced implements LiveHost {
        private final RecordedHost host;
        private final Known<Tracing> schedule;
        private Set<Integer> asked = Set.of();
        private Runnable change = () -> {};
        private long nanos;

        Traced(RecordedHost host, Known<Tracing> schedule) {
            this.host = host;
            this.schedule = schedule;
        }

        @Override
        public HostFiles files() {
            return host.tree();
        }

        @Override
        public List<String> tidy() {
            return List.of("removed what a killed kvmirq had left");
        }

        @Override
        public Known<Tracing> tracing() {
            return schedule;
        }

        @Override
        public Known<Tracing> tracing(Set<Integer> threads) {
            asked = threads;
            return schedule;
        }

        @Override
        public long nanos() {
            return nanos;
        }

        @Override
        public Duration cpu() {
            return Duration.ZERO;
        }

        @Override
        public void await(CountDownLatch early, int seconds) {
            nanos += Duration.ofSeconds(seconds).toNanos();
            change.run();
        }
    }

    /** A line without its flags and its time. */
    private static String of(String task, int cpu, String event) {
        return task + " [00" + cpu + "]: " + event;
    }

    private static RecordedTracing events(long lost, String... lines) throws IOException {
        return RecordedTracing.of(FORMATS, text(lines), lost);
    }

    private static String text(String... lines) {
        StringBuilder text = new StringBuilder();
        int micros = 100;
        for (String line : lines) {
            int at = line.indexOf("]: ");
            text.append(String.format("%s] d..2. 1.%06d: %s\n", line.substring(0, at), micros, line.substring(at + 3)));
            micros++;
        }
        return text.toString();
    }

    private static String out(int tid, String name, String state) {
        return "sched_switch: prev_comm=" + name + " prev_pid=" + tid + " prev_prio=120 prev_state=" + state
                + " ==> next_comm=swapper/1 next_pid=0 next_prio=120";
    }

    private static Cli.Ended live(LiveHost host, String... arguments) {
        List<String> all = new ArrayList<>(List.of("--vm", "web", "--vcpus", "--live", "10"));
        all.addAll(List.of(arguments));
        return Watched.run(host, all.toArray(String[]::new));
    }

    private static RecordedHost intel() throws IOException {
        return GuestHosts.of("intel-posted")
                .put("proc/100/task/101/stat", stat(101, 'S', 1, 5))
                .put("proc/100/task/102/stat", stat(102, 'S', 0, 5))
                .put(
                        "proc/cpuinfo",
                        "processor\t: 0\nvendor_id\t: GenuineIntel\napicid\t\t: 0\nflags\t\t: fpu cx16 vmx x2apic\n\n"
                                + "processor\t: 1\nvendor_id\t: GenuineIntel\napicid\t\t: 2\n");
    }

    private static String stat(int tid, char state, int cpu, int guest) {
        return tid + " (CPU 0/KVM) " + state + " 1 1 1 0 -1 4 0 0 0 0 10 20 0 0 20 0 5 0 77 3133440 359 1 1 1 0 0 0 0 0"
                + " 0 0 0 0 0 17 " + cpu + " 0 0 0 " + guest + " 0 1\n";
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "avic-inhibited", "vtd"})
    void vcpuThatRunsAndVcpuThatIsPreemptedOnTheFake(String profile) {
        String printed = Cli.run("explain", "--vm", "web", "--vcpus", "--fake", profile)
                .exited(0)
                .out();
        int second = printed.indexOf("vcpu 1  thread 4713");
        assertThat(printed.substring(0, second))
                .startsWith(
                        "vCPUs of guest web: 1 on a CPU, 1 waiting for a CPU (preempted)\nweb (process 4711), at the"
                                + " end of")
                .contains("  phase     running  [observed: ", "  CPU       1  [observed: ")
                .contains("  seen      KVM_RUN entered: 1, halts ended: 0  [observed: ");
        assertThat(printed.substring(second))
                .contains("  phase     preempted  [observed: ", "  CPU       unknown: it runs on no CPU");
    }

    @Test
    void documentNamesItsSchema() {
        assertThat(Cli.run("explain", "--vm", "web", "--vcpus", "--fake", "vtd-posting", "--json")
                        .exited(0)
                        .out())
                .startsWith("{\"schema\":2,\"command\":\"explain\",")
                .contains(
                        "\"guest\":\"web (process 4711)\",\"watched\":1000,",
                        "{\"name\":\"phase\",\"value\":\"running\",\"evidence\":{\"kind\":\"observed\",",
                        "{\"name\":\"CPU\",\"value\":null,\"evidence\":null,\"why\":\"it runs on no CPU")
                .endsWith("\"exitCode\":0}\n");
    }

    @Test
    void scheduleOfItsThreadsIsRecorded() throws IOException {
        Traced host = new Traced(
                intel(),
                new Known.Observed<>(events(
                        0,
                        of("CPU 0/KVM-101", 1, "kvm_fpu: load"),
                        of("CPU 1/KVM-102", 0, "kvm_fpu: load"),
                        of("CPU 1/KVM-102", 0, out(102, "CPU 1/KVM", "R+")))));
        String printed = live(host).exited(0).out();
        assertThat(host.asked).containsExactlyInAnyOrder(101, 102);
        assertThat(printed)
                .startsWith("vCPUs of guest web: 1 on a CPU, 1 waiting for a CPU (preempted)\nweb (process 100), at the"
                        + " end of a")
                .contains("  phase     running", "  CPU       1  [", "  phase     preempted")
                .contains("note: removed what a killed kvmirq had left");
    }

    @Test
    void vcpuThatSleepsAfterAHaltIsBlocked() throws IOException {
        Traced host = new Traced(
                intel(),
                new Known.Observed<>(events(
                        0,
                        of("CPU 0/KVM-101", 1, "kvm_fpu: load"),
                        of(
                                "CPU 0/KVM-101",
                                1,
                                "kvm_exit: vcpu 0 reason HLT rip 0x10 info1 0x0000000000000000 info2 0x0000000000000000"
                                        + " intr_info 0x00000000 error_code 0x00000000 requests 0x0000000000000000"),
                        of("CPU 0/KVM-101", 1, out(101, "CPU 0/KVM", "S")))));
        assertThat(live(host).exited(0).out())
                .startsWith("vCPUs of guest web: 1 asleep until an interrupt (blocked), 1 in an unknown state\n")
                .contains("  phase     blocked", "  CPU       unknown: it runs on no CPU");
    }

    @Test
    void guestThatSpinsIsFoundByItsGuestTime() throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5))
                .put("proc/100/task/102/stat", stat(102, 'S', 0, 5));
        Traced host = new Traced(files, new Known.Observed<>(events(0)));
        host.change = () -> files.put("proc/100/task/101/stat", stat(101, 'R', 1, 900));
        String printed = live(host).exited(0).out();
        assertThat(printed).contains("  phase     running", "  CPU       1  [");
        assertThat(printed.substring(printed.indexOf("vcpu 1")))
                .contains("  phase     unknown: its thread hit no KVM tracepoint");
    }

    /** CPU 0 has its last events only: what an older one of CPU 1 tells is not believed. */
    @Test
    void overflowMakesAPhaseUnknown() throws IOException {
        Traced host = new Traced(
                intel(),
                new Known.Observed<>(
                        events(7, of("CPU 0/KVM-101", 1, "kvm_fpu: load"), of("CPU 1/KVM-102", 0, "kvm_fpu: load"))));
        String printed = live(host).exited(0).out();
        assertThat(printed.substring(0, printed.indexOf("vcpu 1")))
                .contains("  phase     unknown: the trace buffer overflowed");
        assertThat(printed.substring(printed.indexOf("vcpu 1"))).contains("  phase     running");
        assertThat(printed).contains("trace buffer overflow lost 7 events");
    }

    @Test
    void cpuMayHaveAnyNumber() throws IOException {
        Traced host = new Traced(intel(), new Known.Observed<>(events(0, of("CPU 0/KVM-101", 300, "kvm_fpu: load"))));
        assertThat(live(host).exited(0).out()).contains("  CPU       300  [");
    }

    /** The thread id belongs to another thread now. */
    @Test
    void threadThatBecomesAnotherIsUnknown() throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5));
        Traced host = new Traced(files, new Known.Observed<>(events(0, of("CPU 0/KVM-101", 1, "kvm_fpu: load"))));
        host.change =
                () -> files.put("proc/100/task/101/stat", stat(101, 'R', 1, 5).replace(" 77 ", " 78 "));
        assertThat(live(host).out())
                .contains("  phase     unknown: its thread ended")
                .doesNotContain("running");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "tracefs is not mounted at /sys/kernel/tracing",
                "/sys/kernel/tracing cannot be read by this user",
            })
    void nothingIsGuessedWithoutTracefs(String why) throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5));
        Known<Tracing> none = new Known.Unknown<>(why, "run as root");
        Traced host = new Traced(files, none);
        host.change = () -> files.put("proc/100/task/101/stat", stat(101, 'R', 1, 900));
        Cli.Ended printed = live(host).exited(ExitCode.COULD_NOT_RUN);
        assertThat(printed.out())
                .contains("not readable: " + why, "to see it: run as root", "  phase     unknown")
                .doesNotContain("running");
    }

    /** An exec closes the VM and keeps the thread that calls it, with its number and its start. */
    @ParameterizedTest
    @ValueSource(strings = {"proc/100/fd/5", "proc/100/fd"})
    void threadOutlivesItsVm(String closed) throws IOException {
        RecordedHost files = intel();
        Traced host = new Traced(files, new Known.Observed<>(events(0, of("CPU 0/KVM-101", 1, "kvm_fpu: load"))));
        host.change = () -> files.remove(closed);
        assertThat(live(host).exited(ExitCode.COULD_NOT_RUN).out())
                .contains("  phase     unknown: its process closed the VM, or runs another program")
                .doesNotContain("running");
    }

    @Test
    void threadThatEndsWhileItIsWatchedIsUnknown() throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5));
        Traced host = new Traced(files, new Known.Observed<>(events(0, of("CPU 0/KVM-101", 1, "kvm_fpu: load"))));
        host.change = () -> files.remove("proc/100");
        assertThat(live(host).exited(ExitCode.COULD_NOT_RUN).out()).contains("  phase     unknown: its thread ended");
    }

    /** Any thread of the process makes the VM, and its number is in the name of the directory. */
    @Test
    void filesAloneShowThreads(@TempDir Path root) throws IOException {
        intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5))
                .put("sys/kernel/debug/kvm/102-5/vcpu0/pid", "101\n")
                .put("sys/kernel/debug/kvm/7-5/vcpu1/pid", "102\n")
                .writeTo(root);
        assertThat(Cli.run("explain", "--root", root.toString(), "--vm", "web", "--vcpus")
                        .exited(0)
                        .out())
                .contains(
                        "vcpu 0  thread 101",
                        "  phase     unknown: no file shows a vCPU's phase; add --live SECONDS",
                        "  CPU       1, now or last  [observed: /proc/100/task/101/stat]",
                        "vcpu 1\n");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "--vcpus",
                "0000:3b:00.0 --vcpus",
                "--vm web --fake vtd-posting",
                "--vm web --vcpus --fake 6.12",
                "--vm web --vcpus --fake gicv4",
                "--vm web --vcpus --fake nothing",
                "--vm web --vcpus --fake vtd-posting --root /",
                "--vm web --vcpus --fake vtd-posting --live 3"
            })
    void whatDoesNotGoTogetherIsTold(String arguments) {
        Cli.Ended printed = Cli.run(("explain " + arguments).split(" "));
        assertThat(printed.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(printed.err()).endsWith("See kvmirq explain --help\n");
    }

    @Test
    void otherGuestIsNotFound() {
        assertThat(Cli.run("explain", "--vm", "other", "--vcpus", "--fake", "vtd-posting")
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .contains("no guest 'other' is visible: use one of 'web' (process 4711)");
    }
}
