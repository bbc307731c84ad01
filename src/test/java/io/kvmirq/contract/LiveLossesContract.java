/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.LiveProbesContract.handled;
import static io.kvmirq.contract.LiveProbesContract.host;
import static io.kvmirq.contract.LiveProbesContract.printed;
import static io.kvmirq.contract.LiveProbesContract.watch;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.MSI_ADDRESS;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.World.MsiRoute;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Hop;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Losses at the vCPU and at the device, made on purpose and counted by probes: {@link LiveProbesContract} has the others. */
@VfioContract
class LiveLossesContract extends VfioSuite {
    private static final int MSIX = UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX;
    private static final int SENT = 20;
    private static final int GSI = 24;
    private static final Path MODULES = Path.of("/modules");
    private static final int UNHEARD = 0x61;
    private static final int STOPPED = 0x62;
    private static final int CAPABILITY = 0x11;
    private static final int BAR_BITS = 7;
    /** The high byte of the capability's message control. */
    private static final int CONTROL_HIGH = 3;

    private static final int FUNCTION_MASK = 0x40;

    private static final Duration DAY = Duration.ofDays(1);
    private static final Duration HOUR = Duration.ofHours(1);
    /** Microseconds. */
    private static final Pattern LONGEST =
            Pattern.compile("taken after the irqfd: median .*, at most (\\d+)\\.\\d+ us");

    private int vm;

    @BeforeEach
    void requireProbes() {
        LiveProbesContract.requireProbes(world);
        vm = world.fullVm();
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    static void requireInjectionByKvm() throws IOException {
        for (String parameter : List.of("kvm_intel/parameters/enable_apicv", "kvm_amd/parameters/avic")) {
            Path file = Path.of("/sys/module", parameter);
            assumeTrue(
                    !Files.exists(file)
                            || List.of("N", "0").contains(Files.readString(file).strip()),
                    "needs a host without APIC virtualization: hardware injects where no probe is");
        }
    }

    private static List<String> of(Live live, String vector) {
        return live.stages().stream()
                .map(LiveProbesContract::printed)
                .filter(lines -> lines.stream().anyMatch(line -> line.endsWith(", data 0x" + vector)))
                .findFirst()
                .orElseThrow();
    }

    /** One vCPU runs and takes each message; later it runs no more. Another one never ran. */
    @Test
    void vcpusThatDoNotRunTakeNothing() throws IOException {
        requireInjectionByKvm();
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        world.vcpuWithLapic(vm, 1);
        int[] events = vfio.events(3);
        assertOk(world.setMsiRoutes(
                vm,
                new MsiRoute(GSI, MSI_ADDRESS, World.VECTOR, 0),
                new MsiRoute(GSI + 1, MSI_ADDRESS | 1 << 12, UNHEARD, 0),
                new MsiRoute(GSI + 2, MSI_ADDRESS, STOPPED, 0)));
        for (int i = 0; i < events.length; i++) {
            assertOk(kernel.irqfdAssign(vm, events[i], GSI + i));
        }
        Live live;
        try (LiveWindow window = watch(List.of())) {
            for (int i = 0; i < SENT; i++) {
                assertOk(kernel.eventfdSignal(events[0], 1));
                guest.answer();
            }
            for (int i = 0; i < SENT; i++) {
                assertOk(kernel.eventfdSignal(events[1], 1));
                assertOk(kernel.eventfdSignal(events[2], 1));
            }
            live = LiveProbesContract.ended(window, host());
        }
        assertThat(live.missing()).isEmpty();
        assertThat(of(live, Integer.toHexString(World.VECTOR)))
                .anyMatch(text -> text.startsWith("delivered " + SENT + " "))
                .anyMatch(text -> text.startsWith("taken " + SENT + " vector 0x" + Integer.toHexString(World.VECTOR)))
                .anyMatch(text -> text.startsWith("taken after the irqfd: median in ("))
                .endsWith("loses nothing");
        for (int vector : new int[] {UNHEARD, STOPPED}) {
            assertThat(of(live, Integer.toHexString(vector)))
                    .anyMatch(text -> text.startsWith("delivered " + SENT + " "))
                    .contains("taken 0 vector 0x" + Integer.toHexString(vector))
                    .endsWith(LiveProbesContract.takenByNone(SENT));
        }
    }

    /** The kernel wakes the irqfd that was assigned first. */
    @Test
    void secondIrqfdOfAnEventfdIsNamed() {
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        int other = world.fullVm();
        int event = vfio.events(1)[0];
        for (int each : new int[] {vm, other}) {
            assertOk(world.setMsiRoutes(each, new MsiRoute(GSI, MSI_ADDRESS, World.VECTOR, 0)));
        }
        assertOk(kernel.irqfdAssign(vm, event, GSI));
        int second = kernel.irqfdAssign(other, event, GSI);
        assumeTrue(second != -Errno.EBUSY.number(), "needs a kernel before 6.17, which takes a second irqfd");
        assertOk(second);
        Live live;
        try (LiveWindow window = watch(List.of())) {
            for (int i = 0; i < SENT; i++) {
                assertOk(kernel.eventfdSignal(event, 1));
                guest.answer();
            }
            live = LiveProbesContract.ended(window, host());
        }
        String process = "process " + ProcessHandle.current().pid();
        assertThat(live.stages()).hasSize(1);
        assertThat(printed(live.stages().get(0)))
                .contains("irqfd " + SENT + " " + process)
                .endsWith(
                        "in doubt irqfd: the signals go to " + process + ", so another irqfd on the same eventfd, in"
                                + " " + process
                                + ", starves",
                        "loses nothing");
    }

    private static void setClock(Instant time) throws IOException, InterruptedException {
        Program.output(List.of("busybox", "date", "-s", "@" + time.getEpochSecond()));
    }

    /** A day forward, while a message waits for its vCPU, and then back. */
    @Test
    void clockThatJumpsChangesNoTime() throws Exception {
        requireInjectionByKvm();
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        int event = vfio.events(1)[0];
        assertOk(world.setMsiRoutes(vm, new MsiRoute(GSI, MSI_ADDRESS, World.VECTOR, 0)));
        assertOk(kernel.irqfdAssign(vm, event, GSI));
        Live live;
        try (LiveWindow window = watch(List.of())) {
            assertOk(kernel.eventfdSignal(event, 1));
            setClock(Instant.now().plus(DAY));
            try {
                guest.answer();
                live = LiveProbesContract.ended(window, host());
            } finally {
                setClock(Instant.now().minus(DAY));
            }
        }
        assertThat(live.missing()).isEmpty();
        assertThat(live.watched()).isLessThan(HOUR);
        assertThat(of(live, Integer.toHexString(World.VECTOR))).anySatisfy(text -> {
            Matcher longest = LONGEST.matcher(text);
            assertThat(longest.matches()).isTrue();
            assertThat(Duration.ofNanos(1000 * Long.parseLong(longest.group(1))))
                    .isLessThan(HOUR);
        });
    }

    /** The eventfd of one vector is closed, so its irqfd ends. Then the device's mask holds another vector. */
    @Test
    void closedEventfdAndMaskedVectorAreNamed() throws IOException {
        world.vcpuWithLapic(vm);
        PciAddress nic = vfio.address(E1000E);
        OpenedDevice device = vfio.device(E1000E);
        device.start();
        int[] events = vfio.events(2);
        assertOk(world.setMsiRoutes(
                vm, new MsiRoute(GSI, MSI_ADDRESS, 0x41, 0), new MsiRoute(GSI + 1, MSI_ADDRESS, 0x42, 0)));
        assertOk(device.arm(MSIX, 0, events));
        for (int i = 0; i < events.length; i++) {
            assertOk(kernel.irqfdAssign(vm, events[i], GSI + i));
        }
        closeFile(events[0]);
        int capability = device.capabilities().get(CAPABILITY);
        long pending = place(device, device.readConfig(capability + 8, Integer.BYTES));
        Live live;
        HostFacts after;
        long closed;
        long masked = handled(1);
        try (LiveWindow window = watch(List.of(nic))) {
            for (int i = 0; i < SENT; i++) {
                long before = handled(0);
                device.hardware.send(0);
                eventually("the host handled vector 0", () -> handled(0) > before);
            }
            mask(nic, capability);
            device.hardware.send(1);
            eventually("the device keeps vector 1", () -> (device.readRegion(pending, Long.BYTES) & 2) != 0);
            closed = handled(0);
            after = host();
            live = LiveProbesContract.ended(window, after);
        }
        assertThat(handled(1)).isEqualTo(masked);
        assertThat(live.stages()).hasSize(1);
        assertThat(printed(live.stages().get(0)))
                .endsWith(
                        "in doubt irqfd: " + closed
                                + " signals that no irqfd consumed: no VMM has the eventfd open now",
                        "loses nothing");
        assertThat(LiveChains.of(live, after)
                        .of(DeviceChains.read(after, after.pci(nic).orElseThrow(), 1))
                        .remarks())
                .anyMatch(text -> text.startsWith("no stage counted it, so the device sent nothing"));
    }

    /** A driver that sets up its queues while it is watched: another vector was armed before. */
    @Test
    void vcpuOfAVectorThatIsArmedWhileItIsWatchedIsShown() throws IOException {
        world.vcpuWithLapic(vm);
        PciAddress nic = vfio.address(E1000E);
        OpenedDevice device = vfio.device(E1000E);
        device.start();
        int[] events = vfio.events(2);
        assertOk(world.setMsiRoutes(
                vm, new MsiRoute(GSI, MSI_ADDRESS, 0x41, 0), new MsiRoute(GSI + 1, MSI_ADDRESS, 0x42, 0)));
        for (int i = 0; i < events.length; i++) {
            assertOk(kernel.irqfdAssign(vm, events[i], GSI + i));
        }
        assertOk(device.arm(MSIX, 0, events[0]));
        Live live;
        HostFacts after;
        try (LiveWindow window = watch(List.of(nic))) {
            assertOk(device.disable(MSIX));
            assertOk(device.arm(MSIX, 0, events));
            for (int i = 0; i < SENT; i++) {
                long before = handled(1);
                device.hardware.send(1);
                eventually("the host handled vector 1", () -> handled(1) > before);
            }
            after = host();
            live = LiveProbesContract.ended(window, after);
        }
        assertThat(live.missing()).isEmpty();
        assertThat(LiveProbesContract.value(
                        LiveChains.of(live, after)
                                .of(DeviceChains.read(after, after.pci(nic).orElseThrow(), 1)),
                        Hop.VCPU))
                .isEqualTo("vcpu 0");
    }

    /** Without the driver, and without its module, whose functions have probes. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void deviceThatIsUnboundWhileItIsWatchedKeepsItsCounts(boolean unloads) throws Exception {
        assumeTrue(
                !unloads || Files.isDirectory(MODULES),
                "needs the modules of VFIO in " + MODULES + ": make lab has them");
        if (unloads) {
            Machine.assumeProgram("busybox");
        }
        world.vcpuWithLapic(vm);
        PciAddress edu = vfio.address(EDU);
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = world.eventfd();
        assertOk(world.setMsiRoutes(vm, new MsiRoute(GSI, MSI_ADDRESS, 0x41, 0)));
        assertOk(device.arm(UapiVfio.VFIO_PCI_MSI_IRQ_INDEX, 0, event));
        assertOk(kernel.irqfdAssign(vm, event, GSI));
        String row = "vfio-msi[0](" + edu + ")";
        Live live;
        try (LiveWindow window = watch(List.of(edu))) {
            for (int i = 0; i < SENT; i++) {
                long before = handled(row);
                device.hardware.send(0);
                eventually("the host handled it", () -> handled(row) > before);
            }
            closeFile(device.fd);
            if (unloads) {
                Program.output(List.of("busybox", "rmmod", "vfio_pci"));
                Program.output(List.of("busybox", "rmmod", "vfio_pci_core"));
            } else {
                driver("unbind", edu);
            }
            try {
                live = LiveProbesContract.ended(window, host());
            } finally {
                if (unloads) {
                    load("vfio-pci-core.ko");
                    load("vfio-pci.ko");
                } else {
                    driver("bind", edu);
                }
            }
        }
        assertThat(live.missing()).isEmpty();
        assertThat(live.stages()).hasSize(1);
        assertThat(printed(live.stages().get(0)))
                .anyMatch(line -> line.startsWith("host irq " + SENT + " "))
                .anyMatch(line -> line.startsWith("delivered " + SENT + " "));
        assertThat(live.notes()).contains(edu + " is no longer bound to VFIO, because it was unbound during the watch");
    }

    /** Loads a module whose devices are bound by their driver_override. */
    private static void load(String module) throws IOException, InterruptedException {
        for (String file : MODULES.toFile().list()) {
            if (file.endsWith("-" + module)) {
                Program.output(
                        List.of("busybox", "insmod", MODULES.resolve(file).toString()));
            }
        }
    }

    private static void driver(String file, PciAddress device) throws IOException {
        Files.writeString(Path.of("/sys/bus/pci/drivers/vfio-pci", file), device.toString());
    }

    /** Sets the function mask behind the back of VFIO, which lets no user write the mask of a vector. */
    private static void mask(PciAddress device, int capability) throws IOException {
        try (RandomAccessFile config = new RandomAccessFile("/sys/bus/pci/devices/" + device + "/config", "rw")) {
            config.seek(capability + CONTROL_HIGH);
            int control = config.read();
            config.seek(capability + CONTROL_HIGH);
            config.write(control | FUNCTION_MASK);
        }
    }

    /** The offset in the device's file of what a register of the capability names: a BAR, and a place in it. */
    private static long place(OpenedDevice device, long register) {
        ByteBuffer info = Buffers.allocate(VfioRegionInfo.SIZE);
        assertOk(device.region(VfioRegionInfo.SIZE, (int) register & BAR_BITS, info));
        return info.getLong(VfioRegionInfo.OFFSET) + (register & ~(long) BAR_BITS);
    }
}
