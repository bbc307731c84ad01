/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import java.util.Objects;
import java.util.Optional;

/**
 * An interrupt's 3-bit delivery mode.
 *
 * <p>Source: Intel SDM volume 3, "Message Data Register Format"; VT-d specification, Interrupt Remapping Table Entry;
 * {@code enum apic_delivery_modes} in arch/x86/include/asm/apicdef.h.
 */
public enum DeliveryMode {
    /** All LAPICs of the destination get the vector. */
    FIXED(0, "fixed"),
    /** One LAPIC of the destination gets the vector. */
    LOWEST_PRIORITY(1, "lowest priority"),
    /** System management interrupt. */
    SMI(2, "SMI"),
    /** The manual reserves this value. */
    RESERVED_3(3, "reserved"),
    /** Non-maskable interrupt. */
    NMI(4, "NMI"),
    /** CPU reset. */
    INIT(5, "INIT"),
    /** Reserved in messages and entries. In an ICR, 6 is the start-up IPI. */
    RESERVED_6(6, "reserved"),
    /** The CPU reads the vector from an external controller. */
    EXTINT(7, "ExtINT");

    /** The lowest vector for which a LAPIC reports no error. Source: Intel SDM volume 3, "Valid Interrupt Vectors". */
    private static final int LOWEST_VECTOR = 0x10;

    private static final DeliveryMode[] ALL = values();

    private final int number;
    private final String text;

    DeliveryMode(int number, String text) {
        this.number = number;
        this.text = text;
    }

    /** The mode's encoding in a field, 0–7. */
    public int number() {
        return number;
    }

    /** Returns the delivery mode with this number, 0–7. */
    public static DeliveryMode of(int value) {
        return ALL[value];
    }

    /** Whether the manual reserves this encoding. */
    public boolean isReserved() {
        return this == RESERVED_3 || this == RESERVED_6;
    }

    /** Whether the interrupt carries a vector. */
    public boolean hasVector() {
        return this == FIXED || this == LOWEST_PRIORITY;
    }

    /** A description for a delivery mode field, in which reserved modes are violations. */
    public static Description description() {
        return Description.saying("DLM", (value, bits) -> of((int) value).text)
                .forbidding(value -> of((int) value).isReserved(), value -> "delivery mode " + value + " is reserved");
    }

    /**
     * Adds a check that the vector is at least 0x10 if {@code mode} uses one, because LAPICs reject vectors 0 to 0xf.
     */
    public static Description deliverable(Description vector, BitField mode) {
        Objects.requireNonNull(mode, "mode is null");
        return vector.checked((value, bits) -> {
            boolean refused = of((int) mode.value(bits)).hasVector() && value < LOWEST_VECTOR;
            return refused
                    ? Optional.of(
                            "vector 0x" + Long.toHexString(value) + " is below 0x10: a LAPIC raises an error instead")
                    : Optional.empty();
        });
    }

    @Override
    public String toString() {
        return text;
    }
}
