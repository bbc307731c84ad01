/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.selftest.Scenario;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is no tape, not a whole one, or edited: one sentence with line and field, and no call made. */
class ReplayBadInputTest {
    private static final String HEADER = "{'tape':2,'header':{'pid':1,'program':'p','arch':'x86_64','order':'little',"
            + "'kernel':'6.18','backend':'fake'}}\n";
    private static final String OPEN = call(1, "'call':'open','path':'/dev/kvm','made':'kvm#1','result':0");

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    /** Counts what is asked of it. */
    private final Faults watch = new Faults();

    private static String call(int number, String rest) {
        return "{'tape':2,'seq':" + number + ",'pid':1,'tid':1," + rest + "}\n";
    }

    private Replay.Outcome replay(Path file) throws IOException {
        watch.listen();
        return new Replay(watch.over(new FakeKernel(Profile.V6_18))).run(file);
    }

    private Replay.Outcome replay(String tape) throws IOException {
        return replay(Files.writeString(temporary.resolve("tape"), tape.replace('\'', '"')));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'tape':3,'seq':2}           | tape line 3: field tape: version 3 is unknown here, this kvmirq reads versions 1 to 2",
                "{'tape':2,'seq':2,'pid':1    | tape line 3: the tape ends within the line, in field pid",
                "{'tape':2,'seq':3}           | tape line 3: field seq is 3: expected 2",
                "{'tape':2,'seq':'2'}         | tape line 3: field seq is missing or no number",
                "{'tape':2,'seq':2,'call':'fork','pid':1,'tid':1} | tape line 3: field call is fork: unknown here",
                "{'tape':2,'seq':2,'call':'close','pid':1,'tid':1,'on':'vm','result':0} | tape line 3: field on is vm: names no file",
                "{'tape':2,'seq':2,'call':'close','pid':1,'tid':1,'on':'vm#1'} | tape line 3: field result is missing or no number",
                "{'tape':2,'seq':2,'call':'close','pid':1,'tid':1,'on':'vm#1','result':0,'errno':'EWHAT'} | tape line 3: field errno is EWHAT: unknown here",
                "{'tape':2,'seq':2,'call':'eventfd','pid':1,'tid':1,'made':7,'result':0} | tape line 3: field made is missing or no text",
                "{'tape':2,'seq':2,'call':'eventfd','pid':1,'tid':1,'names':{'x':'vm#1'},'result':0} | tape line 3: field names.x names no file",
                "{'tape':2,'seq':2,'call':'eventfd','pid':1,'tid':1,'in':'0','result':0} | tape line 3: field in is not hex",
                "{'tape':2,'seq':2,'call':'ioctl','pid':1,'tid':1,'on':'vm#1','request':1075883638,'in':'00','result':0} | tape line 3: field in has 1 bytes: request 0x4020ae76 takes 32",
                "{'tape':2,'header':{'pid':1,'program':'p','arch':'aarch64','order':'little','kernel':'6'}} | tape line 3: field header.arch is aarch64: tapes are replayed on their architecture, this is x86_64",
                "{'tape':2,'header':{'pid':1,'program':'p','arch':'s390x','order':'big','kernel':'6'}} | tape line 3: field header.order is big: this machine is little",
            })
    void flawedLineIsNamedAndNoCallIsMade(String line, String sentence) {
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> replay(HEADER + OPEN + line))
                .withMessageStartingWith(sentence);
        assertThat(watch.calls()).isEmpty();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "'call':'close','on':'vm#9','result':0 | a replay cannot have vm#9, which no call on the tape opened",
                "'call':'open','path':'/etc/passwd','made':'kvm#2','result':0 | a replay cannot have a file that is no device of KVM, VFIO or iommufd",
                "'call':'mmap','value':999999999999,'made':'memory#1','result':0 | a replay cannot have mappings of more than 256 MiB",
                "'call':'pread','on':'kvm#1','value':8,'result':8 | a replay cannot have pread",
                "'call':'ioctl','on':'kvm#1','request':44674,'result':0 | a replay cannot have",
            })
    void callThatCannotBeMadeAgainIsNamedWithTheNumberBeforeIt(String rest, String reason) throws IOException {
        Replay.Outcome outcome = replay(HEADER + OPEN + call(2, rest));
        if (outcome instanceof Replay.Stopped stopped) {
            assertThat(stopped.calls()).isEqualTo(1);
            assertThat(stopped.reason()).startsWith(reason);
        } else {
            assertThat(outcome).isInstanceOf(Replay.Diverged.class);
        }
    }

    /** Requests that kernels know and the fake has no model of. */
    @Test
    void whatTheFakeDoesNotModelIsNamed() throws IOException {
        String dirtyLog = call(
                3,
                "'call':'ioctl','on':'vm#1','request':" + Uapi.KVM_GET_CLOCK + ",'in':'" + "00".repeat(48)
                        + "','result':0");
        Replay.Outcome outcome = replay(HEADER
                + OPEN
                + call(2, "'call':'ioctl','on':'kvm#1','request':" + Uapi.KVM_CREATE_VM + ",'made':'vm#1','result':0")
                + dirtyLog);
        assertThat(outcome)
                .hasToString("call 3: vm#1 KVM_GET_CLOCK [" + "00".repeat(32)
                        + "…] = 0: the fake kernel does not model KVM_GET_CLOCK; 2 calls before it were replayed");
    }

    @Test
    void truncatedAnywhereIsRefusedWhole() throws IOException {
        Path whole =
                Recordings.ofSelftest(temporary.resolve("whole"), Recordings.fake(Profile.V6_18), Scenario.GUESTLESS);
        byte[] bytes = Files.readAllBytes(whole);
        SplittableRandom random = new SplittableRandom(5);
        for (int i = 0; i < 200; i++) {
            int length = random.nextInt(1, bytes.length - 1);
            boolean atLine = bytes[length - 1] == '\n' || bytes[length] == '\n';
            Path cut = Files.write(temporary.resolve("cut"), Arrays.copyOf(bytes, length));
            if (!atLine) {
                assertThat(catchThrowableOfType(TapeException.class, () -> replay(cut)))
                        .as("cut at " + length)
                        .hasMessageMatching("tape line \\d+: (the tape ends within the line|not a tape: not JSON).*");
                assertThat(watch.calls()).isEmpty();
            }
        }
    }

    /** Whatever was done to a tape, a replay ends: with an outcome, or with a sentence. */
    @Test
    void editedTapesEndInAnOutcomeOrASentence() throws IOException {
        Path whole =
                Recordings.ofSelftest(temporary.resolve("whole"), Recordings.fake(Profile.V6_18), Scenario.GUESTLESS);
        byte[] bytes = Files.readAllBytes(whole);
        SplittableRandom random = new SplittableRandom(7);
        List<String> outcomes = new ArrayList<>();
        for (int i = 0; i < 2000; i++) {
            byte[] edited = bytes.clone();
            for (int edit = random.nextInt(1, 4); edit > 0; edit--) {
                edited[random.nextInt(edited.length)] = (byte) random.nextInt(' ', '~');
            }
            Path file = Files.write(temporary.resolve("edited"), edited);
            try {
                outcomes.add(replay(file).getClass().getSimpleName());
            } catch (TapeException e) {
                outcomes.add(String.valueOf(e.getMessage()));
            }
        }
        assertThat(outcomes).hasSize(2000).contains("Diverged", "Same").anyMatch(text -> text.startsWith("tape line"));
    }
}
