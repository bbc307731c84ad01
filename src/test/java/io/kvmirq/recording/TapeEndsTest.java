/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The recorder's tape when a write to it fails (tapeends.c), or others write to it (tapehead.c). */
class TapeEndsTest {
    @TempDir
    private Path temporary;

    private String compiled(String name) throws Exception {
        Machine.assumeProgram("cc");
        Path root = Machine.root();
        String program = temporary.resolve(name).toString();
        List<String> arguments = new ArrayList<>(
                List.of("-std=c11", "-D_GNU_SOURCE", "-I" + root.resolve("native/observe"), "-o", program));
        arguments.add(root.resolve("src/test/native/" + name + ".c").toString());
        for (String part : List.of("descriptor", "file", "line", "map", "quiet")) {
            arguments.add(root.resolve("native/observe/tape_" + part + ".c").toString());
        }
        arguments.add("-ldl");
        Machine.compile(arguments.toArray(String[]::new));
        return program;
    }

    private String said(String before, String test) throws Exception {
        Path tape = temporary.resolve("tape");
        if (Files.notExists(tape)) {
            Files.createFile(tape);
        }
        String command = before + "KVMIRQ_TAPE=" + tape + " exec " + compiled("tapeends") + " " + test;
        return Program.output(List.of("bash", "-c", command));
    }

    @Test
    void nothingFollowsATornLine() throws Exception {
        assertThat(said("", "torn")).isEmpty();
    }

    @Test
    void signalOfAnotherProcessOutlivesAFullDisk() throws Exception {
        assertThat(said("", "signal")).isEmpty();
    }

    @Test
    void fifoWithoutAReaderIsNotWaitedFor() throws Exception {
        Program.output(List.of("mkfifo", temporary.resolve("tape").toString()));
        assertThat(said("exec 3<>" + temporary.resolve("tape") + "; ", "fifo")).isEmpty();
    }

    /** It may be the name of a file that is gone, in the environment of a program that was left running. */
    @Test
    void fileThatIsNotThereIsNotMade() throws Exception {
        Path absent = temporary.resolve("absent");
        String command = "KVMIRQ_TAPE=" + absent + " " + compiled("tapeends") + " torn";
        assertThat(Program.output(List.of("bash", "-c", command))).isEqualTo("no tape\n");
        assertThat(absent).doesNotExist();
    }

    /** The process that had the tape has ended, and its number is another's. */
    @Test
    void descriptorOfAnotherProcessIsNoTape() throws Exception {
        Path other = Files.writeString(temporary.resolve("other"), "a user's");
        String command = "exec 7<>" + other + "; KVMIRQ_TAPE=/proc/$$/fd/7 " + compiled("tapeends") + " torn";
        assertThat(Program.output(List.of("bash", "-c", command))).isEqualTo("no tape\n");
        assertThat(other).hasContent("a user's");
    }

    /** Such a name is a descriptor of the program itself. */
    @Test
    void fileNamedByADescriptorOfTheProgramIsATape() throws Exception {
        Path tape = Files.createFile(temporary.resolve("tape"));
        String command = "exec 7<>" + tape + "; KVMIRQ_TAPE=/proc/self/fd/7 " + compiled("tapeends") + " torn";
        assertThat(Program.output(List.of("bash", "-c", command))).isEmpty();
        assertThat(tape).hasContent("01234");
    }

    /** The whole number is for {@code make native-test HEADS=10000000}, with sanitizers. */
    @ParameterizedTest
    @CsvSource({"heads, 50000", "race, 20000", "back, 3", "read, 3"})
    void headThatAnotherProcessWritesSpoilsTheTapeOnly(String test, String count) throws Exception {
        assertThat(Program.output(List.of(compiled("tapehead"), test, count, "1")))
                .isEmpty();
    }
}
