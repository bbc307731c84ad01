/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Structure;

/**
 * A 64-bit PID-pointer table entry, which points to the descriptor of a vCPU that a guest IPI can target.
 *
 * <p>Source: Intel SDM volume 3, IPI Virtualization; {@code vmx_vcpu_create} in arch/x86/kvm/vmx/vmx.c.
 */
public record PidPointer(long word) implements Structure {
    /** V, bit 0: 1 if the entry points to a descriptor. */
    public static final BitField VALID = BitField.flag("valid", 0, "V", "points nowhere", "valid");

    private static final BitField RESERVED_1 =
            BitField.reserved("rsvd_1_5", 1, 5).ordinarily(0);

    /** The physical address of a {@link PostedInterruptDescriptor}, bits 63:6. */
    public static final BitField ADDRESS = new BitField(
            "pid_phys", 6, 58, always("PID", "descriptor address").shifted(PostedInterruptDescriptor.BOUNDARY_BITS));

    /** The {@code kvmirq decode} format {@code pid.pointer}. */
    public static final Format FORMAT = Format.builder("pid.pointer", "entry of the PID-pointer table", 64, 1)
            .fields(VALID, RESERVED_1, ADDRESS)
            .looked(bits -> VALID.isSet(bits[0]))
            .build();

    @Override
    public Format format() {
        return FORMAT;
    }

    @Override
    public long[] bits() {
        return new long[] {word};
    }

    @Override
    public String toString() {
        return FORMAT.text(word);
    }
}
