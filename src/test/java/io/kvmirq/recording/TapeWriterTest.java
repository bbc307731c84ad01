/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.recording.replay.ForeignTapes;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The writer's own digits and keys, beside those of Java and of tapes that were written earlier. */
class TapeWriterTest {
    private static final String FIELDS = ",\"fields\":\\{([^}]*)}";

    private static List<String> written(Consumer<TapeWriter> calls) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (TapeWriter writer = new TapeWriter(out)) {
            calls.accept(writer);
        }
        return out.toString(StandardCharsets.UTF_8).lines().toList();
    }

    private static List<Path> tapes() {
        return ForeignTapes.all();
    }

    /** Since a tape was written, more fields may have got names. */
    @ParameterizedTest
    @MethodSource("tapes")
    void tapeOfTheTreeIsWrittenAsItIs(Path tape) throws IOException {
        List<String> lines = ForeignTapes.lines(tape);
        byte[] bytes = String.join("\n", lines).getBytes(StandardCharsets.UTF_8);
        List<TapeLine> read = new ArrayList<>();
        try (TapeReader reader = TapeReader.of(new ByteArrayInputStream(bytes))) {
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                read.add(line.get());
            }
        }
        List<String> written = written(writer -> read.forEach(writer::write));
        assertThat(written).hasSizeGreaterThanOrEqualTo(lines.size());
        for (int i = 0; i < lines.size(); i++) {
            String line = written.get(i);
            assertThat(line.replaceFirst(FIELDS, "")).isEqualTo(lines.get(i).replaceFirst(FIELDS, ""));
            Matcher fields = Pattern.compile(FIELDS).matcher(lines.get(i));
            if (fields.find()) {
                assertThat(fields.group(1).split(",", -1))
                        .allSatisfy(field -> assertThat(line).contains(field));
            }
        }
    }

    private static List<Long> numbers() {
        List<Long> numbers = new ArrayList<>(List.of(0L, Long.MAX_VALUE, Long.MIN_VALUE));
        for (long power = 1; power > 0; power *= 2) {
            numbers.addAll(List.of(power - 1, power, power + 1, -power, -power - 1));
        }
        for (long power = 1, i = 0; i < 19; i++, power *= 10) {
            numbers.addAll(List.of(power - 1, power, power + 1, -power, 1 - power));
        }
        new Random(1).longs(1000).forEach(number -> numbers.addAll(List.of(number, number >>> number, -number >> 40)));
        return numbers;
    }

    @Test
    void numbersAreThoseOfJava() throws IOException {
        List<Long> numbers = numbers();
        List<String> lines = written(writer -> numbers.forEach(number -> {
            writer.begin(1, 2, "close", "");
            writer.arguments(0, "", number, 0);
            writer.end(0, null);
        }));
        for (int i = 0; i < numbers.size(); i++) {
            assertThat(lines.get(i))
                    .isEqualTo("{\"seq\":" + (i + 1) + ",\"pid\":1,\"tid\":2,\"call\":\"close\",\"value\":"
                            + numbers.get(i) + ",\"result\":0}");
        }
    }

    @Test
    void fieldsOf64BitsAreUnsigned() throws IOException {
        UapiTable.Struct attribute = UapiTable.struct("kvm_device_attr");
        for (long number : numbers()) {
            ByteBuffer bytes = ByteBuffer.allocate(Uapi.KvmDeviceAttr.SIZE).order(ByteOrder.nativeOrder());
            bytes.putLong(Uapi.KvmDeviceAttr.ATTR, number);
            assertThat(written(writer -> {
                        writer.begin(1, 2, "ioctl", "vm#1");
                        writer.fields(attribute, bytes, bytes.limit());
                        writer.end(0, null);
                    }))
                    .first()
                    .asString()
                    .contains("\"fields\":{\"flags\":0,\"group\":0,\"attr\":" + Long.toUnsignedString(number) + ",");
        }
    }

    @Test
    void bytesAreHexadecimalAtEachLengthInEachOrder() throws IOException {
        byte[] all = new byte[256];
        for (int i = 0; i < all.length; i++) {
            all[i] = (byte) (i * 37);
        }
        for (ByteOrder order : List.of(ByteOrder.BIG_ENDIAN, ByteOrder.LITTLE_ENDIAN)) {
            for (int length = 0; length <= all.length; length++) {
                int some = length;
                String expected = HexFormat.of().formatHex(all, 0, length);
                assertThat(written(writer -> {
                            writer.begin(1, 2, "write", "eventfd#1");
                            writer.bytes(TapeWriter.IN, ByteBuffer.wrap(all).order(order), some);
                            writer.end(0, null);
                        }))
                        .first()
                        .isEqualTo("{\"seq\":1,\"pid\":1,\"tid\":2,\"call\":\"write\",\"on\":\"eventfd#1\",\"in\":\""
                                + expected + "\",\"result\":0}");
            }
        }
    }

    /** More files, threads and requests than the writer keeps the texts of. */
    @Test
    void lineSaysItsOwnFileThreadAndRequest() throws IOException {
        int calls = 5000;
        List<String> lines = written(writer -> {
            for (int i = 0; i < calls; i++) {
                writer.begin(i % 3, i % 7, i % 2 == 0 ? "ioctl" : "close", "eventfd#" + i % 1000);
                writer.arguments(i % 900, i % 900 % 5 == 0 ? "" : "NAME_" + i % 11, 1, 0);
                writer.end(0, null);
            }
        });
        for (int i = 0; i < calls; i++) {
            int request = i % 900;
            assertThat(lines.get(i))
                    .isEqualTo("{\"seq\":" + (i + 1) + ",\"pid\":" + i % 3 + ",\"tid\":" + i % 7 + ",\"call\":\""
                            + (i % 2 == 0 ? "ioctl" : "close") + "\",\"on\":\"eventfd#" + i % 1000 + "\""
                            + (request == 0 || request % 5 == 0 ? "" : ",\"name\":\"NAME_" + i % 11 + "\"")
                            + (request == 0 ? "" : ",\"request\":" + request) + ",\"value\":1,\"result\":0}");
        }
    }
}
