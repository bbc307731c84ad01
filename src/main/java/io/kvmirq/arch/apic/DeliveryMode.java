/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Rule;
import java.util.function.Predicate;

/**
 * What becomes of an interrupt at its destination, 3 bits.
 *
 * <p>Source: Intel SDM vol. 3, "Message Data Register Format"; VT-d specification, Interrupt Remapping Table Entry;
 * {@code enum apic_delivery_modes} in arch/x86/include/asm/apicdef.h.
 */
public enum DeliveryMode {
    FIXED(0, "fixed"),
    LOWEST_PRIORITY(1, "lowest priority"),
    SMI(2, "SMI"),
    RESERVED_3(3, "reserved"),
    NMI(4, "NMI"),
    INIT(5, "INIT"),
    RESERVED_6(6, "reserved"),
    EXTINT(7, "ExtINT");

    /** Below it a LAPIC raises an error instead of delivering: Intel SDM vol. 3, "Valid Interrupt Vectors". */
    private static final int LOWEST_VECTOR = 0x10;

    private static final DeliveryMode[] ALL = values();

    private final int number;
    private final String text;

    DeliveryMode(int number, String text) {
        this.number = number;
        this.text = text;
    }

    /** What the field holds, 0–7. */
    public int number() {
        return number;
    }

    /** @param value 0–7 */
    public static DeliveryMode of(int value) {
        return ALL[value];
    }

    /** Whether the manual gives the value no meaning. */
    public boolean isReserved() {
        return this == RESERVED_3 || this == RESERVED_6;
    }

    /** Whether the interrupt carries a vector. */
    public boolean hasVector() {
        return this == FIXED || this == LOWEST_PRIORITY;
    }

    /** What a field with a delivery mode says. */
    public static Meaning meaning() {
        return (value, bits) -> of((int) value).text;
    }

    /** The mode in {@code field} is none that is reserved. */
    public static Rule known(BitField field) {
        return Rule.of(
                field,
                bits -> of((int) field.of(bits[field.word()])).isReserved(),
                value -> "delivery mode " + value + " is reserved");
    }

    /** A vector that is delivered as such is none of those that a LAPIC refuses. */
    public static Rule deliverable(BitField mode, BitField vector) {
        Predicate<long[]> refused = bits ->
                of((int) mode.of(bits[mode.word()])).hasVector() && vector.of(bits[vector.word()]) < LOWEST_VECTOR;
        return Rule.of(
                vector,
                refused,
                value -> "vector 0x" + Long.toHexString(value) + " is below 0x10: a LAPIC raises an error instead");
    }

    @Override
    public String toString() {
        return text;
    }
}
