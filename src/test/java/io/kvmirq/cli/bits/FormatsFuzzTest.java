/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.arch.Format;
import io.kvmirq.cli.frame.Terminal;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Whatever is decoded: an answer, or one sentence. As a test it runs over the inputs kept; {@code make fuzz} seeks
 * others.
 */
class FormatsFuzzTest {
    private static final String DURATION = "60s";

    private static final Terminal NOWHERE = new Terminal(
            new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8),
            new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8),
            false,
            Terminal.DEFAULT_COLUMNS,
            0);

    private static void isOneSentence(IllegalArgumentException e) {
        assertThat(e.getMessage()).isNotBlank();
        assertThat(String.valueOf(e.getMessage()).chars()).noneMatch(Character::isISOControl);
    }

    /** The words that are typed after decode. */
    @FuzzTest(maxDuration = DURATION)
    void typed(FuzzedDataProvider data) {
        String kind = data.consumeBoolean() ? data.pickValue(Formats.ALL).kind() : data.consumeString(40);
        List<String> words = new ArrayList<>();
        int count = data.consumeInt(0, 9);
        for (int i = 0; i < count; i++) {
            words.add(data.consumeBoolean() ? Long.toHexString(data.consumeLong()) : data.consumeString(20));
        }
        try {
            Format format = Formats.of(kind);
            FormatText.print(format, Formats.words(format, words), NOWHERE);
        } catch (IllegalArgumentException e) {
            isOneSentence(e);
        }
    }

    /** Any bits of any kind. */
    @FuzzTest(maxDuration = DURATION)
    void bits(FuzzedDataProvider data) {
        Format format = data.pickValue(Formats.ALL);
        long[] words = new long[format.wordCount()];
        for (int i = 0; i < words.length; i++) {
            words[i] = data.consumeLong() & -1L >>> (Long.SIZE - format.wordBits());
        }
        FormatText.print(format, words, NOWHERE);
        if (!format.isDecodeOnly()) {
            long[] back = format.words(format.encode(format.values(format.bits(words))));
            assertThat(Arrays.equals(back, words)).isTrue();
        }
    }

    /** Lines given to decode: what comes out is encoded to the same. */
    @FuzzTest(maxDuration = DURATION)
    void decodedLines(byte[] input) throws IOException {
        byte[] decoded = lines(FormatLines.Direction.DECODE, input);
        if (!new String(decoded, StandardCharsets.UTF_8).contains("vtd.cap_ecap")) {
            assertThat(lines(FormatLines.Direction.ENCODE, decoded)).isEqualTo(decoded);
        }
    }

    /** Lines given to encode: what comes out is decoded to the same. */
    @FuzzTest(maxDuration = DURATION)
    void encodedLines(byte[] input) throws IOException {
        byte[] encoded = lines(FormatLines.Direction.ENCODE, input);
        assertThat(lines(FormatLines.Direction.DECODE, encoded)).isEqualTo(encoded);
    }

    private static byte[] lines(FormatLines.Direction direction, byte[] input) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            new FormatLines(direction)
                    .run(new ByteArrayInputStream(input), new PrintStream(out, false, StandardCharsets.UTF_8));
        } catch (IllegalArgumentException e) {
            isOneSentence(e);
        }
        return out.toByteArray();
    }
}
