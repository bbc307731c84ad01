/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.LiveProbesContract.host;
import static io.kvmirq.contract.LiveProbesContract.left;
import static io.kvmirq.contract.LiveProbesContract.watch;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.Main;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.undo.Undo;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * Probes, instances and synthetic events of tracefs after many runs, after killed ones, and beside those of another run.
 * {@code CYCLES=200 KILLS=50} of {@code scripts/lab/run} are the long numbers.
 */
@VfioContract
class ProbesLeftContract extends VfioSuite {
    private static final Path TRACEFS = Path.of("/sys/kernel/tracing");
    private static final int CYCLES = Integer.getInteger("kvmirq.test.probes.cycles", 10);
    private static final int KILLS = Math.min(50, Integer.getInteger("kvmirq.test.forward.kills", 1));
    /** Probes, synthetic event and instances of one run, at least. */
    private static final int ALL = 5;

    private static final int SENT = 20;
    private static final int LOOK_MILLIS = 20;

    private final Undo made = new Undo();

    @BeforeEach
    void requireProbes() {
        LiveProbesContract.requireProbes(world);
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        made.close();
        assertThat(left()).isEmpty();
    }

    private static long own() {
        return ProcessHandle.current().pid();
    }

    /** The command as a process, which watches the guests of this one. */
    private static Process watching() throws IOException {
        List<String> command = new ArrayList<>(VfioKillContract.java());
        command.addAll(List.of(
                "-cp",
                System.getProperty("java.class.path"),
                Main.class.getName(),
                "explain",
                "--vm",
                String.valueOf(own()),
                "--live",
                "600"));
        return new ProcessBuilder(command).start();
    }

    /** The names in a line of tracefs: the offsets are those of a kernel. */
    private static String names(String line) {
        return line.replaceAll("=\\S+|\\d+", "").replaceAll("\\s+", " ");
    }

    /** The lines of the page that make probes and events. A machine without VFIO's module has those of KVM alone. */
    private static List<String> ofPage() throws IOException {
        boolean hasVfio = Files.exists(Path.of("/sys/module/vfio_pci_core"));
        return Files.readAllLines(Machine.root().resolve("src/docs/probes.txt")).stream()
                .filter(line -> line.matches("(kprobe|synthetic)_events [^-!].*"))
                .filter(line -> hasVfio || !line.contains("vfio_pci_core:") && !line.contains("_to_irqfd "))
                .map(line -> names(line.replaceFirst("\\w+ (.*)", "$1")))
                .toList();
    }

    @Test
    void nothingIsLeftAfterEachOfManyRuns() throws IOException {
        for (int i = 0; i < CYCLES; i++) {
            try (LiveWindow window = watch(List.of())) {
                assertThat(left()).hasSizeGreaterThanOrEqualTo(ALL);
                assertThat(window.end(host()).missing()).isEmpty();
            }
            assertThat(left()).as("after run %s", i).isEmpty();
        }
        System.out.println("nothing was left after each of " + CYCLES + " runs");
    }

    /** The first is killed while it watches, others while they begin: when tracefs has so many lines of theirs. */
    @Test
    void nextCommandRemovesTheProbesOfAKilledOne() throws Exception {
        made.add(Vm.create(made.add(Kernel.over(vfio.kernel()))));
        List<Integer> lines = new ArrayList<>();
        for (int kill = 0; kill < KILLS; kill++) {
            Process killed = watching();
            try (BufferedReader said = killed.errorReader(StandardCharsets.UTF_8)) {
                if (kill == 0) {
                    assertThat(said.readLine()).contains("watching for 600 s");
                } else {
                    while (left().size() < 1 + kill % ALL && killed.isAlive()) {
                        TimeUnit.MILLISECONDS.sleep(LOOK_MILLIS);
                    }
                }
                killed.destroyForcibly().waitFor();
            }
            String name = "kvmirq-" + killed.pid() + "-";
            lines.add(left().size());
            assertThat(left()).anyMatch(text -> text.replace('_', '-').contains(name));
            if (kill == 0) {
                left().forEach(text -> System.out.println("tracefs after SIGKILL: " + text));
                assertThat(left().stream().filter(text -> !text.startsWith("/")).map(ProbesLeftContract::names))
                        .containsExactlyInAnyOrderElementsOf(ofPage());
                assertThat(Cli.run("doctor", "--check", "tracing").out())
                        .contains("kvmirq_" + killed.pid() + "_", "kvmirq list --live 1");
            }
            // A run that is killed early has its directory alone.
            assertThat(LiveHost.thisMachine().tidy())
                    .anyMatch(text -> text.startsWith("removed ") && text.contains(name));
            assertThat(left()).as("after kill %s", kill).isEmpty();
        }
        System.out.println("killed " + KILLS + " times, with so many lines of tracefs left: " + lines);
    }

    /** The first command neither removes nor counts what is the second one's, and ends first. */
    @Test
    void twoRunsLeaveEachOthersProbes() throws Exception {
        EventFd event = delivered();
        Process second;
        Live live;
        List<String> both;
        try (LiveWindow window = watch(List.of())) {
            second = watching();
            BufferedReader said = second.errorReader(StandardCharsets.UTF_8);
            assertThat(said.readLine()).contains("watching for 600 s");
            both = left();
            assertThat(LiveHost.thisMachine().tidy()).isEmpty();
            for (int i = 0; i < SENT; i++) {
                event.signal();
            }
            live = window.end(host());
        }
        assertDelivered(live, SENT);
        assertThat(left())
                .hasSizeGreaterThanOrEqualTo(ALL)
                .hasSizeLessThan(both.size())
                .allMatch(text -> text.replace('_', '-').contains("kvmirq-" + second.pid() + "-"));
        Program.signal("INT", second.pid());
        String printed = new String(second.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(printed).containsPattern("delivered +" + SENT + " ");
        second.waitFor();
    }

    /** A vCPU's LAPIC and an eventfd whose signals reach it. */
    private EventFd delivered() {
        Kernel kernel = made.add(Kernel.over(vfio.kernel()));
        Vm vm = made.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        made.add(vm.createVcpu(new VcpuId(0))).x86().enableLapic();
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, vm.routes().add(MsiMessage.to(new VcpuId(0), new InterruptVector(0x31)))));
        return event;
    }

    private static void assertDelivered(Live live, int signals) {
        assertThat(live.missing()).isEmpty();
        assertThat(live.stages()).singleElement().satisfies(stages -> assertThat(stages.stages())
                .anyMatch(stage ->
                        stage.label().equals("delivered") && stage.counted().equals(String.valueOf(signals))));
    }

    private static void trace(String file, String line) throws IOException {
        Files.writeString(TRACEFS.resolve(file), line + "\n", StandardOpenOption.WRITE);
    }

    /** Another tool counts calls of the same functions before, meanwhile and afterwards. */
    @Test
    void probesOfAnotherToolOnTheSameFunctionsAreCountedAndStay() throws IOException {
        EventFd event = delivered();
        made.add(() -> {
            trace("events/another/enable", "0");
            trace("kprobe_events", "-:another/entry");
            trace("kprobe_events", "-:another/back");
        });
        trace("kprobe_events", "p:another/entry irqfd_wakeup");
        trace("kprobe_events", "r:another/back kvm_arch_set_irq_inatomic");
        trace("events/another/enable", "1");
        List<String> before = left();
        event.signal();
        Live live;
        try (LiveWindow window = watch(List.of())) {
            for (int i = 0; i < SENT; i++) {
                event.signal();
            }
            live = window.end(host());
        }
        event.signal();
        assertDelivered(live, SENT);
        assertThat(left()).isEqualTo(before);
        assertThat(Files.readAllLines(TRACEFS.resolve("kprobe_profile")))
                .extracting(line -> line.strip().replaceAll(" +", " "))
                .containsExactlyInAnyOrder("entry " + (SENT + 2) + " 0", "back " + (SENT + 2) + " 0");
    }

    @Test
    void readOnlyTracefsIsSaidWithItsRemedy() throws Exception {
        Machine.assumeProgram("busybox");
        delivered();
        List<String> remount = List.of("busybox", "mount", "-o", "remount,ro", TRACEFS.toString());
        made.add(() -> Program.output(List.of("busybox", "mount", "-o", "remount,rw", TRACEFS.toString())));
        Program.output(remount);
        Live live;
        try (LiveWindow window = watch(List.of())) {
            live = window.end(host());
        }
        live.missing().forEach(System.out::println);
        assertThat(live.missing()).hasSize(2).allSatisfy(unknown -> {
            assertThat(unknown.why()).endsWith(": Read-only file system");
            assertThat(unknown.remedy()).isEqualTo("run mount -o remount,rw /sys/kernel/tracing");
        });
        assertThat(live.stages()).isEmpty();
    }
}
