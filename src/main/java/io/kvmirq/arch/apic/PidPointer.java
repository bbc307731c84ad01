/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Violation;
import java.util.List;

/**
 * An entry of the PID-pointer table, 64 bits: where the processor finds the descriptor of the vCPU that a guest sends
 * an IPI to.
 *
 * <p>Source: Intel SDM vol. 3, IPI Virtualization; {@code vmx_vcpu_create} in arch/x86/kvm/vmx/vmx.c.
 *
 * @param valid whether the entry points anywhere
 * @param reserved1 5 bits, 5:1
 * @param address physical, of a {@link PostedInterruptDescriptor}, 64 bits of which the low 6 are 0
 */
public record PidPointer(boolean valid, int reserved1, long address) {
    private static final BitField VALID = BitField.bit("valid", 0);
    private static final BitField RESERVED_1 = new BitField("rsvd_1_5", 1, 5);
    private static final BitField ADDRESS = new BitField("pid_phys", 6, 58);

    /** Kind {@code pid.pointer}. */
    public static final Format FORMAT = Format.builder("pid.pointer", "entry of the PID-pointer table", 64, 1)
            .fields(
                    Field.of("V", Meaning.oneOf("points nowhere", "valid"), VALID),
                    Field.reserved(RESERVED_1).ordinarily(0),
                    Field.of("PID", Meaning.always("descriptor address"), ADDRESS)
                            .shifted(ADDRESS.low()))
            .looked(bits -> VALID.isSet(bits[0]))
            .build();

    /** @throws IllegalArgumentException if a field does not fit or the address is not at a 64-byte boundary */
    public PidPointer {
        RESERVED_1.with(reserved1);
        PostedInterruptDescriptor.checkAddress(address);
    }

    /** Any bits are taken. */
    public static PidPointer decode(long word) {
        return new PidPointer(VALID.isSet(word), (int) RESERVED_1.of(word), word & ADDRESS.mask());
    }

    /** The entry; the reverse of {@link #decode}. */
    public long word() {
        return VALID.with(valid ? 1 : 0) | RESERVED_1.with(reserved1) | address;
    }

    /** What the manual forbids and is so. */
    public List<Violation> violations() {
        return FORMAT.violations(word());
    }
}
