/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.recording.Faults;
import io.kvmirq.uapi.Uapi;
import java.util.List;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is said of a refusal is what the host shows, and never takes the place of the refusal. */
class VfioSentencesTest {
    private static final String DEVICES = "sys/bus/pci/devices";
    private static final String DEVICE = DEVICES + "/" + TestDevice.FAKE;
    private static final String MEMBERS = "sys/kernel/iommu_groups/5/devices";

    private final Faults faults = new Faults();

    private Kernel kernel(String profile, Sysfs sysfs) {
        return kernel(TestDevice.fake(profile), sysfs);
    }

    private Kernel kernel(TestDevice.Fake hardware, Sysfs sysfs) {
        return Kernel.over(faults.over(sysfs.over(hardware.fake.backend())), Kernel.DEVICE);
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
                .hasMessageContaining(
                        "EPERM (drivers of the host have devices of the same group, 5: 0000:00:02.1 to ahci")
                .message()
                .doesNotContain("remap");
    }

    /** The group is open, so it was opened elsewhere or sysfs went away: the refusal stays what it is. */
    @Test
    void refusalIsNotReplacedWhereSysfsIsAbsent() {
        faults.fail("VFIO_GROUP_SET_CONTAINER", 1, Errno.EPERM);
        TestDevice.Fake hardware = TestDevice.fake("6.12");
        Kernel kernel = kernel(hardware, new Sysfs());
        int group = hardware.fake.open(Buffers.cString("/dev/vfio/5"), Uapi.O_RDWR);
        try (VfioGroup adopted = VfioGroup.adopt(kernel, group, Ownership.OWNED);
                VfioContainer container = adopted.createSpace()) {
            assertThatThrownBy(() -> adopted.openDevice(TestDevice.FAKE, container))
                    .isInstanceOfSatisfying(
                            KernelException.class, e -> assertThat(e.errno()).isEqualTo(Errno.EPERM))
                    .hasMessageStartingWith("vfio container set ")
                    .hasMessageContaining(
                            "a driver of the host has another device of the group, or the IOMMU does not");
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
                        "ENODEV (/sys/bus/pci/devices has no such device: it was removed, or is another machine's)");
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
}
