/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vtd.UnitCapabilities;

/** A table of one entry in words that a search explores: the entry, then the unit's copy of it. */
public final class ExploredTable {
    /** How many words it uses. */
    public static final int WORDS = 4;

    /** The unit's copy, from the first word. */
    public static final int COPY = 2;

    private ExploredTable() {}

    /** The table of a unit with PI, EIM and IR, in x2APIC mode. */
    public static RemappingTable over(SharedWords words, int first) {
        UnitCapabilities unit = new UnitCapabilities(UnitCapabilities.POSTING.mask(), 0x1a);
        return new RemappingTable(words, first, words, first + COPY, 1, unit, true, new RemappingTable.Observer() {
            @Override
            public void written(int index, long low, long high, boolean atOnce) {}

            @Override
            public void invalidated(int index) {}
        });
    }
}
