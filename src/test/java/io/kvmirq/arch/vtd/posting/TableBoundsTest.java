/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.UnitCapabilities;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TableBoundsTest {
    private final List<Integer> written = new ArrayList<>();

    private RemappingTable table(int entries) {
        return new RemappingTable(
                new long[2 * entries], new UnitCapabilities(0, 0x1a), true, new RemappingTable.Observer() {
                    @Override
                    public void written(int index, long low, long high, boolean atOnce) {
                        written.add(index);
                    }

                    @Override
                    public void invalidated(int index) {}
                });
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 65536})
    void lastEntryIsOneBelowTheSize(int entries) {
        RemappingTable table = table(entries);
        RemappedIrte entry = new RemappedIrte(1, 0);
        table.set(0, entry);
        table.set(entries - 1, entry);
        assertThat(written).containsExactly(0, entries - 1);
        for (int index : new int[] {-1, entries}) {
            String refused = "entry " + index + " does not exist";
            assertThatThrownBy(() -> table.entry(index)).hasMessageStartingWith(refused);
            assertThatThrownBy(() -> table.set(index, entry)).hasMessageStartingWith(refused);
            assertThatThrownBy(() -> table.isPostedToVcpu(index)).hasMessageStartingWith(refused);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3, 131072})
    void sizeIsAPowerOfTwoInBounds(int entries) {
        assertThatThrownBy(() -> table(entries)).hasMessageContaining("a power of two from 2 to 65536");
    }

    @Test
    void outOfBoundsNothingIsWritten() {
        RemappingTable table = table(2);
        assertThatThrownBy(() -> table.set(2, new RemappedIrte(1, 0))).isInstanceOf(IllegalArgumentException.class);
        assertThat(written).isEmpty();
    }
}
