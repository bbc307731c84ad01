/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmCpuid2;
import io.kvmirq.uapi.Uapi.KvmCpuidEntry2;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The CPUID that {@code Cpuid.ofHost} reads, and that {@code X86Vcpu.setCpuid} may set again after a run. */
@Contract
class CpuidContract extends KernelSuite {
    private static final int MOST = 256;
    // Leaf 1
    private static final int X2APIC = 1 << 21;
    private static final int DEADLINE_TIMER = 1 << 24;
    private static final int HYPERVISOR = 1 << 31;
    private static final int TSC_MSR_APIC = 1 << 4 | 1 << 5 | 1 << 9;

    @SuppressWarnings("NullAway.Init")
    private RealModeGuest guest;

    private int vcpu;

    @BeforeEach
    void setUp() {
        guest = new RealModeGuest(world, world.bareVm(), asm("out 0x82, al; out 0x82, al"));
        vcpu = guest.vcpu();
    }

    private static int leaf(int number) {
        return KvmCpuid2.SIZE + number * KvmCpuidEntry2.SIZE;
    }

    /** Each leaf is its number, index, flags, EAX, EBX, ECX and EDX. */
    private static ByteBuffer leaves(int... values) {
        int count = values.length / 7;
        ByteBuffer leaves = Buffers.allocate(leaf(MOST)).putInt(KvmCpuid2.NENT, count);
        for (int i = 0; i < values.length; i++) {
            leaves.putInt(leaf(i / 7) + i % 7 * Integer.BYTES, values[i]);
        }
        return leaves;
    }

    private ByteBuffer supported() {
        ByteBuffer leaves = leaves().putInt(KvmCpuid2.NENT, MOST);
        assertOk(world.ioctl(world.kvm(), Uapi.KVM_GET_SUPPORTED_CPUID, leaves));
        return leaves;
    }

    /** EAX, EBX, ECX and EDX of a leaf at index 0. */
    private static int[] registers(ByteBuffer leaves, int function) {
        for (int i = 0; i < leaves.getInt(KvmCpuid2.NENT); i++) {
            if (leaves.getInt(leaf(i)) == function && leaves.getInt(leaf(i) + KvmCpuidEntry2.INDEX) == 0) {
                int[] registers = new int[4];
                leaves.slice(leaf(i) + KvmCpuidEntry2.EAX, 4 * Integer.BYTES)
                        .order(leaves.order())
                        .asIntBuffer()
                        .get(registers);
                return registers;
            }
        }
        throw new AssertionError("no leaf 0x" + Integer.toHexString(function));
    }

    @Test
    void supportedCpuidOfInterruptsAndTimersFollowsTheVersion() {
        ByteBuffer leaves = supported();
        int[] features = registers(leaves, 1);
        int advertised = DEADLINE_TIMER | HYPERVISOR;
        assertThat(features[2] & advertised).isEqualTo(world.isSince(6, 14) ? advertised : 0);
        assertThat(features[2] & X2APIC).isEqualTo(X2APIC);
        assertThat(features[3] & TSC_MSR_APIC).isEqualTo(TSC_MSR_APIC);
        assertThat(registers(leaves, 6)).as("ARAT").containsExactly(4, 0, 0, 0);
        assertThat(registers(leaves, 7)[1] & 2).as("TSC_ADJUST").isEqualTo(2);
        assertThat(registers(leaves, 0xb)).as("no topology").startsWith(0, 0, 0);
        int[] xsave = registers(leaves, 0xd);
        assertThat(xsave[0] & 3).as("x87 and SSE").isEqualTo(3);
        assertThat(xsave[1]).as("the XSAVE area in bytes").isEqualTo(xsave[2]).isGreaterThanOrEqualTo(576);
        assertThat(registers(leaves, 0x4000_0000)).containsExactly(0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d);
        assertThat(registers(leaves, 0x4000_0001)).as("KVM_FEATURE_*").containsExactly(0x0100_7efb, 0, 0, 0);
    }

    @Test
    void supportedCpuidNeedsRoomForAllLeaves() {
        ByteBuffer leaves = supported();
        int count = leaves.getInt(KvmCpuid2.NENT);
        assertErrno(
                Errno.E2BIG,
                world.ioctl(world.kvm(), Uapi.KVM_GET_SUPPORTED_CPUID, leaves.putInt(KvmCpuid2.NENT, count - 1)));
    }

    private int set(ByteBuffer leaves) {
        return world.ioctl(vcpu, Uapi.KVM_SET_CPUID2, leaves);
    }

    private ByteBuffer get() {
        ByteBuffer leaves = leaves().putInt(KvmCpuid2.NENT, MOST);
        assertOk(world.ioctl(vcpu, Uapi.KVM_GET_CPUID2, leaves));
        return leaves;
    }

    /** As it was set, or as a kvm_pvm completed it. */
    private ByteBuffer setAndRun(ByteBuffer leaves) {
        assertOk(set(leaves));
        guest.run(Uapi.KVM_EXIT_IO);
        int count = leaves.getInt(KvmCpuid2.NENT);
        return world.isPvm() ? get() : get().putInt(KvmCpuid2.NENT, count);
    }

    private static ByteBuffer flipped(ByteBuffer leaves, int at, int bits) {
        ByteBuffer copy = Buffers.allocate(leaves.capacity()).put(0, leaves, 0, leaves.capacity());
        return copy.putInt(at, leaves.getInt(at) ^ bits);
    }

    /** With kvm_pvm the guest has features of the machine too, which the same leaves do not name. */
    @Test
    void sameLeavesAreTakenAfterARun() {
        assumeTrue(world.kernel().isReal() || !world.isPvm(), "the fake does not model the leaves of kvm_pvm");
        ByteBuffer leaves = leaves(0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0);
        ByteBuffer told = setAndRun(leaves);
        assertThat(set(leaves)).isEqualTo(world.isPvm() ? -Errno.EINVAL.number() : 0);
        assertOk(set(told));
    }

    @Test
    void everyFieldOfALeafIsComparedAfterARun() {
        ByteBuffer leaves = leaves(0x10, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0);
        setAndRun(leaves);
        for (int field = 0; field < 7; field++) {
            assertErrno(Errno.EINVAL, set(flipped(leaves, leaf(1) + field * Integer.BYTES, 1)));
        }
        assertOk(set(leaves));
    }
}
