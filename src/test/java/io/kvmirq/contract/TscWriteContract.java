/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.kvmirq.X86Msr;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The TSCs that {@code VmSnapshot.restore} writes, one vCPU after the other: arch/x86/kvm/x86.c. KVM takes values for one
 * that differ by less than a second. A machine may need longer from one write to the next, so the test writes them again.
 */
@Contract
class TscWriteContract extends KernelSuite {
    private static final long FAR = 1L << 60;

    private int first;
    private int second;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        makeVcpus();
    }

    private void makeVcpus() {
        int vm = world.splitVm();
        first = world.vcpu(vm, 0);
        second = world.vcpu(vm, 1);
    }

    private void assumeOffsets() {
        assumeFalse(world.isPvm(), "guests of a kvm_pvm read the processor's TSC");
    }

    private void write(int vcpu, long value) {
        assertThat(libc.ioctl(vcpu, Uapi.KVM_SET_MSRS, Structs.msrs(X86Msr.TSC.number(), value)))
                .isOne();
    }

    private long read(int vcpu) {
        ByteBuffer read = Structs.msrs(X86Msr.TSC.number(), -1);
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_MSRS, read)).isOne();
        return read.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.DATA);
    }

    private long second() {
        return libc.ioctl(first, Uapi.KVM_GET_TSC_KHZ, 0) * 1000L;
    }

    private long offset(int vcpu) {
        ByteBuffer offset = Buffers.allocate(Long.BYTES);
        assertOk(offset(vcpu, Uapi.KVM_GET_DEVICE_ATTR, offset));
        return offset.getLong(0);
    }

    /** KVM_VCPU_TSC_OFFSET, the only attribute of a vCPU. */
    private int offset(int vcpu, long request, ByteBuffer value) {
        return libc.ioctl(vcpu, request, Structs.of("kvm_device_attr", 0, 0, 0, libc.addressOf(value)));
    }

    private boolean areTogether() {
        return offset(second) == offset(first);
    }

    @Test
    void valuesWithinASecondAreOne() {
        assumeOffsets();
        for (long difference : new long[] {0, second() / 2, -second() / 2}) {
            eventually(difference + " is near", () -> {
                write(first, FAR);
                write(second, FAR + difference);
                return areTogether();
            });
        }
    }

    /** Before 6.7 it is compared with the 0 of the last vCPU that was created. */
    @Test
    void firstWriteIsCompared() {
        assumeOffsets();
        if (world.isSince(6, 7)) {
            write(first, 1);
            assertThat(areTogether()).isFalse();
            return;
        }
        eventually("the first value is near 0", () -> {
            makeVcpus();
            write(first, 1);
            return areTogether();
        });
    }

    @Test
    void vcpuOfAnotherRateHasItsOwnOffset() {
        assumeOffsets();
        assertOk(libc.ioctl(second, Uapi.KVM_SET_TSC_KHZ, (int) (second() / 1000 * 3 / 2)));
        write(second, 0);
        assertThat(areTogether()).isFalse();
        write(first, 0);
        assertThat(areTogether()).isFalse();
        assertThat(read(first)).isLessThan(FAR);
    }
}
