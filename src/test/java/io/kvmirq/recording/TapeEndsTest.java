/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The recorder's tape when a write to it fails, from tapeends.c. */
class TapeEndsTest {
    @TempDir
    private Path temporary;

    private String program = "";

    @BeforeEach
    void compile() throws Exception {
        Machine.assumeProgram("cc");
        Path root = Machine.root();
        program = temporary.resolve("tapeends").toString();
        Machine.compile(
                "-std=c11",
                "-D_GNU_SOURCE",
                "-I" + root.resolve("native"),
                "-o",
                program,
                root.resolve("src/test/native/tapeends.c").toString(),
                root.resolve("native/tape_file.c").toString(),
                root.resolve("native/tape_line.c").toString(),
                root.resolve("native/tape_map.c").toString(),
                "-ldl");
    }

    private String said(String before, String test) throws Exception {
        String command = before + "KVMIRQ_TAPE=" + temporary.resolve("tape") + " exec " + program + " " + test;
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
}
