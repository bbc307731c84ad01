/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** A format made for the test: every way to describe a field, in three words of 32 bits. */
class FormatTest {
    private static final BitField SPLIT_LOW = new BitField("split", 4, 4);
    private static final BitField SPLIT_HIGH = new BitField("split_high", 40, 4);
    private static final BitField USED = BitField.flag("used", 2, "U", "unused", "used");

    private static Format format() {
        return Format.builder("test.kind", "a kind for tests", 32, 3)
                .wordNames("first", "second", "third")
                .fields(
                        new BitField("mode", 0, 2, oneOf("MODE", "off", "on").expecting(1, "that is all there is")),
                        USED,
                        new SplitField("split", SPLIT_LOW, SPLIT_HIGH, always("SPLIT", "in two parts")),
                        BitField.reserved("rsvd_3", 3, 1),
                        BitField.reserved("rsvd_8_11", 8, 4).ordinarily(0),
                        new BitField("address", 12, 20, always("ADDR", "a page").shifted(12)),
                        new BitField("window", 32, 8).ordinarily(0xfe),
                        new BitField("rest", 44, 20).ordinarily(1).required(),
                        new BitField(
                                "tail",
                                64,
                                32,
                                always("LAST", "")
                                        .forbidding(
                                                value -> value == 5, value -> "5 is forbidden, as " + value + " is")),
                        new BitField(
                                "all",
                                0,
                                8,
                                always("ALL", "the first word's low bits").derived()),
                        new BitField("derived_all", 0, 8, always("IGNORED", "").derived()),
                        new BitField("seen", 0, 1, always("SEEN", "").shown()))
                .reservedFault("fault 7")
                .looked(bits -> USED.isSet(bits[0]))
                .remark(bits -> SPLIT_LOW.isSet(bits[0]), "split is not 0")
                .build();
    }

    private static final Map<String, Long> VALUES = Map.of(
            "mode",
            1L,
            "used",
            1L,
            "split",
            0x5aL,
            "rsvd_3",
            0L,
            "address",
            0x1234_5000L,
            "rest",
            0xabcdeL,
            "tail",
            7L);

    @Test
    void describesItself() {
        Format format = format();
        assertThat(format.kind()).isEqualTo("test.kind");
        assertThat(format.title()).isEqualTo("a kind for tests");
        assertThat(format.wordNames()).containsExactly("first", "second", "third");
        assertThat(format.wordsText()).isEqualTo("3 words of 32 bits (first, second, third)");
        assertThat(format.text(1, 2, 0x30)).isEqualTo("test.kind 0x1 0x2 0x30");
        assertThat(format.isDecodeOnly()).isFalse();
        assertThat(format.fields()).hasSize(12);
        assertThat(format.field("tail").orElseThrow().description().label()).isEqualTo("LAST");
        assertThat(format.field("split_high")).isEmpty();
        assertThat(format.position(format.field("split").orElseThrow())).isEqualTo("second 11:8, first 7:4");
        assertThat(format.position(format.field("used").orElseThrow())).isEqualTo("first 2");
        assertThat(format.field("mode").orElseThrow()).hasToString("mode");
        assertThat(Format.builder("k", "t", 64, 1).build().wordsText()).isEqualTo("1 word of 64 bits");
    }

    @Test
    void packsWordsOf32BitsAndBack() {
        Format format = format();
        assertThat(format.bits(0x11111111L, 0x22222222L, 0x33333333L))
                .containsExactly(0x2222222211111111L, 0x33333333L);
        assertThat(format.words(0x2222222211111111L, 0x33333333L))
                .containsExactly(0x11111111L, 0x22222222L, 0x33333333L);
        assertThatThrownBy(() -> format.bits(1, 2)).hasMessageContaining("test.kind is 3 words of 32 bits");
        assertThatThrownBy(() -> format.bits(1, 1L << 32, 3))
                .hasMessage("word 2 of test.kind is 0x100000000: expected 32 bits");
    }

    @Test
    void encodesNamedValuesAndDecodesThem() {
        Format format = format();
        long[] bits = format.encode(VALUES);
        assertThat(format.words(bits)).containsExactly(0x123450a5L, 0xabcde5feL, 7);
        for (Map.Entry<String, Long> value : VALUES.entrySet()) {
            assertThat(format.field(value.getKey()).orElseThrow().value(bits)).isEqualTo(value.getValue());
        }
        assertThat(format.encode(format.values(bits))).isEqualTo(bits);
        assertThat(format.field("mode").orElseThrow().meaning(bits)).isEqualTo("on");
        assertThat(format.field("window").orElseThrow().value(bits)).isEqualTo(0xfe);
        assertThat(format.field("all").orElseThrow().value(bits)).isEqualTo(0xa5);
    }

    @Test
    void refusesValuesThatMakeNoStructure() {
        Format format = format();
        assertThatThrownBy(() -> format.encode(with("frob", 1)))
                .hasMessageStartingWith("field 'frob' is not one of test.kind: expected mode, used, split, rsvd_3");
        assertThatThrownBy(() -> format.encode(with("seen", 1))).hasMessageStartingWith("field 'seen' is not one of");
        assertThatThrownBy(() -> format.encode(with("all", 1)))
                .hasMessage("field 'all' 0x1 contradicts mode, used, split, rsvd_3, from which 0xa5 follows");
        assertThat(format.encode(with("derived_all", 1))).isEqualTo(format.encode(VALUES));
        assertThatThrownBy(() -> format.encode(with("address", 0x1234)))
                .hasMessage("field 'address' 0x1234 does not fit: expected 0-0xfffff000 in steps of 0x1000");
        assertThatThrownBy(() -> format.encode(with("mode", 4)))
                .hasMessage("field 'mode' 0x4 does not fit: expected 0-0x3");
        Map<String, Long> missing = with("mode", 0);
        missing.remove("tail");
        assertThatThrownBy(() -> format.encode(missing))
                .hasMessage(
                        "field 'tail' of test.kind is missing: expected mode, used, split, rsvd_3, address, rest, tail;"
                                + " optional window, all");
        missing.remove("mode");
        assertThatThrownBy(() -> format.encode(missing))
                .hasMessageStartingWith("fields 'mode', 'tail' of test.kind are missing: expected mode, used, ");
    }

    private static Map<String, Long> with(String name, long value) {
        Map<String, Long> values = new HashMap<>(VALUES);
        values.put(name, value);
        return values;
    }

    @Test
    void overlappingFieldsHaveToAgree() {
        Format format = Format.builder("overlap", "two names for the same bits", 64, 1)
                .fields(new BitField("a", 0, 64), new BitField("b", 0, 8))
                .build();
        assertThat(format.encode(0x1234, 0x34)).containsExactly(0x1234);
        assertThatThrownBy(() -> format.encode(0x1234, 0x35))
                .hasMessage("field 'a' 0x1234 contradicts b, from which 0x1235 follows");
    }

    @Test
    void fieldsThatLeaveBitsOutOrAreComputedAreDecodedOnly() {
        Format gap = Format.builder("gap", "bit 63 is nobody's", 64, 1)
                .fields(new BitField("a", 0, 63))
                .build();
        assertThat(gap.isDecodeOnly()).isTrue();
        assertThatThrownBy(() -> gap.encode(1)).hasMessageStartingWith("gap cannot be encoded");
        assertThatThrownBy(() -> gap.encode(Map.of("a", 1L))).hasMessageStartingWith("gap cannot be encoded");
        Format computed = Format.builder("computed", "one more than its bits", 64, 1)
                .fields(new BitField("a", 0, 64, always("A", "").computed(bits -> bits + 1)))
                .build();
        assertThat(computed.isDecodeOnly()).isTrue();
        assertThat(computed.values(6)).containsExactly(7);
    }

    @Test
    void namesWhatIsForbiddenAndWhatIsStrange() {
        Format format = format();
        long used = 4;
        assertThat(format.violations(used | 1, 0)).isEmpty();
        assertThat(format.violations(0x0f08, 5)).as("nobody looks").isEmpty();
        assertThat(format.violations(used | 0x308, 5))
                .extracting(Violation::toString)
                .isEqualTo(List.of(
                        "rsvd_3: reserved bit first 3 is 0x1 and not 0 (fault 7)",
                        "rsvd_8_11: reserved bits first 11:8 are 0x3 and not 0 (fault 7)",
                        "mode: 0x0 and not 0x1: that is all there is",
                        "tail: 5 is forbidden, as 5 is"));
        assertThat(format.remarks(0x30, 0)).containsExactly("split is not 0");
        assertThat(format.hasReservedBits(0x307, 0)).isTrue();
        assertThat(format.hasReservedBits(0xf7, -1)).isFalse();
        assertThat(format.remarks(0x0f, 0)).isEmpty();
    }
}
