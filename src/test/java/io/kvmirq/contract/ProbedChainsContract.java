/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.SeenCalls;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.IntFunction;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The chain of a device by probes, hop by hop against the system calls of its VMM and against what the VMM itself says:
 * each device under QEMU and under tiny-vmm, in a guest that makes it send. The run prints a table.
 */
@VfioContract
class ProbedChainsContract extends VfioSuite {
    private static final int SENT = 5;
    private static final long LOOK_MILLIS = 200;
    static final List<Hop<?>> HOPS =
            List.of(Hop.HOST_IRQ, Hop.DEVICE_VECTOR, Hop.EVENTFD, Hop.IRQFD, Hop.GSI, Hop.GUEST_VECTOR, Hop.VCPU);

    /** QEMU's own events, which name the GSI of a vector; the file of its log follows. */
    static final String QEMU_TRACE = " -trace kvm_irqchip_add_msi_route -trace vfio_msix_vector_do_use -D ";

    @TempDir
    private Path temporary;

    private Optional<ProcessHandle> vmm = Optional.empty();

    @BeforeEach
    void requireProbes() {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: the fake has no tracefs");
        assumeTrue(!world.isArm64(), "needs x86: the guest is of x86");
        assumeTrue(Files.exists(Path.of("/sys/kernel/tracing/kprobe_events")), "needs kprobes: make lab has them");
    }

    /** A device that sends when MSI-X is disabled ends QEMU's machine: the VMM is stopped, and then the device reset. */
    static void end(ProcessHandle vmm, String device) throws IOException, InterruptedException {
        Program.signal("STOP", vmm.pid());
        Path reset = Path.of("/sys/bus/pci/devices", device, "reset");
        if (Files.exists(reset)) {
            Files.writeString(reset, "1");
        }
        vmm.destroyForcibly();
        vmm.onExit().join();
    }

    private void end(TestDevice.Place place) throws IOException, InterruptedException {
        if (vmm.isPresent()) {
            end(vmm.get(), place.address());
            vmm = Optional.empty();
        }
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        assertThat(vmm).isEmpty();
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    /** Waits for the VMM. It gets the processor meanwhile: under emulation it is slow. */
    static void await(CompletableFuture<Cli.Ended> run, BooleanSupplier holds) throws InterruptedException {
        while (!holds.getAsBoolean()) {
            assertThat(run.isDone())
                    .as(() -> "the VMM has ended: " + run.join())
                    .isFalse();
            TimeUnit.MILLISECONDS.sleep(LOOK_MILLIS);
        }
    }

    /** Starts a VMM; it is the child of this process. */
    static CompletableFuture<Cli.Ended> started(Path output, List<String> program) throws IOException {
        return new ProcessBuilder(program)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start()
                .onExit()
                .thenApply(end -> new Cli.Ended(end.exitValue(), text(output), ""));
    }

    static Optional<ProcessHandle> child() {
        return ProcessHandle.current().children().findFirst();
    }

    @ParameterizedTest
    @EnumSource(
            value = TestDevice.class,
            names = {"E1000E", "EDU", "NVME"})
    void chainUnderQemuIsThatOfItsCalls(TestDevice device) throws Exception {
        TestDevice.Place place = vfio.place(device);
        Path qemu = Path.of("vmm/x86_64").toAbsolutePath();
        assumeTrue(Files.isDirectory(qemu), "needs QEMU in " + qemu + ": make lab runs this");
        Path rom = Files.write(temporary.resolve("rom"), SendingGuest.firmware(device, SendingGuest.config(place), 2));
        isThatOfTheCalls(
                "QEMU",
                device,
                place,
                List.of(("env LD_LIBRARY_PATH=" + qemu + "/lib " + qemu + "/qemu-system-x86_64"
                                + " -name guest=sending -accel kvm -cpu host -m 16 -nodefaults -display none"
                                + " -machine q35,smm=off -bios " + rom + QEMU_TRACE + log()
                                + " -device vfio-pci,addr=2,host=" + place.address())
                        .split(" ")),
                vector -> ofQemu(log(), device == TestDevice.EDU ? "MSI " : "MSI-X ", vector));
    }

    @ParameterizedTest
    @EnumSource(
            value = TestDevice.class,
            names = {"E1000E", "EDU", "NVME"})
    void chainUnderTinyVmmIsThatOfItsCalls(TestDevice device) throws Exception {
        TestDevice.Place place = vfio.place(device);
        isThatOfTheCalls(
                "tiny-vmm",
                device,
                place,
                tinyVmm(device, place),
                vector ->
                        ofTinyVmm(output(), place.address(), (device == TestDevice.EDU ? "MSI " : "MSI-X ") + vector));
    }

    /** The handlers are counted until the VMM stops. */
    @Test
    void stoppedVmmIsNamedAndNothingIsLeft() throws Exception {
        TestDevice device = TestDevice.EDU;
        TestDevice.Place place = vfio.place(device);
        PciAddress address = PciAddress.parse(place.address());
        Process process = new ProcessBuilder(tinyVmm(device, place))
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        vmm = Optional.of(process.toHandle());
        CompletableFuture<Cli.Ended> run = process.onExit().thenApply(end -> new Cli.Ended(end.exitValue(), "", ""));
        try {
            await(device, place, run, new long[1]);
            Live live;
            HostFacts after;
            try (LiveWindow window = LiveProbesContract.watch(List.of(address), process.pid())) {
                await(device, place, run, handled(device, place));
                stop(process.pid(), run);
                after = LiveProbesContract.host();
                live = LiveProbesContract.ended(window, after);
            }
            assertThat(live.missing()).isEmpty();
            assertThat(live.stages()).singleElement().satisfies(stages -> assertThat(LiveProbesContract.printed(stages))
                    .anyMatch(line -> line.startsWith("host irq ")));
            InterruptPath chain = LiveChains.of(live, after)
                    .of(DeviceChains.read(after, after.pci(address).orElseThrow(), 0));
            assertThat(chain.fails()).contains(Hop.VMM);
            assertThat(chain.link(Hop.VMM).orElseThrow().text()).contains(" is stopped by a signal");
            stagesAddUp(place, address, process.pid(), run);
        } finally {
            end(place);
        }
    }

    /** Stopped at both ends, so that all which it sends is counted by each stage. */
    private static void stagesAddUp(
            TestDevice.Place place, PciAddress address, long process, CompletableFuture<Cli.Ended> run)
            throws IOException, InterruptedException {
        long before = handled(TestDevice.EDU, place)[0];
        try (LiveWindow window = LiveProbesContract.watch(List.of(address), process)) {
            Program.signal("CONT", process);
            await(TestDevice.EDU, place, run, handled(TestDevice.EDU, place));
            stop(process, run);
            long sent = handled(TestDevice.EDU, place)[0] - before;
            Live live = LiveProbesContract.ended(window, LiveProbesContract.host());
            assertThat(live.missing()).isEmpty();
            assertThat(live.stages()).hasSize(1);
            Stages stages = live.stages().get(0);
            assertThat(LiveProbesContract.printed(stages)).endsWith(LiveProbesContract.takenByNone(sent));
            assertThat(stages.stages().stream()
                            .filter(stage -> !stage.label().equals("taken"))
                            .map(Stages.Stage::counted))
                    .hasSize(5)
                    .containsOnly(String.valueOf(sent));
        }
    }

    private static void stop(long process, CompletableFuture<Cli.Ended> run) throws IOException, InterruptedException {
        Program.signal("STOP", process);
        await(
                run,
                () -> Path.of("/proc", String.valueOf(process), "task").toFile().list().length == stopped(process));
    }

    private static long stopped(long process) {
        return Arrays.stream(Path.of("/proc", String.valueOf(process), "task")
                        .toFile()
                        .list())
                .filter(thread -> status(process + "/task/" + thread).contains("State:\tT"))
                .count();
    }

    private static String status(String task) {
        try {
            return Files.readString(Path.of("/proc", task, "status"));
        } catch (IOException e) {
            return "";
        }
    }

    private List<String> tinyVmm(TestDevice device, TestDevice.Place place) throws IOException {
        Path image = Files.write(temporary.resolve("image"), SendingGuest.image(device, SendingGuest.config(place), 1));
        List<String> program = VfioKillContract.java();
        program.addAll(List.of(
                "-cp",
                System.getProperty("java.class.path")
                        + File.pathSeparator
                        + Machine.root().resolve("target/examples"),
                "tinyvmm.TinyVmm",
                "--kernel",
                image.toString(),
                "--memory",
                "16",
                "--interrupts",
                "0",
                "--device",
                place.address(),
                "--paths",
                "yes"));
        return program;
    }

    private void isThatOfTheCalls(
            String name,
            TestDevice device,
            TestDevice.Place place,
            List<String> program,
            IntFunction<Map<Hop<?>, String>> own)
            throws Exception {
        Path calls = temporary.resolve("calls");
        CompletableFuture<Cli.Ended> run = started(output(), new SeenCalls(temporary).ioctls(calls, program));
        vmm = child();
        PciAddress address = PciAddress.parse(place.address());
        long process;
        Live live;
        List<InterruptPath> probed = new ArrayList<>();
        List<Map<Hop<?>, String>> seen = new ArrayList<>();
        List<Map<Hop<?>, String>> owned = new ArrayList<>();
        try {
            await(device, place, run, new long[SendingGuest.vectors(device)]);
            process = vmm.orElseThrow().pid();
            HostFacts after;
            try (LiveWindow window = LiveProbesContract.watch(List.of(address), process)) {
                await(device, place, run, handled(device, place));
                after = LiveProbesContract.host();
                live = LiveProbesContract.ended(window, after);
            }
            LiveChains chains = LiveChains.of(live, after);
            for (int vector = 0; vector < SendingGuest.vectors(device); vector++) {
                probed.add(chains.of(DeviceChains.read(after, after.pci(address).orElseThrow(), vector)));
                seen.add(SeenPaths.of(calls)
                        .of(place.address(), (device == TestDevice.EDU ? "MSI " : "MSI-X ") + vector, process));
                owned.add(own.apply(vector));
            }
        } finally {
            end(place);
            run.join();
        }
        assertThat(live.missing()).isEmpty();
        assertThat(differences("calls", name + " " + device, HOPS, probed, seen))
                .isEmpty();
        assertThat(owned).allSatisfy(hops -> assertThat(hops).containsKeys(Hop.DEVICE_VECTOR, Hop.GSI));
        assertThat(differences(
                        name + "'s own",
                        name + " " + device,
                        List.copyOf(owned.get(0).keySet()),
                        probed,
                        owned))
                .isEmpty();
        assertThat(probed).allSatisfy(chain -> {
            assertThat(LiveProbesContract.value(chain, Hop.IRQFD)).isEqualTo("process " + process);
            assertThat(chain.link(Hop.EVENTFD).orElseThrow().text()).endsWith(" of process " + process);
        });
    }

    private static String handler(TestDevice device, TestDevice.Place place, int vector) {
        return (device == TestDevice.EDU ? "vfio-msi[" : "vfio-msix[") + vector + "](" + place.address() + ")";
    }

    private static long[] handled(TestDevice device, TestDevice.Place place) {
        long[] counts = new long[SendingGuest.vectors(device)];
        for (int vector = 0; vector < counts.length; vector++) {
            counts[vector] = LiveProbesContract.handled(handler(device, place, vector));
        }
        return counts;
    }

    /** Waits until the host has handled some more interrupts of each vector. */
    private static void await(TestDevice device, TestDevice.Place place, CompletableFuture<Cli.Ended> run, long[] since)
            throws InterruptedException {
        for (int i = 0; i < since.length; i++) {
            int vector = i;
            await(run, () -> LiveProbesContract.handled(handler(device, place, vector)) >= since[vector] + SENT);
        }
    }

    private Path log() {
        return temporary.resolve("log");
    }

    private Path output() {
        return temporary.resolve("output");
    }

    /** The hops that QEMU's own events name: GSIs of vectors, and the vectors of MSI-X that the guest uses. */
    static Map<Hop<?>, String> ofQemu(Path log, String kind, int vector) {
        String text = text(log);
        Map<Hop<?>, String> hops = new TreeMap<>();
        if (kind.equals("MSI ")
                || text.matches("(?s).*vfio_msix_vector_do_use +\\(.*\\) vector " + vector + " used.*")) {
            hops.put(Hop.DEVICE_VECTOR, kind + vector);
        }
        Pattern.compile("kvm_irqchip_add_msi_route dev \\S+ vector " + vector + " virq (\\d+)")
                .matcher(text)
                .results()
                .forEach(route -> hops.put(Hop.GSI, "gsi " + route.group(1)));
        return hops;
    }

    /** The hops that tiny-vmm prints with {@code --paths yes}, whose number of an eventfd is not the kernel's. */
    static Map<Hop<?>, String> ofTinyVmm(Path said, String device, String vector) {
        Map<Hop<?>, String> hops = new TreeMap<>();
        Pattern.compile("tiny-vmm: " + vector.replaceFirst("MSI 0", "MSI(?: 0)?") + " of " + device
                        + " . (gsi \\d+) \\(irqfd\\), eventfd-id \\d+, msi 0x([0-9a-f]+)/0x([0-9a-f]+)")
                .matcher(text(said))
                .results()
                .forEach(path -> {
                    SeenPaths.Message message = new SeenPaths.Message(
                            Long.parseLong(path.group(2), 16), Integer.parseUnsignedInt(path.group(3), 16));
                    hops.put(Hop.DEVICE_VECTOR, vector);
                    hops.put(Hop.GSI, path.group(1));
                    hops.put(Hop.GUEST_VECTOR, "0x" + Integer.toHexString(message.data() & 0xff));
                    hops.put(Hop.VCPU, message.vcpu());
                });
        return hops;
    }

    private static String text(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Hops whose value by probes is not the witness's, or that one of them lacks. */
    static List<String> differences(
            String witness,
            String of,
            List<Hop<?>> hops,
            List<InterruptPath> probed,
            List<Map<Hop<?>, String>> witnessed) {
        List<String> differences = new ArrayList<>();
        for (int vector = 0; vector < witnessed.size(); vector++) {
            for (Hop<?> hop : hops) {
                String byProbes = LiveProbesContract.value(probed.get(vector), hop);
                String byWitness = witnessed.get(vector).getOrDefault(hop, "none");
                boolean same = byProbes.equals(byWitness) && !byProbes.equals("none");
                String row = String.format(
                        "probes and %s: %-18s %d  %-14s %-16s %-16s %s",
                        witness, of, vector, hop.label(), byProbes, byWitness, same ? "same" : "DIFFERENT");
                System.out.println(row);
                if (!same) {
                    differences.add(row);
                }
            }
        }
        return differences;
    }
}
