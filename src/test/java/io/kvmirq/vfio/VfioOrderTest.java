/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.fake.Faults;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/** In which order a device's file goes to KVM and the device opens, and back. */
class VfioOrderTest {
    private final TestDevice.Fake hardware = TestDevice.fake("6.12");
    private final Faults faults = new Faults();
    private final Kernel kernel = Kernel.over(faults.over(hardware.fake.backend()));
    private final Vm vm = Vm.create(kernel);
    private final KvmVfio kvmVfio = KvmVfio.create(vm);

    /** The driver takes the VM from its file when the device opens: later is too late. */
    @Test
    void fileIsAddedBeforeTheDeviceOpens() {
        faults.listen();
        VfioDevice.open(kernel, TestDevice.FAKE, kvmVfio).close();
        assertThat(faults.calls()).containsSubsequence("deviceVfioAdd", "VFIO_GROUP_GET_DEVICE_FD");
    }

    /** A closed file cannot be removed any more, and what KVM holds stays open. */
    @Test
    void fileIsRemovedBeforeItIsClosed() {
        VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE, kvmVfio);
        ArmedVectors armed = device.msix(0, 1).arm(List.of(EventFd.create(kernel)));
        faults.listen();
        device.close();
        assertThat(faults.calls())
                .startsWith("vfioIrqsSet", "deviceVfioRemove", "fdClose")
                .doesNotContain("VFIO_GROUP_UNSET_CONTAINER");
        armed.close();
    }

    /** Whichever is closed first, the file is removed from KVM while both are open. */
    @Test
    void stepsAreTakenBackInAnyOrder() {
        VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE);
        FileHolder.Hold hold = kvmVfio.hold(group);
        VfioContainer container = group.createSpace();
        VfioDevice device = group.openDevice(TestDevice.FAKE, container);
        faults.listen();
        group.close();
        assertThat(faults.calls()).isEmpty();
        kvmVfio.close();
        assertThat(faults.calls()).containsExactly("deviceVfioRemove", "fdClose", "fdClose");
        hold.close();
        assertThat(faults.calls()).hasSize(3);
        container.close();
        device.close();
        VfioDevice.open(kernel, TestDevice.FAKE).close();
    }

    @Test
    void fileOfAnOpenDeviceIsRefused() {
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE);
                VfioContainer container = group.createSpace();
                VfioDevice device = group.openDevice(TestDevice.FAKE, container)) {
            assertThat(device.access()).isEqualTo(VfioDevice.Access.GROUP);
            assertThatThrownBy(() -> kvmVfio.hold(group))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageStartingWith("a device was opened through vfio group 5")
                    .hasMessageEndingWith("add the file first, then open the device");
        }
    }

    @Test
    void fileAddedTwiceAndSecondKvmVfioAreExplained() {
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE)) {
            kvmVfio.hold(group);
            assertThatThrownBy(() -> kvmVfio.hold(group))
                    .hasMessageStartingWith("kvm-vfio add ")
                    .hasMessageContaining("EEXIST (this file was added already)");
            assertThatThrownBy(() -> KvmVfio.create(vm)).hasMessageContaining("EBUSY (this VM already has one)");
        }
        kvmVfio.close();
        KvmVfio.create(vm).close();
    }

    /** KVM-VFIO of the VMM stays the VMM's: what was added to it is removed. */
    @Test
    void adoptedKvmVfioIsLeftAsItWas() {
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE)) {
            Fd.Lease lease = kvmVfio.fd().lease();
            KvmVfio adopted = KvmVfio.adopt(kernel, lease.number(), Ownership.BORROWED);
            adopted.hold(group);
            adopted.close();
            adopted.close();
            kvmVfio.hold(group).close();
            lease.close();
        }
    }

    /** A device that cannot be opened leaves KVM without its file. */
    @Test
    void refusedDeviceIsTakenFromKvm() {
        faults.fail("VFIO_GROUP_GET_DEVICE_FD", 1, Errno.ENOMEM);
        faults.listen();
        assertThatThrownBy(() -> VfioDevice.open(kernel, TestDevice.FAKE, kvmVfio))
                .isInstanceOf(KernelException.class);
        assertThat(faults.calls())
                .containsSubsequence(
                        "VFIO_GROUP_SET_CONTAINER",
                        "VFIO_GROUP_GET_DEVICE_FD",
                        "VFIO_GROUP_UNSET_CONTAINER",
                        "fdClose",
                        "deviceVfioRemove",
                        "fdClose");
        VfioDevice.open(kernel, TestDevice.FAKE, kvmVfio).close();
    }

    /** When the next device opens, it learns of the VM. */
    @Test
    void fileWhoseDevicesAreClosedIsAdded() {
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE);
                VfioContainer container = group.createSpace()) {
            VfioDevice first = group.openDevice(TestDevice.FAKE, container);
            VfioDevice second = group.openDevice(TestDevice.FAKE, container);
            first.close();
            first.close();
            assertThatThrownBy(() -> kvmVfio.hold(group)).isInstanceOf(IllegalStateException.class);
            second.close();
            kvmVfio.hold(group);
            group.openDevice(TestDevice.FAKE, container).close();
        }
    }

    /** No device opens between the check and the adding. */
    @Test
    void fileIsCheckedAndAddedUnderItsLock() {
        AtomicBoolean locked = new AtomicBoolean();
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE)) {
            faults.delay("deviceVfioAdd", 1, () -> locked.set(Thread.holdsLock(group)));
            kvmVfio.hold(group);
            assertThat(locked).isTrue();
        }
    }
}
