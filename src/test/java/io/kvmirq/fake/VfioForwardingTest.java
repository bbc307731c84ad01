/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmArchForwardedIrq;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** KVM_DEV_VFIO_DEVICE of 2014 by raw calls: its checks in order. */
class VfioForwardingTest {
    private static final String DEVICE = "serial";
    private static final long FORWARD = Uapi.KVM_DEV_VFIO_DEVICE_FORWARD_IRQ;
    private static final long UNFORWARD = Uapi.KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ;
    private static final int GSI = 10;

    private final List<Guest> guests = new ArrayList<>();

    @AfterEach
    void explain() {
        guests.forEach(guest -> guest.user.close());
    }

    /** A VM with a KVM-VFIO device, and an open device with two lines. */
    private final class Guest {
        final VfioUser user;
        final FakePlatformDevice hardware;
        final int vfio;
        final int device;

        Guest(String profile) {
            user = new VfioUser(profile);
            guests.add(this);
            hardware = user.kernel.platformDevice(DEVICE, 1).level().level().add();
            KernelBackend fake = user.kernel.backend();
            int vm = fake.vmCreate(fake.kvmOpen(Buffers.cString("/dev/kvm")), 0);
            vfio = fake.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO);
            if (user.kernel.profile().isArm64()) {
                assertThat(fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0)).isPositive();
                int vgic = fake.deviceCreate(vm, UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3);
                assertThat(attribute(
                                vgic,
                                Uapi.KVM_SET_DEVICE_ATTR,
                                UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL,
                                UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT,
                                0))
                        .isZero();
            }
            device = user.device(1, DEVICE);
        }

        int attribute(int fd, long request, int group, long number, long address) {
            ByteBuffer attribute = Buffers.allocate(Uapi.KvmDeviceAttr.SIZE)
                    .putInt(Uapi.KvmDeviceAttr.GROUP, group)
                    .putLong(Uapi.KvmDeviceAttr.ATTR, number)
                    .putLong(Uapi.KvmDeviceAttr.ADDR, address);
            return user.ioctl(fd, request, attribute);
        }

        int set(long number, int fd, int index, int subindex, int gsi) {
            ByteBuffer irq = Buffers.allocate(KvmArchForwardedIrq.SIZE)
                    .putInt(KvmArchForwardedIrq.FD, fd)
                    .putInt(KvmArchForwardedIrq.INDEX, index)
                    .putInt(KvmArchForwardedIrq.SUBINDEX, subindex)
                    .putInt(KvmArchForwardedIrq.GSI, gsi);
            return attribute(
                    vfio, Uapi.KVM_SET_DEVICE_ATTR, Uapi.KVM_DEV_VFIO_DEVICE, number, user.kernel.addressOf(irq));
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
        assertThat(guest.has(2, 0)).isEqualTo(refused(Errno.ENXIO));
        assertThat(guest.has(2, 3)).isEqualTo(refused(Errno.ENXIO));
        assertThat(guest.has(3, FORWARD)).isEqualTo(refused(Errno.ENXIO));
        assertThat(new Guest("6.1,arm64").has(2, FORWARD)).isEqualTo(refused(Errno.ENXIO));
    }

    @Test
    void checksAreInOrder() {
        Guest guest = new Guest("historic");
        assertThat(guest.attribute(guest.vfio, Uapi.KVM_SET_DEVICE_ATTR, 2, 3, 0))
                .isEqualTo(refused(Errno.ENXIO));
        assertThat(guest.attribute(guest.vfio, Uapi.KVM_SET_DEVICE_ATTR, 2, FORWARD, 0))
                .isEqualTo(refused(Errno.EFAULT));
        int event = guest.user.event();
        for (int fd : new int[] {-1, event, guest.vfio}) {
            assertThat(guest.set(FORWARD, fd, 0, 0, GSI)).isEqualTo(refused(Errno.EINVAL));
            assertThat(guest.set(UNFORWARD, fd, 0, 0, GSI)).isEqualTo(refused(Errno.EINVAL));
        }
        assertThat(guest.set(FORWARD, guest.device, 2, 0, GSI)).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.set(FORWARD, guest.device, 0, 1, GSI)).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.user.arm(guest.device, 0, 0, event)).isZero();
        assertThat(guest.set(FORWARD, guest.device, 0, 0, -1)).isEqualTo(refused(Errno.EBUSY));
        assertThat(guest.user.disable(guest.device, 0)).isZero();
        assertThat(guest.set(FORWARD, guest.device, 0, 0, -1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.set(FORWARD, guest.device, 0, 0, GSI)).isZero();
        assertThat(guest.user.arm(guest.device, 0, 0, event)).isZero();
        assertThat(guest.set(FORWARD, guest.device, 0, 0, GSI))
                .as("forwarded already comes before signalled")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.set(FORWARD, guest.device, 1, 0, GSI))
                .as("the SPI of another line")
                .isEqualTo(refused(Errno.EINVAL));
    }

    /** Device, index and subindex name it. */
    @Test
    void unforwardDoesNotLookAtTheGsi() {
        Guest guest = new Guest("historic");
        assertThat(guest.set(UNFORWARD, guest.device, 0, 0, GSI)).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.set(FORWARD, guest.device, 0, 0, GSI)).isZero();
        assertThat(guest.set(UNFORWARD, guest.device, 1, 0, GSI)).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.set(UNFORWARD, guest.device, 0, 0, GSI + 1)).isZero();
        assertThat(guest.set(UNFORWARD, guest.device, 0, 0, GSI)).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.set(FORWARD, guest.device, 1, 0, GSI))
                .as("the SPI is free")
                .isZero();
    }

    @Test
    void stubTakesEveryInterruptOnce() {
        Guest guest = new Guest("6.1,historic");
        assertThat(guest.set(FORWARD, guest.device, 99, 7, -1)).isZero();
        assertThat(guest.set(FORWARD, guest.device, 99, 7, -1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.user.kernel.rulesUsed()).contains(InterruptAnswer.FORWARD_STUB);
        assertThat(guest.set(UNFORWARD, guest.device, 99, 7, -1)).isZero();
    }

    /** The file of the device may be closed: the kernel has the device. */
    @Test
    void closeOfKvmVfioUnforwardsAll() {
        Guest guest = new Guest("historic");
        assertThat(guest.set(FORWARD, guest.device, 0, 0, GSI)).isZero();
        assertThat(guest.set(FORWARD, guest.device, 1, 0, GSI + 1)).isZero();
        guest.user.kernel.close(guest.device);
        assertThat(guest.hardware.remove()).isFalse();
        guest.user.kernel.close(guest.vfio);
        assertThat(guest.hardware.remove()).isTrue();
    }
}
