/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.amd.DeviceTableEntry;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaLog;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.arch.apic.LapicPage;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Values that a manual reserves, and structures of which the kernel made no golden words. */
class ReservedValuesTest {
    private static String[] violations(Format format, long... words) {
        return format.violations(format.bits(words)).stream()
                .map(Violation::toString)
                .toArray(String[]::new);
    }

    @Test
    void interruptControl3IsReserved() {
        assertThat(violations(DeviceTableEntry.FORMAT, 0x2000000101234593L)).isEmpty();
        assertThat(violations(DeviceTableEntry.FORMAT, 0x3000000101234593L))
                .containsExactly("intctl: IntCtl 3 is reserved: expected 0-2");
        assertThat(violations(DeviceTableEntry.FORMAT, 0x3000000101234592L))
                .as("not valid")
                .isEmpty();
    }

    @ParameterizedTest
    @CsvSource({"0, true", "7, true", "8, false", "15, false"})
    void shortGaLogsAreReserved(long code, boolean reserved) {
        assertThat(violations(GaLog.REGISTER, code << 56 | 0x1000))
                .isEqualTo(
                        reserved
                                ? new String[] {"len_code: length code " + code + " is reserved: expected 8-15"}
                                : new String[0]);
    }

    @Test
    void remappedGaEntryHasNeitherTagNorPage() {
        assertThat(violations(GaIrte.REMAPPED, 0x0000_0001_0000_0301L, 0x1022))
                .containsExactly(
                        "ga_tag: reserved bits 63:32 are 0x1 and not 0",
                        "ga_root_ptr: reserved bits 115:76 are 0x1 and not 0");
        assertThat(violations(GaIrte.GUEST, 0x0000_0001_0000_0381L, 0x1022)).isEmpty();
    }

    @Test
    void kernelDecidesHowATagIsDivided() {
        long tag = GaTag.FORMAT_6_1.encode(Map.of("vm_id", 1L, "vcpu_id", 3L))[0];
        assertThat(tag).isEqualTo(0x203);
        assertThat(GaTag.FORMAT.encode(Map.of("vm_id", 1L, "vcpu_idx", 3L))).containsExactly(0x1003);
        assertThat(GaTag.FORMAT_6_1.values(0xffff_ffffL)).containsExactly(0x7f_ffff, 0x1ff);
    }

    @Test
    void redirectionEntryHasTwoForms() {
        assertThat(violations(IoapicEntry.COMPATIBLE, 0x0f00_0000_0001_a931L)).isEmpty();
        assertThat(violations(IoapicEntry.COMPATIBLE, 0x0f01_0000_0002_a931L))
                .containsExactly(
                        "rsvd_17_47: reserved bits 47:17 are 0x1 and not 0",
                        "format: 0x1 and not 0x0: it is of remappable format");
        assertThat(violations(IoapicEntry.REMAPPED, 0x0007_0000_0000_8831L)).isEmpty();
        assertThat(violations(IoapicEntry.REMAPPED, 0x0006_0000_0000_8931L))
                .containsExactly(
                        "rsvd_8_10: reserved bits 10:8 are 0x1 and not 0",
                        "format: 0x0 and not 0x1: it is of compatibility format");
        assertThat(IoapicEntry.REMAPPED.encode(
                        Map.of("index", 0x8003L, "vector", 0x31L, "is_level", 1L, "active_low", 0L, "masked", 0L)))
                .containsExactly(0x0007_0000_0000_8831L);
    }

    @Test
    void pageOfALapicIsRegistersOf16Bytes() {
        long[] words = new long[64];
        words[2] = 0x0300_0000;
        words[0xf] = 0x1ff;
        words[0x23] = 1 << 17;
        words[0x35] = 0x1_0700;
        words[0x2f] = 0x1_0000;
        words[0xe] = 0xffff_ffffL;
        long[] bits = LapicPage.FORMAT.bits(words);
        assertThat(value("id", bits)).isEqualTo(0x0300_0000);
        assertThat(value("spiv_vector", bits)).isEqualTo(0xff);
        assertThat(value("spiv_enabled", bits)).isEqualTo(1);
        assertThat(LapicPage.FORMAT.field("irr3").orElseThrow().meaning(bits)).isEqualTo("vectors 0x71");
        assertThat(value("lvt_lint0_delivery_mode", bits)).isEqualTo(7);
        assertThat(value("lvt_lint0_masked", bits)).isEqualTo(1);
        assertThat(LapicPage.FORMAT.violations(bits)).isEmpty();
        words[0] = 1;
        assertThat(violations(LapicPage.FORMAT, words))
                .containsExactly("rsvd_0x0: reserved bits 0x0 31:0 are 0x1 and not 0");
        assertThat(LapicPage.FORMAT.encode(Map.of("task_priority", 0x20L))[4]).isEqualTo(0x20);
    }

    private static long value(String name, long[] bits) {
        return LapicPage.FORMAT.field(name).orElseThrow().value(bits);
    }

    @ParameterizedTest
    @ValueSource(ints = {LapicPage.IRR_AT, LapicPage.ISR_AT, LapicPage.TMR_AT})
    void vectorsAreEightRegisters(int at) {
        long[] words = new long[64];
        words[at / LapicPage.STRIDE + 7] = 1L << 31;
        long[] bits = LapicPage.FORMAT.bits(words);
        assertThat(LapicPage.FORMAT.fields())
                .filteredOn(field -> field.value(bits) != 0)
                .singleElement()
                .satisfies(field -> assertThat(field.meaning(bits)).isEqualTo("vectors 0xff"));
    }
}
