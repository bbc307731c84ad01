/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.World.assertErrno;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** KVM_DEV_VFIO_DEVICE of 2014 by raw calls: its checks in order. */
class VfioForwardingTest {
    private static final String DEVICE = "serial";
    private static final long FORWARD = Uapi.KVM_DEV_VFIO_DEVICE_FORWARD_IRQ;
    private static final long UNFORWARD = Uapi.KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ;
    private static final int GSI = 10;

    @AutoClose
    private final Undo made = new Undo();

    /** A VM with a KVM-VFIO device, and an open device with two lines. */
    private final class Guest {
        final VfioWorld host;
        final FakePlatformDevice hardware;
        final int vfio;
        final OpenedDevice device;

        Guest(String profile) {
            host = made.add(VfioWorld.ofFake(profile));
            hardware = host.fake().platformDevice(DEVICE, 1).level().level().add();
            KernelBackend fake = host.kernel();
            int vm = host.world.bareVm();
            vfio = fake.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO);
            if (host.fake().profile().isArm64()) {
                host.world.vcpu(vm, 0);
                int vgic = fake.deviceCreate(vm, UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3);
                assertThat(attribute(
                                vgic,
                                Uapi.KVM_SET_DEVICE_ATTR,
                                UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL,
                                UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT,
                                0))
                        .isZero();
            }
            device = host.device(hardware, 1, DEVICE);
        }

        int attribute(int fd, long request, int group, long number, long address) {
            return host.ioctl(fd, request, Structs.of("kvm_device_attr", 0, group, number, address));
        }

        int set(long number, int fd, int index, int subindex, int gsi) {
            ByteBuffer irq = Structs.of("kvm_arch_forwarded_irq", fd, index, subindex, gsi);
            return attribute(
                    vfio,
                    Uapi.KVM_SET_DEVICE_ATTR,
                    Uapi.KVM_DEV_VFIO_DEVICE,
                    number,
                    host.fake().libc().addressOf(irq));
        }

        int has(int group, long number) {
            return attribute(vfio, Uapi.KVM_HAS_DEVICE_ATTR, group, number, 0);
        }
    }

    @Test
    void groupHasTwoAttributes() {
        Guest guest = new Guest("historic");
        assertThat(guest.has(2, FORWARD)).isZero();
        assertThat(guest.has(2, UNFORWARD)).isZero();
        assertErrno(Errno.ENXIO, guest.has(2, 0));
        assertErrno(Errno.ENXIO, guest.has(2, 3));
        assertErrno(Errno.ENXIO, guest.has(3, FORWARD));
        assertErrno(Errno.ENXIO, new Guest("6.1,arm64").has(2, FORWARD));
    }

    @Test
    void checksAreInOrder() {
        Guest guest = new Guest("historic");
        assertErrno(Errno.ENXIO, guest.attribute(guest.vfio, Uapi.KVM_SET_DEVICE_ATTR, 2, 3, 0));
        assertErrno(Errno.EFAULT, guest.attribute(guest.vfio, Uapi.KVM_SET_DEVICE_ATTR, 2, FORWARD, 0));
        int event = guest.host.world.eventfd();
        for (int fd : new int[] {-1, event, guest.vfio}) {
            assertErrno(Errno.EINVAL, guest.set(FORWARD, fd, 0, 0, GSI));
            assertErrno(Errno.EINVAL, guest.set(UNFORWARD, fd, 0, 0, GSI));
        }
        assertErrno(Errno.EINVAL, guest.set(FORWARD, guest.device.fd, 2, 0, GSI));
        assertErrno(Errno.EINVAL, guest.set(FORWARD, guest.device.fd, 0, 1, GSI));
        assertThat(guest.device.arm(0, 0, event)).isZero();
        assertErrno(Errno.EBUSY, guest.set(FORWARD, guest.device.fd, 0, 0, -1));
        assertThat(guest.device.disable(0)).isZero();
        assertErrno(Errno.EINVAL, guest.set(FORWARD, guest.device.fd, 0, 0, -1));
        assertThat(guest.set(FORWARD, guest.device.fd, 0, 0, GSI)).isZero();
        assertThat(guest.device.arm(0, 0, event)).isZero();
        assertErrno(
                Errno.EINVAL,
                guest.set(FORWARD, guest.device.fd, 0, 0, GSI)); // forwarded already comes before signalled
        assertErrno(Errno.EINVAL, guest.set(FORWARD, guest.device.fd, 1, 0, GSI)); // the SPI of another line
    }

    /** Device, index and subindex name it. */
    @Test
    void unforwardDoesNotLookAtTheGsi() {
        Guest guest = new Guest("historic");
        assertErrno(Errno.EINVAL, guest.set(UNFORWARD, guest.device.fd, 0, 0, GSI));
        assertThat(guest.set(FORWARD, guest.device.fd, 0, 0, GSI)).isZero();
        assertErrno(Errno.EINVAL, guest.set(UNFORWARD, guest.device.fd, 1, 0, GSI));
        assertThat(guest.set(UNFORWARD, guest.device.fd, 0, 0, GSI + 1)).isZero();
        assertErrno(Errno.EINVAL, guest.set(UNFORWARD, guest.device.fd, 0, 0, GSI));
        assertThat(guest.set(FORWARD, guest.device.fd, 1, 0, GSI))
                .as("the SPI is free")
                .isZero();
    }

    @Test
    void stubTakesEveryInterruptOnce() {
        Guest guest = new Guest("6.1,historic");
        assertThat(guest.set(FORWARD, guest.device.fd, 99, 7, -1)).isZero();
        assertErrno(Errno.EINVAL, guest.set(FORWARD, guest.device.fd, 99, 7, -1));
        assertThat(Refusals.rules(guest.host.fake())).contains(InterruptAnswer.FORWARD_STUB);
        assertThat(guest.set(UNFORWARD, guest.device.fd, 99, 7, -1)).isZero();
    }

    /** The file of the device may be closed: the kernel has the device. */
    @Test
    void closeOfKvmVfioUnforwardsAll() {
        Guest guest = new Guest("historic");
        assertThat(guest.set(FORWARD, guest.device.fd, 0, 0, GSI)).isZero();
        assertThat(guest.set(FORWARD, guest.device.fd, 1, 0, GSI + 1)).isZero();
        guest.host.fake().libc().close(guest.device.fd);
        assertThat(guest.hardware.remove()).isFalse();
        guest.host.fake().libc().close(guest.vfio);
        assertThat(guest.hardware.remove()).isTrue();
    }
}
