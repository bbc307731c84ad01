/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.BitField;

/**
 * Replaces memory attributes that KVM does not emulate in registers with a table's address. Source: {@code
 * vgic_sanitise_shareability()} and its neighbours in arch/arm64/kvm/vgic/vgic-mmio-v3.c.
 */
final class Baser {
    private static final int OUTER_SHAREABLE = 2;
    private static final int INNER_SHAREABLE = 1;
    private static final int NOT_CACHED = 1;
    private static final int READ_ALLOCATE_WRITE_BACK = 3;

    /** The positions of the attributes in a register. */
    enum Attributes {
        /** GICR_PROPBASER and GICR_PENDBASER. */
        OF_REDISTRIBUTOR(7, 56),
        /** GITS_CBASER and GITS_BASER. */
        OF_ITS(59, 53);

        @SuppressWarnings("ImmutableEnumChecker") // A bit field is immutable.
        private final BitField inner;

        @SuppressWarnings("ImmutableEnumChecker") // A bit field is immutable.
        private final BitField outer;

        Attributes(int inner, int outer) {
            this.inner = new BitField("inner", inner, 3);
            this.outer = new BitField("outer", outer, 3);
        }
    }

    private static final BitField SHAREABILITY = new BitField("shareability", 10, 2);

    private Baser() {}

    static long sanitised(long value, Attributes attributes) {
        long sanitised = value;
        if (SHAREABILITY.of(value) == OUTER_SHAREABLE) {
            sanitised = SHAREABILITY.put(sanitised, INNER_SHAREABLE);
        }
        if (attributes.inner.of(value) <= NOT_CACHED) {
            sanitised = attributes.inner.put(sanitised, READ_ALLOCATE_WRITE_BACK);
        }
        if (attributes.outer.of(value) != NOT_CACHED) {
            sanitised = attributes.outer.put(sanitised, 0);
        }
        return sanitised;
    }
}
