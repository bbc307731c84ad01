/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import org.junit.jupiter.api.Test;

/** Memory slots: virt/kvm/kvm_main.c. */
@Contract
class MemoryContract extends KernelSuite {
    private int setMemory(int vm, int slot, long guest, long size, long user) {
        return setMemory(vm, slot, 0, guest, size, user);
    }

    private int setMemory(int vm, int slot, int flags, long guest, long size, long user) {
        return kernel.libc()
                .ioctl(
                        vm,
                        Uapi.KVM_SET_USER_MEMORY_REGION,
                        Buffers.allocate(Uapi.KvmUserspaceMemoryRegion.SIZE)
                                .putInt(Uapi.KvmUserspaceMemoryRegion.SLOT, slot)
                                .putInt(Uapi.KvmUserspaceMemoryRegion.FLAGS, flags)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR, guest)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, size)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR, user));
    }

    @Test
    void memoryIsCheckedInOrder() {
        int vm = world.bareVm();
        long address = kernel.libc()
                .mmap(8192, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        try {
            assertErrno(Errno.EINVAL, setMemory(vm, 0, 1, 4096, address));
            assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, 4095, address));
            assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, 0, address));
            assertOk(setMemory(vm, 0, 0, 8192, address));
            assertErrno(Errno.EEXIST, setMemory(vm, 1, 4096, 4096, address));
            assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, 4096, address));
            assertOk(setMemory(vm, 0, 0, 0, 0));
        } finally {
            assertOk(kernel.libc().munmap(address, 8192));
        }
    }

    @Test
    void kernelKeepsTheLastSlotsForItself() {
        world.assumeX86();
        int vm = world.bareVm();
        long address = kernel.libc()
                .mmap(4096, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        assertOk(address > 0 ? 0 : address);
        try {
            assertErrno(Errno.EINVAL, setMemory(vm, 32764, 0, 4096, address));
            assertOk(setMemory(vm, 32763, 0, 4096, address));
        } finally {
            assertOk(kernel.libc().munmap(address, 4096));
        }
    }

    @Test
    void flagsComeFirstAndThoseOfTheSecondFormAreUnknownToTheFirst() {
        int vm = world.bareVm();
        assertErrno(Errno.EINVAL, setMemory(vm, 0, Uapi.KVM_MEM_GUEST_MEMFD, 0, PAGE, world.map(PAGE, -1)));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, 8, 0, PAGE, world.map(PAGE, -1)));
        assertOk(setMemory(vm, 0, Uapi.KVM_MEM_LOG_DIRTY_PAGES | Uapi.KVM_MEM_READONLY, 0, PAGE, world.map(PAGE, -1)));
    }

    @Test
    void addressesAreWholePagesOfUserMemory() {
        int vm = world.bareVm();
        long address = world.map(2 * PAGE, -1);
        assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, PAGE, address + 8));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, PAGE, 0xffff_8000_0000_0000L));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, PAGE + 1, PAGE, address));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, 1, address));
    }

    @Test
    void guestAddressesDoNotWrap() {
        int vm = world.bareVm();
        assertErrno(Errno.EINVAL, setMemory(vm, 0, -PAGE, 2 * PAGE, world.map(2 * PAGE, -1)));
    }

    @Test
    void addressSpacesOfTheHighHalfAreNone() {
        int vm = world.bareVm();
        assertErrno(Errno.EINVAL, setMemory(vm, 7 << 16, 0, PAGE, world.map(PAGE, -1)));
    }

    @Test
    void sameSlotAgainIsNothingNew() {
        int vm = world.bareVm();
        long address = world.map(PAGE, -1);
        assertOk(setMemory(vm, 0, 0, PAGE, address));
        assertOk(setMemory(vm, 0, 0, PAGE, address));
    }

    @Test
    void slotMayMoveAndLogButNotChangeOtherwise() {
        int vm = world.bareVm();
        long address = world.map(4 * PAGE, -1);
        assertOk(setMemory(vm, 0, 0, PAGE, address));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, 2 * PAGE, address));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, PAGE, address + PAGE));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, Uapi.KVM_MEM_READONLY, 0, PAGE, address));
        assertOk(setMemory(vm, 0, 16 * PAGE, PAGE, address));
        assertOk(setMemory(vm, 0, Uapi.KVM_MEM_LOG_DIRTY_PAGES, 16 * PAGE, PAGE, address));
        assertOk(setMemory(vm, 1, 0, PAGE, address + PAGE));
    }

    @Test
    void changedSlotIsRefusedBeforeTheOverlap() {
        int vm = world.bareVm();
        long address = world.map(4 * PAGE, -1);
        assertOk(setMemory(vm, 0, 0, PAGE, address));
        assertOk(setMemory(vm, 1, PAGE, PAGE, address + PAGE));
        assertErrno(Errno.EINVAL, setMemory(vm, 0, 0, 2 * PAGE, address));
        assertErrno(Errno.EEXIST, setMemory(vm, 0, PAGE, PAGE, address));
    }

    @Test
    void oneUserPageMayBeSeveralGuestPages() {
        int vm = world.bareVm();
        long address = world.map(PAGE, -1);
        assertOk(setMemory(vm, 0, 0, PAGE, address));
        assertOk(setMemory(vm, 1, PAGE, PAGE, address));
    }

    // The second form, since 6.8

    private int setMemory2(int vm, int flags, int memfd, long user) {
        return kernel.libc()
                .ioctl(
                        vm,
                        Uapi.KVM_SET_USER_MEMORY_REGION2,
                        Buffers.allocate(Uapi.KvmUserspaceMemoryRegion2.SIZE)
                                .putInt(Uapi.KvmUserspaceMemoryRegion.FLAGS, flags)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, PAGE)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR, user)
                                .putInt(Uapi.KvmUserspaceMemoryRegion2.GUEST_MEMFD, memfd));
    }

    /** Since 6.8; before, the request is unknown. */
    private boolean hasSecondForm() {
        boolean since = world.isSince(6, 8);
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_USER_MEMORY2))
                .isEqualTo(since ? 1 : 0);
        if (!since) {
            assertErrno(Errno.ENOTTY, setMemory2(world.bareVm(), 0, -1, 0));
        }
        return since;
    }

    @Test
    void secondFormDoesWhatTheFirstDoes() {
        world.assumeX86();
        if (!hasSecondForm()) {
            return;
        }
        int vm = world.bareVm();
        long address = world.map(PAGE, -1);
        assertOk(setMemory2(vm, 0, -1, address));
        assertErrno(Errno.EEXIST, setMemory(vm, 1, 0, PAGE, address));
        assertErrno(Errno.EINVAL, setMemory2(vm, 8, -1, address));
        assertErrno(Errno.EFAULT, kernel.libc().ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION2, 8));
    }

    /** The flag is known where the VM's type may have private memory, which not every kernel's does. */
    @Test
    void memoryOfAFileNeedsAnOpenFileWhereThereIsSuchMemory() {
        world.assumeX86();
        if (!hasSecondForm()) {
            return;
        }
        int vm = world.bareVm();
        long address = world.map(PAGE, -1);
        boolean has = kernel.capabilityCheck(vm, Uapi.KVM_CAP_GUEST_MEMFD) != 0;
        assertErrno(has ? Errno.EBADF : Errno.EINVAL, setMemory2(vm, Uapi.KVM_MEM_GUEST_MEMFD, -1, address));
        assertErrno(Errno.EINVAL, setMemory2(vm, Uapi.KVM_MEM_GUEST_MEMFD, world.eventfd(), address));
    }

    /** KVM_CAP_MULTI_ADDRESS_SPACE: a kernel with System Management Mode has two, each with slots of its own. */
    @Test
    void slotsAreOfAsManyAddressSpacesAsTheCapabilitySays() {
        int vm = world.bareVm();
        int spaces = Math.max(1, kernel.capabilityCheck(vm, 118));
        long address = kernel.libc()
                .mmap(4096, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        try {
            for (int space = 0; space < spaces; space++) {
                assertOk(setMemory(vm, space << 16, 0, 4096, address));
                assertErrno(Errno.EEXIST, setMemory(vm, space << 16 | 1, 0, 4096, address));
            }
            assertErrno(Errno.EINVAL, setMemory(vm, spaces << 16, 0, 4096, address));
        } finally {
            assertOk(kernel.libc().munmap(address, 4096));
        }
    }
}
