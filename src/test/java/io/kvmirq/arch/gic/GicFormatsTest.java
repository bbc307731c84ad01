/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Violation;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class GicFormatsTest {
    private static final int ROUNDS = Integer.getInteger("kvmirq.formats.roundTrips", 1_000_000);
    private static final Path SHARED = Machine.root().resolve("../shared/vectors/uapi.json");

    /** Shared vectors of kind gicword: the format, the word, and the fields that are not 0. */
    private static final List<String> GOLDEN = List.of(
            "gic.lr     0x1a000020         virtualid=32 priority=20 state=1",
            "gic.lr     0x2a08002a         virtualid=42 eoi=1 priority=20 state=2",
            "gic.lr     0x9a006c1b         virtualid=27 physicalid=27 priority=20 state=1 hw=1",
            "gic.lr     0x7f800032         virtualid=50 priority=31 state=3 grp1=1",
            "gic.lr     0x10000405         virtualid=5 cpuid=1 state=1",
            "gic.lr     0xa08002a          virtualid=42 eoi=1 priority=20",
            "gic.ich_lr 0x50a0000000002000 vintid=8192 priority=160 group=1 state=1",
            "gic.ich_lr 0x7080026400000064 vintid=100 pintid=612 priority=128 group=1 hw=1 state=1",
            "gic.ich_lr 0x10a002000000002a vintid=42 eoi=1 priority=160 group=1",
            "gic.hcr    0x6b               en=1 uie=1 npie=1 vgrp0die=1 vgrp1eie=1",
            "gic.hcr    0xf8000000         eoicount=31");

    private static long word(String hex) {
        return Long.parseUnsignedLong(hex.substring(2), 16);
    }

    private static Map<String, Long> notZero(Format format, long word) {
        Map<String, Long> fields = new LinkedHashMap<>();
        for (Field field : format.fieldsOf(word)) {
            if (field.value(new long[] {word}) != 0) {
                fields.put(field.name(), field.value(new long[] {word}));
            }
        }
        return fields;
    }

    @Test
    void goldenWordsHaveTheirFieldsAndAreMadeOfThem() {
        for (String line : GOLDEN) {
            String[] parts = line.split(" +");
            Format format = GicFormats.of(parts[0]);
            long word = word(parts[1]);
            Map<String, Long> expected = new LinkedHashMap<>();
            for (int i = 2; i < parts.length; i++) {
                String[] pair = parts[i].split("=");
                expected.put(pair[0], Long.valueOf(pair[1]));
            }
            assertThat(notZero(format, word)).as(line).isEqualTo(expected);
            assertThat(format.violations(word)).as(line).isEmpty();
            Map<String, Long> all = new LinkedHashMap<>();
            format.fieldsOf(word).forEach(field -> all.put(field.name(), field.value(new long[] {word})));
            assertThat(format.encode(all)).as(line).containsExactly(word);
        }
    }

    @Test
    void goldenWordsAreTheShared() throws IOException {
        assumeTrue(Files.exists(SHARED), "needs ../shared/vectors/uapi.json, from which the words come");
        List<Long> shared = new ArrayList<>();
        try (JsonParser json = new JsonFactory().createParser(SHARED.toFile())) {
            boolean wanted = false;
            while (json.nextToken() != null) {
                if (json.currentToken() == JsonToken.VALUE_STRING && "kind".equals(json.currentName())) {
                    wanted = json.getText().equals("gicword");
                }
                if (wanted && json.currentToken() == JsonToken.VALUE_STRING && "hex".equals(json.currentName())) {
                    shared.add(word(json.getText()));
                }
            }
        }
        assertThat(GOLDEN.stream().map(line -> word(line.split(" +")[1]))).containsExactlyElementsOf(shared);
    }

    /** Each field is read where the manual has it, by shifts. */
    @Test
    void randomListRegistersAreReadAsTheManualPlacesThem() {
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < ROUNDS; i++) {
            long word = random.nextLong();
            long v2 = word & 0xffff_ffffL;
            if (ListRegister.VIRTUAL_ID.of(v2) != (v2 & 0x3ff)
                    || ListRegister.SOURCE.of(v2) != (v2 >> 10 & 7)
                    || ListRegister.PHYSICAL_ID.of(v2) != (v2 >> 10 & 0x3ff)
                    || ListRegister.EOI.of(v2) != (v2 >> 19 & 1)
                    || ListRegister.PRIORITY.of(v2) != (v2 >> 23 & 0x1f)
                    || ListRegister.STATE.of(v2) != (v2 >> 28 & 3)
                    || ListRegister.GROUP1.of(v2) != (v2 >> 30 & 1)
                    || ListRegister.HW.of(v2) != v2 >> 31
                    || IchListRegister.VIRTUAL_ID.of(word) != (word & 0xffff_ffffL)
                    || IchListRegister.PHYSICAL_ID.of(word) != (word >> 32 & 0x1fff)
                    || IchListRegister.EOI.of(word) != (word >> 41 & 1)
                    || IchListRegister.PRIORITY.of(word) != (word >> 48 & 0xff)
                    || IchListRegister.GROUP1.of(word) != (word >> 60 & 1)
                    || IchListRegister.HW.of(word) != (word >> 61 & 1)
                    || IchListRegister.STATE.of(word) != word >>> 62
                    || ListRegister.FORMAT.encode(ListRegister.FORMAT.values(v2))[0] != v2
                    || IchListRegister.FORMAT.encode(IchListRegister.FORMAT.values(word))[0] != word) {
                assertThat(word).as("0x%x", word).isNull();
            }
        }
    }

    /** A person gives the physical interrupt and not the bits that it shares with others. */
    @Test
    void hardwareInterruptIsMadeOfItsPhysicalId() {
        assertThat(ListRegister.FORMAT.encode(Map.of(
                        "virtualid", 27L, "physicalid", 27L, "priority", 20L, "state", 1L, "grp1", 0L, "hw", 1L)))
                .containsExactly(0x9a006c1bL);
        assertThat(IchListRegister.FORMAT.encode(
                        Map.of("vintid", 100L, "pintid", 612L, "priority", 128L, "group", 1L, "hw", 1L, "state", 1L)))
                .containsExactly(0x7080026400000064L);
    }

    /** HW decides which fields the shared bits have: the others are refused, even if they would agree. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "gic.lr | virtualid=2a priority=14 state=1 grp1=0 hw=1 physicalid=2a eoi=1 | field 'eoi' 0x1 of gic.lr contradicts 'hw' 0x1: bit 19 then belongs to physicalid, so leave eoi out or give hw=0",
                "gic.lr | virtualid=2a priority=14 state=1 grp1=0 hw=1 physicalid=200 eoi=1 | field 'eoi' 0x1 of gic.lr contradicts 'hw' 0x1: bit 19 then belongs to physicalid, so leave eoi out or give hw=0",
                "gic.lr | virtualid=2a priority=14 state=1 grp1=0 hw=1 physicalid=2a cpuid=0 | field 'cpuid' 0x0 of gic.lr contradicts 'hw' 0x1: bits 12:10 then belong to physicalid, so leave cpuid out or give hw=0",
                "gic.lr | virtualid=2a priority=14 state=1 grp1=0 hw=0 physicalid=2a | field 'physicalid' 0x2a of gic.lr contradicts 'hw' 0x0: bits 19:10 then belong to cpuid, rsvd_13_18, eoi, so leave physicalid out or give hw=1",
                "gic.lr | virtualid=2a priority=14 state=1 grp1=0 hw=1 | field 'physicalid' of gic.lr is missing: expected virtualid, physicalid (hw=1), priority, state, grp1, hw; optional cpuid (hw=0), eoi (hw=0)",
                "gic.lr | virtualid=2a priority=3 state=1 grp1=1 hw=1 eoi=0 | field 'eoi' 0x0 of gic.lr contradicts 'hw' 0x1: bit 19 then belongs to physicalid, so leave eoi out or give hw=0",
                "gic.lr | eoi=1 hw=0 | fields 'virtualid', 'priority', 'state', 'grp1' of gic.lr are missing: expected virtualid, physicalid (hw=1), priority, state, grp1, hw; optional cpuid (hw=0), eoi (hw=0)",
                "gic.lr | virtualid=2a priority=14 state=1 grp1=0 physicalid=2a | field 'hw' of gic.lr is missing: expected virtualid, physicalid (hw=1), priority, state, grp1, hw; optional cpuid (hw=0), eoi (hw=0)",
                "gic.ich_lr | vintid=2a priority=a0 state=1 group=1 hw=1 pintid=2a eoi=1 | field 'eoi' 0x1 of gic.ich_lr contradicts 'hw' 0x1: bit 41 then belongs to pintid, so leave eoi out or give hw=0",
                "gic.ich_lr | vintid=2a priority=a0 state=1 group=1 hw=0 pintid=200 | field 'pintid' 0x200 of gic.ich_lr contradicts 'hw' 0x0: bits 44:32 then belong to rsvd_32_40, eoi, rsvd_42_44, so leave pintid out or give hw=1"
            })
    void fieldsThatHwExcludesAreRefused(String kind, String fields, String sentence) {
        Map<String, Long> values = new LinkedHashMap<>();
        for (String field : fields.split(" ")) {
            String[] pair = field.split("=");
            values.put(pair[0], Long.parseLong(pair[1], 16));
        }
        assertThatThrownBy(() -> GicFormats.of(kind).encode(values)).hasMessage(sentence);
    }

    @ParameterizedTest
    @CsvSource({
        "gic.lr, 0x9a006c1b, virtualid physicalid rsvd_20_22 priority state grp1 hw",
        "gic.lr, 0x1a08002a, virtualid cpuid rsvd_13_18 eoi rsvd_20_22 priority state grp1 hw",
        "gic.ich_lr, 0x7080026400000064, vintid pintid rsvd_45_47 priority rsvd_56_58 nmi group hw state",
        "gic.ich_lr, 0x10a002000000002a,"
                + " vintid rsvd_32_40 eoi rsvd_42_44 rsvd_45_47 priority rsvd_56_58 nmi group hw state"
    })
    void hwSelectsTheFields(String kind, String hex, String names) {
        assertThat(GicFormats.of(kind).fieldsOf(word(hex)).stream().map(Field::name))
                .containsExactly(names.split(" "));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "gic.lr     | 0x100003fc         | virtualid: id 1020 is special: expected an interrupt, 0-1019",
                "gic.lr     | 0x100003fb         | ",
                "gic.lr     | 0x000003ff         | ",
                "gic.lr     | 0x10000420         | cpuid: source CPU 1 of SPI 32: only an SGI has a source",
                "gic.lr     | 0x10000410         | cpuid: source CPU 1 of PPI 16: only an SGI has a source",
                "gic.lr     | 0x1000040f         | ",
                "gic.lr     | 0x10002020         | rsvd_13_18: reserved bits 18:13 are 0x1 and not 0: they are part of physicalid only if hw is 1",
                "gic.lr     | 0x10100020         | rsvd_20_22: reserved bits 22:20 are 0x1 and not 0",
                "gic.lr     | 0xb0006c1b         | state: pending and active while hw is 1: the distributor keeps the pending state of a hardware interrupt, expected 0-2",
                "gic.lr     | 0x30000020         | ",
                "gic.lr     | 0x900ff020         | physicalid: id 1020 is special: expected a physical PPI or SPI, 16-1019",
                "gic.lr     | 0x90003c20         | physicalid: id 15 is an SGI: expected a physical PPI or SPI, 16-1019",
                "gic.lr     | 0x90004020         | ",
                "gic.lr     | 0x000803ff         | virtualid: id 1023 is special: expected an interrupt, 0-1019",
                "gic.lr     | 0x00100020         | rsvd_20_22: reserved bits 22:20 are 0x1 and not 0",
                "gic.lr     | 0x900fec20         | ",
                "gic.ich_lr | 0x40000000000003fc | vintid: id 1020 is special or reserved: expected 0-1019, 1056-1119, 4096-5119 or an LPI from 8192",
                "gic.ich_lr | 0x4000000000001fff | vintid: id 8191 is special or reserved: expected 0-1019, 1056-1119, 4096-5119 or an LPI from 8192",
                "gic.ich_lr | 0x40000000000003fb | ",
                "gic.ich_lr | 0x4000000000002000 | ",
                "gic.ich_lr | 0x4000000000000420 | ",
                "gic.ich_lr | 0x400000000000045f | ",
                "gic.ich_lr | 0x40000000000013ff | ",
                "gic.ich_lr | 0x600004200000001b | ",
                "gic.ich_lr | 0x4000000000000405 | ",
                "gic.ich_lr | 0x0000000000001fff | ",
                "gic.ich_lr | 0x4000000100000020 | rsvd_32_40: reserved bits 40:32 are 0x1 and not 0: they are part of pintid only if hw is 1",
                "gic.ich_lr | 0x4000040000000020 | rsvd_42_44: reserved bits 44:42 are 0x1 and not 0: they are part of pintid only if hw is 1",
                "gic.ich_lr | 0x4000200000000020 | rsvd_45_47: reserved bits 47:45 are 0x1 and not 0",
                "gic.ich_lr | 0x4100000000000020 | rsvd_56_58: reserved bits 58:56 are 0x1 and not 0",
                "gic.ich_lr | 0xe000002000000020 | state: pending and active while hw is 1: the distributor keeps the pending state of a hardware interrupt, expected 0-2",
                "gic.ich_lr | 0x600003fc00000020 | pintid: id 1020 is special or reserved: expected a physical PPI or SPI, 16-1019, 1056-1119 or 4096-5119",
                "gic.ich_lr | 0x6000000f00000020 | pintid: id 15 is an SGI: expected a physical PPI or SPI, 16-1019, 1056-1119 or 4096-5119",
                "gic.ich_lr | 0x6000001000000020 | ",
                "gic.ich_lr | 0x00000200000003ff | vintid: id 1023 is special or reserved: expected 0-1019, 1056-1119, 4096-5119 or an LPI from 8192",
                "gic.ich_lr | 0x0000200000000020 | rsvd_45_47: reserved bits 47:45 are 0x1 and not 0",
                "gic.ich_lr | 0x0100000000000020 | rsvd_56_58: reserved bits 58:56 are 0x1 and not 0",
                "gic.hcr    | 0x00000100         | rsvd_8_26: reserved bits 26:8 are 0x1 and not 0",
                "gic.ich_hcr | 0x10200           | rsvd_9: reserved bit 9 is 0x1 and not 0; rsvd_16_26: reserved bits 26:16 are 0x1 and not 0",
                "gic.ich_hcr | 0x100000000       | rsvd_32_63: reserved bits 63:32 are 0x1 and not 0",
                "gic.vmcr   | 0x01000420         | rsvd_5_8: reserved bits 8:5 are 0x1 and not 0; rsvd_10_17: reserved bits 17:10 are 0x1 and not 0; rsvd_24_26: reserved bits 26:24 are 0x1 and not 0",
                "gic.ich_vmcr | 0x1ff000000      | rsvd_32_63: reserved bits 63:32 are 0x1 and not 0",
                "gic.ich_eisr | 0x10000          | rsvd_16_63: reserved bits 63:16 are 0x1 and not 0",
                "gic.ich_elrsr | 0x10000         | rsvd_16_63: reserved bits 63:16 are 0x1 and not 0",
                "gic.eisr   | 0x10000            | ",
                "gic.misr   | 0x100              | rsvd_8_31: reserved bits 31:8 are 0x1 and not 0",
                "gic.vtr    | 0x90000003         | ",
                "gic.vtr    | 0x70000003         | pribits: 4 priority bits: expected 5-8; prebits: 5 preemption bits and 4 priority bits: expected no more",
                "gic.vtr    | 0x94000003         | prebits: 6 preemption bits and 5 priority bits: expected no more",
                "gic.ich_vtr | 0x90000010        | listregs: 17 list registers: expected 1-16",
                "gic.ich_vtr | 0x9000000f        | ",
                "gic.ich_vtr | 0xb0900003        | ",
                "gic.ich_vtr | 0xb2100003        | idbits: 0x4 is reserved: expected 0 (16 id bits) or 1 (24 id bits)",
                "gic.ich_misr | 0x80000100       | rsvd_8_63: reserved bits 63:8 are 0x800001 and not 0"
            })
    void violationsAreNamed(String kind, String hex, String violations) {
        assertThat(GicFormats.of(kind).violations(word(hex)).stream().map(Violation::toString))
                .containsExactlyInAnyOrder(violations == null ? new String[0] : violations.split("; (?=[a-z0-9_]+: )"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "gic.lr     | 0x10000405         | virtualid | SGI 5",
                "gic.lr     | 0x10000405         | cpuid     | sent by CPU 1",
                "gic.lr     | 0x10000020         | cpuid     | not an SGI: no source",
                "gic.lr     | 0x10000405         | rsvd_13_18 | reserved",
                "gic.lr     | 0x9a006c1b         | physicalid | PPI 27",
                "gic.lr     | 0x10080020         | eoi       | EOI raises a maintenance interrupt",
                "gic.lr     | 0x10000020         | eoi       | no maintenance interrupt",
                "gic.lr     | 0x1a000020         | priority  | priority 0xa0",
                "gic.lr     | 0x30000020         | state     | pending and active",
                "gic.lr     | 0x100003fb         | virtualid | SPI 1019",
                "gic.lr     | 0x100003fc         | virtualid | no interrupt 1020",
                "gic.ich_lr | 0x4000000000000405 | vintid    | SGI 5 sent by CPU 1, if the guest has a GICv2",
                "gic.ich_lr | 0x50a0000000002000 | vintid    | LPI 8192",
                "gic.ich_lr | 0x4000000000000420 | vintid    | EPPI 1056",
                "gic.ich_lr | 0x4000000000000460 | vintid    | no interrupt 1120",
                "gic.ich_lr | 0x40000000000013ff | vintid    | ESPI 5119",
                "gic.ich_lr | 0x4000000000001000 | vintid    | ESPI 4096, or SGI 0 sent by CPU 4, if the guest has a GICv2",
                "gic.ich_lr | 0x4000000000001400 | vintid    | SGI 0 sent by CPU 5, if the guest has a GICv2",
                "gic.ich_lr | 0x4000000000001001 | vintid    | ESPI 4097, or SGI 1 sent by CPU 4, if the guest has a GICv2",
                "gic.ich_lr | 0x7080026400000064 | pintid    | SPI 612",
                "gic.ich_lr | 0x10a002000000002a | eoi       | EOI raises a maintenance interrupt",
                "gic.ich_lr | 0x10a000000000002a | eoi       | no maintenance interrupt",
                "gic.ich_lr | 0x10a002000000002a | hw        | software: the guest's EOI deactivates nothing",
                "gic.ich_lr | 0x10a002000000002a | rsvd_42_44 | reserved",
                "gic.hcr    | 0x18000003         | eoicount  | 3 interrupts ended that no list register held",
                "gic.hcr    | 0x08000003         | eoicount  | 1 interrupt ended that no list register held",
                "gic.hcr    | 0x6b               | uie       | maintenance interrupt while at most one list register holds an interrupt",
                "gic.ich_hcr | 0x400             | tc        | traps: registers of both groups",
                "gic.vmcr   | 0xa0000000         | vmprimask | priorities below 0xa0 reach the guest",
                "gic.vmcr   | 0x00040000         | vmabp     | binary point 1 of group 1",
                "gic.ich_vmcr | 0xa1000001       | vpmr      | priorities below 0xa1 reach the guest",
                "gic.ich_vmcr | 0xa1000001       | veng0     | group 0 enabled",
                "gic.eisr   | 0x8000000000000003 | eisr      | list registers 0-1, 63 ended, EOI requested",
                "gic.elrsr  | 0x0                | elrsr     | none",
                "gic.ich_eisr | 0x8001           | eisr      | list registers 0, 15 ended, EOI requested",
                "gic.ich_elrsr | 0x2             | elrsr     | list register 1 empty",
                "gic.ich_misr | 0x2              | u         | underflow: at most one list register holds an interrupt",
                "gic.vtr    | 0x90000000         | listregs  | 1 list register",
                "gic.misr   | 0x1                | eoi       | an interrupt with EOI was ended: see EISR",
                "gic.vtr    | 0x90000003         | listregs  | 4 list registers",
                "gic.vtr    | 0x90000003         | pribits   | 5 priority bits",
                "gic.vtr    | 0x90000003         | prebits   | 5 preemption bits",
                "gic.ich_vtr | 0x90900003        | idbits    | 24 id bits"
            })
    void fieldsSayWhatTheyMean(String kind, String hex, String field, String meaning) {
        assertThat(GicFormats.of(kind).field(field).orElseThrow().meaning(new long[] {word(hex)}))
                .isEqualTo(meaning);
    }

    /** The two architectures name the same bits of VMCR differently. */
    @Test
    void fieldsOfVmcrHaveTheNamesOfTheirManual() {
        assertThat(GicFormats.ALL.stream()
                        .filter(format -> format.kind().endsWith("vmcr"))
                        .map(format -> format.fields().stream()
                                .filter(field -> !field.description().isReserved())
                                .map(field -> field.description().label())
                                .toList()))
                .containsExactly(
                        List.of(
                                "VMGrp0En",
                                "VMGrp1En",
                                "VMAckCtl",
                                "VMFIQEn",
                                "VMCBPR",
                                "VEM",
                                "VMABP",
                                "VMBP",
                                "VMPriMask"),
                        List.of("VENG0", "VENG1", "VAckCtl", "VFIQEn", "VCBPR", "VEOIM", "VBPR1", "VBPR0", "VPMR"));
    }

    @ParameterizedTest
    @CsvSource({
        "gic.lr,0x0a08002a,1",
        "gic.lr,0x2a08002a,0",
        "gic.lr,0x8a08002a,0",
        "gic.lr,0x0a00002a,0",
        "gic.ich_lr,0x10a002000000002a,1",
        "gic.ich_lr,0x50a002000000002a,0",
        "gic.ich_lr,0x30a002000000002a,0",
        "gic.ich_lr,0x8000000000002000,1",
        "gic.ich_lr,0x4000000000002000,0",
        "gic.ich_lr,0x8000000000000020,0",
        "gic.ich_lr,0x40a1000000000020,1",
        "gic.ich_lr,0x40a8000000000020,0",
        "gic.vmcr,0x1,1",
        "gic.vmcr,0xf8000001,0",
        "gic.ich_vmcr,0x1,1",
        "gic.ich_vmcr,0xff000001,0"
    })
    void remarksAreMade(String kind, String hex, int remarks) {
        assertThat(GicFormats.of(kind).remarks(word(hex))).hasSize(remarks);
    }

    /** EISR and ELRSR never show the same register, and neither shows one that holds an interrupt. */
    @ParameterizedTest
    @ValueSource(longs = {0x0a08002aL, 0x2a08002aL, 0x8a08002aL, 0, 0x10000020L, 0x20000020L, 0x80000000L})
    void registerIsSpentEmptyOrInUse(long word) {
        boolean inState = (word & 3L << 28) != 0;
        boolean awaits = (word & 1L << 19) != 0 && (word & 1L << 31) == 0;
        assertThat(ListRegister.isSpent(word)).isEqualTo(!inState && awaits);
        assertThat(ListRegister.isEmpty(word)).isEqualTo(!inState && !awaits);
    }

    @ParameterizedTest
    @CsvSource({"0,true,true", "15,true,true", "16,false,true", "31,false,true", "32,false,false", "-1,false,false"})
    void idsHaveKinds(long id, boolean sgi, boolean isPrivate) {
        assertThat(InterruptId.isSgi(id)).isEqualTo(sgi);
        assertThat(InterruptId.isPrivate(id)).isEqualTo(isPrivate);
    }
}
