/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Memory slots: virt/kvm/kvm_main.c. */
@Contract
class MemoryContract extends KernelSuite {
    private int vm;

    @BeforeEach
    void setUp() {
        vm = world.bareVm();
    }

    private int setMemory(int slot, long guest, long size, long user) {
        return setMemory(slot, 0, guest, size, user);
    }

    private int setMemory(int slot, int flags, long guest, long size, long user) {
        return libc.ioctl(
                vm,
                Uapi.KVM_SET_USER_MEMORY_REGION,
                Structs.of("kvm_userspace_memory_region", slot, flags, guest, size, user));
    }

    @Test
    void memoryIsCheckedInOrder() {
        long address = libc.mmap(8192, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        try {
            assertErrno(Errno.EINVAL, setMemory(0, 1, 4096, address));
            assertErrno(Errno.EINVAL, setMemory(0, 0, 4095, address));
            assertErrno(Errno.EINVAL, setMemory(0, 0, 0, address));
            assertOk(setMemory(0, 0, 8192, address));
            assertErrno(Errno.EEXIST, setMemory(1, 4096, 4096, address));
            assertErrno(Errno.EINVAL, setMemory(0, 0, 4096, address));
            assertOk(setMemory(0, 0, 0, 0));
        } finally {
            assertOk(libc.munmap(address, 8192));
        }
    }

    @Test
    void kernelKeepsTheLastSlotsForItself() {
        world.assumeX86();
        long address = libc.mmap(4096, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        assertOk(address > 0 ? 0 : address);
        try {
            assertErrno(Errno.EINVAL, setMemory(32764, 0, 4096, address));
            assertOk(setMemory(32763, 0, 4096, address));
        } finally {
            assertOk(libc.munmap(address, 4096));
        }
    }

    @Test
    void flagsComeFirstAndThoseOfTheSecondFormAreUnknownToTheFirst() {
        assertErrno(Errno.EINVAL, setMemory(0, Uapi.KVM_MEM_GUEST_MEMFD, 0, PAGE, world.map(PAGE, -1)));
        assertErrno(Errno.EINVAL, setMemory(0, 8, 0, PAGE, world.map(PAGE, -1)));
        assertOk(setMemory(0, Uapi.KVM_MEM_LOG_DIRTY_PAGES | Uapi.KVM_MEM_READONLY, 0, PAGE, world.map(PAGE, -1)));
    }

    @Test
    void addressesAreWholePagesOfUserMemory() {
        long address = world.map(2 * PAGE, -1);
        assertErrno(Errno.EINVAL, setMemory(0, 0, PAGE, address + 8));
        assertErrno(Errno.EINVAL, setMemory(0, 0, PAGE, 0xffff_8000_0000_0000L));
        assertErrno(Errno.EINVAL, setMemory(0, PAGE + 1, PAGE, address));
        assertErrno(Errno.EINVAL, setMemory(0, 0, 1, address));
    }

    /** It is not looked at, but has to be an address of a process, up to its end. */
    @Test
    void memoryEndsBelowTheKernels() {
        world.assumeX86();
        assertErrno(Errno.EINVAL, setMemory(0, 0, PAGE, 1L << 60));
        assertErrno(Errno.EINVAL, setMemory(0, 0, 0, 1L << 60));
        assertOk(setMemory(0, 0, PAGE, (1L << 47) - 2 * PAGE));
    }

    @Test
    void guestAddressesDoNotWrap() {
        assertErrno(Errno.EINVAL, setMemory(0, -PAGE, 2 * PAGE, world.map(2 * PAGE, -1)));
    }

    @Test
    void slotMayMoveAndLogButNotChangeOtherwise() {
        long address = world.map(4 * PAGE, -1);
        assertOk(setMemory(0, 0, PAGE, address));
        assertErrno(Errno.EINVAL, setMemory(0, 0, 2 * PAGE, address));
        assertErrno(Errno.EINVAL, setMemory(0, 0, PAGE, address + PAGE));
        assertErrno(Errno.EINVAL, setMemory(0, Uapi.KVM_MEM_READONLY, 0, PAGE, address));
        assertOk(setMemory(0, 16 * PAGE, PAGE, address));
        assertOk(setMemory(0, Uapi.KVM_MEM_LOG_DIRTY_PAGES, 16 * PAGE, PAGE, address));
        assertOk(setMemory(1, 0, PAGE, address + PAGE));
    }

    // What the guest writes

    private static final int AT = 0xf000;
    private static final String STORES = asm("mov [0xf800], al; out 0x82, al");

    private static final String TELLS = asm("out 0x82, al");
    private static final long NOWHERE = 8;
    private final ByteBuffer bitmap = Buffers.allocate(Long.BYTES);

    private int takeLog(int slot, long address) {
        return libc.ioctl(vm, Uapi.KVM_GET_DIRTY_LOG, Structs.of("kvm_dirty_log", slot, address));
    }

    /** The pages of slot 1 that the log has: a bit for each. */
    private long log() {
        bitmap.putLong(0, -1);
        assertOk(takeLog(1, libc.addressOf(bitmap)));
        return bitmap.getLong(0);
    }

    @Test
    void logHasThePagesThatTheGuestWroteSinceItWasTaken() {
        RealModeGuest guest = new RealModeGuest(world, vm, STORES + TELLS + STORES + asm("hlt"));
        long address = world.map(4 * PAGE, -1);
        assertOk(setMemory(1, Uapi.KVM_MEM_LOG_DIRTY_PAGES, AT, 4 * PAGE, address));
        assertThat(log()).as("before it runs").isZero();
        guest.runTo(RealModeGuest.READY);
        libc.view(address, 4 * PAGE).put((int) PAGE, (byte) 1);
        assertThat(log()).isEqualTo(1);
        assertThat(log()).as("again").isZero();
        guest.runTo(RealModeGuest.READY);
        assertThat(log()).as("written by user space alone").isZero();
        guest.runTo(RealModeGuest.READY);
        assertThat(log()).isEqualTo(1);
    }

    @Test
    void logIsAskedOfASlotThatHasOne() {
        long address = world.map(PAGE, -1);
        assertErrno(Errno.EINVAL, takeLog(7 << 16, NOWHERE));
        assertErrno(Errno.EINVAL, takeLog(0x7fff, NOWHERE));
        assertErrno(Errno.ENOENT, takeLog(0, NOWHERE));
        assertOk(setMemory(0, 0, 0, PAGE, address));
        assertErrno(Errno.ENOENT, takeLog(0, NOWHERE));
        assertOk(setMemory(0, Uapi.KVM_MEM_LOG_DIRTY_PAGES, 0, PAGE, address));
        assertErrno(Errno.EFAULT, takeLog(0, NOWHERE));
        assertOk(setMemory(0, 0, 0, 0));
        assertErrno(Errno.ENOENT, takeLog(0, NOWHERE));
    }

    @Test
    void writeToReadOnlyMemoryExits() {
        RealModeGuest guest = new RealModeGuest(world, vm, asm("mov eax, 0x5a") + STORES + STORES + asm("hlt"));
        long address = world.map(PAGE, -1);
        libc.view(address, PAGE).put(0x800, (byte) 7);
        assertOk(setMemory(1, Uapi.KVM_MEM_READONLY | Uapi.KVM_MEM_LOG_DIRTY_PAGES, AT, PAGE, address));
        guest.runToMmio(0xf800, 1, 0x5a);
        assertThat(libc.view(address, PAGE).get(0x800)).isEqualTo((byte) 7);
        guest.runTo(RealModeGuest.READY);
        assertThat(log()).isZero();
        assertOk(setMemory(1, 0, 0, 0));
        assertOk(setMemory(1, 0, AT, PAGE, address));
        guest.runTo(RealModeGuest.READY);
        assertThat(libc.view(address, PAGE).get(0x800)).isEqualTo((byte) 0x5a);
    }

    private static final String LOADS = asm("mov al, [0xf800]; out 0x82, al");

    /** Where KVM emulates real mode, the guest exits as if nothing were there; elsewhere KVM_RUN fails. */
    @Test
    void slotHasTheAccessOfItsMemory() {
        RealModeGuest guest = new RealModeGuest(world, vm, asm("mov eax, 0x5a") + LOADS + STORES + asm("hlt"));
        long constant = world.map(PAGE, Uapi.PROT_READ, -1);
        assertOk(setMemory(1, 0, AT, PAGE, constant));
        guest.runTo(RealModeGuest.READY);
        assertThat(guest.written()).isZero();
        guest.runToUnusable(0xf800);
        assertThat(libc.view(constant, PAGE).get(0x800)).isZero();
        vm = world.bareVm();
        RealModeGuest another = new RealModeGuest(world, vm, LOADS + asm("hlt"));
        assertOk(setMemory(1, 0, AT, PAGE, world.map(PAGE, 0, -1)));
        another.runToUnusable(0xf800);
    }

    // The second form, since 6.8

    private int setMemory2(int flags, int memfd, long user) {
        return libc.ioctl(
                vm,
                Uapi.KVM_SET_USER_MEMORY_REGION2,
                Structs.of("kvm_userspace_memory_region2", 0, flags, 0, PAGE, user, 0, memfd));
    }

    /** Since 6.8; before, the request is unknown. */
    private boolean hasSecondForm() {
        boolean since = world.isSince(6, 8);
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_USER_MEMORY2))
                .isEqualTo(since ? 1 : 0);
        if (!since) {
            assertErrno(Errno.ENOTTY, setMemory2(0, -1, 0));
        }
        return since;
    }

    @Test
    void secondFormDoesWhatTheFirstDoes() {
        world.assumeX86();
        if (!hasSecondForm()) {
            return;
        }
        long address = world.map(PAGE, -1);
        assertOk(setMemory2(0, -1, address));
        assertErrno(Errno.EEXIST, setMemory(1, 0, PAGE, address));
        assertErrno(Errno.EINVAL, setMemory2(8, -1, address));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION2, 8));
    }

    /** The flag is known where the VM's type may have private memory, which not every kernel's does. */
    @Test
    void memoryOfAFileNeedsAnOpenFileWhereThereIsSuchMemory() {
        world.assumeX86();
        if (!hasSecondForm()) {
            return;
        }
        long address = world.map(PAGE, -1);
        boolean has = kernel.capabilityCheck(vm, Uapi.KVM_CAP_GUEST_MEMFD) != 0;
        assertErrno(has ? Errno.EBADF : Errno.EINVAL, setMemory2(Uapi.KVM_MEM_GUEST_MEMFD, -1, address));
        assertErrno(Errno.EINVAL, setMemory2(Uapi.KVM_MEM_GUEST_MEMFD, world.eventfd(), address));
    }

    /** KVM_CAP_MULTI_ADDRESS_SPACE: a kernel with System Management Mode has two, each with slots of its own. */
    @Test
    void slotsAreOfAsManyAddressSpacesAsTheCapabilitySays() {
        int spaces = Math.max(1, kernel.capabilityCheck(vm, 118));
        long address = libc.mmap(4096, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        try {
            for (int space = 0; space < spaces; space++) {
                assertOk(setMemory(space << 16, 0, 4096, address));
                assertErrno(Errno.EEXIST, setMemory(space << 16 | 1, 0, 4096, address));
            }
            assertErrno(Errno.EINVAL, setMemory(spaces << 16, 0, 4096, address));
        } finally {
            assertOk(libc.munmap(address, 4096));
        }
    }
}
