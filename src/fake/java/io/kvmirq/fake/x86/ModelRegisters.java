/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.X86Msr;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.fake.x86.cpu.GuestMsrs;
import java.util.Optional;
import java.util.function.LongConsumer;

/** RDMSR and WRMSR: the base of the LAPIC, and its registers in x2APIC mode. Source: {@code kvm_lapic_msr_write()}. */
final class ModelRegisters implements GuestMsrs {
    private static final int APIC_BASE = X86Msr.APIC_BASE.number();
    private static final int DEADLINE = X86Msr.TSC_DEADLINE.number();
    /** The first of the MSRs that are the LAPIC's registers in x2APIC mode. */
    private static final int MSR_X2APIC = 0x800;

    private static final int MSR_X2APIC_EOI = MSR_X2APIC + LapicPage.EOI_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_COMMAND = MSR_X2APIC + LapicPage.ICR_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_SVR = MSR_X2APIC + LapicPage.SVR_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_LINT0 = MSR_X2APIC + LapicPage.LINT0_AT / LapicPage.STRIDE;

    private static final int MSR_X2APIC_TIMER = MSR_X2APIC + LapicPage.LVT_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_INITIAL_COUNT = MSR_X2APIC + LapicPage.INITIAL_COUNT_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_DIVIDER = MSR_X2APIC + LapicPage.DIVIDER_AT / LapicPage.STRIDE;

    private final Optional<FakeLapic> lapic;
    private final ApicBase base;
    private final LongConsumer writeBase;
    private final LapicMsrs registers;

    /** @param writeBase handles WRMSR of the LAPIC's base */
    ModelRegisters(Optional<FakeLapic> lapic, LapicMsrs registers, ApicBase base, LongConsumer writeBase) {
        this.lapic = lapic;
        this.base = base;
        this.writeBase = writeBase;
        this.registers = registers;
    }

    @Override
    public long read(int number) {
        if (number == APIC_BASE) {
            return base.get();
        }
        if (!registers.has(number)) {
            throw new NotModelledException("reading MSR 0x" + Integer.toHexString(number));
        }
        return registers.get(number);
    }

    @Override
    public void write(int number, long whole) {
        FakeLapic apic = lapic.orElseThrow(() -> new NotModelledException("a guest without in-kernel LAPIC"));
        if (number == APIC_BASE) {
            writeBase.accept(whole);
        } else if (number == DEADLINE) {
            apic.timer().tsc().checkModelled();
            apic.timer().writeDeadline(whole);
        } else if (number == MSR_X2APIC_COMMAND && apic.isX2apic()) {
            apic.command(whole);
        } else if (apic.isX2apic()) {
            write(apic, number, (int) whole);
        } else {
            throw new NotModelledException("a guest whose write to an MSR of x2APIC mode faults");
        }
    }

    private static void write(FakeLapic apic, int number, int value) {
        switch (number) {
            case MSR_X2APIC_SVR -> apic.setSpurious(value);
            case MSR_X2APIC_LINT0 -> apic.setLint0(value);
            case MSR_X2APIC_TIMER -> apic.timer().writeEntry(value);
            case MSR_X2APIC_INITIAL_COUNT -> apic.timer().writeInitialCount(value);
            case MSR_X2APIC_DIVIDER -> apic.timer().writeDivider(value);
            case MSR_X2APIC_EOI -> apic.endOfInterrupt();
            default -> throw new NotModelledException("writing MSR 0x" + Integer.toHexString(number));
        }
    }
}
