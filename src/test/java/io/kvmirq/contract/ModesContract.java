/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.Structs.leaf;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** System registers of protected and long mode: {@code kvm_is_valid_sregs()} in arch/x86/kvm/x86.c. */
@Contract
class ModesContract extends KernelSuite {
    private static final int SEGMENT = 24;
    private static final int CODE = 0;
    private static final int STACK = 5;
    private static final int TASK = 6;
    private static final int LOCAL = 7;
    private static final int CR0 = 224;
    private static final int CR3 = 240;
    private static final int CR4 = 248;
    private static final int EFER = 264;
    private static final int APIC_BASE = 272;
    private static final long PROTECTED = 0x11;
    private static final long PAGING = 1L << 31;
    private static final long PAE = 1 << 5;
    private static final long LONG_MODE = 0x500;
    private static final int ADDRESS_LEAVES = 0x8000_0000;
    private static final int ADDRESS_LEAF = 0x8000_0008;

    private int vcpu;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        vcpu = world.vcpu(world.bareVm(), 0);
    }

    private int set(Consumer<ByteBuffer> change) {
        ByteBuffer segments = world.segments(vcpu);
        change.accept(segments);
        return libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, segments);
    }

    private static void segment(ByteBuffer to, int segment, int selector, int type, boolean system, boolean wide) {
        int at = segment * SEGMENT;
        to.putLong(at, 0)
                .putInt(at + 8, system ? 0x67 : -1)
                .putShort(at + 12, (short) selector)
                .put(at + 14, (byte) type)
                .put(at + 15, (byte) 1)
                .put(at + 16, (byte) 0)
                .put(at + 17, (byte) (system || wide ? 0 : 1))
                .put(at + 18, (byte) (system ? 0 : 1))
                .put(at + 19, (byte) (wide ? 1 : 0))
                .put(at + 20, (byte) (system ? 0 : 1))
                .put(at + 21, (byte) 0)
                .put(at + 22, (byte) 0);
    }

    private static void flat(ByteBuffer to, boolean wide) {
        segment(to, CODE, 8, 0xb, false, wide);
        for (int data = CODE + 1; data <= STACK; data++) {
            segment(to, data, 0x10, 3, false, false);
        }
        segment(to, TASK, 0x18, 0xb, true, false);
        segment(to, LOCAL, 0x20, 2, true, false);
    }

    @Test
    void protectedModeIsKept() {
        ByteBuffer next = world.segments(vcpu);
        flat(next, false);
        next.putLong(CR0, PROTECTED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, next));
        assertThat(world.segments(vcpu)).isEqualTo(next);
    }

    @Test
    void longModeIsKept() {
        ByteBuffer next = world.segments(vcpu);
        flat(next, true);
        next.putLong(CR0, PROTECTED | PAGING | 1 << 16)
                .putLong(CR3, 0x7000)
                .putLong(CR4, PAE)
                .putLong(EFER, LONG_MODE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, next));
        assertThat(world.segments(vcpu)).isEqualTo(next);
    }

    private static void makeLong(ByteBuffer to) {
        flat(to, true);
        to.putLong(CR0, PROTECTED | PAGING)
                .putLong(CR3, 0x7000)
                .putLong(CR4, PAE)
                .putLong(EFER, LONG_MODE);
    }

    @Test
    void contradictionsOfLongModeAreRefusedAndChangeNothing() {
        assertOk(set(ModesContract::makeLong));
        ByteBuffer before = world.segments(vcpu);
        assertErrno(Errno.EINVAL, set(next -> next.putLong(CR4, 0)));
        assertErrno(Errno.EINVAL, set(next -> next.putLong(EFER, 0x100)));
        assertErrno(Errno.EINVAL, set(next -> next.putLong(EFER, 0x400)));
        assertErrno(Errno.EINVAL, set(next -> next.putLong(EFER, 0)));
        assertErrno(Errno.EINVAL, set(next -> next.putLong(CR0, PROTECTED)));
        assertErrno(Errno.EINVAL, set(next -> next.putLong(APIC_BASE, 1)));
        assertThat(world.segments(vcpu)).isEqualTo(before);
        assertOk(set(next -> next.putLong(CR0, PROTECTED).putLong(EFER, 0x100).put(CODE + 19, (byte) 0)));
        assertThat(world.segments(vcpu).getLong(EFER))
                .as("long mode is enabled, and not active")
                .isEqualTo(0x100);
    }

    /** A guest has 36 address bits, unless its CPUID tells. Outside long mode nothing is checked. */
    @Test
    void tableOfLongModeIsAtAnAddressOfTheGuest() {
        assertOk(set(next -> next.putLong(CR3, 1L << 36)));
        assertThat(world.segments(vcpu).getLong(CR3)).isEqualTo(1L << 36);
        assertErrno(Errno.EINVAL, set(next -> {
            makeLong(next);
            next.putLong(CR3, 1L << 36);
        }));
        assertOk(set(next -> {
            makeLong(next);
            next.putLong(CR3, 1L << 35);
        }));
        assertOk(world.setCpuid(vcpu, leaf(ADDRESS_LEAVES, ADDRESS_LEAF), leaf(ADDRESS_LEAF, 40)));
        assertOk(set(next -> next.putLong(CR3, 1L << 39)));
        assertErrno(Errno.EINVAL, set(next -> next.putLong(CR3, 1L << 40)));
        assertErrno(Errno.EINVAL, set(next -> next.putLong(CR3, 1L << 63)));
        assertThat(world.segments(vcpu).getLong(CR3)).isEqualTo(1L << 39);
    }

    /** The CPUID may say more bits than an address has. */
    @Test
    void processorOf64AddressBitsTakesEachTable() {
        assertOk(world.setCpuid(vcpu, leaf(ADDRESS_LEAVES, ADDRESS_LEAF), leaf(ADDRESS_LEAF, 64)));
        assertOk(set(next -> {
            makeLong(next);
            next.putLong(CR3, 0x1000);
        }));
        assertThat(world.segments(vcpu).getLong(CR3)).isEqualTo(0x1000);
    }

    @Test
    void bitOfVmxIsReservedOnAmd() {
        assumeTrue(world.isAmd() || world.isPvm(), "needs AMD, or a kvm_pvm");
        assertErrno(Errno.EINVAL, set(next -> next.putLong(CR4, 1L << 13)));
    }

    /** Of no processor, or of none whose guests may have it. */
    @ParameterizedTest
    @ValueSource(ints = {14, 15, 19, 24, 26, 29, 31, 32, 63})
    void reservedBitOfCr4IsRefused(int bit) {
        assertErrno(Errno.EINVAL, set(next -> next.putLong(CR4, 1L << bit)));
        assertThat(world.segments(vcpu).getLong(CR4)).isZero();
    }

    /** A bit, and the leaf and the bits of EBX and ECX that it needs. A kvm_pvm does not look at them. */
    @ParameterizedTest
    @CsvSource({"18, 1, 0, 0x4000000", "16, 7, 1, 0", "20, 7, 0x80, 0"})
    void featureOfCr4NeedsTheCpuid(int bit, int number, String ebx, String ecx) {
        long feature = 1L << bit;
        assertOk(world.setCpuid(vcpu, leaf(number, 0, ~Integer.decode(ebx), ~Integer.decode(ecx))));
        int without = set(next -> next.putLong(CR4, feature));
        assertThat(without).isEqualTo(world.isPvm() ? 0 : -Errno.EINVAL.number());
        assertOk(world.setCpuid(vcpu, leaf(number, 0, Integer.decode(ebx), Integer.decode(ecx))));
        assertOk(set(next -> next.putLong(CR4, 0x7ff | feature)));
        assertThat(world.segments(vcpu).getLong(CR4)).isEqualTo(0x7ff | feature);
    }

    @Test
    void guestOfLongModeDoesNotRunBeforeItIsBack() {
        RealModeGuest guest = new RealModeGuest(world, world.splitVm(), asm("out 0x82, al"));
        vcpu = guest.vcpu();
        ByteBuffer before = world.segments(vcpu);
        assertOk(set(ModesContract::makeLong));
        ByteBuffer run = libc.view(world.map(PAGE, vcpu), PAGE).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 0);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, before));
        guest.runTo(0x82);
    }

    /** At the reset of a processor the boot vCPU is runnable; in protected mode it is not there. */
    @Test
    void haltedBootVcpuInProtectedModeStaysSo() {
        vcpu = world.vcpu(world.splitVm(), 0);
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(0, Uapi.KVM_MP_STATE_HALTED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_MP_STATE, state));
        assertOk(set(next -> next.putLong(CR0, PROTECTED)));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, state));
        assertThat(state.getInt(0)).isEqualTo(Uapi.KVM_MP_STATE_HALTED);
        assertOk(set(next -> next.putLong(CR0, 0x10)));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, state));
        assertThat(state.getInt(0)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
    }
}
