/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.Structs.leaf;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.X86Msr;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The deadline of a LAPIC's timer, which {@code VmSnapshot} saves and restores: arch/x86/kvm/lapic.c. */
@Contract
class TscDeadlineContract extends KernelSuite {
    private static final int TIMER = 0x320;
    private static final int INITIAL_COUNT = 0x380;
    private static final int DEADLINE = 2 << 17;
    private static final int DEADLINE_FEATURE = 1 << 24;
    private static final int X2APIC_FEATURE = 1 << 21;
    private static final int OTHER_VECTOR = 0x32;
    private static final int OTHER_HANDLED = 0x86;
    private static final String HANDLER = asm(GuestAssembler.EOI + "out 0x86, al; iret");
    /** Minutes from now. */
    private static final long FAR = 1L << 40;

    private int vm;
    private int vcpu;

    @SuppressWarnings("NullAway.Init")
    private RealModeGuest guest;

    /** A guest may have another CPUID until it runs. */
    @BeforeEach
    void setUp() {
        vm = world.splitVm();
        guest = RealModeGuest.unstarted(world, vm);
        vcpu = guest.vcpu();
        offerDeadlines();
        guest.handle(OTHER_VECTOR, HANDLER);
    }

    private void offerDeadlines() {
        assertOk(world.setCpuid(vcpu, leaf(1, 0, 0, DEADLINE_FEATURE | X2APIC_FEATURE)));
    }

    private void start() {
        guest.runTo(RealModeGuest.READY);
    }

    private void setEntry(int entry) {
        assertOk(libc.ioctl(
                vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu).putInt(TIMER, entry).putInt(INITIAL_COUNT, 0)));
    }

    private void setMsr(X86Msr msr, long value) {
        assertThat(libc.ioctl(vcpu, Uapi.KVM_SET_MSRS, Structs.msrs(msr.number(), value)))
                .isOne();
    }

    private long msr(X86Msr msr) {
        ByteBuffer read = Structs.msrs(msr.number(), -1);
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_MSRS, read)).isOne();
        return read.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.DATA);
    }

    private void setDeadline(long value) {
        setMsr(X86Msr.TSC_DEADLINE, value);
    }

    private long deadline() {
        return msr(X86Msr.TSC_DEADLINE);
    }

    private void signal() {
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 0, 0)).isOne();
    }

    @Test
    void deadlineIsKeptInItsModeAlone() {
        setDeadline(5);
        assertThat(deadline()).as("one-shot").isZero();
        long far = msr(X86Msr.TSC) + FAR;
        setEntry(DEADLINE | OTHER_VECTOR);
        assertThat(deadline()).isZero();
        setDeadline(far);
        assertThat(deadline()).isEqualTo(far);
        setEntry(DEADLINE | VECTOR);
        assertThat(deadline()).as("in the same mode").isEqualTo(far);
        setEntry(VECTOR);
        assertThat(deadline()).isZero();
        setEntry(DEADLINE | VECTOR);
        assertThat(deadline()).as("a new mode ends it").isZero();
    }

    @Test
    void deadlineWithoutTheCpuidBitIsDropped() {
        assertOk(world.setCpuid(vcpu, leaf(1, 0, 0, X2APIC_FEATURE)));
        setEntry(DEADLINE | OTHER_VECTOR);
        setDeadline(1);
        assertThat(deadline()).isZero();
        setDeadline(msr(X86Msr.TSC) + FAR);
        assertThat(deadline()).isZero();
        start();
        signal();
        guest.answer(); // and no interrupt of the timer
    }

    @Test
    void deadlineThatHasPassedInterrupts() {
        start();
        setEntry(DEADLINE | OTHER_VECTOR);
        setDeadline(1);
        assertThat(deadline()).isOne();
        guest.runTo(OTHER_HANDLED);
        assertThat(deadline()).as("once").isZero();
        signal();
        guest.answer();
    }
}
