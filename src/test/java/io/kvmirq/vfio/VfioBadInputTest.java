/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.PlatformName;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A device that cannot be opened is refused with one sentence, and no file of it stays open. */
class VfioBadInputTest {
    private final TestDevice.Fake hardware = TestDevice.fake("6.12");
    private final Kernel kernel = hardware.kernel();
    private final int free = lowestFreeDescriptor();

    private int lowestFreeDescriptor() {
        int number = hardware.fake.backend().libc().eventfd(0, 0);
        hardware.fake.backend().libc().close(number);
        return number;
    }

    private void requireNothingOpen(Kernel with) {
        assertThat(with.openHandles()).isEmpty();
        assertThat(lowestFreeDescriptor()).isEqualTo(free);
    }

    private void refuses(DeviceName name, String call, Errno errno, String cause) {
        assertThatThrownBy(() -> VfioDevice.open(kernel, name))
                .isInstanceOfSatisfying(KernelException.class, e -> {
                    assertThat(e.call()).isEqualTo(call);
                    assertThat(e.errno()).isEqualTo(errno);
                })
                .hasMessageContaining(cause)
                .message()
                .doesNotContain("\n");
        requireNothingOpen(kernel);
    }

    @Test
    void deviceThatIsNotThere() {
        refuses(
                PciAddress.parse("0000:00:1f.0"),
                "vfio group open",
                Errno.ENODEV,
                "(/sys/bus/pci/devices has no such device: it was removed, or belongs to another machine)");
        refuses(
                new PlatformName("fff51000.ethernet"),
                "vfio group open",
                Errno.ENODEV,
                "(/sys/bus/platform/devices has no such device: ");
    }

    @Test
    void deviceOfAnotherDriver() {
        hardware.fake.pciDevice("0000:00:03.0", 6).addToHost();
        PciAddress other = PciAddress.parse("0000:00:03.0");
        refuses(other, "vfio group open", Errno.ENOENT, "(0000:00:03.0 is bound to the driver ");
        refuses(other, "vfio group open", Errno.ENOENT, ": bind it to vfio-pci first)");
    }

    /** Another device of the group is VFIO's, so the group can be opened. */
    @Test
    void deviceOfAnotherDriverInAGroupOfVfio() {
        hardware.fake.pciDevice("0000:00:02.1", 5).addToHost();
        PciAddress other = PciAddress.parse("0000:00:02.1");
        refuses(
                TestDevice.FAKE,
                "vfio container set",
                Errno.EPERM,
                "have devices of the same group, 5: 0000:00:02.1 to ");
        refuses(other, "vfio container set", Errno.EPERM, "bind each one to vfio-pci or to no driver)");
    }

    @Test
    void groupThatIsOpen() {
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE)) {
            assertThat(group.isUsed()).isFalse();
            assertThatThrownBy(() -> VfioDevice.open(kernel, TestDevice.FAKE))
                    .hasMessageStartingWith(
                            "vfio group open /dev/vfio/5: EBUSY (a process, maybe this one, has the group open");
        }
    }

    @ParameterizedTest
    @CsvSource({
        "open 1, EACCES, vfio group open /dev/vfio/5: EACCES (this user has no permission to open it",
        "open 1, ENODEV, 'vfio group open /dev/vfio/5: ENODEV (the device was removed, or its driver is gone)'",
        "open 2, ENOENT, vfio container open /dev/vfio/vfio: ENOENT (VFIO is not loaded",
        "open 2, EACCES, vfio container open /dev/vfio/vfio: EACCES (this user has no permission to open it",
        "VFIO_SET_IOMMU 1, ENODEV, vfio iommu set vfio container"
    })
    void errnoIsExplained(String call, String errno, String message) {
        Faults faults = new Faults();
        Kernel faulty = Kernel.over(faults.over(hardware.fake.backend()));
        String[] nth = call.split(" ", -1);
        faults.fail(nth[0], Integer.parseInt(nth[1]), Errno.parse(errno).orElseThrow());
        assertThatThrownBy(() -> VfioDevice.open(faulty, TestDevice.FAKE)).hasMessageStartingWith(message);
        requireNothingOpen(faulty);
    }

    /** A device without an IOMMU has no group in sysfs. */
    @Test
    void deviceWithoutIommu() {
        Sysfs sysfs = new Sysfs().put("sys/bus/pci/devices", List.of(TestDevice.FAKE.toString()));
        Kernel without = Kernel.over(sysfs.over(hardware.fake.backend()));
        assertThatThrownBy(() -> VfioGroup.open(without, TestDevice.FAKE))
                .hasMessageStartingWith("vfio group open 0000:00:02.0: ENODEV (no IOMMU serves this device: enable");
    }

    @Test
    void descriptorOfAnotherKind() {
        int event = hardware.fake.backend().libc().eventfd(0, 0);
        assertThatThrownBy(() -> VfioDevice.adopt(kernel, TestDevice.FAKE, event, Ownership.OWNED))
                .hasMessageContaining("vfio info vfio device 0000:00:02.0 (fd " + event
                        + "): ENOTTY (the file is of another" + " kind)");
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE);
                VfioContainer wrong = VfioContainer.adopt(kernel, event, Ownership.BORROWED)) {
            assertThatThrownBy(() -> group.openDevice(TestDevice.FAKE, wrong))
                    .hasMessageContaining("EBADFD (the file is neither a VFIO container nor an iommufd)");
            assertThat(group.isUsed()).isFalse();
        }
        assertThat(hardware.fake.backend().libc().close(event)).as("still open").isZero();
        requireNothingOpen(kernel);
    }

    @Test
    void deviceOfAnotherGroup() {
        hardware.fake.pciDevice("0000:00:03.0", 6).add();
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE);
                VfioContainer container = group.createSpace()) {
            assertThatThrownBy(() -> group.openDevice(PciAddress.parse("0000:00:03.0"), container))
                    .hasMessageContaining("ENODEV (no device of that name is in the group, or its driver is gone)");
            try (VfioDevice device = group.openDevice(TestDevice.FAKE, container)) {
                assertThat(device.name()).isEqualTo(TestDevice.FAKE);
            }
            try (VfioContainer second = group.createSpace()) {
                assertThatThrownBy(() -> group.openDevice(TestDevice.FAKE, second))
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessageContaining("already: open all its devices in that container");
            }
        }
    }

    /** A device without the capabilities: nothing is asked of the kernel. */
    @Test
    void interruptsThatTheDeviceLacks() {
        hardware.fake.pciDevice("0000:00:03.0", 6).add();
        try (VfioDevice bare = VfioDevice.open(kernel, PciAddress.parse("0000:00:03.0"))) {
            for (Runnable asked : List.<Runnable>of(bare::intx, bare::err, bare::msix, () -> bare.msi(0, 1))) {
                assertThatThrownBy(asked::run)
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageMatching(
                                "vfio device 0000:00:03.0 \\(fd \\d+\\) has no (INTx|error interrupt|MSI-X|MSI)");
            }
            assertThat(bare.req()).hasToString("request of 0000:00:03.0");
            assertThatThrownBy(bare::reset).hasMessageContaining("EINVAL (the device has no function reset)");
            assertThatThrownBy(() -> bare.config().getByte(256))
                    .isInstanceOf(IndexOutOfBoundsException.class)
                    .hasMessageContaining("offset 0x100, length 1 is outside of region 7 of vfio device");
            assertThatThrownBy(() -> bare.config().getShort(5)).hasMessageContaining("is not a multiple of 2");
            assertThatThrownBy(() -> bare.region(99))
                    .hasMessageMatching(
                            "vfio region info vfio device .* region=99: EINVAL \\(the device has no such region\\)");
        }
    }

    /** The host removes a device as soon as its user has closed it. */
    @Test
    void requestedDeviceIsReleased() {
        try (EventFd asked = EventFd.create(kernel);
                VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE);
                ArmedIrq request = device.req().arm(asked)) {
            assertThat(request).hasToString("armed request of " + device);
            assertThat(hardware.device.remove()).as("gone while it is open").isFalse();
            assertThat(asked.drain()).isPositive();
        }
        assertThat(hardware.device.remove()).isTrue();
        refuses(
                TestDevice.FAKE,
                "vfio group open",
                Errno.ENODEV,
                "has no such device: it was removed, or belongs to another machine");
    }
}
