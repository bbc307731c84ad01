/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Arrays;
import java.util.Optional;

/**
 * An x86 model-specific register (MSR) by name. Methods with a number parameter also accept other MSRs.
 *
 * <p>Source: Intel SDM volume 4; AMD APM volume 2, appendix A; for KVM's own MSRs, asm/kvm_para.h.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="msrs"}
 */
public enum X86Msr {
    /** Time stamp counter. */
    TSC(0x10),
    /** LAPIC base address and mode. */
    APIC_BASE(0x1b),
    /** Sum of all adjustments to the time stamp counter. */
    TSC_ADJUST(0x3b),
    /** Speculation control. */
    SPEC_CTRL(0x48),
    /** Microcode revision, in the upper half. */
    UCODE_REV(0x8b),
    /** Platform properties, such as the TSC ratio. */
    PLATFORM_INFO(0xce),
    /** SYSENTER code segment. */
    SYSENTER_CS(0x174),
    /** SYSENTER stack pointer. */
    SYSENTER_ESP(0x175),
    /** SYSENTER instruction pointer. */
    SYSENTER_EIP(0x176),
    /** Machine-check capabilities, including the number of register banks. */
    MCG_CAP(0x179),
    /** Machine-check status. */
    MCG_STATUS(0x17a),
    /** Machine-check control. */
    MCG_CTL(0x17b),
    /** Feature switches, such as fast strings in bit 0. */
    MISC_ENABLE(0x1a0),
    /** Page attribute table. */
    PAT(0x277),
    /** Default memory type in bits 7:0. Bit 10 enables the fixed ranges, bit 11 all MTRRs. */
    MTRR_DEF_TYPE(0x2ff),
    /** TSC value at which the LAPIC timer fires in deadline mode. */
    TSC_DEADLINE(0x6e0),
    /** Supervisor state components that XSAVES saves. */
    XSS(0xda0),
    /** Guest-physical address to which KVM writes the wall clock. */
    KVM_WALL_CLOCK(0x4b564d00),
    /** Guest-physical address to which KVM writes the system time; bit 0 enables this clock. */
    KVM_SYSTEM_TIME(0x4b564d01),
    /** The older number of {@link #KVM_WALL_CLOCK}. */
    KVM_OLD_WALL_CLOCK(0x11),
    /** The older number of {@link #KVM_SYSTEM_TIME}. */
    KVM_OLD_SYSTEM_TIME(0x12),
    /** Extended features. Bit 0 enables SYSCALL, bit 8 long mode and bit 11 no-execute. Bit 10 is 1 in long mode. */
    EFER(0xc0000080),
    /** SYSCALL and SYSRET segment selectors. */
    STAR(0xc0000081),
    /** SYSCALL target address in 64-bit mode. */
    LSTAR(0xc0000082),
    /** SYSCALL target address in compatibility mode. */
    CSTAR(0xc0000083),
    /** Flags that SYSCALL clears. */
    SYSCALL_MASK(0xc0000084),
    /** FS base address. */
    FS_BASE(0xc0000100),
    /** GS base address. */
    GS_BASE(0xc0000101),
    /** Base address that SWAPGS exchanges with {@link #GS_BASE}. */
    KERNEL_GS_BASE(0xc0000102),
    /** Value that RDPID returns, and that RDTSCP returns along with the TSC. */
    TSC_AUX(0xc0000103);

    private final int number;

    X86Msr(int number) {
        this.number = number;
    }

    /** The register's number, unsigned. */
    public int number() {
        return number;
    }

    /** Finds an MSR by number; empty if this enum has no name for it. */
    public static Optional<X86Msr> of(int number) {
        return Arrays.stream(values()).filter(msr -> msr.number == number).findFirst();
    }

    /** An MSR number with its name, such as {@code 0xc0000082 (LSTAR)}. */
    public static String text(int number) {
        return "0x" + Integer.toHexString(number)
                + of(number).map(msr -> " (" + msr + ")").orElse("");
    }
}
