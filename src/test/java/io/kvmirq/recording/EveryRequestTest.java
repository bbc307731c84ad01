/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.Profile;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.Role;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The two recorders, in C and in Java, on every request of the table: the same bytes and values on the tape. */
class EveryRequestTest {
    private static final int ROOM = 1 << 16;
    private static final int NOT_OPEN = 1023;
    private static final byte FILL = 0x11;
    private static final String DEVICE = "0000:00:1f.0";

    @TempDir
    private Path temporary;

    /** A request by its number, as the recorders find it on a file that is not open. */
    private static Map<Long, UapiTable.Request> requests() {
        Map<Long, UapiTable.Request> requests = new TreeMap<>();
        Stream.of(UapiTable.REQUESTS, UapiTable.ARM64).flatMap(List::stream).forEach(request -> {
            UapiTable.Request known = UapiTable.find(request.number(), UapiTable.FileKind.NONE);
            requests.put(request.number(), known == null ? request : known);
        });
        return requests;
    }

    private static ByteBuffer argument(UapiTable.Request request) {
        ByteBuffer argument = Buffers.allocate(ROOM);
        for (int i = 0; i < ROOM; i++) {
            argument.put(i, FILL);
        }
        request.argument().ifPresent(struct -> {
            struct.field(Role.LENGTH)
                    .ifPresent(length -> argument.putInt(length.offset(), struct.size() + 2 * Integer.BYTES));
            struct.field(Role.COUNT).ifPresent(count -> argument.putInt(count.offset(), 2));
        });
        if (request.number() == UapiVfio.VFIO_DEVICE_GET_GFX_DMABUF) {
            argument.putInt(0, Integer.BYTES);
        }
        if (request.text()) {
            argument.put(0, (DEVICE + "\0").getBytes(StandardCharsets.US_ASCII));
        }
        return argument;
    }

    private static String source() {
        StringBuilder calls = new StringBuilder();
        requests().forEach((number, request) -> {
            if (request.isValue()) {
                calls.append("ioctl(%d, 0x%xUL, 7L);\n".formatted(NOT_OPEN, number));
                return;
            }
            ByteBuffer argument = argument(request);
            calls.append("memset(b, 0x11, sizeof(b));\n");
            for (int i = 0; i < 64; i++) {
                if (argument.get(i) != FILL) {
                    calls.append("b[%d] = %d;\n".formatted(i, argument.get(i)));
                }
            }
            calls.append("ioctl(%d, 0x%xUL, b);\n".formatted(NOT_OPEN, number));
        });
        return "#include <string.h>\n#include <sys/ioctl.h>\nstatic char b[%d];\nint main(void)\n{\n%s}\n"
                .formatted(ROOM, calls);
    }

    @Test
    void recordersBelieveTheSameOfEveryRequest() throws Exception {
        Machine.assumeProgram("cc");
        Path built = Machine.root().resolve("target/native/libkvmirqtape.so");
        assumeTrue(Files.exists(built), "needs " + built);
        List<String> inC = ofC(Files.copy(built, temporary.resolve("libkvmirqtape.so")));
        List<String> inJava = ofJava();
        assertThat(inJava).hasSize(requests().size());
        List<String> differences = new ArrayList<>();
        for (int i = 0; i < inJava.size(); i++) {
            if (!inJava.get(i).equals(inC.get(i))) {
                differences.add("Java " + inJava.get(i) + "\n   C " + inC.get(i));
            }
        }
        System.out.println("requests compared " + inJava.size() + ", differences " + differences.size());
        assertThat(differences).isEmpty();
    }

    private List<String> ofC(Path recorder) throws Exception {
        Path source = Files.writeString(temporary.resolve("every.c"), source());
        Path program = temporary.resolve("every");
        Machine.compile("-w", "-o", program.toString(), source.toString());
        Path tape = Files.createFile(temporary.resolve("every.tape"));
        ProcessBuilder builder = new ProcessBuilder(program.toString()).inheritIO();
        builder.environment().put("LD_PRELOAD", recorder.toString());
        builder.environment().putAll(Preload.environment(tape, 0));
        builder.start().waitFor();
        return words(tape);
    }

    private List<String> ofJava() throws Exception {
        Path tape = temporary.resolve("java.tape");
        try (Recorder recorder = Recorder.of(Recordings.fake(Profile.V6_18), Files.newOutputStream(tape))) {
            Libc libc = recorder.libc();
            requests().forEach((number, request) -> {
                if (request.isValue()) {
                    libc.ioctl(NOT_OPEN, number, 7);
                } else {
                    libc.ioctl(NOT_OPEN, number, argument(request));
                }
            });
        }
        return words(tape);
    }

    private static List<String> words(Path tape) {
        List<String> words = new ArrayList<>();
        for (TapeLine line : Recordings.lines(tape)) {
            if (line instanceof TapeLine.Call call && !call.begins()) {
                words.add("0x" + Long.toHexString(call.request()) + " value " + call.value() + " in "
                        + call.in().map(EveryRequestTest::hex).orElse("none") + " cut " + call.cut() + " data "
                        + call.data().map(EveryRequestTest::hex).orElse("none"));
            }
        }
        return words;
    }

    private static String hex(ByteBuffer bytes) {
        byte[] copy = new byte[bytes.limit()];
        bytes.get(0, copy);
        return HexFormat.of().formatHex(copy);
    }
}
