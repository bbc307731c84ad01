/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;
import java.util.Arrays;
import java.util.Objects;

/**
 * A copy of a vCPU's in-kernel LAPIC (x86), read by {@link X86Vcpu#lapic} and written by {@link X86Vcpu#setLapic}. Not
 * thread-safe.
 *
 * <p>Source: Intel SDM volume 3, "Local APIC register address map".
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="lapic"}
 */
public final class X86Lapic extends X86State {
    private static final int STRIDE = 16;

    /** A 32-bit register, or the first of eight 32-bit registers. An LVT is a local vector table entry. */
    public enum Name {
        /** APIC id in bits 31:24, or in x2APIC mode in all 32 bits if {@code KVM_CAP_X2APIC_API} is enabled. */
        ID(0x20),
        /** LAPIC version. */
        VERSION(0x30),
        /** Task priority. */
        TPR(0x80),
        /** Processor priority, which the LAPIC computes from the registers TPR and ISR. */
        PPR(0xa0),
        /** Logical destination. */
        LDR(0xd0),
        /** Destination format. */
        DFR(0xe0),
        /** Spurious-interrupt vector register; bit 8 enables the LAPIC. */
        SVR(0xf0),
        /** In-service bits of vectors 0–31. Seven more registers, 16 bytes apart, follow for vectors 32–255. */
        ISR(0x100),
        /** Trigger mode bits, laid out like {@link #ISR}. */
        TMR(0x180),
        /** Interrupt request bits, laid out like {@link #ISR}. */
        IRR(0x200),
        /** Error status. */
        ESR(0x280),
        /** Interrupt command, lower half. */
        ICR(0x300),
        /** Interrupt command, upper half. */
        ICR_HIGH(0x310),
        /** Timer LVT entry. */
        LVT_TIMER(0x320),
        /** Thermal sensor LVT entry. */
        LVT_THERMAL(0x330),
        /** Performance counter LVT entry. */
        LVT_PERFORMANCE(0x340),
        /** LINT0 pin LVT entry. Bits 10:8 are the delivery mode, which is 7 if a PIC uses the pin. */
        LVT_LINT0(0x350),
        /** LINT1 pin LVT entry. Bits 10:8 are the delivery mode, which is 4 for an NMI. */
        LVT_LINT1(0x360),
        /** Error LVT entry. */
        LVT_ERROR(0x370),
        /** Timer initial count. */
        TIMER_INITIAL(0x380),
        /** Timer current count. */
        TIMER_CURRENT(0x390),
        /** Timer divide configuration. */
        TIMER_DIVIDE(0x3e0);

        private final int offset;

        Name(int offset) {
            this.offset = offset;
        }
    }

    X86Lapic() {
        super(Uapi.KvmLapicState.SIZE);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static X86Lapic fromBytes(byte[] bytes) {
        return load(new X86Lapic(), bytes);
    }

    @Override
    String describe(int offset) {
        int register = offset - offset % STRIDE;
        String name = Arrays.stream(Name.values())
                .filter(known -> known.offset == register)
                .map(Name::name)
                .findFirst()
                .orElse("register 0x" + Integer.toHexString(register));
        return name + "=0x" + Integer.toHexString(get(register));
    }

    /** The value of a register in this copy. */
    public int get(Name name) {
        Objects.requireNonNull(name, "name is null");
        return get(name.offset);
    }

    /** The value of the register at {@code offset}, a multiple of 16 from 0x00 to 0x3f0. */
    public int get(int offset) {
        return structure.getInt(checked(offset));
    }

    /** Sets a register in this copy. */
    public X86Lapic set(Name name, int value) {
        Objects.requireNonNull(name, "name is null");
        return set(name.offset, value);
    }

    /** Sets the register at {@code offset}, a multiple of 16 from 0x00 to 0x3f0, in this copy. */
    public X86Lapic set(int offset, int value) {
        structure.putInt(checked(offset), value);
        return this;
    }

    private static int checked(int offset) {
        if (offset < 0 || offset >= Uapi.KvmLapicState.SIZE || offset % STRIDE != 0) {
            throw new IllegalArgumentException("no register of a LAPIC has the offset " + offset
                    + ": expected a multiple of " + STRIDE + ", 0x00 to 0x3f0");
        }
        return offset;
    }
}
