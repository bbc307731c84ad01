/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.diag.sources.VcpuThreads;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Probes on a real kernel: chains against what was set up, losses that were made on purpose, and what is left in tracefs. */
@VfioContract
class LiveProbesContract extends VfioSuite {
    private static final Path TRACEFS = Path.of("/sys/kernel/tracing");
    private static final int VECTORS = 5;
    private static final int SENT = 20;
    private static final int MANY = 100_000;

    private final Undo made = new Undo();

    @BeforeEach
    void requireProbes() {
        requireProbes(world);
    }

    static void requireProbes(World world) {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: the fake has no tracefs");
        assumeTrue(!world.isArm64(), "needs x86: LPIs pass other functions");
        assumeTrue(Files.exists(TRACEFS.resolve("kprobe_events")), "needs kprobes: make lab has them");
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        made.close();
        assertThat(left()).isEmpty();
    }

    /** Files and lines of tracefs that are ours. */
    static List<String> left() throws IOException {
        List<String> left = new ArrayList<>();
        if (!Files.exists(TRACEFS.resolve("kprobe_events"))) {
            return left;
        }
        for (String file : List.of("kprobe_events", "synthetic_events")) {
            left.addAll(Files.readAllLines(TRACEFS.resolve(file)));
        }
        try (Stream<Path> instances = Files.list(TRACEFS.resolve("instances"))) {
            instances.map(Path::toString).forEach(left::add);
        }
        return left;
    }

    static HostFacts host() {
        return new HostFacts(LiveHost.thisMachine().files());
    }

    static LiveWindow watch(List<PciAddress> devices) {
        return watch(devices, ProcessHandle.current().pid());
    }

    /** Watches devices and the guests of a process. */
    static LiveWindow watch(List<PciAddress> devices, long process) {
        HostFacts host = host();
        return LiveWindow.begin(
                LiveHost.thisMachine(),
                host,
                devices,
                host.vms().all().stream().filter(vm -> vm.pid() == process).toList(),
                true);
    }

    /** Ends a watch. A count is no number to compare if a probe missed events. */
    static Live ended(LiveWindow window, HostFacts after) {
        Live live = window.end(after);
        assumeTrue(isExact(live), "a probe missed events of this watch, so no count is exact");
        return live;
    }

    private static boolean isExact(Live live) {
        return live.notes().stream().noneMatch(note -> note.contains("histograms missed"));
    }

    static List<String> printed(Stages stages) {
        List<String> lines = new ArrayList<>();
        stages.stages().forEach(stage -> {
            lines.add(stage.label() + " " + stage.counted() + " " + stage.value());
            stage.latency().ifPresent(latency -> lines.add(stage.label() + " " + latency));
        });
        stages.doubt().ifPresent(doubt -> lines.add("in doubt " + doubt));
        lines.add("loses " + stages.loses().orElse("nothing"));
        lines.forEach(System.out::println);
        return lines;
    }

    /** The last lines of messages to a vCPU that does not run, where KVM injects each. */
    static String[] takenByNone(long count) {
        return new String[] {
            "in doubt taken: " + count
                    + " that no vCPU took: it is not running, or has interrupts off; one may be pending",
            "loses nothing"
        };
    }

    static String value(InterruptPath chain, Hop<?> hop) {
        return chain.link(hop).flatMap(Link::value).orElse("none");
    }

    /** The id that fdinfo has. */
    static int eventfdId(int fd) throws IOException {
        return Files.readAllLines(Path.of("/proc/self/fdinfo/" + fd)).stream()
                .filter(line -> line.startsWith("eventfd-id:"))
                .mapToInt(line -> Integer.parseInt(line.replaceFirst("\\D+", "")))
                .findFirst()
                .orElseThrow();
    }

    static long handled(int vector) {
        return handled("vfio-msix[" + vector + "]");
    }

    /** The count of the irqs of a name that the host handled. */
    static long handled(String name) {
        try {
            return Files.readAllLines(Path.of("/proc/interrupts")).stream()
                    .filter(row -> row.contains(name))
                    .flatMap(row ->
                            Arrays.stream(row.strip().split(" +")).skip(1).takeWhile(word -> word.matches("\\d+")))
                    .mapToLong(Long::parseLong)
                    .sum();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** One of five vectors is whole; the others lose at the irqfd, the route, the LAPIC and the destination. */
    @Test
    void eachLossIsNamedAndCountedAndTheChainIsThatOfTheSetUp() throws Exception {
        PciAddress nic = vfio.address(E1000E);
        long[] counts = new long[VECTORS];
        Live live;
        HostFacts after;
        Kernel kernel = made.add(Kernel.over(vfio.kernel()));
        Vm vm = made.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        for (int i = 0; i < 2; i++) {
            made.add(vm.createVcpu(new VcpuId(i))).x86().enableLapic();
        }
        made.add(vm.createVcpu(new VcpuId(2)));
        VfioDevice device = made.add(VfioDevice.open(kernel, nic, made.add(KvmVfio.create(vm))));
        Hardware hardware = vfio.hardwareOf(E1000E, Numbers.of(device.fd()));
        device.config().enableMemory();
        device.config().enableBusMaster();
        hardware.start();
        int[] vcpus = {1, 0, 0, 2, 77};
        List<ForwardedIrq> irqs = made.add(Forwarding.create(vm, device))
                .forwardAll(
                        device.msix(0, VECTORS),
                        i -> MsiMessage.to(new VcpuId(vcpus[i]), new InterruptVector(0x40 + i)));
        InterruptPath whole = irqs.get(0).path();
        String hostIrq = Files.readAllLines(Path.of("/proc/interrupts")).stream()
                .filter(row -> row.endsWith("vfio-msix[0](" + nic + ")"))
                .map(row -> row.strip().split(":", 2)[0])
                .findFirst()
                .orElseThrow();
        irqs.get(1).mask();
        vm.routes().removeLosingInterrupts(irqs.get(2).gsi().orElseThrow());
        try (LiveWindow window = watch(List.of(nic))) {
            for (int vector = 0; vector < VECTORS; vector++) {
                for (int i = 0; i < SENT; i++) {
                    int which = vector;
                    long before = handled(which);
                    hardware.send(vector);
                    eventually("the host handled vector " + which, () -> handled(which) > before);
                }
            }
            // The device may repeat a message until then.
            device.reset();
            for (int vector = 0; vector < VECTORS; vector++) {
                counts[vector] = handled(vector);
            }
            after = host();
            live = ended(window, after);
        }
        assertThat(live.missing()).isEmpty();
        List<List<String>> stages =
                live.stages().stream().map(LiveProbesContract::printed).toList();
        assertThat(stages).hasSize(VECTORS);
        for (int vector = 0; vector < VECTORS; vector++) {
            assertThat(counts[vector]).isGreaterThanOrEqualTo(SENT);
            assertThat(stages.get(vector).get(0)).startsWith("host irq " + counts[vector] + " ");
        }
        assertThat(stages.get(0))
                .anyMatch(line -> line.startsWith("delivered " + counts[0] + " address 0xfee01000, data 0x40"))
                .anyMatch(line -> line.startsWith("irqfd after the handler: median in ("))
                .anyMatch(line -> line.startsWith("delivered after the irqfd: median in ("))
                .endsWith(takenByNone(counts[0]));
        assertThat(stages.get(1)).endsWith("loses irqfd: " + counts[1] + " signals that no irqfd consumed");
        assertThat(stages.get(2)).endsWith("loses GSI: " + counts[2] + " signals while the GSI had no route");
        for (int vector : new int[] {3, 4}) {
            assertThat(stages.get(vector))
                    .endsWith("loses delivered: " + counts[vector] + " that KVM refused, " + counts[vector]
                            + " because no vCPU matches the destination, or its LAPIC is off");
        }
        LiveChains with = LiveChains.of(live, after);
        List<Optional<Hop<?>>> fails = new ArrayList<>();
        for (int vector = 0; vector < VECTORS; vector++) {
            fails.add(with.of(DeviceChains.read(after, after.pci(nic).orElseThrow(), vector))
                    .fails());
        }
        assertThat(fails)
                .containsExactly(
                        Optional.empty(),
                        Optional.of(Hop.IRQFD),
                        Optional.of(Hop.GSI),
                        Optional.of(Hop.VCPU),
                        Optional.of(Hop.VCPU));
        InterruptPath probed = with.of(DeviceChains.read(after, after.pci(nic).orElseThrow(), 0));
        assertThat(value(probed, Hop.HOST_IRQ)).isEqualTo(hostIrq);
        assertThat(value(probed, Hop.DEVICE_VECTOR)).isEqualTo("MSI-X 0");
        assertThat(value(probed, Hop.EVENTFD)).startsWith("id ");
        assertThat(value(probed, Hop.GSI))
                .isEqualTo("gsi " + whole.known(Hop.GSI).known().orElseThrow().number());
        assertThat(value(probed, Hop.GUEST_VECTOR)).isEqualTo("0x40");
        assertThat(value(probed, Hop.VCPU)).isEqualTo("vcpu 1");
        assertThat(value(probed, Hop.IRQFD))
                .isEqualTo("process " + ProcessHandle.current().pid());
    }

    /** The probes are set and have no hits. */
    @ParameterizedTest
    @ValueSource(strings = {"/sys/kernel/debug/kprobes/enabled", "/proc/sys/kernel/ftrace_enabled"})
    void probesThatAreSwitchedOffAreNamed(String file) throws IOException {
        Path off = Path.of(file);
        assumeTrue(Files.exists(off), "needs " + file);
        PciAddress nic = vfio.address(E1000E);
        var device = e1000e();
        device.start();
        device.arm(UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX, 0, vfio.events(1));
        Live live;
        Files.writeString(off, "0");
        try (LiveWindow window = watch(List.of(nic))) {
            for (int i = 0; i < SENT; i++) {
                long before = handled(0);
                device.hardware.send(0);
                eventually("the host handled it", () -> handled(0) > before);
            }
            live = ended(window, host());
        } finally {
            Files.writeString(off, "1");
        }
        assertThat(live.stages()).isEmpty();
        assertThat(live.missing()).singleElement().satisfies(unknown -> assertThat(unknown.why())
                .contains(file.substring(file.lastIndexOf('/') + 1) + " is 0"));
        assertThat(live.notes()).anyMatch(note -> note.contains(" has no stages: the host handled it "));
    }

    /** Records in the ring buffers of all instances, also those that were read or overwritten. */
    private static long records() throws IOException {
        List<Path> stats = new ArrayList<>();
        for (String instance : TRACEFS.resolve("instances").toFile().list()) {
            try (Stream<Path> cpus = Files.list(TRACEFS.resolve("instances/" + instance + "/per_cpu"))) {
                cpus.map(cpu -> cpu.resolve("stats")).forEach(stats::add);
            }
        }
        long records = 0;
        for (Path stat : stats) {
            records += Files.readAllLines(stat).stream()
                    .filter(line -> line.matches("(entries|overrun|dropped events|read events): \\d+"))
                    .mapToLong(line -> Long.parseLong(line.split(": ")[1]))
                    .sum();
        }
        return records;
    }

    /** The count of hits of probes. */
    private static long hits() throws IOException {
        return Files.readAllLines(TRACEFS.resolve("kprobe_profile")).stream()
                .mapToLong(line -> Long.parseLong(line.strip().split(" +")[1]))
                .sum();
    }

    /** Otherwise the assumption of the other tests would hide that none of them compares a count. */
    @Test
    void probesDoNotMissEventsInEachWatch() {
        Kernel kernel = made.add(Kernel.over(vfio.kernel()));
        Vm vm = made.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, vm.routes().add(MsiMessage.to(new VcpuId(0), new InterruptVector(0x31)))));
        boolean isExact = false;
        for (int i = 0; i < VECTORS && !isExact; i++) {
            try (LiveWindow window = watch(List.of())) {
                for (int j = 0; j < SENT; j++) {
                    event.signal();
                }
                Live live = window.end(host());
                assertThat(live.stages()).hasSize(1);
                isExact = isExact(live);
            }
        }
        assertThat(isExact).isTrue();
    }

    /** Each is counted in the kernel, by at most three probes and without a record. */
    @ParameterizedTest
    @ValueSource(ints = {1000, MANY})
    void eachOfManySignalsIsCountedWithoutARecord(int signals) throws Exception {
        Kernel kernel = made.add(Kernel.over(vfio.kernel()));
        Vm vm = made.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        made.add(vm.createVcpu(new VcpuId(0))).x86().enableLapic();
        EventFd event = made.add(EventFd.create(kernel));
        Gsi gsi = vm.routes().add(MsiMessage.to(new VcpuId(0), new InterruptVector(0x31)));
        made.add(vm.assignIrqfd(event, gsi));
        Live live;
        try (LiveWindow window = watch(List.of())) {
            for (int i = 0; i < signals; i++) {
                event.signal();
            }
            assertThat(records()).as("records of %s signals", signals).isZero();
            assertThat(hits()).isBetween((long) signals, 3L * signals);
            live = ended(window, host());
        }
        System.out.println(signals + " signals: " + live.around().toMillis() + " ms of CPU to begin and to read");
        assertThat(live.missing()).isEmpty();
        assertThat(printed(live.stages().get(0)))
                .anyMatch(line -> line.startsWith("irqfd " + signals + " "))
                .anyMatch(line -> line.equals("GSI " + signals + " gsi " + gsi.number()))
                .anyMatch(line -> line.startsWith("delivered " + signals + " "))
                .endsWith(
                        VcpuThreads.areInjected(host().files())
                                ? takenByNone(signals)
                                : new String[] {
                                    "taken not seen vector 0x31: taken through hardware, or the vCPU did not" + " run",
                                    "loses nothing"
                                });
        assertThat(live.stages()).hasSize(1);
    }
}
