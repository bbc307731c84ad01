/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Calls beside interrupts that {@code X86Vcpu.setCpuid}, {@code setTscKilohertz} and {@code setMsrs} make. */
@Contract
class SetupContract extends KernelSuite {
    private int vm;
    private int vcpu;

    @BeforeEach
    void setUp() {
        world.kernel();
        world.assumeX86();
        vm = world.bareVm();
        vcpu = world.vcpu(vm, 0);
    }

    // CPUID

    private static ByteBuffer leaves(int count) {
        return Buffers.allocate(Uapi.KvmCpuid2.SIZE + 100 * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, count);
    }

    private static int leaf(int number) {
        return Uapi.KvmCpuid2.SIZE + number * Uapi.KvmCpuidEntry2.SIZE;
    }

    @Test
    void cpuidOfAVcpuIsReadAsItWasSet() {
        ByteBuffer none = leaves(0);
        assertOk(world.ioctl(vcpu, Uapi.KVM_GET_CPUID2, none));
        assertThat(none.getInt(Uapi.KvmCpuid2.NENT)).isZero();
        ByteBuffer two = leaves(2)
                .putInt(leaf(0) + Uapi.KvmCpuidEntry2.EBX, 5)
                .putInt(leaf(1), 2)
                .putInt(leaf(1) + Uapi.KvmCpuidEntry2.EAX, 7);
        assertOk(world.ioctl(vcpu, Uapi.KVM_SET_CPUID2, two));
        ByteBuffer read = leaves(1);
        assertErrno(Errno.E2BIG, world.ioctl(vcpu, Uapi.KVM_GET_CPUID2, read));
        assertThat(read.getInt(Uapi.KvmCpuid2.NENT)).isOne();
        assertOk(world.ioctl(vcpu, Uapi.KVM_GET_CPUID2, read.putInt(Uapi.KvmCpuid2.NENT, 100)));
        assertThat(read.getInt(Uapi.KvmCpuid2.NENT)).isEqualTo(world.isSince(6, 5) ? 2 : 100);
        assertThat(read.putInt(Uapi.KvmCpuid2.NENT, 2)).isEqualTo(two);
        assertErrno(Errno.EINVAL, world.setCpuid(vcpu, Structs.leaf(0x8000_0008, 47 << 8 | 40)));
    }

    // Time

    @Test
    void rateOfTheTscIsSet() {
        int rate = libc.ioctl(vcpu, Uapi.KVM_GET_TSC_KHZ, 0);
        assertThat(rate).isPositive();
        assertThat(libc.ioctl(vm, Uapi.KVM_GET_TSC_KHZ, 0)).isEqualTo(rate);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_TSC_KHZ, rate + rate / 2));
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_TSC_KHZ, 0)).isEqualTo(rate + rate / 2);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_TSC_KHZ, 0));
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_TSC_KHZ, 0)).isEqualTo(rate);
        assumeTrue(world.isSince(6, 17), "before 6.17 a VM with vCPUs takes a rate");
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_SET_TSC_KHZ, 0));
    }

    /** The answer is the rate's 32 bits, and no errno. A processor that scales the TSC refuses such a rate. */
    @Test
    void rateAbove31BitsIsANegativeAnswer() {
        assumeTrue(
                libc.ioctl(world.kvm(), Uapi.KVM_CHECK_EXTENSION, Uapi.KVM_CAP_TSC_CONTROL) == 0,
                "this processor can scale a guest's TSC");
        int rate = (int) 3_700_928_127L;
        int other = world.bareVm();
        assertOk(libc.ioctl(other, Uapi.KVM_SET_TSC_KHZ, Integer.toUnsignedLong(rate)));
        assertThat(libc.ioctl(other, Uapi.KVM_GET_TSC_KHZ, 0)).isEqualTo(rate).isLessThan(-4095);
    }

    @Test
    void slowerTscIsRefusedAndKept() {
        assumeTrue(
                libc.ioctl(world.kvm(), Uapi.KVM_CHECK_EXTENSION, Uapi.KVM_CAP_TSC_CONTROL) == 0,
                "this processor can scale a guest's TSC");
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_SET_TSC_KHZ, 1000));
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_TSC_KHZ, 0)).isEqualTo(1000);
    }
}
