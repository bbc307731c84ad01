/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;

/**
 * A guest irq: an index into KVM's GSI routing table. It is neither a vector nor a pin, although an x86 VM with the
 * full irqchip by default routes GSI 0–23 to the IOAPIC pins with the same numbers.
 *
 * <p>Source: {@code KVM_MAX_IRQ_ROUTES} in include/linux/kvm_host.h.
 *
 * @param number 0–{@value #MAX}
 */
public record Gsi(int number) implements Comparable<Gsi> {
    /** The highest GSI a routing table can hold. */
    public static final int MAX = 4095;

    public Gsi {
        if (number < 0 || number > MAX) {
            throw new IllegalArgumentException(
                    "GSI " + number + " is out of range: expected 0-" + MAX + ", the size of KVM's routing table");
        }
    }

    @Override
    public int compareTo(Gsi other) {
        Objects.requireNonNull(other, "other is null");
        return Integer.compare(number, other.number);
    }

    @Override
    public String toString() {
        return "gsi " + number;
    }
}
