/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.X86Msr;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/** The LAPIC's registers as MSRs of x2APIC mode. Source: {@code kvm_x2apic_msr_read()} in arch/x86/kvm/lapic.c. */
final class LapicMsrs {
    private static final int FIRST = 0x800;
    private static final int COUNT = 0x100;
    private static final int BANKS = 8;

    private final KernelOfFile host;
    private final Optional<FakeLapic> lapic;

    LapicMsrs(KernelOfFile host, Optional<FakeLapic> lapic) {
        this.host = host;
        this.lapic = lapic;
    }

    static boolean covers(int number) {
        return number >= FIRST && number < FIRST + COUNT;
    }

    /** Whether an MSR can be read. EOI and self IPI are write-only; x2APIC mode has no ICR2 and no DFR. */
    boolean has(int number) {
        int at = (number - FIRST) * LapicPage.STRIDE;
        boolean single = at == LapicPage.ID_AT
                || at == LapicPage.VERSION_AT
                || at == LapicPage.TPR_AT
                || at == LapicPage.PPR_AT
                || at == LapicPage.LDR_AT
                || at == LapicPage.SVR_AT
                || at == LapicPage.ESR_AT
                || at == LapicPage.ICR_AT
                || at == LapicPage.INITIAL_COUNT_AT
                || at == LapicPage.CURRENT_COUNT_AT
                || at == LapicPage.DIVIDER_AT;
        boolean isVectors = at >= LapicPage.ISR_AT && at < LapicPage.ISR_AT + 3 * BANKS * LapicPage.STRIDE;
        boolean isEntry = at >= LapicPage.LVT_AT && at < LapicPage.LVT_AT + LapicPage.LVT_COUNT * LapicPage.STRIDE;
        return lapic.map(FakeLapic::isX2apic).orElse(false) && (single || isVectors || isEntry);
    }

    /** MSR 0x6e0 (IA32_TSC_DEADLINE), which every vCPU has. */
    long deadline() {
        return lapic.map(of -> of.timer().deadline()).orElse(0L);
    }

    void setDeadline(long value) {
        lapic.ifPresent(of -> of.timer().writeDeadline(value));
    }

    /** @param number an MSR that {@link #has} accepts */
    long get(int number) {
        FakeLapic of = lapic.orElseThrow();
        int at = (number - FIRST) * LapicPage.STRIDE;
        if (of.hardware() != null && at != LapicPage.ID_AT && at != LapicPage.ICR_AT) {
            throw new NotModelledException("MSR " + X86Msr.text(number) + " where hardware delivers interrupts");
        }
        host.note(ChipAnswer.LAPIC_MSRS);
        ByteBuffer page = ByteBuffer.allocate(Uapi.KvmLapicState.SIZE).order(ByteOrder.nativeOrder());
        of.updatePriority();
        of.save(page);
        long low = Integer.toUnsignedLong(at == LapicPage.ID_AT ? of.idRegister() : page.getInt(at));
        boolean isCommand = at == LapicPage.ICR_AT;
        return isCommand ? low | (long) page.getInt(at + LapicPage.STRIDE) << Integer.SIZE : low;
    }
}
