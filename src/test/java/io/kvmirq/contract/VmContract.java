/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The KVM device and VMs: virt/kvm/kvm_main.c, arch/x86/kvm/x86.c. */
@Contract
class VmContract extends KernelSuite {
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
        int vcpu = world.vcpu(vm(), 0);
        int device = world.own(kernel.deviceCreate(vm(), Uapi.KVM_DEV_TYPE_VFIO));
        long unknown = 0xaeff;
        assertErrno(Errno.EINVAL, libc.ioctl(kvm, unknown, 0));
        assertErrno(Errno.ENOTTY, libc.ioctl(vm(), unknown, 0));
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, unknown, 0));
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, 0x1234, 0));
        assertErrno(Errno.ENOTTY, libc.ioctl(device, unknown, 0));
        assertErrno(Errno.EBADF, libc.ioctl(-1, unknown, 0));
    }

    @Test
    void unknownVmTypeIsInvalid() {
        assertErrno(Errno.EINVAL, kernel.vmCreate(world.kvm(), 0xff));
    }

    @Test
    void threePagesForTheTaskStateLieBelow4GiB() {
        world.assumeX86();
        int vm = world.bareVm();
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_TSS_ADDR, 0xfffbd000L));
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_SET_TSS_ADDR, 0xfffff000L));
    }

    @Test
    void identityMapIsPlacedBeforeTheFirstVcpu() {
        world.assumeX86();
        int vm = world.bareVm();
        ByteBuffer address = Buffers.allocate(8).putLong(0, 0xfffbc000L);
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SET_IDENTITY_MAP_ADDR, 8));
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_IDENTITY_MAP_ADDR, address));
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_IDENTITY_MAP_ADDR, Buffers.allocate(8)));
        world.vcpu(vm, 0);
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_SET_IDENTITY_MAP_ADDR, address));
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_SET_IDENTITY_MAP_ADDR, 8));
    }

    // The system

    @Test
    void versionTakesNoArgument() {
        world.assumeX86();
        int kvm = world.kvm();
        assertErrno(Errno.EINVAL, libc.ioctl(kvm, Uapi.KVM_GET_API_VERSION, 1));
        assertThat(libc.ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0)).isEqualTo(12288);
    }

    @Test
    void capabilitiesOfTheInterruptPathAreAsPublished() {
        for (int fd : new int[] {world.kvm(), world.bareVm(), world.fullVm(), world.splitVm()}) {
            assertThat(kernel.capabilityCheck(fd, Uapi.KVM_CAP_IRQ_ROUTING)).isEqualTo(4096);
            assertThat(kernel.capabilityCheck(fd, Uapi.KVM_CAP_NR_MEMSLOTS)).isEqualTo(32764);
            assertThat(kernel.capabilityCheck(fd, Uapi.KVM_CAP_COALESCED_MMIO)).isEqualTo(2);
            assertThat(kernel.capabilityCheck(fd, Uapi.KVM_CAP_MSI_DEVID)).isZero();
            for (int present : new int[] {
                Uapi.KVM_CAP_IRQCHIP,
                Uapi.KVM_CAP_USER_MEMORY,
                Uapi.KVM_CAP_IRQ_INJECT_STATUS,
                Uapi.KVM_CAP_IRQFD,
                Uapi.KVM_CAP_PIT2,
                Uapi.KVM_CAP_IOEVENTFD,
                Uapi.KVM_CAP_ENABLE_CAP,
                Uapi.KVM_CAP_SIGNAL_MSI,
                Uapi.KVM_CAP_IRQFD_RESAMPLE,
                Uapi.KVM_CAP_ENABLE_CAP_VM,
                Uapi.KVM_CAP_IOEVENTFD_NO_LENGTH,
                Uapi.KVM_CAP_CHECK_EXTENSION_VM,
                Uapi.KVM_CAP_SPLIT_IRQCHIP,
                Uapi.KVM_CAP_IOEVENTFD_ANY_LENGTH,
                Uapi.KVM_CAP_IMMEDIATE_EXIT,
                Uapi.KVM_CAP_BINARY_STATS_FD
            }) {
                assertThat(kernel.capabilityCheck(fd, present))
                        .as("capability " + present)
                        .isEqualTo(1);
            }
            assertThat(kernel.capabilityCheck(fd, Uapi.KVM_CAP_VM_ATTRIBUTES)).isZero();
            assertThat(kernel.capabilityCheck(fd, -1)).isZero();
        }
    }

    /** 1024 vCPUs or, as a kernel since 6.7 may be built, up to 4096. */
    @Test
    void idsOfVcpusEndWhereTheCapabilitySays() {
        world.assumeX86();
        int vm = world.bareVm();
        int ids = kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPU_ID);
        assertThat(ids).isEqualTo(4 * kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPUS));
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, ids));
        world.vcpu(vm, ids - 1);
        int upperHalf = libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 1L << 32);
        if (world.isSince(6, 11)) {
            assertErrno(Errno.EINVAL, upperHalf);
        } else {
            world.own(upperHalf);
            assertErrno(Errno.EEXIST, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 0));
        }
    }

    /** The number is looked at before the id: that of a vCPU that exists is no better. */
    @Test
    void vmHasAsManyVcpusAsTheCapabilitySays() {
        world.assumeX86();
        int vm = world.bareVm();
        int max = kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPUS);
        for (int id = 0; id < max; id++) {
            int vcpu = libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, id);
            assertThat(vcpu).as("vCPU %d", id).isPositive();
            assertOk(kernel.fdClose(vcpu));
        }
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, max));
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 0));
    }

    @Test
    void idsOfVcpusAreLimitedOnce() {
        world.assumeX86();
        int vm = world.bareVm();
        int ids = kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPU_ID);
        assertErrno(Errno.EINVAL, enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, ids + 1));
        assertOk(enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, 0));
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_BOOT_CPU_ID, 3));
        int belowBoot = enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, 2);
        if (world.isSince(6, 11)) {
            assertErrno(Errno.EINVAL, belowBoot);
            assertOk(enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, 4));
            assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_SET_BOOT_CPU_ID, 5));
        } else {
            assertOk(belowBoot);
        }
        int limit = world.isSince(6, 11) ? 4 : 2;
        assertOk(enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, limit));
        assertErrno(Errno.EINVAL, enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, limit + 1));
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, limit));
        world.vcpu(vm, limit - 1);
        assertThat(kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPU_ID)).isEqualTo(ids);
    }

    @Test
    void firstVcpuEndsTheChoiceOfItsLimit() {
        world.assumeX86();
        int vm = world.bareVm();
        int ids = kernel.capabilityCheck(vm, Uapi.KVM_CAP_MAX_VCPU_ID);
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, ids));
        assertOk(enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, 0));
        world.vcpu(vm, 0);
        assertErrno(Errno.EINVAL, enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, 0));
        assertErrno(Errno.EINVAL, enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, 4));
        assertOk(enable(vm, Uapi.KVM_CAP_MAX_VCPU_ID, 0, ids));
    }

    /** Before 6.5 x86 had the call without saying so. */
    @Test
    void devicesAreACapabilitySince65() {
        world.assumeX86();
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_DEVICE_CTRL))
                .isEqualTo(world.isSince(6, 5) ? 1 : 0);
    }

    /** KVM_SET_USER_MEMORY_REGION2 came with 6.8. */
    @Test
    void secondFormOfMemorySlotsIsThereSinceItCame() {
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_USER_MEMORY2))
                .isEqualTo(world.isSince(6, 8) ? 1 : 0);
    }

    /** The bitmap of types came with 6.8; without it there is type 0 alone. */
    @Test
    void vmTypesAreThoseOfTheBitmap() {
        int kvm = world.kvm();
        int types = kernel.capabilityCheck(kvm, Uapi.KVM_CAP_VM_TYPES);
        boolean hasOne = (types >>> 1 & 1) == 1;
        int result = kernel.vmCreate(kvm, 1);
        if (hasOne) {
            world.own(result);
        } else {
            assertErrno(Errno.EINVAL, result);
        }
        world.own(world.createVm(kvm));
        assertErrno(Errno.EINVAL, kernel.vmCreate(kvm, 31));
        assertErrno(Errno.EINVAL, kernel.vmCreate(kvm, 0x80000000L));
    }

    @Test
    void requestsOfOneKindOfFileAreUnknownToTheOthers() {
        int kvm = world.kvm();
        int vcpu = world.vcpu(vm(), 0);
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(kvm, world.eventfd(), 0));
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(vcpu, world.eventfd(), 0));
        assertErrno(Errno.ENOTTY, kernel.vmCreate(vm(), 0));
        assertErrno(Errno.ENOTTY, libc.ioctl(vm(), Uapi.KVM_RUN, 0));
        assertErrno(Errno.EINVAL, libc.ioctl(kvm, Uapi.KVM_CREATE_VCPU, 0));
    }

    // Capabilities to enable

    private int enable(int vm, int capability, int flags, long argument) {
        return libc.ioctl(vm, Uapi.KVM_ENABLE_CAP, Structs.of("kvm_enable_cap", capability, flags, argument));
    }

    @Test
    void capabilityToEnableHasNoFlagsAndMustBeKnown() {
        world.assumeX86();
        int vm = world.bareVm();
        assertErrno(Errno.EINVAL, enable(vm, Uapi.KVM_CAP_SPLIT_IRQCHIP, 1, 24));
        assertErrno(Errno.EINVAL, enable(vm, 9999, 0, 0));
        assertErrno(Errno.EINVAL, enable(vm, Uapi.KVM_CAP_IRQFD, 0, 0));
        assertOk(enable(vm, Uapi.KVM_CAP_SPLIT_IRQCHIP, 0, 24));
    }
}
