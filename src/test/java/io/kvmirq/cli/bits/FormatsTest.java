/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Golden;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Every kind that the command knows, against what kernel code made and against random bits. */
class FormatsTest {
    /** Fewer where each change of the formats is tried. */
    private static final int ROUND_TRIPS = Integer.getInteger("kvmirq.formats.roundTrips", 1_000_000);

    /** Their data has bit 14 set, which none of their fields names. */
    private static final List<String> FIELDS_LEAVE_A_BIT_OUT = List.of("kvm-msi-01", "kvm-msi-07");

    /** See ReservedValuesTest. Those of the GIC, see GicFormatsTest. */
    private static final List<String> WITHOUT_GOLDEN =
            List.of("ioapic.rte", "ioapic.rte.remap", "lapic.page", "gatag.6.1", "gatag.6.0");

    private static Stream<Golden> golden() throws IOException {
        return Golden.all().stream();
    }

    private static Stream<Format> formats() {
        return Formats.ALL.stream();
    }

    private static Stream<Format> encodable() {
        return formats().filter(format -> !format.isDecodeOnly());
    }

    /** As the command writes them. */
    private static Map<String, Long> fields(Format format, long[] bits) {
        Map<String, Long> fields = new LinkedHashMap<>();
        for (Field field : format.fieldsOf(bits)) {
            long value = field.value(bits);
            if (field.description().role() != Field.Role.SHOWN
                    && (field.description().role() != Field.Role.DEFAULTED
                            || value != field.description().ordinary())) {
                fields.put(field.name(), value);
            }
        }
        return fields;
    }

    @ParameterizedTest
    @MethodSource("golden")
    void goldenWordsHaveTheGoldenFields(Golden golden) {
        Format format = Formats.of(golden.kind());
        long[] bits = format.bits(golden.array());
        Map<String, Long> fields = fields(format, bits);
        if (FIELDS_LEAVE_A_BIT_OUT.contains(golden.id())) {
            assertThat(fields.remove("level_assert")).isEqualTo(1);
        }
        assertThat(List.copyOf(fields.entrySet()))
                .isEqualTo(List.copyOf(golden.fields().entrySet()));
        assertThat(format.violations(bits).isEmpty())
                .as(format.violations(bits).toString())
                .isEqualTo(golden.valid());
    }

    @ParameterizedTest
    @MethodSource("golden")
    void goldenFieldsMakeTheGoldenWords(Golden golden) {
        Format format = Formats.of(golden.kind());
        if (golden.decodeOnly()) {
            assertThatThrownBy(() -> format.encode(golden.fields()))
                    .hasMessageStartingWith("vtd.cap_ecap cannot be encoded");
            return;
        }
        long[] words = format.words(format.encode(golden.fields()));
        if (FIELDS_LEAVE_A_BIT_OUT.contains(golden.id())) {
            words[2] |= 1 << 14;
        }
        assertThat(words).isEqualTo(golden.array());
    }

    @Test
    void everyKindIsInTheGoldenSet() throws IOException {
        assertThat(formats()
                        .map(Format::kind)
                        .filter(kind -> !WITHOUT_GOLDEN.contains(kind) && !kind.startsWith("gic.")))
                .containsExactlyInAnyOrderElementsOf(
                        golden().map(Golden::kind).distinct().toList());
    }

    @Test
    void copyIsWhatIsShared() throws IOException {
        assumeTrue(Files.exists(Golden.SHARED), "needs ../shared/vectors/x86.json, from which x86.jsonl was made");
        assertThat(Golden.all()).isEqualTo(Golden.shared());
    }

    @ParameterizedTest
    @MethodSource("encodable")
    void anyBitsSurvive(Format format) {
        SplittableRandom random = new SplittableRandom(format.kind().hashCode());
        long mask = -1L >>> (Long.SIZE - format.wordBits());
        long[] words = new long[format.wordCount()];
        for (int i = 0; i < ROUND_TRIPS; i++) {
            for (int word = 0; word < words.length; word++) {
                words[word] = random.nextLong() & mask;
            }
            long[] back = format.words(format.encode(format.values(format.bits(words))));
            if (!Arrays.equals(back, words)) {
                assertThat(back).isEqualTo(words);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("encodable")
    void anyBitsSurviveAsNamedValues(Format format) {
        SplittableRandom random = new SplittableRandom(2);
        for (int i = 0; i < ROUND_TRIPS / 100; i++) {
            long[] words = random.longs(format.wordCount())
                    .map(word -> word & -1L >>> (Long.SIZE - format.wordBits()))
                    .toArray();
            long[] bits = format.bits(words);
            long[] back = format.words(format.encode(fields(format, bits)));
            if (!Arrays.equals(back, words)) {
                assertThat(back).isEqualTo(words);
            }
        }
    }

    /** Each stored bit is one field's, but where two of them are two views of it. */
    @ParameterizedTest
    @MethodSource("formats")
    void namesAreDistinctAndEachBitIsNamedOnce(Format format) {
        assertThat(format.fields()).extracting(Field::name).doesNotHaveDuplicates();
        long stored = format.fields().stream()
                .filter(field -> field.description().role() == Field.Role.NAMED
                        || field.description().role() == Field.Role.DEFAULTED)
                .mapToLong(Field::width)
                .sum();
        int all = format.wordBits() * format.wordCount();
        if (format.kind().equals("msi.compat")) {
            assertThat(stored).isEqualTo(all + 8);
        } else if (!format.isDecodeOnly()) {
            assertThat(stored).isEqualTo(all);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "vm_id=0x100000, vcpu_idx=0 | field 'vm_id' 0x100000 does not fit: expected 0-0xfffff",
                "vm_id=0x1                  | field 'vcpu_idx' of gatag is missing: expected vm_id, vcpu_idx",
                "vm_id=0x1, id=0x1          | field 'id' is not one of gatag: expected vm_id, vcpu_idx"
            })
    void valuesThatMakeNoStructureAreOneSentence(String values, String sentence) {
        Map<String, Long> fields = new LinkedHashMap<>();
        for (String value : values.split(", *")) {
            String[] parts = value.split("=");
            fields.put(parts[0], Long.decode(parts[1]));
        }
        assertThatThrownBy(() -> Formats.of("gatag").encode(fields))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(sentence);
    }

    @Test
    void viewsOfTheSameBitsHaveToAgree() throws IOException {
        Map<String, Long> fields =
                new LinkedHashMap<>(Golden.named("kvm-msi-04").fields());
        fields.put("dest8", 0x35L);
        assertThatThrownBy(() -> Formats.of("msi.compat").encode(fields))
                .hasMessage("field 'dest8' 0x35 contradicts dest32, from which 0x34 follows");
    }

    @Test
    void whatFollowsIsIgnoredOrHasToAgree() throws IOException {
        Format base = Formats.of("amd.galog.base");
        assertThat(base.encode(Map.of("base", 0x1000L, "len_code", 8L))).containsExactly(0x0800_0000_0000_1000L);
        assertThatThrownBy(() -> base.encode(Map.of("base", 0x1000L, "len_code", 8L, "entries", 0x100L)))
                .hasMessage("field 'entries' 0x100 contradicts len_code, from which 0x200 follows");
        Map<String, Long> fields =
                new LinkedHashMap<>(Golden.named("vtd-pst-04").fields());
        fields.put("derived_pda", 1L);
        assertThat(Formats.of("irte.vtd.posted").encode(fields))
                .isEqualTo(Golden.named("vtd-pst-04").array());
    }

    @Test
    void addressesKeepTheirLowBitsOut() {
        assertThatThrownBy(() -> Formats.of("pid.pointer").encode(Map.of("valid", 1L, "pid_phys", 0x1020L)))
                .hasMessage("field 'pid_phys' 0x1020 does not fit: expected 0-0xffffffffffffffc0 in steps of 0x40");
    }
}
