/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.INTX;
import static io.kvmirq.fake.VfioUser.MASTER;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.number;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** VFIO and KVM together: the files of KVM-VFIO, and a device's interrupt on its way to a guest. */
class VfioKvmTest {
    private final List<VfioUser> users = new ArrayList<>();

    @AfterEach
    void explain() {
        users.forEach(VfioUser::close);
    }

    /** A VM with the full irqchip, a vCPU and a KVM-VFIO device. */
    private final class Guest {
        private static final int IRR = 0x200;
        final VfioUser user;
        final FakePciDevice hardware;
        final KernelBackend fake;
        final int vm;
        final int vcpu;
        final int vfio;

        Guest(String profile) {
            user = new VfioUser(profile);
            users.add(user);
            hardware = user.kernel.pciDevice(NAME, 1).intx().msix(4).add();
            fake = user.kernel.backend();
            vm = fake.vmCreate(fake.kvmOpen(Buffers.cString("/dev/kvm")), 0);
            assertThat(fake.irqchipCreate(vm)).isZero();
            vcpu = fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
            ByteBuffer create = Buffers.allocate(Uapi.KvmCreateDevice.SIZE)
                    .putInt(Uapi.KvmCreateDevice.TYPE, Uapi.KVM_DEV_TYPE_VFIO);
            assertThat(user.ioctl(vm, Uapi.KVM_CREATE_DEVICE, create)).isZero();
            vfio = create.getInt(Uapi.KvmCreateDevice.FD);
        }

        private int set(long attribute, long address) {
            ByteBuffer structure = Buffers.allocate(Uapi.KvmDeviceAttr.SIZE)
                    .putInt(Uapi.KvmDeviceAttr.GROUP, Uapi.KVM_DEV_VFIO_FILE)
                    .putLong(Uapi.KvmDeviceAttr.ATTR, attribute)
                    .putLong(Uapi.KvmDeviceAttr.ADDR, address);
            return user.ioctl(vfio, Uapi.KVM_SET_DEVICE_ATTR, structure);
        }

        int add(int fd) {
            ByteBuffer value = number(fd);
            return set(Uapi.KVM_DEV_VFIO_FILE_ADD, user.kernel.addressOf(value));
        }

        int delete(int fd) {
            ByteBuffer value = number(fd);
            return set(Uapi.KVM_DEV_VFIO_FILE_DEL, user.kernel.addressOf(value));
        }

        /** Routes GSIs from 24 on to vectors. */
        void route(int... vectors) {
            ByteBuffer routes = Buffers.allocate(vectors.length * KernelBackend.ROUTE_SIZE);
            for (int i = 0; i < vectors.length; i++) {
                int at = i * KernelBackend.ROUTE_SIZE;
                routes.putInt(at + KernelBackend.ROUTE_GSI, 24 + i)
                        .putInt(at + KernelBackend.ROUTE_TYPE, KernelBackend.ROUTE_TYPE_MSI)
                        .putLong(at + KernelBackend.ROUTE_ADDRESS, 0xfee00000L)
                        .putInt(at + KernelBackend.ROUTE_DATA, vectors[i]);
            }
            assertThat(fake.routesSet(vm, routes, vectors.length)).isZero();
        }

        /** Whether a vector waits in the vCPU's LAPIC, which is software-enabled first. */
        boolean isRequested(int vector) {
            return (lapic().getInt(IRR + vector / 32 * 16) >>> vector % 32 & 1) != 0;
        }

        private ByteBuffer lapic() {
            ByteBuffer state = Buffers.allocate(1024);
            assertThat(user.ioctl(vcpu, Uapi.KVM_GET_LAPIC, state)).isZero();
            return state;
        }

        void enableLapic() {
            ByteBuffer state = lapic();
            state.putInt(0xf0, 0x1ff);
            assertThat(user.ioctl(vcpu, Uapi.KVM_SET_LAPIC, state)).isZero();
        }
    }

    // FILE_ADD and FILE_DEL

    @Test
    void filesAreCheckedInOrder() {
        Guest guest = new Guest("6.12");
        int group = guest.user.open("/dev/vfio/1");
        assertThat(guest.set(Uapi.KVM_DEV_VFIO_FILE_ADD, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(guest.add(999)).isEqualTo(refused(Errno.EBADF));
        assertThat(guest.add(guest.user.event())).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.add(guest.user.container())).isEqualTo(refused(Errno.EINVAL));
        assertThat(guest.delete(group)).isEqualTo(refused(Errno.ENOENT));
        assertThat(guest.add(group)).isZero();
        assertThat(guest.add(group)).isEqualTo(refused(Errno.EEXIST));
        int copy = guest.user.kernel.fcntl(group, Uapi.F_DUPFD_CLOEXEC, 0);
        assertThat(guest.add(copy)).as("the same file").isEqualTo(refused(Errno.EEXIST));
        assertThat(guest.delete(copy)).as("the same file").isZero();
        assertThat(guest.delete(group)).isEqualTo(refused(Errno.ENOENT));
        assertThat(guest.delete(999)).isEqualTo(refused(Errno.EBADF));
    }

    /** As "FILE_ADD device fd (not cdev)" in the lab. */
    @Test
    void deviceIsAcceptedSince66() {
        Guest guest = new Guest("6.12");
        assertThat(guest.add(guest.user.device(1))).isZero();
        Guest old = new Guest("6.1");
        assertThat(old.add(old.user.device(1))).isEqualTo(refused(Errno.EINVAL));
    }

    /** So closing a device that was added does not disable its interrupts. */
    @Test
    void addedFileStaysOpen() {
        Guest guest = new Guest("6.12");
        int device = guest.user.device(1);
        int event = guest.user.event();
        assertThat(guest.user.arm(device, MSIX, 0, event)).isZero();
        guest.user.writeCommand(device, MASTER);
        assertThat(guest.add(device)).isZero();
        guest.user.kernel.close(device);
        assertThat(guest.delete(device)).as("no way to name it").isEqualTo(refused(Errno.EBADF));
        assertThat(guest.hardware.sendMessage(0)).isTrue();
        guest.user.kernel.close(guest.vfio);
        assertThat(guest.hardware.sendMessage(0)).isFalse();
    }

    @Test
    void addedGroupStaysOpen() {
        Guest guest = new Guest("6.12");
        int group = guest.user.open("/dev/vfio/1");
        assertThat(guest.add(group)).isZero();
        guest.user.kernel.close(group);
        assertThat(guest.user.open("/dev/vfio/1")).isEqualTo(refused(Errno.EBUSY));
        guest.user.kernel.close(guest.vfio);
        assertThat(guest.user.open("/dev/vfio/1")).isPositive();
    }

    // Interrupts on their way

    @Test
    void messageReachesTheLapic() {
        Guest guest = new Guest("6.18");
        guest.enableLapic();
        guest.route(0x41, 0x52);
        int device = guest.user.device(1);
        int[] events = {guest.user.event(), guest.user.event()};
        assertThat(guest.user.arm(device, MSIX, 0, events)).isZero();
        guest.user.writeCommand(device, MASTER);
        assertThat(guest.fake.irqfdAssign(guest.vm, events[0], 24)).isZero();
        assertThat(guest.fake.irqfdAssign(guest.vm, events[1], 25)).isZero();
        assertThat(guest.hardware.sendMessage(1)).isTrue();
        assertThat(guest.isRequested(0x52)).isTrue();
        assertThat(guest.isRequested(0x41)).isFalse();
        assertThat(guest.user.take(events[1])).as("the irqfd took the signal").isZero();
        assertThat(guest.user.setIrqs(device, VfioUser.TRIGGER | VfioUser.NONE, MSIX, 0, 1))
                .isZero();
        assertThat(guest.isRequested(0x41)).as("by the loopback").isTrue();
    }

    @Test
    void intxRaisesThePinOfTheIoapic() {
        Guest guest = new Guest("6.18");
        int device = guest.user.device(1);
        int event = guest.user.event();
        int resample = guest.user.event();
        assertThat(guest.user.arm(device, INTX, 0, event)).isZero();
        assertThat(guest.fake.irqfdAssignLevel(guest.vm, event, resample, 10)).isZero();
        assertThat(guest.user.setIrqs(device, VfioUser.UNMASK | VfioUser.EVENTFD, INTX, 0, 1, resample))
                .isZero();
        guest.hardware.requestService();
        assertThat(pin(guest, 10)).isTrue();
        assertThat(guest.fake.irqfdDeassign(guest.vm, event, 10)).isZero();
        assertThat(pin(guest, 10)).isFalse();
        assertThat(guest.user.take(event)).isZero();
        guest.user.signal(resample);
        assertThat(guest.user.take(event)).as("unmasked, and still requested").isEqualTo(1);
        guest.hardware.serve();
        guest.user.signal(resample);
        assertThat(guest.user.take(event)).isZero();
    }

    private static boolean pin(Guest guest, int pin) {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertThat(guest.fake.irqchipGet(guest.vm, 2, state)).isZero();
        return (state.getInt(Uapi.KvmIoapicState.IRR) >>> pin & 1) == 1;
    }
}
