/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.SplitField;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** By hand, from the figures of the 82093AA datasheet, the VT-d specification and the SDM. */
class ApicLayoutTest {
    /** Vector 0x31, lowest priority, logical, active low, level, masked, to 0x0f. */
    private static final long COMPATIBLE = 0x0f00_0000_0001_a931L;

    /** Handle 0x8003: bit 15 is bit 11, the others begin at bit 49. Vector 0x31, level. */
    private static final long REMAPPABLE = 0x0007_0000_0000_8831L;

    @Test
    void redirectionEntryIsWhereTheDatasheetHasIt() {
        assertThat(IoapicEntry.VECTOR.of(COMPATIBLE)).isEqualTo(0x31);
        assertThat(DeliveryMode.of((int) IoapicEntry.MODE.of(COMPATIBLE))).isEqualTo(DeliveryMode.LOWEST_PRIORITY);
        assertThat(IoapicEntry.DESTINATION.of(COMPATIBLE)).isEqualTo(0x0f);
        for (BitField set :
                new BitField[] {IoapicEntry.LOGICAL, IoapicEntry.ACTIVE_LOW, IoapicEntry.LEVEL, IoapicEntry.MASKED}) {
            assertThat(set.isSet(COMPATIBLE)).as(set.name()).isTrue();
        }
        for (BitField clear : new BitField[] {
            IoapicEntry.SEND_PENDING, IoapicEntry.REMOTE_IRR, IoapicEntry.REMAPPABLE, IoapicEntry.EXTENDED
        }) {
            assertThat(clear.isSet(COMPATIBLE)).as(clear.name()).isFalse();
        }
    }

    @Test
    void remappableEntryNamesAnEntryOfTheTable() {
        SplitField handle = IoapicEntry.HANDLE;
        assertThat(IoapicEntry.REMAPPABLE.isSet(REMAPPABLE)).isTrue();
        assertThat(handle.of(REMAPPABLE, REMAPPABLE)).isEqualTo(0x8003);
        long[] entry = {0};
        handle.put(entry, 0x8003);
        assertThat(entry[0] | 1L << 48 | 0x8031).isEqualTo(REMAPPABLE);
    }

    @ParameterizedTest
    @CsvSource({"0x31, 0x210, 17", "0xff, 0x270, 31", "0x00, 0x200, 0"})
    void vectorIsABitOfOneOfEightRegisters(int vector, int offset, int bit) {
        assertThat(LapicPage.IRR_AT + vector / Integer.SIZE * LapicPage.STRIDE).isEqualTo(offset);
        assertThat(vector % Integer.SIZE).isEqualTo(bit);
        assertThat(LapicPage.LVT_AT + 3 * LapicPage.STRIDE).isEqualTo(LapicPage.LINT0_AT);
    }

    /** x2APIC id 0x25: cluster 2, member 5. */
    @Test
    void logicalIdOfX2apicModeIsClusterAndMember() {
        long ldr = 0x0002_0020;
        assertThat(LapicPage.CLUSTER.of(ldr)).isEqualTo(0x25 >> 4);
        assertThat(LapicPage.MEMBERS.of(ldr)).isEqualTo(1 << (0x25 & 0xf));
        assertThat(LapicPage.ENABLED.isSet(0x1ff)).isTrue();
        assertThat(LapicPage.LVT_MASKED.isSet(0x10000)).isTrue();
        assertThat(DeliveryMode.of((int) LapicPage.LVT_MODE.of(0x700))).isEqualTo(DeliveryMode.EXTINT);
    }
}
