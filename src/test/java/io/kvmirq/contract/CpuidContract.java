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

/** The CPUID that {@code X86Vcpu.setCpuid} may set again after a run. */
@Contract
class CpuidContract extends KernelSuite {
    private static final int MOST = 256;

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
