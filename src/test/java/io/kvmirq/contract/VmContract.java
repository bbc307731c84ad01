/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The KVM device, VMs and irqchips: virt/kvm/kvm_main.c, arch/x86/kvm/x86.c. */
@Contract
class VmContract {
    private final World world;
    private final KernelBackend kernel;

    VmContract(World world) {
        this.world = world;
        this.kernel = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    @Test
    void deviceSpeaksVersion12() {
        assertThat(kernel.kvmVersion(world.kvm())).isEqualTo(12);
    }

    @Test
    void missingNodeIsNoEntry() {
        assertErrno(Errno.ENOENT, kernel.kvmOpen(Buffers.cString("/nonexistent/kvm")));
    }

    @Test
    void unknownNumbersDifferByDescriptor() {
        int kvm = world.kvm();
        int vm = world.fullVm();
        int vcpu = world.vcpu(vm, 0);
        int device = world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        long unknown = 0xaeff;
        assertErrno(Errno.EINVAL, kernel.libc().ioctl(kvm, unknown, 0));
        assertErrno(Errno.ENOTTY, kernel.libc().ioctl(vm, unknown, 0));
        assertErrno(Errno.EINVAL, kernel.libc().ioctl(vcpu, unknown, 0));
        assertErrno(Errno.EINVAL, kernel.libc().ioctl(vcpu, 0x1234, 0));
        assertErrno(Errno.ENOTTY, kernel.libc().ioctl(device, unknown, 0));
        assertErrno(Errno.EBADF, kernel.libc().ioctl(-1, unknown, 0));
    }

    @Test
    void argumentWhereNoneBelongsIsInvalid() {
        assertErrno(Errno.EINVAL, kernel.libc().ioctl(world.kvm(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 1));
    }

    @Test
    void unknownCapabilityIsZeroNotAnError() {
        int kvm = world.kvm();
        assertThat(kernel.capabilityCheck(kvm, 9999)).isZero();
        assertThat(kernel.capabilityCheck(kvm, Uapi.KVM_CAP_IRQ_ROUTING)).isEqualTo(4096);
        assertThat(kernel.capabilityCheck(world.bareVm(), Uapi.KVM_CAP_IRQFD_RESAMPLE))
                .isEqualTo(1);
    }

    @Test
    void unknownVmTypeIsInvalid() {
        assertErrno(Errno.EINVAL, kernel.vmCreate(world.kvm(), 0xff));
    }

    @Test
    void secondIrqchipExists() {
        int full = world.fullVm();
        assertErrno(Errno.EEXIST, kernel.irqchipCreate(full));
        assertErrno(Errno.EEXIST, kernel.irqchipCreateSplit(full, 24));
        int split = world.splitVm();
        assertErrno(Errno.EEXIST, kernel.irqchipCreate(split));
        assertErrno(Errno.EEXIST, kernel.irqchipCreateSplit(split, 24));
    }

    @Test
    void irqchipAfterVcpuIsInvalidButSplitExists() {
        int vm = world.bareVm();
        world.vcpu(vm, 0);
        assertErrno(Errno.EINVAL, kernel.irqchipCreate(vm));
        assertErrno(Errno.EEXIST, kernel.irqchipCreateSplit(vm, 24));
    }

    @Test
    void splitIrqchipTakes4096Pins() {
        assertErrno(Errno.EINVAL, kernel.irqchipCreateSplit(world.bareVm(), 4097));
        assertOk(kernel.irqchipCreateSplit(world.bareVm(), 4096));
    }

    @Test
    void chipStateNeedsTheFullIrqchip() {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertErrno(Errno.ENXIO, kernel.irqchipGet(world.bareVm(), 2, state));
        assertErrno(Errno.ENXIO, kernel.irqchipGet(world.splitVm(), 2, state));
        assertErrno(Errno.EINVAL, kernel.irqchipGet(world.fullVm(), 3, state));
        assertErrno(Errno.EINVAL, kernel.irqchipSet(world.fullVm(), 3, state));
    }

    @Test
    void chipStateComesBackAsWritten() {
        int vm = world.fullVm();
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm, 2, state));
        int pin7 = Uapi.KvmIoapicState.REDIRTBL + 7 * 8;
        state.putLong(pin7, 0x8042);
        assertOk(kernel.irqchipSet(vm, 2, state));
        ByteBuffer again = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm, 2, again));
        assertThat(again.getLong(pin7)).isEqualTo(0x8042);
    }

    /** Since 6.18 there are four, but one is for split irqchips only. */
    @Test
    void x2apicBitsAreChecked() {
        int full = world.fullVm();
        assertErrno(Errno.EINVAL, kernel.x2apicEnable(full, 0x10));
        assertOk(kernel.x2apicEnable(full, 3));
        assertErrno(Errno.EINVAL, kernel.x2apicEnable(full, 4));
        if (world.isSince(6, 18)) {
            assertOk(kernel.x2apicEnable(full, 8));
            assertOk(kernel.x2apicEnable(world.splitVm(), 4));
        } else {
            assertErrno(Errno.EINVAL, kernel.x2apicEnable(full, 8));
            assertErrno(Errno.EINVAL, kernel.x2apicEnable(world.splitVm(), 4));
        }
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_X2APIC_API))
                .isEqualTo(world.isSince(6, 18) ? 0xf : 3);
    }

    @Test
    void secondVcpuOfAnIdExists() {
        int vm = world.bareVm();
        world.vcpu(vm, 1);
        assertErrno(Errno.EEXIST, kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 1));
        assertErrno(Errno.EINVAL, kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 1 << 20));
    }

    /** 1024 vCPUs or, as a kernel since 6.7 may be built, up to 4096. */
    @Test
    void idsOfVcpusEndWhereTheCapabilitySays() {
        int vm = world.bareVm();
        int ids = kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPU_ID);
        assertThat(ids).isEqualTo(4 * kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPUS));
        assertErrno(Errno.EINVAL, kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, ids));
        world.vcpu(vm, ids - 1);
    }

    /** Before 6.5 x86 had the call without saying so. */
    @Test
    void devicesAreACapabilitySince65() {
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_DEVICE_CTRL))
                .isEqualTo(world.isSince(6, 5) ? 1 : 0);
    }

    @Test
    void lapicNeedsAnIrqchip() {
        int vcpu = world.vcpu(world.bareVm(), 0);
        assertErrno(
                Errno.EINVAL, kernel.libc().ioctl(vcpu, Uapi.KVM_GET_LAPIC, Buffers.allocate(Uapi.KvmLapicState.SIZE)));
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

    @Test
    void threePagesForTheTaskStateLieBelow4GiB() {
        int vm = world.bareVm();
        assertOk(kernel.libc().ioctl(vm, Uapi.KVM_SET_TSS_ADDR, 0xfffbd000L));
        assertErrno(Errno.EINVAL, kernel.libc().ioctl(vm, Uapi.KVM_SET_TSS_ADDR, 0xfffff000L));
    }

    /** Bit 4 of KVM_CAP_X2APIC_API; what other bits there are is the kernel's version. */
    @Test
    void suppressingEoisIsForSplitIrqchips() {
        assertThat(kernel.libc().ioctl(world.fullVm(), Uapi.KVM_CHECK_EXTENSION, Uapi.KVM_CAP_X2APIC_API) & 4)
                .isZero();
    }

    private int setMemory(int vm, int slot, long guest, long size, long user) {
        return kernel.libc()
                .ioctl(
                        vm,
                        Uapi.KVM_SET_USER_MEMORY_REGION,
                        Buffers.allocate(Uapi.KvmUserspaceMemoryRegion.SIZE)
                                .putInt(Uapi.KvmUserspaceMemoryRegion.SLOT, slot)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR, guest)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, size)
                                .putLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR, user));
    }
}
