/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.Golden;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FormatLinesTest {
    private static final FormatLines DECODE = new FormatLines(FormatLines.Direction.DECODE);
    private static final FormatLines ENCODE = new FormatLines(FormatLines.Direction.ENCODE);

    private static String run(FormatLines lines, String input) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        lines.run(
                new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)),
                new PrintStream(out, false, StandardCharsets.UTF_8));
        return out.toString(StandardCharsets.UTF_8);
    }

    @Test
    void lineHasKindWordsFieldsViolationsAndRemarks() throws IOException {
        assertThat(run(DECODE, "{\"words\":[\"FF300281\"],\"note\":{\"a\":[1]},\"kind\":\"irte.amd.legacy32\"}"))
                .isEqualTo("{\"kind\":\"irte.amd.legacy32\",\"words\":[\"0xff300281\"],\"fields\":{\"valid\":\"0x1\","
                        + "\"no_fault\":\"0x0\",\"int_type\":\"0x0\",\"rq_eoi\":\"0x0\",\"dm\":\"0x0\",\"rsvd_1\":\"0x1\","
                        + "\"destination\":\"0x2\",\"vector\":\"0x30\",\"rsvd_2\":\"0xff\"},\"leftOut\":[],\"violations\":[\"rsvd_1:"
                        + " reserved bit 7 is 0x1 and not 0\",\"rsvd_2: reserved bits 31:24 are 0xff and not"
                        + " 0\"],\"remarks\":[]}\n");
    }

    @Test
    void lineHasTheRemarksOnWhatTheManualAllows() throws IOException {
        assertThat(run(DECODE, "{\"kind\":\"gic.ich_lr\",\"words\":[\"90a0000000002008\"]}"))
                .endsWith(",\"violations\":[],\"remarks\":[\"an LPI has no active state\"]}\n");
    }

    /**
     * Bits 19:10 of a list register are the physical id, or the source and the EOI request: a line has the one that is
     * meant.
     */
    @Test
    void lineHasTheFieldsThatAnotherFieldSelects() throws IOException {
        String hardware = run(DECODE, "{\"kind\":\"gic.lr\",\"words\":[\"9a006c1b\"]}");
        assertThat(hardware).contains("\"physicalid\":\"0x1b\"").doesNotContain("cpuid", "eoi", "rsvd_13_18");
        String software = run(DECODE, "{\"kind\":\"gic.lr\",\"words\":[\"2a08002a\"]}");
        assertThat(software).contains("\"eoi\":\"0x1\"").doesNotContain("physicalid");
        assertThat(run(ENCODE, hardware + software)).isEqualTo(hardware + software);
    }

    /** A decoded line can be encoded as it is, and gives the same words. */
    @Test
    void goldenLinesComeBack() throws IOException {
        String decoded = run(DECODE, Files.readString(Golden.COPY));
        assertThat(decoded.lines()).hasSameSizeAs(Golden.all());
        String encodable = String.join(
                "\n",
                decoded.lines().filter(line -> !line.contains("vtd.cap_ecap")).toList());
        assertThat(run(ENCODE, encodable).strip()).isEqualTo(encodable);
    }

    @Test
    void blankLinesAndTheLastLinesEndAreNoMatter() throws IOException {
        String line = "{\"kind\":\"gatag\",\"words\":[\"1001\"]}";
        String single = run(DECODE, line);
        assertThat(run(DECODE, "\n" + line + "\r\n \t\n" + line + "\n")).isEqualTo(single + single);
        assertThat(run(DECODE, "")).isEmpty();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'kind':'gatag','words':['12','34']}   | gatag is 1 word of 32 bits: got 2",
                "{'kind':'gatag','words':[]}            | gatag is 1 word of 32 bits: got 0",
                "{'kind':'gatag','words':['123456789']} | word 1 of gatag is '123456789': expected 1 to 8 hex digits,"
                        + " with or without 0x",
                "{'kind':'gatag','words':['']}          | word 1 of gatag is '': expected 1 to 8 hex digits, with or"
                        + " without 0x",
                "{'kind':'gatag','words':['0x']}        | word 1 of gatag is '0x': expected 1 to 8 hex digits, with or"
                        + " without 0x",
                "{'kind':'gatag','words':['-1']}        | word 1 of gatag is '-1': expected 1 to 8 hex digits, with or"
                        + " without 0x",
                "{'kind':'gatag','words':['1_0']}       | word 1 of gatag is '1_0': expected 1 to 8 hex digits, with"
                        + " or without 0x",
                "{'kind':'gatag','words':['٣']}         | word 1 of gatag is '٣': expected 1 to 8 hex digits, with or"
                        + " without 0x",
                "{'kind':'gatag','words':['a\\u001b']}  | word 1 of gatag is 'a?': expected 1 to 8 hex digits, with or"
                        + " without 0x",
                "{'kind':'gatag','words':[12]}          | word 1 is a number: expected a hex string",
                "{'kind':'gatag','words':[['12']]}      | word 1 is an array: expected a hex string",
                "{'kind':'gatag','words':[null]}        | word 1 is null: expected a hex string",
                "{'kind':'gatag','words':'12'}          | 'words' is a string: expected an array of hex strings",
                "{'kind':'gatag'}                       | 'words' is missing: expected an array of 1 word of 32 bits",
                "{'words':['12']}                       | 'kind' is missing: expected a name",
                "{'kind':7,'words':['12']}              | 'kind' is a number: expected a string",
                "{'kind':'GATAG1','words':['12']}         | kind 'GATAG1' is unknown: did you mean gatag?",
                "{'kind':'irte','words':['12']}         | kind 'irte' is unknown: did you mean irte.vtd.remapped,"
                        + " irte.vtd.posted, irte.amd.legacy32, irte.amd.ga.remap, irte.amd.ga.vapic?",
                "{'kind':'gatag','kind':'pid'}          | is not JSON: Duplicate field 'kind'",
                "[]                                     | expected an object such as {'kind':'pid','words':...}, got"
                        + " an array",
                "7                                      | expected an object such as {'kind':'pid','words':...}, got a"
                        + " number",
                "{'kind':'gatag','words':['12']} {}     | expected one object, got more after it",
                "{'kind':'gatag',                       | is not JSON: Unexpected end-of-input"
            })
    void badLineIsOneSentenceWithItsNumber(String line, String sentence) {
        String good = "{\"kind\":\"gatag\",\"words\":[\"0x1\"]}\n\n";
        assertThatThrownBy(() -> run(DECODE, good + line.replace('\'', '"')))
                .isInstanceOf(IllegalArgumentException.class)
                .satisfies(e -> assertThat(String.valueOf(e.getMessage()).replace('"', '\''))
                        .startsWith("line 3: " + sentence)
                        .doesNotContain("\n"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'kind':'gatag','fields':{'vm_id':'1'}}                  | field 'vcpu_idx' of gatag is missing:"
                        + " expected vm_id, vcpu_idx",
                "{'kind':'gatag','fields':{'vm_id':'1','vcpu_idx':0}}     | field 'vcpu_idx' is a number: expected a"
                        + " hex string",
                "{'kind':'gatag','fields':{'vm_id':'1','vcpu_idx':'x'}}   | field 'vcpu_idx' of gatag is 'x': expected"
                        + " 1 to 16 hex digits, with or without 0x",
                "{'kind':'gatag','fields':{'vm_id':'1','vcpu_idx':'1000'}}| field 'vcpu_idx' 0x1000 does not fit:"
                        + " expected 0-0xfff",
                "{'kind':'gatag','fields':{'vm_id':'1','vm_id':'1'}}      | is not JSON: Duplicate field 'vm_id'",
                "{'kind':'gatag','fields':{'x':'1'}}                      | field 'x' is not one of gatag: expected"
                        + " vm_id, vcpu_idx",
                "{'kind':'gatag','fields':{'\\u007fx':'1'}}                | field '?x' is not one of gatag: expected"
                        + " vm_id, vcpu_idx",
                "{'kind':'gatag','fields':['1']}                          | 'fields' is an array: expected an object"
                        + " of field names and hex strings",
                "{'kind':'gatag','words':['12']}                          | 'fields' is missing: expected an object of"
                        + " field names and hex strings",
                "{'kind':'vtd.cap_ecap','fields':{}}                      | vtd.cap_ecap cannot be encoded"
            })
    void valuesThatMakeNoStructureAreOneSentence(String line, String sentence) {
        assertThatThrownBy(() -> run(ENCODE, line.replace('\'', '"')))
                .isInstanceOf(IllegalArgumentException.class)
                .satisfies(e -> assertThat(String.valueOf(e.getMessage()).replace('"', '\''))
                        .startsWith("line 1: " + sentence));
    }

    @Test
    void whatCameBeforeABadLineIsWritten() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        String input = "{\"kind\":\"gatag\",\"words\":[\"0x1\"]}\nx\n";
        assertThatThrownBy(() -> DECODE.run(
                        new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)),
                        new PrintStream(out, false, StandardCharsets.UTF_8)))
                .hasMessageStartingWith("line 2: is not JSON");
        assertThat(out.toString(StandardCharsets.UTF_8))
                .startsWith("{\"kind\":\"gatag\"")
                .endsWith("}\n");
    }

    @Test
    void lineWithoutEndIsRefusedBeforeItFillsTheMemory() {
        assertThatThrownBy(() -> run(DECODE, "{\"a\":\"" + "x".repeat(1 << 21)))
                .hasMessageStartingWith("line 1: is longer than 1048576 bytes");
    }

    @Test
    void sentencesBearWhatAUserTypes() {
        assertThatThrownBy(() -> Formats.words(Formats.of("gatag"), List.of("z".repeat(1000))))
                .hasMessage("word 1 of gatag is '" + "z".repeat(40)
                        + "...': expected 1 to 8 hex digits, with or without 0x");
        assertThatThrownBy(() -> Formats.of("nothing like it"))
                .hasMessageStartingWith("kind 'nothing like it' is unknown: expected one of irte.vtd.remapped, ");
    }
}
