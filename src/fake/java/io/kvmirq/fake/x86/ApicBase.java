/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.MsiMessage;
import io.kvmirq.NotModelledException;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.x86.cpu.GuestCpuid;
import java.util.Optional;

/** MSR 0x1b (IA32_APIC_BASE) of a vCPU: its LAPIC's address and mode; source: {@code kvm_apic_set_base()}, lapic.c. */
final class ApicBase {
    private static final long BOOT = 1 << 8;
    private static final long X2APIC = 1 << 10;
    private static final long ENABLED = 1 << 11;
    private static final long RESERVED = 0x2ff;
    private static final long PAGE = 4096;

    private final Optional<FakeLapic> lapic;
    private long value;

    ApicBase(Optional<FakeLapic> lapic, boolean boot) {
        this.lapic = lapic;
        this.value = MsiMessage.X86_WINDOW | ENABLED | (boot ? BOOT : 0);
    }

    long get() {
        return value;
    }

    /** {@code kvm_vcpu_is_bsp()}: the bit that a VMM may set. */
    boolean isBoot() {
        return (value & BOOT) != 0;
    }

    boolean isEnabled() {
        return (value & ENABLED) != 0;
    }

    /** Whether an address is in the page of the in-kernel LAPIC. */
    boolean covers(long address) {
        return lapic.isPresent() && (address ^ value) < PAGE && (address ^ value) >= 0;
    }

    /** A guest's write to the LAPIC page; NotModelledException unless it is an EOI. */
    void write(long address, int size) {
        boolean inPage = (value & (ENABLED | X2APIC)) == ENABLED;
        if (!inPage || size != Integer.BYTES || address % PAGE != LapicPage.EOI_AT) {
            throw new NotModelledException("a guest that writes to the page of its LAPIC, except to end an interrupt");
        }
        lapic.orElseThrow().endOfInterrupt();
    }

    /** The rule that refuses a value; empty for none. Since 6.13 a write of the present value is not checked. */
    Optional<Answer> refuses(long wanted, GuestCpuid cpuid, Build build) {
        int bits = cpuid.addressBits();
        boolean x2apic = (wanted & X2APIC) != 0;
        boolean invalid = (wanted & RESERVED) != 0
                || bits < Long.SIZE && wanted >>> bits != 0
                || x2apic && ((wanted & ENABLED) == 0 || !cpuid.hasX2apic());
        boolean unchecked = wanted == value && build.isSince(6, 13);
        return invalid && !unchecked ? Optional.of(VmAnswer.SREGS_APIC_BASE) : Optional.empty();
    }

    /** Whether a guest may write a value: x2APIC mode is entered from xAPIC mode, and left by disabling the LAPIC. */
    boolean isTransition(long wanted) {
        long modes = ENABLED | X2APIC;
        return (value & modes) == modes
                ? (wanted & modes) != ENABLED
                : (value & modes) != 0 || (wanted & modes) != modes;
    }

    void set(long wanted) {
        value = wanted;
        lapic.ifPresent(apic -> {
            apic.setMode((wanted & ENABLED) != 0, (wanted & X2APIC) != 0);
            if ((wanted & ENABLED) != 0 && (wanted & -PAGE) != MsiMessage.X86_WINDOW) {
                apic.baseMoved();
            }
        });
    }
}
