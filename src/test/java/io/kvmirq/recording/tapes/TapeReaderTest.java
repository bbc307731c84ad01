/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.kvmirq.Errno;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TapeReaderTest {
    private static final String CLOSE = "{'pid':1,'tid':2,'call':'close','fd':7,'file':null,'result':0,'errno':0}\n";

    static List<TapeLine> read(String json) throws IOException {
        byte[] bytes = json.replace('\'', '"').getBytes(StandardCharsets.UTF_8);
        List<TapeLine> lines = new ArrayList<>();
        try (TapeReader reader = TapeReader.of(new ByteArrayInputStream(bytes))) {
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                lines.add(line.get());
            }
        }
        return lines;
    }

    private static TapeLine.Call call(String json) throws IOException {
        return (TapeLine.Call) read(json).get(0);
    }

    @Test
    void emptyFileHasNoLines() throws IOException {
        assertThat(read("")).isEmpty();
    }

    @Test
    void headerNamesTheProgram() throws IOException {
        assertThat(read("{'header':{'pid':9,'program':'/usr/bin/qemu','arch':'x86_64','kernel':'6.18.0'}}\n" + CLOSE))
                .hasSize(2)
                .first()
                .isEqualTo(new TapeLine.Header(9, "x86_64", "6.18.0", "/usr/bin/qemu", "preload"));
    }

    @Test
    void callKeepsBytesAndErrno() throws IOException {
        TapeLine.Call call = call("{'pid':1,'tid':2,'call':'ioctl','fd':7,'file':'/dev/kvm',"
                + "'request':1075883638,'value':0,'in':'0102030405060708','result':-1,'errno':16}");
        assertThat(call.errno()).contains(Errno.EBUSY);
        assertThat(call.on()).isEqualTo("kvm#1");
        assertThat(call.in().orElseThrow().getLong(0)).isEqualTo(0x0807060504030201L);
        assertThat(call.out()).isEmpty();
    }

    @Test
    void fieldsOfALaterRecorderArePassedOver() throws IOException {
        assertThat(read("{'later':{'deep':[1,{'in':'00'}]},'pid':1,'tid':2,'call':'close','fd':7,"
                        + "'new':[1],'result':0}"))
                .hasSize(1);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "hello                              | tape line 2: not a tape: not JSON",
                "[1]                                | tape line 2: not a tape: expected an object",
                "{'a':1}                            | tape line 2: not a tape: expected a line with field header, call"
                        + " or end",
                "{'pid                     | tape line 2: the tape ends within the line",
                "{'pid':1,'call':'ioc      | tape line 2: the tape ends within the line, in field call",
                "{'call':'x','fd':1,'tid':1}  | tape line 2: field pid is missing or no number",
                "{'call':'x','fd':1,'pid':1,'tid':'x'} | tape line 2: field tid is missing or no number",
                "{'call':'x','fd':1,'pid':99999999999} | tape line 2: field pid is 99999999999: expected 32 bits",
                "{'call':'x','fd':1,'pid':99999999999999999999} | tape line 2: field pid is no number of 64 bits:"
                        + " 99999999999999999999",
                "{'pid':1,'tid':1,'fd':1,'call':5} | tape line 2: field call is missing or no text",
                "{'pid':1,'tid':1,'call':'x','fd':1,'in':'0g','result':0} | tape line 2: field in is not hex: found: 1"
                        + " characters",
                "{'call':'x','fd':1,'errno':5000} | tape line 2: field errno is 5000: expected 0-4095",
                "{'header':{'pid':1}}      | tape line 2: field header.arch is missing or no text",
            })
    void badLineIsNamedWithItsField(String line, String sentence) {
        String expected = sentence.contains("not hex") ? "tape line 2: field in is not hex" : sentence;
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> read(CLOSE + line))
                .withMessageStartingWith(expected);
    }

    @Test
    void textLongerThanAnyLineIsRefused() {
        byte[] head = "{\"in\":\"".getBytes(StandardCharsets.UTF_8);
        byte[] zeros = "0".repeat(1 << 20).getBytes(StandardCharsets.UTF_8);
        InputStream endless = new SequenceInputStream(new ByteArrayInputStream(head), new ByteArrayInputStream(zeros));
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> {
                    try (TapeReader reader = TapeReader.of(endless)) {
                        reader.next();
                    }
                })
                .withMessage("tape line 1: longer than any line of a tape, in field in");
    }

    /** Processes that end leave no line: what they had open counts until their number is used again. */
    @Test
    void descriptorsOfManyProcessesEndTheTapeWhereAReplayWould() {
        StringBuilder tape = new StringBuilder();
        for (int pid = 1; pid <= TapeReader.MOST_OPEN + 1; pid++) {
            tape.append("{'header':{'pid':" + pid + ",'program':'/x','arch':'x86_64','kernel':'6.18.0'}}\n");
            tape.append("{'pid':" + pid + ",'tid':1,'call':'eventfd','fd':-1,'file':null,'result':3}\n");
        }
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> read(tape.toString()))
                .withMessage("tape line " + 2 * (TapeReader.MOST_OPEN + 1) + ": more than " + TapeReader.MOST_OPEN
                        + " descriptors are open");
    }

    @Test
    void processThatIsStartedAgainCountsOnce() throws IOException {
        StringBuilder tape = new StringBuilder();
        for (int i = 0; i <= TapeReader.MOST_OPEN; i++) {
            tape.append("{'header':{'pid':1,'program':'/x','arch':'x86_64','kernel':'6.18.0'}}\n");
            tape.append("{'pid':1,'tid':1,'call':'eventfd','fd':-1,'file':null,'result':3}\n");
        }
        assertThat(read(tape.toString())).hasSize(2 * (TapeReader.MOST_OPEN + 1));
    }
}
