/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.PlantedContract.MSIX_CONTROL;
import static io.kvmirq.contract.PlantedContract.PMCSR;
import static io.kvmirq.contract.PlantedContract.awaitState;
import static io.kvmirq.contract.PlantedContract.bits;
import static io.kvmirq.contract.PlantedContract.irq;
import static io.kvmirq.contract.TestDevice.E1000E;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.CliScreen;
import io.kvmirq.contract.PlantedContract.Change;
import io.kvmirq.diag.screens.Watcher;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Program;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A host that is watched while a guest's device, its host irq, its vectors and its VMM change: each change is told at its row
 * within two ticks, and no other. A look runs between two ticks, as on a machine on which it ends within an interval.
 * {@code CYCLES=600} of {@code scripts/lab/run} is ten minutes of a machine that does not change.
 */
@VfioContract
class WatchContract extends VfioSuite {
    private static final HostFiles FILES = HostFiles.at(Path.of("/"));
    private static final int MOST_TICKS = 2;
    /** This process runs its vCPU only at times, and else looks like a guest that may be paused. */
    private static final String PAUSED = "flaw java .*VMM doubtful: every vCPU thread waits for another .*";
    /** Port 0xcf8 chooses MSI-X of the device in the guest's slot 2. */
    private static final String CHOOSE = "o /w 0xcf8 0x800010a0";

    @TempDir
    private Path temporary;

    private final Deque<Runnable> looks = new ArrayDeque<>();
    private final Undo made = new Undo();
    /** Patterns of the changes that may be told: on the screen some come later. */
    private final List<String> known = new ArrayList<>();

    private String nic = "";
    private String guest = "planted";

    @BeforeEach
    void requireRealFiles() {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: the fake shows no processes and irqs");
        assumeFalse(world.isArm64(), "needs the registers of the lab's x86 devices: make lab runs this");
        nic = vfio.place(E1000E).address();
    }

    @AfterEach
    void end() {
        made.close();
        ProcessHandle.current().children().forEach(child -> {
            child.destroyForcibly();
            child.onExit().join();
        });
    }

    /** A watcher of this process, or the screen of the command. */
    private interface Watched {
        /** All changes since the last call. Waits for those that are expected, as long as they may take. */
        List<String> told(List<String> expected) throws IOException;
    }

    /** Begins to watch, until two ticks tell nothing. The clock stands, so that a look is always due. */
    private Watched watch(boolean onScreen) throws IOException, InterruptedException {
        if (onScreen) {
            return new OnScreen();
        }
        Watcher watcher = made.add(new Watcher(
                FILES,
                () -> 0,
                looks::add,
                process -> true,
                path -> true,
                KernelPaths.open(FILES, KernelStructures.CORE),
                host -> Optional.empty()));
        for (int silent = 0; silent < 3; silent++) {
            List<String> told = tick(watcher);
            System.out.println("lab-watch: begins: " + told);
            silent = told.isEmpty() ? silent : 0;
        }
        return expected -> {
            List<String> told = new ArrayList<>();
            int ticks = 0;
            for (; ticks < MOST_TICKS && !hasAll(told, expected); ticks++) {
                told.addAll(tick(watcher));
            }
            System.out.println("lab-watch: " + ticks + " ticks: " + told);
            assertThat(hasAll(told, expected)).as("%s: %s", expected, told).isTrue();
            told.addAll(tick(watcher));
            told.addAll(tick(watcher));
            known.clear();
            return told;
        };
    }

    /** The changes of a tick, and then a look. */
    private List<String> tick(Watcher watcher) {
        List<Watcher.Event> events = watcher.tick().events();
        while (!looks.isEmpty()) {
            looks.remove().run();
        }
        return events.stream()
                .map(event -> event.what() + " "
                        + Stream.of(event.guest(), event.device(), event.interrupt())
                                .filter(word -> !word.isEmpty())
                                .collect(Collectors.joining(" "))
                        + ": " + event.text())
                .toList();
    }

    private static boolean hasAll(List<String> told, List<String> expected) {
        return expected.stream().allMatch(pattern -> told.stream().anyMatch(text -> text.matches(pattern)));
    }

    /** The screen of the command, on which a user types keys. There a look takes longer than an interval. */
    private final class OnScreen implements Watched {
        private static final int COLUMNS = 200;
        private static final Pattern FLAW =
                Pattern.compile("\\S+ flaw \\S+ 0000:(\\S+ MSI-X [02]): (repaired: )?(?:\\w+ )+broken: (.{20}).*");

        private final CliScreen screen;
        private List<String> before = List.of();

        /** Begins with the second look, which opens kernel memory: from then on watch tells what memory shows. */
        OnScreen() throws IOException, InterruptedException {
            Path looks = temporary.resolve("looks");
            screen = made.add(CliScreen.of(
                    Cli.jvm("-Dkvmirq.terminal=true"),
                    COLUMNS,
                    "watch",
                    "--interval",
                    "1",
                    "--textfile",
                    looks.toString()));
            screen.await(guest + " (");
            Object first = file(looks);
            while (file(looks).equals(first)) {
                TimeUnit.MILLISECONDS.sleep(20);
            }
            screen.type("s");
            screen.await("by name");
            // Another VM may be open: with two guests the rows of vectors are hidden until e is typed.
            screen.type("e/" + guest + "\r");
            screen.await("by name  /" + guest);
        }

        /** It is another one after each look. */
        private static Object file(Path path) throws IOException {
            return Files.readAttributes(path, BasicFileAttributes.class).fileKey();
        }

        @Override
        public List<String> told(List<String> expected) throws IOException {
            long begin = System.nanoTime();
            screen.await(lines -> hasAll(since(lines), expected));
            List<String> told = since(screen.lines());
            System.out.println("lab-watch: screen: " + (System.nanoTime() - begin) / 1_000_000 + " ms: " + told);
            screen.lines().stream().filter(line -> !line.isEmpty()).forEach(System.out::println);
            changes(screen.lines()).stream().limit(told.size()).forEach(this::assertRow);
            before = changes(screen.lines());
            return told;
        }

        private List<String> changes(List<String> lines) {
            return lines.stream()
                    .filter(line -> line.matches("\\d\\d:\\d\\d:\\d\\d .*"))
                    .toList();
        }

        /** The newest changes are the first ones. The oldest are not on the screen any more. */
        private List<String> since(List<String> lines) {
            List<String> all = changes(lines);
            int count = 0;
            while (!all.subList(count, all.size())
                    .equals(before.subList(0, Math.min(before.size(), all.size() - count)))) {
                count++;
            }
            return all.subList(0, count).stream()
                    .map(line -> line.substring(line.indexOf(' ') + 1))
                    .toList();
        }

        /** The row of a vector shows its flaw until it is repaired. */
        private void assertRow(String change) {
            Matcher flaw = FLAW.matcher(change);
            if (flaw.matches()) {
                assertThat(screen.lines())
                        .filteredOn(line -> line.startsWith("  " + flaw.group(1) + " "))
                        .as(change)
                        .singleElement()
                        .matches(line -> line.contains(flaw.group(3)) == (flaw.group(2) == null));
            }
        }
    }

    /** Makes a change. {@code also} may be told with it. */
    private void planted(Watched watched, String name, String also, Change change, String... expected)
            throws IOException, InterruptedException {
        change.make();
        System.out.println("lab-watch: " + name);
        List<String> told = watched.told(List.of(expected));
        known.add(also);
        known.addAll(List.of(expected));
        assertThat(told)
                .as(name)
                .allMatch(text -> text.matches(PAUSED) || known.stream().anyMatch(text::matches));
    }

    private static Change ask(Process qemu, String value) {
        return () -> {
            OutputStream monitor = qemu.getOutputStream();
            monitor.write((CHOOSE + "\no /w 0xcfc " + value + "\n").getBytes(StandardCharsets.UTF_8));
            monitor.flush();
        };
    }

    private String at(String what, String vectors, String text) {
        return what + " " + guest + " " + nic + " MSI-X " + vectors + ": " + text + ".*";
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void changeIsToldAtItsRowWithinTwoTicks(boolean onScreen) throws IOException, InterruptedException {
        Process qemu = PlantedContract.qemu(temporary, nic, false);
        long pid = qemu.pid();
        Watched watched = watch(onScreen);
        ofDevice(watched);
        ofHostIrq(watched);
        planted(
                watched,
                "SIGSTOP",
                "",
                () -> PlantedContract.stop(pid),
                at("flaw", "\\d", "VMM broken: .* is stopped by a signal"));
        planted(
                watched,
                "SIGCONT",
                "",
                () -> {
                    Program.signal("CONT", pid);
                    awaitState(pid, "S");
                },
                at("flaw", "\\d", "repaired: VMM broken"));
        ofGuest(watched, qemu);
        if (!onScreen) {
            unchanged();
        }
        planted(
                watched,
                "SIGKILL",
                "power planted " + nic + ": from D0 to D3hot",
                () -> qemu.destroyForcibly().waitFor(),
                "gone planted: process " + pid + " no longer has a VM open");
        planted(
                watched,
                "QEMU begins",
                ".* planted .*",
                () -> PlantedContract.qemu(temporary, nic, false),
                "came planted: process \\d+ has a VM open",
                at("armed", "0", "VFIO has armed it"),
                at("armed", "2", "VFIO has armed it"));
    }

    private void ofDevice(Watched watched) throws IOException, InterruptedException {
        flawed(watched, "[02]", "bus mastering", () -> bits(nic, 4, 4, false), () -> bits(nic, 4, 4, true));
        flawed(
                watched,
                "[02]",
                "the MSI-X function mask",
                () -> bits(nic, MSIX_CONTROL, 0x4000, true),
                () -> bits(nic, MSIX_CONTROL, 0x4000, false));
        flawed(watched, "\\d", ".*D3hot", () -> bits(nic, PMCSR, 3, true), () -> bits(nic, PMCSR, 3, false));
    }

    private void flawed(Watched watched, String vectors, String text, Change plant, Change repair)
            throws IOException, InterruptedException {
        planted(watched, text, "power .*", plant, at("flaw", vectors, "device broken: " + text));
        planted(
                watched,
                text + " repaired",
                "power .*",
                repair,
                at("flaw", vectors, "repaired: device broken: " + text));
    }

    private void ofHostIrq(Watched watched) throws IOException, InterruptedException {
        if (Runtime.getRuntime().availableProcessors() == 1) {
            System.out.println("lab-watch: no affinity moves on one processor: LAB_PROCESSORS=2");
            return;
        }
        String file = "/proc/irq/" + irq("vfio-msix[2](" + nic) + "/";
        int cpu = Integer.parseInt(
                Files.readString(Path.of(file + "effective_affinity_list")).strip());
        planted(
                watched,
                "affinity moved",
                "",
                () -> PlantedContract.run("echo " + (1 - cpu) + " > " + file + "smp_affinity_list"),
                at("affinity", "2", "host irq \\d+ moved from CPU " + cpu + " to CPU " + (1 - cpu)));
    }

    private void ofGuest(Watched watched, Process qemu) throws IOException, InterruptedException {
        String intx = ".* planted " + nic + " INTx: .*|posted planted .*";
        planted(
                watched,
                "guest disables MSI-X",
                intx,
                () -> {
                    ask(qemu, "0x0").make();
                    awaitHandlers(0);
                },
                at("armed", "[02]", "VFIO has disarmed it"));
        planted(
                watched,
                "guest enables MSI-X",
                intx,
                () -> {
                    ask(qemu, "0x80000000").make();
                    awaitHandlers(2);
                },
                at("armed", "[02]", "VFIO has armed it"));
    }

    private void awaitHandlers(int count) throws IOException, InterruptedException {
        while (VfioKillContract.interrupts().stream()
                        .filter(row -> row.contains("vfio-msix[") && row.contains(nic))
                        .count()
                != count) {
            TimeUnit.MILLISECONDS.sleep(20);
        }
    }

    /** The command itself. */
    private void unchanged() throws IOException, InterruptedException {
        String ticks = System.getProperty("kvmirq.test.probes.cycles", "3");
        Process watch = Cli.jvm().start("watch", "--count", ticks);
        String said = new String(watch.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        System.out.println("lab-watch: unchanged: " + said);
        assertThat(said).matches("watched for \\d+ s, 0 changes\n");
        assertThat(watch.waitFor()).isZero();
    }

    /** Kernel memory alone shows these changes. In flavour avic KVM posts, and an inhibit ends that. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void changeInKernelMemoryIsToldAtItsVector(boolean onScreen) throws IOException, InterruptedException {
        guest = "java";
        KernelStructures structures = made.add(PredictedEntriesContract.structures());
        Kernel own = made.add(Kernel.open(Backends.AUTO));
        Vm vm = made.add(Vm.create(own));
        vm.x86().createIrqchip();
        vm.x86().createPit();
        vm.x86().setPitReinjection(false);
        Vcpu vcpu = made.add(new AssembledGuest(vm, "loop: out 0x80, al; jmp loop")).vcpu;
        vcpu.x86().enableLapic();
        VfioDevice device = made.add(VfioDevice.open(own, vfio.address(E1000E), made.add(KvmVfio.create(vm))));
        device.config().enableBusMaster();
        List<ForwardedIrq> irqs = made.add(Forwarding.create(vm, device))
                .forwardAll(device.msix(0, 3), i -> MsiMessage.to(new VcpuId(0), new InterruptVector(0x41 + i)));
        vcpu.run();
        Watched watched = watch(onScreen);
        String posting = "posted java .*";
        planted(
                watched,
                "vector masked",
                posting,
                irqs.get(1)::mask,
                at("irqfd", "1", "no VM has an irqfd for this eventfd"));
        planted(watched, "vector unmasked", posting, irqs.get(1)::unmask, at("irqfd", "1", "process \\d+: KVM "));
        planted(
                watched,
                "vector rerouted",
                "",
                () -> irqs.get(2).reroute(MsiMessage.to(new VcpuId(0), new InterruptVector(0x51))),
                at("guest vector", "2", "0x51: "));
        if (PredictedEntriesContract.isVapic(structures)) {
            inhibited(watched, "inhibited", vm, vcpu, true, "not posted: ");
            inhibited(watched, "not inhibited", vm, vcpu, false, "hardware posts it");
        }
        device.reset(); // QEMU's e1000e counts 128 us from its last message
    }

    /** A vCPU writes the entries when it enters the guest. */
    private void inhibited(Watched watched, String name, Vm vm, Vcpu vcpu, boolean on, String text)
            throws IOException, InterruptedException {
        planted(
                watched,
                "AVIC " + name,
                "",
                () -> {
                    vm.x86().setPitReinjection(on);
                    vcpu.run();
                },
                at("posted", "0", text),
                at("posted", "1", text),
                at("posted", "2", text));
    }
}
