/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.Structs.leaf;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The system registers of protected and long mode that {@code VmSnapshot} restores: arch/x86/kvm/x86.c. */
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
    private static final long PROTECTED = 0x11;
    private static final long PAGING = 1L << 31;
    private static final long PAE = 1 << 5;
    private static final long LONG_MODE = 0x500;
    /** CPUID leaf 0x80000001, EDX. */
    private static final int LONG_MODE_FEATURE = 1 << 29;

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

    /** Since a stable update of 6.12, KVM_SET_SREGS asks the CPUID whether the vCPU has long mode. */
    @Test
    void longModeIsKept() {
        assertOk(world.setCpuid(vcpu, leaf(0x8000_0001, 0, 0, 0, LONG_MODE_FEATURE)));
        ByteBuffer next = world.segments(vcpu);
        flat(next, true);
        next.putLong(CR0, PROTECTED | PAGING | 1 << 16)
                .putLong(CR3, 0x7000)
                .putLong(CR4, PAE)
                .putLong(EFER, LONG_MODE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, next));
        assertThat(world.segments(vcpu)).isEqualTo(next);
        assertErrno(Errno.EINVAL, set(segments -> segments.putLong(CR4, PAE | 1L << 63)));
        assertErrno(Errno.EINVAL, set(segments -> segments.putLong(CR3, 1L << 36))); // without leaf 0x80000008
    }

    private static void makeLong(ByteBuffer to) {
        flat(to, true);
        to.putLong(CR0, PROTECTED | PAGING)
                .putLong(CR3, 0x7000)
                .putLong(CR4, PAE)
                .putLong(EFER, LONG_MODE);
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
