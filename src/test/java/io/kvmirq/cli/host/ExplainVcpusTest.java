/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.Vcpus;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.trace.RecordedTracing;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Known;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The vCPUs of guests: on the fake, on hosts with traces, and in files. */
class ExplainVcpusTest {
    private static final String FORMATS = "x86-6.18-pvm";

    /** A host whose threads passed what a trace says. */
    private static final class Traced implements LiveHost {
        private final RecordedHost host;
        private final Known<Tracing> schedule;
        private final Known<Tracing> ofVm;
        private Set<Integer> asked = Set.of();
        private Runnable change = () -> {};
        private long nanos;

        Traced(RecordedHost host, Known<Tracing> schedule, Known<Tracing> ofVm) {
            this.host = host;
            this.schedule = schedule;
            this.ofVm = ofVm;
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
            return ofVm;
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

    /** A thread of the VMM's main loop has KVM post host irq 27 to a vCPU. */
    private static String updateOf(int vcpu) {
        return of(
                "qemu-100",
                0,
                "kvm_pi_irte_update: PI is enabled and being updated for irq 27, vcpu " + vcpu
                        + ", gsi: 0x18, gvec: 0x41");
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
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        Terminal terminal = new Terminal(
                new PrintStream(out, true, StandardCharsets.UTF_8),
                new PrintStream(err, true, StandardCharsets.UTF_8),
                false,
                Terminal.DEFAULT_COLUMNS,
                0);
        List<String> all = new ArrayList<>(List.of("explain", "--vm", "web", "--vcpus", "--live", "10"));
        all.addAll(List.of(arguments));
        int code = new Commands(List.of(new Commands.Named("explain", "", new ExplainCommand(host))))
                .run(all.toArray(String[]::new), terminal);
        return new Cli.Ended(code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
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

    /** The only VM of its host. */
    private static RecordedHost avic() throws IOException {
        return GuestHosts.of("amd-avic")
                .put("sys/kernel/debug/kvm/100-5/vcpu0/pid", "101\n")
                .put("sys/kernel/debug/kvm/100-5/vcpu1/pid", "102\n");
    }

    private static String stat(int tid, char state, int cpu, int guest) {
        return tid + " (CPU 0/KVM) " + state + " 1 1 1 0 -1 4 0 0 0 0 10 20 0 0 20 0 5 0 77 3133440 359 1 1 1 0 0 0 0 0"
                + " 0 0 0 0 0 17 " + cpu + " 0 0 0 " + guest + " 0 1\n";
    }

    @ParameterizedTest
    @CsvSource({
        "vtd-posting, PID.SN    0, PID.SN    1",
        "'6.12,vtd-posting', PID.NDST  2, PID.NDST  4",
        "amd-avic, IsRun     1, IsRun     0",
        "'6.12,amd-avic', IsRun     unknown: no interrupt was seen, IsRun     unknown: no interrupt was seen",
        "avic-inhibited, IsRun     unknown: AVIC is inhibited, IsRun     unknown: AVIC is inhibited",
        "vtd, PID.SN    unknown: no interrupt was seen, PID.SN    unknown: no interrupt was seen"
    })
    void vcpuThatRunsAndVcpuThatIsPreemptedOnTheFake(String profile, String running, String preempted) {
        String printed = Cli.run("explain", "--vm", "web", "--vcpus", "--fake", profile)
                .exited(0)
                .out();
        int second = printed.indexOf("vcpu 1  thread 4713");
        assertThat(printed.substring(0, second))
                .startsWith("web (process 4711), at the end of a watch of 1.0 s")
                .contains("  phase     running  [observed: ", "  CPU       1 (APIC id 2)", "  " + running);
        assertThat(printed.substring(second)).contains("  phase     preempted  [observed: ", "  " + preempted);
    }

    @Test
    void documentNamesItsSchema() {
        assertThat(Cli.run("explain", "--vm", "web", "--vcpus", "--fake", "vtd-posting", "--json")
                        .exited(0)
                        .out())
                .startsWith("{\"schema\":2,\"command\":\"explain\",")
                .contains(
                        "\"guest\":\"web (process 4711)\",\"watched\":1000,",
                        "{\"name\":\"PID.NDST\",\"value\":\"2\",\"evidence\":{\"kind\":\"predicted\",",
                        "{\"name\":\"PID.PIR\",\"value\":null,\"evidence\":null,\"why\":\"each interrupt changes")
                .endsWith("\"exitCode\":0}\n");
    }

    @Test
    void changeAtTheNextUpdateIsBelowItsInterrupt() {
        Vcpus.Irq irq = new Vcpus.Irq("nic", Evidence.observed("x"), List.of("now: remapped", "later: posted"));
        Vcpus.One one = new Vcpus.One(new VcpuId(0), OptionalInt.empty(), List.of(), List.of(irq));
        Vcpus vcpus = new Vcpus("web", Optional.empty(), List.of(one), 0, Map.of(), List.of(), List.of());
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
        Terminal terminal = new Terminal(stream, stream, false, Terminal.DEFAULT_COLUMNS, 0);
        new ExplainVcpus(terminal).print(new HostFacts(HostFiles.of(Path.of("/nowhere"))), vcpus, false);
        new ExplainVcpus(terminal).print(new HostFacts(HostFiles.of(Path.of("/nowhere"))), vcpus, true);
        assertThat(out.toString(StandardCharsets.UTF_8))
                .contains("  follows   nic  [observed: x]\n            now: remapped\n            later: posted\n")
                .contains("\"from\":\"x\"},\"later\":[\"now: remapped\",\"later: posted\"]");
    }

    @Test
    void scheduleAndUpdatesOfTwoInstancesAreOneStory() throws IOException {
        Traced host = new Traced(
                intel(),
                new Known.Observed<>(events(
                        0,
                        of("CPU 0/KVM-101", 1, "kvm_fpu: load"),
                        of("CPU 1/KVM-102", 0, "kvm_fpu: load"),
                        of("CPU 1/KVM-102", 0, out(102, "CPU 1/KVM", "R+")))),
                new Known.Observed<>(events(
                        0,
                        updateOf(1),
                        of(
                                "other-7",
                                0,
                                "kvm_pi_irte_update: PI is enabled and being updated for irq 999, vcpu 1, gsi:"
                                        + " 0x18, gvec: 0x41"),
                        of("other-7", 0, "kvm_apicv_inhibit_changed: set reason=1, inhibits=0x2 HYPERV"))));
        String printed = live(host).exited(0).out();
        assertThat(host.asked).containsExactlyInAnyOrder(101, 102);
        assertThat(printed)
                .startsWith("web (process 100), at the end of a watch of 10.0 s")
                .contains("  phase     running", "  CPU       1 (APIC id 2)", "  phase     preempted")
                .contains("events of KVM that no field assigns to this guest: 2\n"
                        + "  1 kvm_apicv_inhibit_changed: its thread is of another process, or of the kernel\n"
                        + "  1 kvm_pi_irte_update: its host irq is of no device of the guest\n")
                .contains("note: removed what a killed kvmirq had left");
        assertThat(printed.substring(printed.indexOf("vcpu 1")))
                .contains("  PID.SN    1  [predicted", "gsi 24, vector 0x41)  [observed: kvm_pi_irte_update]");
    }

    /** Intel posts all the same, and software takes what was posted. Reasons of AMD alone say nothing. */
    @ParameterizedTest
    @CsvSource({
        "1, 0x2 HYPERV, 'the guest uses AutoEOI of a SynIC'",
        "9, 0x200 PIT_REINJ, ",
    })
    void inhibitOfIntelIsToldBesideItsInterrupts(int reason, String inhibits, @Nullable String why) throws IOException {
        Traced host = new Traced(
                intel(),
                new Known.Observed<>(events(0, of("CPU 0/KVM-101", 1, "kvm_fpu: load"))),
                new Known.Observed<>(events(
                        0,
                        updateOf(0),
                        of(
                                "CPU 1/KVM-102",
                                0,
                                "kvm_apicv_inhibit_changed: set reason=" + reason + ", inhibits=" + inhibits))));
        String printed = live(host).exited(0).out();
        assertThat(printed).contains("  PID.NV    0xf2");
        assertThat(printed.lines().filter(line -> line.startsWith("  delivery")).toList())
                .as(printed)
                .isEqualTo(
                        why == null
                                ? List.of()
                                : List.of(
                                        "  delivery  software takes the vector to the guest at the next VM entry, since "
                                                + why
                                                + "  [predicted: from what inhibits APICv, by the rules of KVM]"));
    }

    @Test
    void guestThatSpinsIsFoundByItsGuestTime() throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5))
                .put("proc/100/task/102/stat", stat(102, 'S', 0, 5));
        Traced host = new Traced(files, new Known.Observed<>(events(0)), new Known.Observed<>(events(0)));
        host.change = () -> files.put("proc/100/task/101/stat", stat(101, 'R', 1, 900));
        String printed = live(host).exited(0).out();
        assertThat(printed).contains("  phase     running", "  CPU       1 (APIC id 2)");
        assertThat(printed.substring(printed.indexOf("vcpu 1")))
                .contains("  phase     unknown: its thread passed no tracepoint of KVM");
    }

    /** CPU 0 has its last events only: what an older one of CPU 1 tells is not believed. */
    @Test
    void overflowMakesAPhaseUnknown() throws IOException {
        Traced host = new Traced(
                intel(),
                new Known.Observed<>(
                        events(7, of("CPU 0/KVM-101", 1, "kvm_fpu: load"), of("CPU 1/KVM-102", 0, "kvm_fpu: load"))),
                new Known.Observed<>(events(0)));
        String printed = live(host).exited(0).out();
        assertThat(printed.substring(0, printed.indexOf("vcpu 1")))
                .contains("  phase     unknown: events did not fit into the buffer");
        assertThat(printed.substring(printed.indexOf("vcpu 1"))).contains("  phase     running");
        assertThat(printed).contains("events that did not fit into the buffer: 7");
    }

    /** A CPU that went offline meanwhile has no APIC id in any file. */
    @ParameterizedTest
    @CsvSource({
        "300, 'CPU       300 (APIC id 600)', 'PID.NDST  600'",
        "301, 'CPU       301  ', 'PID.NDST  unknown: no file shows the APIC id of CPU 301'",
    })
    void cpuMayHaveAnyNumber(int cpu, String shown, String destination) throws IOException {
        RecordedHost files = intel().put(
                        "proc/cpuinfo",
                        "processor\t: 300\nvendor_id\t: GenuineIntel\napicid\t\t: 600\nflags\t\t: fpu cx16 vmx x2apic\n");
        Traced host = new Traced(
                files,
                new Known.Observed<>(events(0, of("CPU 0/KVM-101", cpu, "kvm_fpu: load"))),
                new Known.Observed<>(events(0, updateOf(0))));
        assertThat(live(host).exited(0).out()).contains("  " + shown, "  " + destination);
    }

    /** With 8 bits, a message to vCPU 300 goes to vCPU 44, and one to vCPU 255 to all. A guest may write any vector. */
    @ParameterizedTest
    @CsvSource({"300, 0x41", "255, 0x41", "2, 0x5"})
    void kvmMayPostAnyVectorToAnyVcpu(int vcpu, String vector) throws IOException {
        RecordedHost files = intel().put("sys/kernel/debug/kvm/100-5/vcpu0/pid", "0\n")
                .put("sys/kernel/debug/kvm/100-5/vcpu1/pid", "0\n")
                .put("sys/kernel/debug/kvm/100-5/vcpu" + vcpu + "/pid", "101\n")
                .put("sys/kernel/debug/kvm/100-5/vcpu44/pid", "102\n");
        Traced host = new Traced(
                files,
                new Known.Observed<>(events(
                        0,
                        of("CPU 0/KVM-101", 1, "kvm_fpu: load"),
                        of("CPU 1/KVM-102", 0, "kvm_fpu: load"),
                        of("CPU 1/KVM-102", 0, out(102, "CPU 1/KVM", "R")))),
                new Known.Observed<>(events(0, updateOf(vcpu).replace("0x41", vector))));
        String printed = live(host).exited(0).out();
        assertThat(printed.substring(printed.indexOf("vcpu " + vcpu + "  thread 101")))
                .as(printed)
                .contains("  phase     running", "  PID.NDST  2", "gsi 24, vector " + vector + ")");
    }

    /** No tracepoint tells whether the guest had interrupts enabled, which decides whether KVM sets the wake-up vector. */
    @Test
    void descriptorOfASleeperHasACondition() throws IOException {
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
                        of("CPU 0/KVM-101", 1, out(101, "CPU 0/KVM", "S")))),
                new Known.Observed<>(events(0, updateOf(0))));
        String condition =
                "  [predicted: from the phase, by the rules of KVM, if the guest halted with interrupts enabled]";
        assertThat(live(host).exited(0).out())
                .contains("  phase     blocked", "  PID.NV    0xf1" + condition, "  PID.SN    0" + condition);
    }

    /** Its number is of another thread now. */
    @Test
    void threadThatBecomesAnotherIsUnknown() throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5));
        Traced host = new Traced(
                files,
                new Known.Observed<>(events(0, of("CPU 0/KVM-101", 1, "kvm_fpu: load"))),
                new Known.Observed<>(events(0)));
        host.change =
                () -> files.put("proc/100/task/101/stat", stat(101, 'R', 1, 5).replace(" 77 ", " 78 "));
        assertThat(live(host).out())
                .contains("  phase     unknown: its thread ended")
                .doesNotContain("running");
    }

    /** Only KVM knows the number of a VM. The GA log names one, which is this VM's if there is no other. */
    @ParameterizedTest
    @CsvSource({
        "1, 'GATag     VM 7, vCPU 1  [observed: kvm_avic_ga_log]', ",
        "5, 'GATag     unknown: vCPU 1 of a number', 3 kvm_avic_ga_log: the guest has no vCPU of this number",
    })
    void tagOfTheGaLogIsOfTheOnlyVm(int vcpu, String shown, @Nullable String unassignable) throws IOException {
        String[] entries = new String[3];
        Arrays.fill(entries, logged(7, vcpu));
        String printed = live(new Traced(
                        avic(), new Known.Observed<>(events(0)), new Known.Observed<>(events(0, entries))))
                .out();
        assertThat(printed.substring(printed.indexOf("vcpu 1"))).contains("  " + shown);
        assertThat(printed.contains("events of KVM that no field assigns"))
                .as(printed)
                .isEqualTo(unassignable != null);
        assertThat(printed).contains(unassignable == null ? "" : "guest: 3\n  " + unassignable);
    }

    /** KVM wakes no vCPU for the entry of a VM that is gone, and records the entry all the same. */
    @Test
    void entryOfAVmThatIsGoneMakesTheTagUnknown() throws IOException {
        Known<Tracing> log = new Known.Observed<>(events(0, logged(6, 1), logged(7, 1)));
        assertThat(live(new Traced(avic(), new Known.Observed<>(events(0)), log))
                        .out())
                .contains("  GATag     unknown: vCPU 1 of a number")
                .contains(
                        "guest: 2\n  2 kvm_avic_ga_log: entries name several VMs, and all but one of these are gone\n");
    }

    private static String logged(int vm, int vcpu) {
        return of("irq/26-AMD-Vi-31", 0, "kvm_avic_ga_log: vmid=" + vm + ", vcpuid=" + vcpu);
    }

    /** Of two VMs, the one that has a vCPU which the log names, and the other has not. */
    @ParameterizedTest
    @CsvSource({"0, 2", "1, 2", "2, 2", "0 1, 4"})
    void tagOfTheGaLogIsOfTheVmThatHasItsVcpus(String others, int unassignable) throws IOException {
        RecordedHost files = avic();
        for (String other : others.split(" ")) {
            files.put("sys/kernel/debug/kvm/200-5/vcpu" + other + "/pid", "201\n");
        }
        int other = Integer.parseInt(others.substring(0, 1));
        Known<Tracing> log =
                new Known.Observed<>(events(0, logged(7, 0), logged(7, 1), logged(8, other), logged(8, other)));
        String printed =
                live(new Traced(files, new Known.Observed<>(events(0)), log)).out();
        boolean known = unassignable == 2;
        assertThat(printed.contains("GATag     VM 7, vCPU 0")).as(printed).isEqualTo(known);
        assertThat(printed.contains("GATag     VM 7, vCPU 1")).as(printed).isEqualTo(known);
        assertThat(printed)
                .contains("no field assigns to this guest: " + unassignable + "\n  ")
                .doesNotContain("VM 8");
    }

    /** Since 6.17 the log has the index of a vCPU, and debugfs its id. */
    @ParameterizedTest
    @CsvSource({"6.16.0, 4, 8, 8", "6.17.0, 4, 8, ", "6.17.0, 4 5, 8, ", "6.16.0, , 8, "})
    void tagOfTheGaLogIsOfNoVmThatMayNotBeTheGuests(
            String release, @Nullable String others, int logged, @Nullable Integer shown) throws IOException {
        RecordedHost files = avic().put("proc/sys/kernel/osrelease", release + "\n");
        if (others == null) {
            files.put("sys/kernel/debug/kvm/200-5", ""); // its directory cannot be read
        } else {
            for (String other : others.split(" ")) {
                files.put("sys/kernel/debug/kvm/200-5/vcpu" + other + "/pid", "201\n");
            }
        }
        Known<Tracing> log = new Known.Observed<>(events(0, logged(logged, 0)));
        String printed =
                live(new Traced(files, new Known.Observed<>(events(0)), log)).out();
        assertThat(printed.contains("GATag     VM " + logged + ", vCPU 0"))
                .as(printed)
                .isEqualTo(shown != null);
    }

    /** No file shows in which order the guest made its vCPUs: index 1 of ids 0, 1 and 2 may be vCPU 2. */
    @ParameterizedTest
    @CsvSource({
        "6.16.0, 0 1 2, 1, 'VM 7, vCPU 1'",
        "6.17.0, 0 1 2, 1, 'unknown: since Linux 6.17 it has the index of a vCPU'",
        "6.18.0, 0 1 2 4 5 6, 3, 'unknown: since Linux 6.17 it has the index of a vCPU'",
        "6.18.0, 0 1 2 4 5 6, 1, 'unknown: since Linux 6.17 it has the index of a vCPU'",
    })
    void indexInTheGaLogNamesNoVcpu(String release, String ids, int number, String shown) throws IOException {
        RecordedHost files = avic().put("proc/sys/kernel/osrelease", release + "\n");
        for (String id : ids.split(" ")) {
            files.put("sys/kernel/debug/kvm/100-5/vcpu" + id + "/pid", "10" + (Integer.parseInt(id) + 1) + "\n");
        }
        Known<Tracing> log = new Known.Observed<>(events(0, logged(7, number)));
        String printed =
                live(new Traced(files, new Known.Observed<>(events(0)), log)).out();
        assertThat(printed.substring(printed.indexOf("vcpu 1  thread 102"))).contains("  GATag     " + shown);
        assertThat(printed.contains("kvm_avic_ga_log: since Linux 6.17 it has the index of a vCPU"))
                .as(printed)
                .isEqualTo(shown.startsWith("unknown"));
    }

    /** An update that is not in the record may have ended the one that is. */
    @ParameterizedTest
    @CsvSource({"7, 0, true", "0, 7, true", "0, 0, false"})
    void updateIsNotBelievedWhereLaterOnesMayBeMissing(long overwritten, long missing, boolean whole)
            throws IOException {
        String changes =
                text(updateOf(1), of("other-7", 1, "kvm_apicv_inhibit_changed: set reason=1, inhibits=0x2 HYPERV"));
        Traced host = new Traced(
                intel(),
                new Known.Observed<>(events(0)),
                new Known.Observed<>(
                        RecordedTracing.of(FORMATS, changes, new Tracing.Lost(overwritten, missing), whole)));
        assertThat(live(host).out())
                .doesNotContain("kvm_pi_irte_update]")
                .contains("not readable: some changes of KVM are not in the record");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "tracefs is not mounted at /sys/kernel/tracing",
                "/sys/kernel/tracing may not be read by this user",
            })
    void nothingIsGuessedWithoutTracefs(String why) throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5));
        Known<Tracing> none = new Known.Unknown<>(why, "run as root");
        Traced host = new Traced(files, none, none);
        host.change = () -> files.put("proc/100/task/101/stat", stat(101, 'R', 1, 900));
        Cli.Ended printed = live(host).exited(ExitCode.COULD_NOT_RUN);
        assertThat(printed.out())
                .contains("not readable: " + why, "shown by: run as root", "  phase     unknown")
                .doesNotContain("running");
    }

    /** An exec closes the VM and keeps the thread that calls it, with its number and its start. */
    @ParameterizedTest
    @ValueSource(strings = {"proc/100/fd/5", "proc/100/fd"})
    void threadOutlivesItsVm(String closed) throws IOException {
        RecordedHost files = intel();
        Traced host = new Traced(
                files,
                new Known.Observed<>(events(0, of("CPU 0/KVM-101", 1, "kvm_fpu: load"))),
                new Known.Observed<>(events(0, updateOf(0))));
        host.change = () -> files.remove(closed);
        assertThat(live(host).exited(ExitCode.COULD_NOT_RUN).out())
                .contains("  phase     unknown: its process closed the VM, or runs another program")
                .doesNotContain("running", "PID.NV    0x");
    }

    /** A newer kernel may rename a field: nothing is told of the event then. */
    @ParameterizedTest
    @CsvSource({
        "u32 vmid;, u32 vm;, GATag     unknown",
        "u32 vcpuid;, u32 vcpu;, GATag     unknown",
        "bool set;, bool on;, follows   no interrupt",
        "host_irq;, irq;, follows   no interrupt",
        "gvec;, vector;, follows   no interrupt",
    })
    void eventOfVmInANewerFormIsUnassignable(String field, String newer, String shown) throws IOException {
        boolean isLog = shown.startsWith("GATag");
        String passed = isLog ? of("irq/26-AMD-Vi-31", 0, "kvm_avic_ga_log: vmid=7, vcpuid=0") : updateOf(0);
        Traced host = new Traced(
                isLog ? avic() : intel(),
                new Known.Observed<>(events(0)),
                new Known.Observed<>(RecordedTracing.newer(FORMATS, text(passed), field, newer)));
        String printed = live(host).out();
        assertThat(printed.substring(printed.indexOf("vcpu 0"), printed.indexOf("vcpu 1")))
                .contains("  " + shown);
        assertThat(printed)
                .contains("events of KVM that no field assigns to this guest: 1\n  1 kvm_"
                        + (isLog ? "avic_ga_log" : "pi_irte_update") + ": this kernel records it in another form\n");
    }

    @Test
    void threadThatEndsWhileItIsWatchedIsUnknown() throws IOException {
        RecordedHost files = intel().put("proc/100/task/101/stat", stat(101, 'R', 1, 5));
        Traced host = new Traced(
                files,
                new Known.Observed<>(events(0, of("CPU 0/KVM-101", 1, "kvm_fpu: load"))),
                new Known.Observed<>(events(0)));
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
                        "  phase     unknown: no file shows the phase of a vCPU: add --live SECONDS",
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
                .contains("no guest 'other' is seen: name one of 'web' (process 4711)");
    }
}
