/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Programs whose calls cannot all be recorded run as they would without the recorder. */
class TapeLimitsIT {
    @TempDir
    private Path temporary;

    private String program = "";

    private static final int PROGRAM_EXITS_WITH = 5;

    private static final String MANY_CALLS = """
        #include <signal.h>
        #include <stdint.h>
        #include <sys/eventfd.h>
        #include <unistd.h>
        int main(void)
        {
            int fd = eventfd(0, EFD_NONBLOCK);
            uint64_t one = 1;
            sigset_t pending;
            for (int i = 0; i < 20000; i++)
                if (write(fd, &one, sizeof(one)) != sizeof(one))
                    return 1;
            sigpending(&pending);
            return sigismember(&pending, SIGPIPE) || sigismember(&pending, SIGXFSZ) ? 2 : 5;
        }
        """;

    @BeforeEach
    void compile() throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("many.c"), MANY_CALLS);
        program = temporary.resolve("many").toString();
        Machine.compile("-o", program, source.toString());
    }

    private static String cut(String what) {
        return "kvmirq: " + what + " is incomplete: its last line is cut, as by a full disk or a limit on file sizes\n";
    }

    @Test
    void limitOnFileSizesEndsTheTapeAndNotTheProgram() throws Exception {
        Path tape = temporary.resolve("tape");
        Cli.Ended ended =
                Cli.jvm().execute("tape", "-o", tape.toString(), "--", "sh", "-c", "ulimit -f 8; exec " + program);
        assertThat(ended.exitCode()).as(ended.err()).isEqualTo(PROGRAM_EXITS_WITH);
        assertThat(ended.err()).isEqualTo(cut("the tape " + tape));
        assertThat(Files.readAllLines(tape)).hasSizeGreaterThan(9).noneMatch(line -> line.contains("\"end\""));
        Cli.Ended replayed = Cli.jvm().execute("replay", tape.toString());
        assertThat(replayed.out()).contains("the tape has no end");
        assertThat(replayed.exitCode()).isEqualTo(ExitCode.FAILED);
    }

    /** Less than the memory that a tape begins with. */
    @Test
    void limitOnFileSizesThatWasSetBeforeDoesNotEndTheProgram() throws Exception {
        Cli.Ended ended = Cli.jvm("-Dkvmirq.cache=" + temporary.resolve("cache"))
                .under("sh", "-c", "ulimit -f 1024; exec \"$@\"", "sh")
                .execute("tape", "--", "true");
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(ended.err()).isEqualTo(cut("the output"));
    }

    @Test
    void limitOnFileSizesIsToldOfPrintedCalls() throws Exception {
        Cli.Ended ended = Cli.jvm().execute("tape", "--", "sh", "-c", "ulimit -f 8; exec " + program);
        assertThat(ended.exitCode()).as(ended.err()).isEqualTo(PROGRAM_EXITS_WITH);
        assertThat(ended.err()).isEqualTo(cut("the output"));
        assertThat(ended.out()).contains("eventfd#1 write 1 = 8");
    }

    @Test
    void fullDiskEndsTheTapeAndNotTheProgram() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path disk = Files.createDirectory(temporary.resolve("disk"));
        String mounted = "mount -t tmpfs -o size=16k none " + disk + " && exec \"$@\"";
        Cli.Ended ended = Cli.jvm("-Djava.io.tmpdir=" + disk, "-Dkvmirq.cache=" + temporary.resolve("cache"))
                .under("unshare", "--mount", "sh", "-c", mounted, "sh")
                .execute("tape", "--", program);
        assertThat(ended.exitCode()).as(ended.err()).isEqualTo(PROGRAM_EXITS_WITH);
        assertThat(ended.err()).isEqualTo(cut("the output"));
    }

    /** A pipe without a reader, given as the number of a descriptor. */
    @Test
    void readerThatLeavesDoesNotEndTheProgram() throws Exception {
        // The dynamic linker splits LD_PRELOAD at a space, which the path of the tree may have.
        Path recorder = Files.copy(
                Machine.root().resolve("target/native/libkvmirqtape.so"), temporary.resolve("libkvmirqtape.so"));
        String pipe = "LD_PRELOAD=" + recorder + " KVMIRQ_TAPE=1 " + program + " | head -n 1; echo ${PIPESTATUS[0]}";
        assertThat(Program.run(List.of("bash", "-c", pipe)).said())
                .contains("{\"header\"")
                .endsWith("}}\n" + PROGRAM_EXITS_WITH + "\n");
    }

    @Test
    void killedCommandsFileIsRemovedByTheNext() throws Exception {
        Path tmp = Files.createDirectory(temporary.resolve("tmp"));
        Cli cli = Cli.jvm("-Djava.io.tmpdir=" + tmp);
        Process killed = cli.start("tape", "--", "sh", "-c", "echo ready; read line");
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(killed.getInputStream(), StandardCharsets.UTF_8))) {
            String line = out.readLine();
            while (!"ready".equals(line)) {
                assertThat(line).as("said before it was ready").isNotNull();
                line = out.readLine();
            }
            List<Path> live = files(tmp);
            assertThat(live).hasSize(1);
            cli.execute("tape", "--", "true");
            assertThat(files(tmp)).as("the file of the command that runs").isEqualTo(live);
            killed.toHandle().destroyForcibly();
            killed.waitFor();
        }
        assertThat(files(tmp)).hasSize(1);
        Files.writeString(tmp.resolve("kvmirq.tape"), "a user's");
        cli.execute("tape", "--", "true");
        assertThat(files(tmp)).containsExactly(tmp.resolve("kvmirq.tape"));
    }

    private static List<Path> files(Path directory) throws Exception {
        try (Stream<Path> files = Files.list(directory)) {
            return files.filter(file -> file.toString().contains("tape")).toList();
        }
    }

    @Test
    void programOfAUserWhoCannotReadTheRecorderIsToldOf() throws Exception {
        Machine.assumeRoot("to become another user");
        Machine.assumeProgram("setpriv");
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path cache = temporary.resolve("cache");
        Cli.Ended ended = Cli.jvm("-Dkvmirq.cache=" + cache)
                .execute("tape", "--", "setpriv", "--reuid=54321", "--clear-groups", program);
        assertThat(ended.exitCode()).isEqualTo(PROGRAM_EXITS_WITH);
        assertThat(ended.err())
                .contains("kvmirq: no call was recorded: setpriv made none, or started a program that did not load the"
                        + " recorder; does that run as a user who cannot read " + cache + "/libkvmirq-");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "tape --show NAME",
                "tape -o NAME/x -- true",
                "tape -- NAME",
                "replay NAME",
                "selftest --backend fake --scenario guestless --record NAME/x",
                "decode --batch pid NAME",
                "NAME",
                "selftest --scenario NAME"
            })
    void namesReachTheTerminalWithoutControlCharacters(String command) throws Exception {
        String name = "/nonexistent/\033]0;title\007\u009b31m";
        String[] words = Stream.of(command.split(" ", -1))
                .map(word -> word.replace("NAME", name))
                .toArray(String[]::new);
        Cli.Ended ended = Cli.run(words);
        assertThat(ended.exitCode()).isNotZero();
        assertThat(ended.err()).contains("?]0;title??31m").doesNotContainPattern("[\\p{Cc}&&[^\n]]");
        assertThat(ended.out()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"--json", ""})
    void pathsOfLibrariesReachTheTerminalWithoutControlCharacters(String option) throws Exception {
        String name = "-Dkvmirq.library=/nonexistent/\033]0;title\007\u009b31m";
        Cli.Ended ended = Cli.jvm(name)
                .execute(Stream.of("backends", option)
                        .filter(word -> !word.isEmpty())
                        .toArray(String[]::new));
        assertThat(ended.out()).contains("]0;title").doesNotContainPattern("[\\p{Cc}&&[^\n]]");
    }
}
