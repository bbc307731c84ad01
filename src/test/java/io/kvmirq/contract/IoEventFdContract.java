/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** KVM_IOEVENTFD: virt/kvm/eventfd.c. */
@Contract
class IoEventFdContract extends KernelSuite {
    private static final int PIO = KernelBackend.IOEVENTFD_PIO;
    private static final int MATCH = KernelBackend.IOEVENTFD_DATAMATCH;
    private static final long PORT = 0x80;

    private int vm;
    private int fd;

    @BeforeEach
    void setUp() {
        vm = world.bareVm();
        fd = world.eventfd();
    }

    private int assign(int vm, int fd, int length, int flags, long data) {
        return kernel.ioeventfdAssign(vm, fd, PORT, length, flags, data);
    }

    private int deassign(int vm, int fd, int length, int flags, long data) {
        return kernel.ioeventfdDeassign(vm, fd, PORT, length, flags, data);
    }

    @Test
    void sameWritesCannotBeTakenTwice() {
        assertOk(assign(vm, fd, 1, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, fd, 1, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 1, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 1, PIO | MATCH, 7));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 0, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, fd, 1, PIO | DEASSIGN, 0));
        assertOk(assign(vm, fd, 2, PIO, 0));
        assertOk(kernel.ioeventfdAssign(vm, fd, PORT, 1, 0, 0));
    }

    @Test
    void deassignMustNameExactlyWhatWasAssigned() {
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO, 0));
        assertOk(assign(vm, fd, 1, PIO | MATCH, 7));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO, 7));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO | MATCH, 8));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 3, PIO | MATCH, 7));
        assertErrno(Errno.ENOENT, deassign(vm, world.eventfd(), 1, PIO | MATCH, 7));
        assertErrno(Errno.EBADF, deassign(vm, -1, 1, PIO | MATCH, 7));
        assertOk(deassign(vm, fd, 1, PIO | MATCH, 7));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO | MATCH, 7));
    }

    @Test
    void sameEventfdMayBeIrqfdToo() {
        int full = world.fullVm();
        int fd = world.eventfd();
        assertOk(kernel.irqfdAssign(full, fd, 10));
        assertOk(assign(full, fd, 1, PIO, 0));
    }

    // The order of checks

    private static final int DEASSIGN = Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN;
    private static final int CHANNEL = Uapi.KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY;

    private int raw(int vm, int fd, long address, int length, int flags) {
        ByteBuffer structure = Structs.of("kvm_ioeventfd", 0, address, length, fd, flags);
        for (int i = Uapi.KvmIoeventfd.FLAGS + Integer.BYTES; i < structure.capacity(); i++) {
            structure.put(i, (byte) 0xa5);
        }
        return libc.ioctl(vm, Uapi.KVM_IOEVENTFD, structure);
    }

    @Test
    void everyArgumentIsCheckedBeforeTheDescriptor() {
        for (int length : new int[] {3, 5, 6, 7, 9, 16, -1}) {
            assertErrno(Errno.EINVAL, raw(vm, -1, PORT, length, PIO));
        }
        assertErrno(Errno.EINVAL, raw(vm, -1, -1, 1, PIO));
        assertErrno(Errno.EINVAL, raw(vm, -1, -4, 8, 0));
        assertErrno(Errno.EINVAL, raw(vm, -1, PORT, 1, 0x20));
        assertErrno(Errno.EINVAL, raw(vm, -1, PORT, 0, PIO | MATCH));
        assertErrno(Errno.EBADF, raw(vm, -1, PORT, 1, PIO));
    }

    @Test
    void lastAddressMayBeTakenAsLongAsNothingWraps() {
        assertOk(raw(vm, world.eventfd(), -8, 4, 0));
        assertOk(raw(vm, world.eventfd(), -1, 0, 0));
        assertErrno(Errno.EINVAL, raw(vm, world.eventfd(), -8, 8, 0));
    }

    @Test
    void deassignChecksTheDescriptorAndNothingElse() {
        assertErrno(Errno.EBADF, raw(vm, -1, PORT, 3, DEASSIGN | PIO));
        assertErrno(Errno.EINVAL, raw(vm, world.epollFd(), PORT, 3, DEASSIGN | PIO));
        assertErrno(Errno.ENOENT, raw(vm, fd, PORT, 3, DEASSIGN | PIO));
        assertErrno(Errno.ENOENT, raw(vm, fd, -1, 8, DEASSIGN | PIO));
        assertErrno(Errno.ENOENT, raw(vm, fd, PORT, 0, DEASSIGN | PIO | MATCH));
        assertOk(raw(vm, fd, PORT, 1, PIO));
        assertErrno(Errno.ENOENT, raw(vm, fd, PORT, 1, DEASSIGN));
        assertErrno(Errno.ENOENT, raw(vm, fd, PORT + 1, 1, DEASSIGN | PIO));
        assertOk(raw(vm, fd, PORT, 1, DEASSIGN | PIO | 0x20));
        assertErrno(Errno.ENOENT, raw(vm, fd, PORT, 1, DEASSIGN | PIO));
    }

    // Collisions

    @Test
    void anyLengthCollidesWithEveryLength() {
        assertOk(assign(vm, world.eventfd(), 0, PIO, 0));
        for (int length : new int[] {0, 1, 2, 4, 8}) {
            assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), length, PIO, 0));
        }
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 1, PIO | MATCH, 7));
        assertOk(kernel.ioeventfdAssign(vm, world.eventfd(), PORT + 1, 1, PIO, 0));
    }

    @Test
    void everyLengthCollidesWithAnyLength() {
        for (int length : new int[] {1, 2, 4, 8}) {
            assertOk(assign(vm, world.eventfd(), length, PIO | MATCH, 7));
        }
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 0, PIO, 0));
    }

    @Test
    void matchingAndAnyDataCollideEitherWay() {
        assertOk(assign(vm, world.eventfd(), 2, PIO | MATCH, 7));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 2, PIO, 0));
        assertOk(assign(vm, world.eventfd(), 4, PIO, 0));
    }

    @Test
    void overlappingAddressesDoNotCollide() {
        assertOk(kernel.ioeventfdAssign(vm, world.eventfd(), 0xfe000000L, 8, 0, 0));
        assertOk(kernel.ioeventfdAssign(vm, world.eventfd(), 0xfe000004L, 4, 0, 0));
        assertOk(kernel.ioeventfdAssign(vm, world.eventfd(), 0xfe000004L, 8, 0, 0));
    }

    @Test
    void vmsDoNotCollide() {
        assertOk(assign(world.bareVm(), fd, 1, PIO, 0));
        assertOk(assign(world.bareVm(), fd, 1, PIO, 0));
    }

    @Test
    void failedAssignLeavesTheEventfdFree() {
        assertOk(assign(vm, world.eventfd(), 1, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, fd, 1, PIO, 0));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO, 0));
        assertOk(assign(vm, fd, 2, PIO, 0));
    }

    /** As rust-vmm's and crosvm's tests have it. */
    @Test
    void everyLengthComesAndGoesOnBothBuses() {
        for (int bus : new int[] {PIO, 0}) {
            assertErrno(Errno.ENOENT, deassign(vm, fd, 0, bus, 0));
            assertOk(assign(vm, fd, 0, bus, 0));
            assertOk(deassign(vm, fd, 0, bus, 0));
            for (int length : new int[] {1, 2, 4, 8}) {
                assertOk(assign(vm, fd, length, bus | MATCH, 1L << 8 * length - 1));
            }
            for (int length : new int[] {1, 2, 4, 8}) {
                assertOk(deassign(vm, fd, length, bus | MATCH, 1L << 8 * length - 1));
            }
        }
    }

    @Test
    void busTakesMoreThanAThousand() {
        for (int i = 0; i < 1500; i++) {
            assertOk(assign(vm, fd, 4, PIO | MATCH, i));
        }
        assertOk(deassign(vm, fd, 4, PIO | MATCH, 1499));
    }

    // Delivery to a guest that writes 7, then 8 to port 0x80

    private static final String WRITES = asm("mov eax, 0x7; out 0x80, al; mov eax, 0x8; out 0x80, al; hlt");

    @Test
    void matchingWriteSignalsAndAnotherReachesTheVmm() {
        assertOk(assign(vm, fd, 1, PIO | MATCH, 7));
        RealModeGuest guest = new RealModeGuest(world, vm, WRITES);
        guest.runTo(0x80);
        assertThat(guest.written()).isEqualTo(8);
        assertThat(world.drain(fd)).isEqualTo(1);
    }

    @Test
    void writeOfAnotherLengthReachesTheVmm() {
        assertOk(assign(vm, fd, 2, PIO, 0));
        assertOk(kernel.ioeventfdAssign(vm, fd, PORT, 1, 0, 0));
        RealModeGuest guest = new RealModeGuest(world, vm, WRITES);
        guest.runTo(0x80);
        assertThat(guest.written()).isEqualTo(7);
        assertThat(world.drain(fd)).isZero();
    }

    @Test
    void anyLengthTakesTheByteAndEachMatchItsOwn() {
        int seven = world.eventfd();
        int eight = world.eventfd();
        assertOk(kernel.ioeventfdAssign(vm, fd, 0x82, 0, PIO, 0));
        assertOk(assign(vm, seven, 1, PIO | MATCH, 7));
        assertOk(assign(vm, eight, 1, PIO | MATCH, 8));
        RealModeGuest guest = new RealModeGuest(world, vm, WRITES.replace("f4", "e682e681"));
        guest.runTo(0x81);
        assertThat(world.drain(fd)).isEqualTo(1);
        assertThat(world.drain(seven)).isEqualTo(1);
        assertThat(world.drain(eight)).isEqualTo(1);
    }

    @Test
    void removedOneLetsTheWriteThrough() {
        assertOk(assign(vm, fd, 1, PIO, 0));
        assertOk(deassign(vm, fd, 1, PIO, 0));
        new RealModeGuest(world, vm, WRITES).runTo(0x80);
        assertThat(world.drain(fd)).isZero();
    }

    /** The write ends in the kernel, from one eventfd straight into an interrupt. */
    @Test
    void writeToAnEventfdThatIsAnIrqfdInterrupts() {
        int full = world.fullVm();
        assertOk(world.routeToVector(full, 30));
        assertOk(kernel.irqfdAssign(full, fd, 30));
        assertOk(assign(full, fd, 1, PIO | MATCH, 7));
        RealModeGuest guest = new RealModeGuest(world, full, RealModeGuest.LAPIC_ON + WRITES);
        guest.runTo(0x80);
        eventually("the vector is requested", () -> world.requested(guest.vcpu(), VECTOR));
        assertThat(world.drain(fd)).isZero();
    }

    /** A guest that writes 0x11223344 as 1, 2 and 4 bytes, then to port 0x81. */
    private static final String WIDTHS =
            asm("mov eax, 0x11223344; out 0x80, al; out 0x80, ax; out 0x80, eax; out 0x81, al");

    @Test
    void everyWidthOfAPortIsItsOwn() {
        int[] events = {world.eventfd(), world.eventfd(), world.eventfd()};
        long[] data = {0x44, 0x3344, 0x11223344};
        for (int i = 0; i < events.length; i++) {
            assertOk(assign(vm, events[i], 1 << i, PIO | MATCH, data[i]));
        }
        new RealModeGuest(world, vm, WIDTHS).runTo(0x81);
        for (int event : events) {
            assertThat(world.drain(event)).isEqualTo(1);
        }
    }

    @Test
    void anyLengthTakesEveryWidth() {
        assertOk(assign(vm, fd, 0, PIO, 0));
        new RealModeGuest(world, vm, WIDTHS).runTo(0x81);
        assertThat(world.drain(fd)).isEqualTo(3);
    }

    /** The written bytes are compared, with zeros above them. */
    @Test
    void matchWiderThanItsLengthIsNeverMet() {
        assertOk(assign(vm, fd, 1, PIO | MATCH, 0x11223344));
        new RealModeGuest(world, vm, WIDTHS).runTo(0x80);
        assertThat(world.drain(fd)).isZero();
    }

    /** A guest that writes 0x11223344 as 1, 2 and 4 bytes to 0xf800, then to port 0x81. */
    private static final String MEMORY_WIDTHS =
            asm("mov eax, 0x11223344; mov [0xf800], al; mov [0xf800], ax; mov [0xf800], eax; out 0x81, al");

    @Test
    void writeToNoMemoryReachesTheVmm() {
        RealModeGuest guest = new RealModeGuest(world, world.bareVm(), MEMORY_WIDTHS);
        guest.runToMmio(RealModeGuest.NO_MEMORY, 1, 0x44);
        guest.runToMmio(RealModeGuest.NO_MEMORY, 2, 0x3344);
        guest.runToMmio(RealModeGuest.NO_MEMORY, 4, 0x11223344);
        guest.runTo(0x81);
    }

    @Test
    void matchingWriteToNoMemorySignals() {
        assertOk(kernel.ioeventfdAssign(vm, fd, RealModeGuest.NO_MEMORY, 2, MATCH, 0x3344));
        RealModeGuest guest = new RealModeGuest(world, vm, MEMORY_WIDTHS);
        guest.runToMmio(RealModeGuest.NO_MEMORY, 1, 0x44);
        assertThat(world.drain(fd)).isZero();
        guest.runToMmio(RealModeGuest.NO_MEMORY, 4, 0x11223344);
        assertThat(world.drain(fd)).isEqualTo(1);
        guest.runTo(0x81);
    }

    @Test
    void anyLengthTakesEveryWriteToNoMemory() {
        assertOk(kernel.ioeventfdAssign(vm, fd, RealModeGuest.NO_MEMORY, 0, 0, 0));
        new RealModeGuest(world, vm, MEMORY_WIDTHS).runTo(0x81);
        assertThat(world.drain(fd)).isEqualTo(3);
    }

    /** The bus of flag 8 is not written to, nor is that of ports. */
    @Test
    void otherBusesHearNothingOfMemory() {
        assertOk(kernel.ioeventfdAssign(vm, fd, RealModeGuest.NO_MEMORY, 1, PIO, 0));
        assertOk(kernel.ioeventfdAssign(vm, fd, RealModeGuest.NO_MEMORY, 1, CHANNEL, 0));
        new RealModeGuest(world, vm, MEMORY_WIDTHS).runToMmio(RealModeGuest.NO_MEMORY, 1, 0x44);
        assertThat(world.drain(fd)).isZero();
    }
}
