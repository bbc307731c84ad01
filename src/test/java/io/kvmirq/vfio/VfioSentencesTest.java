/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.testing.Refusals;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The sentence of a refusal tells what the host shows, and never replaces the refusal. */
class VfioSentencesTest {
    private static final String DEVICES = "sys/bus/pci/devices";
    private static final String DEVICE = DEVICES + "/" + TestDevice.FAKE;
    private static final String MEMBERS = "sys/kernel/iommu_groups/5/devices";

    private final Faults faults = new Faults();

    private Kernel kernel(String profile, Sysfs sysfs) {
        return kernel(TestDevice.fake(profile), sysfs);
    }

    private Kernel kernel(TestDevice.Fake hardware, Sysfs sysfs) {
        return Kernel.over(faults.over(sysfs.over(hardware.fake.backend())));
    }

    /** The device, alone in its group, in the hand of VFIO. */
    private static Sysfs bound() {
        return new Sysfs()
                .put(DEVICES, List.of(TestDevice.FAKE.toString()))
                .put(DEVICE + "/driver", "vfio-pci")
                .put(DEVICE + "/iommu_group", "5")
                .put(MEMBERS, List.of(TestDevice.FAKE.toString()));
    }

    private static AbstractThrowableAssert<?, ?> opening(Kernel kernel) {
        return assertThatThrownBy(() -> VfioDevice.open(kernel, TestDevice.FAKE))
                .isInstanceOf(KernelException.class);
    }

    // Permission

    @ParameterizedTest
    @ValueSource(strings = {"VFIO_GROUP_SET_CONTAINER", "VFIO_SET_IOMMU"})
    void interruptsThatAreNotRemapped(String request) {
        faults.fail(request, 1, Errno.EPERM);
        opening(kernel("6.12", bound()))
                .hasMessageEndingWith("EPERM (the IOMMU does not remap interrupts: enable that in firmware, or, if all"
                        + " guests are trusted, load vfio_iommu_type1 with allow_unsafe_interrupts=1)");
    }

    @Test
    void interruptsThatAreNotRemappedForAnIommufd() {
        faults.fail("VFIO_DEVICE_BIND_IOMMUFD", 1, Errno.EPERM);
        opening(kernel("6.12,cdev", bound().put(DEVICE + "/vfio-dev", List.of("vfio0"))))
                .hasMessageStartingWith("vfio device bind vfio device 0000:00:02.0")
                .hasMessageContaining("EPERM (the IOMMU does not remap interrupts: ")
                .hasMessageContaining("load iommufd with allow_unsafe_interrupts=1")
                .hasMessageEndingWith(", or another iommufd has a device of the group)");
    }

    @Test
    void driverOfTheHostIsNamedBeforeRemapping() {
        faults.fail("VFIO_GROUP_SET_CONTAINER", 1, Errno.EPERM);
        Sysfs sysfs = bound().put(MEMBERS, List.of(TestDevice.FAKE.toString(), "0000:00:02.1"))
                .put(DEVICES + "/0000:00:02.1/driver", "ahci");
        opening(kernel("6.12", sysfs))
                .hasMessageContaining("EPERM (host drivers have devices of the same group, 5: 0000:00:02.1 to ahci")
                .message()
                .doesNotContain("remap");
    }

    /** The group is open, so it was opened elsewhere or sysfs went away: the refusal stays what it is. */
    @Test
    void refusalIsNotReplacedWhereSysfsIsAbsent() {
        faults.fail("VFIO_GROUP_SET_CONTAINER", 1, Errno.EPERM);
        TestDevice.Fake hardware = TestDevice.fake("6.12");
        Kernel kernel = kernel(hardware, new Sysfs());
        int group = hardware.fake.backend().libc().open(Buffers.cString("/dev/vfio/5"), Uapi.O_RDWR);
        try (VfioGroup adopted = VfioGroup.adopt(kernel, group, Ownership.OWNED);
                VfioContainer container = adopted.createSpace()) {
            assertThat(Refusals.refused(Errno.EPERM, () -> adopted.openDevice(TestDevice.FAKE, container)))
                    .startsWith("vfio container set ")
                    .contains("a host driver has another device of the group, or the IOMMU does not");
            assertThatThrownBy(() -> adopted.openDevice(PciAddress.parse("0000:00:1f.0"), container))
                    .hasMessageContaining("ENODEV (no device of that name is in the group");
        }
    }

    // Files that are not there

    @Test
    void deviceThatWasRemovedIsNotToldToBeBound() {
        faults.fail("open", 1, Errno.ENODEV);
        Sysfs sysfs = new Sysfs().put(DEVICES, List.of("0000:00:1f.0")).put(DEVICE + "/iommu_group", "5");
        opening(kernel("6.12", sysfs))
                .hasMessageEndingWith(
                        "ENODEV (/sys/bus/pci/devices has no such device: it was removed, or belongs to another"
                                + " machine)");
    }

    @Test
    void nodeThatAContainerLacks() {
        faults.fail("open", 1, Errno.ENOENT);
        opening(kernel("6.12", bound()))
                .hasMessage("vfio group open /dev/vfio/5: ENOENT (vfio-pci has 0000:00:02.0, but /dev/vfio/5 is not"
                        + " here: pass it into this container, with /dev/vfio/vfio)");
    }

    @Test
    void groupWithoutAnIommu() {
        faults.fail("open", 1, Errno.ENOENT);
        opening(kernel("6.12", bound().put("sys/class/vfio", List.of("noiommu-5"))))
                .hasMessage("vfio group open /dev/vfio/5: ENOENT (no IOMMU serves 0000:00:02.0, whose group is"
                        + " /dev/vfio/noiommu-5: enable VT-d, AMD-Vi or the SMMU in firmware, and boot Intel machines"
                        + " with intel_iommu=on)");
    }

    @Test
    void deviceWithoutADriver() {
        faults.fail("open", 1, Errno.ENOENT);
        Sysfs sysfs =
                new Sysfs().put(DEVICES, List.of(TestDevice.FAKE.toString())).put(DEVICE + "/iommu_group", "5");
        opening(kernel("6.12", sysfs))
                .hasMessageEndingWith("ENOENT (no driver is bound to 0000:00:02.0: bind it to vfio-pci first)");
    }

    // Interrupts and DMA

    private String refused(String request, int nth, Errno errno, Consumer<VfioDevice> call) {
        try (Kernel kernel = kernel("6.12", bound());
                VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE)) {
            faults.fail(request, nth, errno);
            return Refusals.refused(errno, () -> call.accept(device));
        }
    }

    private static void armIntx(VfioDevice device) {
        device.intx().arm(EventFd.create(device.fd().kernel()));
    }

    @Test
    void pinWithoutALine() {
        assertThat(refused("vfioIrqsSet", 1, Errno.ENODEV, VfioSentencesTest::armIntx))
                .endsWith("INTx: ENODEV (the host has no line for the device's pin: use MSI or MSI-X)");
    }

    @Test
    void foreignStateOrAWrongFileIsWhatATypedArmingMeets() {
        assertThat(refused("vfioIrqsSet", 1, Errno.EINVAL, VfioSentencesTest::armIntx))
                .contains("EINVAL (one of the files is not an eventfd, or another of INTx, MSI and MSI-X is")
                .doesNotContain("start + count", "argsz");
    }

    @Test
    void lockedMemoryIsShort() {
        assertThat(refused("VFIO_IOMMU_MAP_DMA", 1, Errno.ENOMEM, device -> {
                    device.dma()
                            .map(
                                    0,
                                    Mapping.anonymous(device.fd().kernel(), 4096)
                                            .mapping());
                }))
                .contains("ENOMEM (RLIMIT_MEMLOCK is too low for this much DMA memory: raise it, or give");
    }

    /** The sentence has the limit, what is needed, and how to raise it. */
    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.12,cdev"})
    void lockedMemoryIsCounted(String profile) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        fake.pciDevice("0000:3b:00.0", 7).intx().add();
        fake.limitLockedMemory(3 * 4096 + 1);
        try (Kernel kernel = fake.open();
                VfioDevice device = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"));
                Mapping.Owner page = Mapping.anonymous(kernel, 4096);
                Mapping.Owner three = Mapping.anonymous(kernel, 3 * 4096)) {
            DmaMapping first = device.dma().map(0, page.mapping());
            assertThatThrownBy(() -> device.dma().map(0x10000, three.mapping()))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining(
                            "ENOMEM (RLIMIT_MEMLOCK of this process is 12 KiB, and this needs 12 KiB beside"
                                    + " 4 KiB already locked: raise it before starting the process, ulimit -l 16 or"
                                    + " more, systemd LimitMEMLOCK=, or give the process CAP_IPC_LOCK)");
            first.close();
            device.dma().map(0x10000, three.mapping()).close();
            device.dma().map(0, page.mapping()).close();
        }
        assertThat(fake.rulesUsed()).contains("DMA_MAP_LOCKED");
    }

    @Test
    void busyLineOfAPlatformDeviceIsNotCalledIntx() {
        assertThat(DeviceCalls.busy(IrqKind.PLATFORM, true).text()).contains("another driver has the line");
        assertThat(DeviceCalls.busy(IrqKind.PLATFORM, false).text())
                .contains("already has an eventfd that masks it, or one that unmasks it");
        assertThat(DeviceCalls.busy(IrqKind.INTX, true).text()).contains("must be exclusive");
        assertThat(DeviceCalls.busy(IrqKind.INTX, false).text()).contains("unmask eventfd");
    }

    @ParameterizedTest
    @CsvSource({"1, vector 0 is available", "3, vectors 0-2 are available"})
    void shortageCountsFromTheFirstVector(int budget, String available) {
        TestDevice.Fake hardware = TestDevice.fake("6.12");
        hardware.fake.limitVectors(budget);
        try (Kernel kernel = hardware.kernel();
                VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE)) {
            List<EventFd> events = List.of(EventFd.create(kernel), EventFd.create(kernel));
            assertThatThrownBy(() -> device.msix(3, 2).arm(events))
                    .isInstanceOf(VectorsExhaustedException.class)
                    .hasMessageEndingWith(" MSI-X 3-4: only " + available + " on this host, and nothing was enabled:"
                            + " request no others");
        }
    }

    // Files of another kind

    @Test
    void adoptedFileOfAnotherKindIsNamed() {
        try (Kernel kernel = Kernel.open();
                EventFd event = EventFd.create(kernel);
                Fd.Lease lease = event.fd().lease()) {
            int number = lease.number();
            String open = "fd " + number + " is open on anon_inode:[eventfd]: expected ";
            PciAddress name = TestDevice.FAKE;
            assertIllegalArgument(
                    () -> VfioDevice.adopt(kernel, name, number, Ownership.BORROWED),
                    open + "a VFIO device, from VFIO_GROUP_GET_DEVICE_FD or /dev/vfio/devices");
            assertThatThrownBy(() -> VfioCdev.adopt(kernel, name, number, Ownership.BORROWED))
                    .hasMessage(open + "the file of a VFIO device, /dev/vfio/devices/vfioN");
            assertThatThrownBy(() -> VfioGroup.adopt(kernel, number, Ownership.BORROWED))
                    .hasMessage(open + "a VFIO group, /dev/vfio/N");
            assertThatThrownBy(() -> VfioContainer.adopt(kernel, number, Ownership.BORROWED))
                    .hasMessage(open + "a VFIO container, /dev/vfio/vfio");
            assertThatThrownBy(() -> Ioas.createIn(kernel, number, Ownership.BORROWED))
                    .hasMessage(open + "an iommufd, /dev/iommu");
            assertThat(event.drain()).as("still open").isZero();
        }
    }

    /** A node may have another path; /proc shows a memfd, too, as a path. */
    @Test
    void adoptedFileThatIsNoNodeIsNamed() throws IOException {
        try (Kernel kernel = Kernel.open();
                MemoryFile file = MemoryFile.create(kernel, "ram", 4096);
                ServerSocket socket = new ServerSocket(0)) {
            assertThat(socket.isBound()).isTrue();
            List<Path> open;
            try (Stream<Path> all = Files.list(Path.of("/proc/self/fd"))) {
                open = all.filter(Files::isSymbolicLink).toList();
            }
            int tried = 0;
            for (Path path : open) {
                String link;
                try {
                    link = Files.readSymbolicLink(path).toString();
                } catch (NoSuchFileException e) {
                    continue; // that of the list
                }
                if (link.startsWith("socket:") || link.startsWith("/memfd:ram")) {
                    tried++;
                    int number = Integer.parseInt(path.getFileName().toString());
                    assertThatThrownBy(() -> VfioGroup.adopt(kernel, number, Ownership.BORROWED))
                            .hasMessage(
                                    "fd " + number + " is open on " + link + ": expected a VFIO group, /dev/vfio/N");
                }
            }
            assertThat(tried).isGreaterThanOrEqualTo(2);
            assertThat(file.length()).isEqualTo(4096);
        }
    }

    /** KVM's files and containers answer EINVAL to what they do not know, as an unbound device file does. */
    @ParameterizedTest
    @ValueSource(strings = {"/dev/kvm", "/dev/vfio/vfio", "/dev/vfio/devices/vfio0"})
    void kernelThatSaysEinvalToAnotherKind(String path) {
        TestDevice.Fake hardware = TestDevice.fake("6.12,cdev");
        Kernel kernel = hardware.kernel();
        int number = hardware.fake.backend().libc().open(Buffers.cString(path), Uapi.O_RDWR);
        assertThatThrownBy(() -> VfioDevice.adopt(kernel, TestDevice.FAKE, number, Ownership.OWNED))
                .hasMessageStartingWith(
                        "vfio info vfio device 0000:00:02.0 (fd " + number + "): EINVAL (the file is not"
                                + " an open VFIO device: it is of another kind, or not bound to an iommufd)");
    }
}
