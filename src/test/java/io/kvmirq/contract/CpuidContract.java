/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmCpuid2;
import io.kvmirq.uapi.Uapi.KvmCpuidEntry2;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The CPUID of a vCPU: which bits the kernel changes, and what a VMM may set again after a run. */
@Contract
class CpuidContract extends KernelSuite {
    private static final int MOST = 256;
    private static final int INDEXED = 1;
    private static final int CR4 = 248;
    private static final int APIC_BASE = 272;
    private static final long LAPIC_OFF = 0xfee00100L;
    private static final long CR4_OSXSAVE = 1 << 18;
    private static final int OSXSAVE = 1 << 27;
    private static final int LAPIC_ON = 1 << 9;
    private static final int X2APIC = 1 << 21;
    private static final int XSAVE = 1 << 26;
    private static final int ADDRESS_LEAF = 0x8000_0008;

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
        ByteBuffer leaves = leaves(0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0);
        ByteBuffer told = setAndRun(leaves);
        assertThat(set(leaves)).isEqualTo(world.isPvm() ? -Errno.EINVAL.number() : 0);
        assertOk(set(told));
    }

    @Test
    void leavesWithoutFeaturesAreTakenAfterARun() {
        ByteBuffer leaves = leaves(0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0);
        setAndRun(leaves);
        assertOk(set(leaves));
        assertOk(set(leaves.putInt(leaf(1) + KvmCpuidEntry2.EDX + Integer.BYTES, 5)));
        assertErrno(Errno.EINVAL, set(leaves.putInt(KvmCpuid2.NENT, 1)));
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

    @Test
    void bitsThatFollowFromTheStateAreNotCompared() {
        ByteBuffer leaves = setAndRun(leaves(1, 0, 0, 0, 0, 0, 0, 0xd, 0, INDEXED, 3, 0, 0, 0));
        assertOk(set(flipped(leaves, leaf(0) + KvmCpuidEntry2.ECX, OSXSAVE)));
        assertOk(set(flipped(leaves, leaf(0) + KvmCpuidEntry2.EDX, LAPIC_ON)));
        assertOk(set(flipped(leaves, leaf(1) + KvmCpuidEntry2.EBX, 1)));
        assertErrno(Errno.EINVAL, set(flipped(leaves, leaf(0) + KvmCpuidEntry2.ECX, X2APIC)));
        assertErrno(Errno.EINVAL, set(flipped(leaves, leaf(1) + KvmCpuidEntry2.ECX, 1)));
    }

    private int bit(int at, int bit) {
        return get().getInt(at) & bit;
    }

    @Test
    void bitsFollowTheControlRegisterAndTheBase() {
        assertOk(set(leaves(1, 0, 0, 0, 0, XSAVE, 0)));
        assertThat(bit(leaf(0) + KvmCpuidEntry2.ECX, OSXSAVE)).isZero();
        assertThat(bit(leaf(0) + KvmCpuidEntry2.EDX, LAPIC_ON)).isEqualTo(LAPIC_ON);
        ByteBuffer segments = world.segments(vcpu).putLong(CR4, CR4_OSXSAVE).putLong(APIC_BASE, LAPIC_OFF);
        assertOk(world.ioctl(vcpu, Uapi.KVM_SET_SREGS, segments));
        assertThat(bit(leaf(0) + KvmCpuidEntry2.ECX, OSXSAVE)).isEqualTo(OSXSAVE);
        assertThat(bit(leaf(0) + KvmCpuidEntry2.EDX, LAPIC_ON)).isZero();
    }

    @Test
    void sizeOfTheXsaveAreaIsThatOfXcr0() {
        assertOk(set(leaves(0xd, 0, INDEXED, 3, 5, 0, 0)));
        assertThat(get().getInt(leaf(0) + KvmCpuidEntry2.EBX)).isEqualTo(576);
    }

    @Test
    void linearAddressesHaveAKnownSize() {
        assertOk(set(leaves(0, 0, 0, 7, 0, 0, 0)));
        assertErrno(Errno.EINVAL, set(leaves(ADDRESS_LEAF, 0, 0, 47 << 8 | 40, 0, 0, 0)));
        assertThat(get().getInt(leaf(0) + KvmCpuidEntry2.EAX)).isEqualTo(7);
        assertOk(set(leaves(ADDRESS_LEAF, 0, 0, 57 << 8 | 40, 0, 0, 0)));
        assertOk(set(leaves(ADDRESS_LEAF, 0, 0, 48 << 8 | 40, 0, 0, 0)));
    }
}
