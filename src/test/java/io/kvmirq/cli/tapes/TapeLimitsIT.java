/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.StopsAtOnce;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
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
        return "kvmirq: " + what
                + " is incomplete: its last line is cut, as by --limit, a full disk or a limit on file sizes\n";
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

    /** Less than the memory that a tape begins with. The recorder is unpacked elsewhere. */
    @Test
    void limitOnFileSizesThatWasSetBeforeDoesNotEndTheProgram() throws Exception {
        String cache = "-Dkvmirq.cache=" + temporary.resolve("cache");
        Cli.jvm(cache).execute("tape", "--", "true").exited(ExitCode.OK);
        Cli.Ended ended = Cli.jvm(cache)
                .under("sh", "-c", "ulimit -f 64; exec \"$@\"", "sh")
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

    /** The tape is in memory. */
    @Test
    void fullTemporaryDirectoryDoesNotMatter() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path disk = Files.createDirectory(temporary.resolve("disk"));
        String mounted = "mount -t tmpfs -o size=16k none " + disk + " && exec \"$@\"";
        Cli.Ended ended = Cli.jvm("-Djava.io.tmpdir=" + disk, "-Dkvmirq.cache=" + temporary.resolve("cache"))
                .under("unshare", "--mount", "sh", "-c", mounted, "sh")
                .execute("tape", "--", program);
        assertThat(ended.exitCode()).as(ended.err()).isEqualTo(PROGRAM_EXITS_WITH);
        assertThat(ended.err()).isEmpty();
    }

    /** Nothing reads the output until the program has ended. */
    @Test
    void limitOfUnreadCallsEndsTheTapeAndNotTheProgram() throws Exception {
        Path done = temporary.resolve("done");
        String often = "for i in 1 2 3 4 5; do " + program + " || echo $? >> " + done + ".part; done; mv " + done
                + ".part " + done;
        Process command = Cli.jvm().start("tape", "--limit", "4", "--", "sh", "-c", often);
        eventually("the program has ended", () -> Files.exists(done));
        try (BufferedReader err =
                new BufferedReader(new InputStreamReader(command.getErrorStream(), StandardCharsets.UTF_8))) {
            assertThat(command.getInputStream().readAllBytes()).hasSizeLessThan(4 << 20);
            assertThat(err.lines()).containsExactly(cut("the output").strip());
        }
        assertThat(command.waitFor()).isZero();
        assertThat(Files.readAllLines(done)).containsExactly("5", "5", "5", "5", "5");
    }

    @ParameterizedTest
    @ValueSource(strings = {"0", "3", "-1", "x", "99999999999"})
    void limitThatIsNoneIsRefused(String limit) {
        Cli.Ended ended = Cli.run("tape", "--limit", limit, "--", "true").exited(ExitCode.USAGE);
        assertThat(ended.err())
                .startsWith("kvmirq: --limit is '" + limit + "': expected 4 to 999999999 MiB, such as 64. See ");
    }

    @Test
    void fileThatIsNoProgramIsToldOf() throws Exception {
        Path file = Files.writeString(temporary.resolve("script"), "true");
        Cli.Ended ended = Cli.run("tape", "--", file.toString()).exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err())
                .isEqualTo("kvmirq: cannot run " + file + ": permission denied; chmod +x lets a file run\n");
    }

    @Test
    void directoryAndAnEmptyNameAreNoPrograms() {
        for (String command : List.of("tape", "fault")) {
            List<String> words =
                    command.equals("tape") ? List.of("tape", "--") : List.of("fault", "KVM_RUN=EINTR", "--");
            assertThat(refusal(words, temporary.toString()))
                    .isEqualTo("kvmirq: cannot run " + temporary + ": it is a directory; name a program in it\n");
            assertThat(refusal(words, "")).isEqualTo("kvmirq: cannot run the program: its name is empty\n");
        }
    }

    private static String refusal(List<String> words, String program) {
        List<String> all = new ArrayList<>(words);
        all.add(program);
        return Cli.run(all.toArray(String[]::new))
                .exited(ExitCode.COULD_NOT_RUN)
                .err();
    }

    /** Makes calls, links a file to its number, and waits for a file; then once more. */
    private static final String CALLS_TWICE = """
        #include <stdint.h>
        #include <stdio.h>
        #include <sys/eventfd.h>
        #include <unistd.h>
        int main(int count, char **go)
        {
            int fd = eventfd(0, EFD_NONBLOCK);
            uint64_t one = 1;
            for (int i = 1; i < count; i++) {
                for (int j = 0; j < 50000; j++)
                    if (write(fd, &one, sizeof(one)) != sizeof(one))
                        return 1;
                char number[16], made[4096];
                snprintf(number, sizeof(number), "%d", (int)getpid());
                snprintf(made, sizeof(made), "%s.made", go[i]);
                if (symlink(number, made))
                    return 1;
                while (access(go[i], F_OK))
                    usleep(1000);
            }
            return 5;
        }
        """;

    private Process callingTwice(String... options) throws Exception {
        Machine.assumeProgram("stat");
        Path source = Files.writeString(temporary.resolve("twice.c"), CALLS_TWICE);
        String twice = temporary.resolve("twice").toString();
        Machine.compile("-o", twice, source.toString());
        List<String> words = new ArrayList<>(List.of("tape"));
        words.addAll(List.of(options));
        words.addAll(List.of(
                "--",
                twice,
                temporary.resolve("go1").toString(),
                temporary.resolve("go2").toString()));
        return Cli.jvm().start(words.toArray(String[]::new));
    }

    /** The process that has made them. */
    private long made(String go) throws Exception {
        Path made = temporary.resolve(go + ".made");
        eventually("the calls are made", () -> Files.isSymbolicLink(made));
        return Long.parseLong(Files.readSymbolicLink(made).toString());
    }

    /** Bytes of memory, or the size, of the tape that a process has open. */
    private static long tapeOf(long process, String format) throws Exception {
        Path found = null;
        try (Stream<Path> files = Files.list(Path.of("/proc/" + process + "/fd"))) {
            for (Path file : files.toList()) {
                found = Files.readSymbolicLink(file).toString().contains("kvmirq-tape") ? file : found;
            }
        }
        assertThat(found).as("the tape of " + process).isNotNull();
        return Long.parseLong(Program.output(List.of("stat", "-L", "-c", format, String.valueOf(found)))
                .strip());
    }

    /** The lines of 50000 calls are 9 MB. */
    @Test
    void callsThatWereReadTakeNoMemory() throws Exception {
        Path tape = temporary.resolve("tape");
        Process command = callingTwice("-o", tape.toString());
        made("go1");
        eventually("the calls are written", () -> count(tape) == 50001);
        Files.createFile(temporary.resolve("go1"));
        long program = made("go2");
        assertThat(tapeOf(program, "%s")).isGreaterThan(10 << 20);
        eventually("all calls are written", () -> count(tape) == 100001);
        assertThat(tapeOf(program, "%b") * 512).isLessThan(tapeOf(program, "%s") * 2 / 3);
        Files.createFile(temporary.resolve("go2"));
        assertThat(command.waitFor()).isEqualTo(PROGRAM_EXITS_WITH);
        assertThat(Files.readAllLines(tape)).hasSize(1 + 100001 + 1);
    }

    private static long count(Path tape) {
        try (Stream<String> lines = Files.lines(tape)) {
            return lines.filter(line -> line.contains("\"call\"")).count();
        } catch (IOException | UncheckedIOException e) {
            return -1; // not there yet, or cut within a letter
        }
    }

    @Test
    void recordingEndsWithAKilledCommand() throws Exception {
        Process command = callingTwice("-o", temporary.resolve("tape").toString());
        long program = made("go1");
        command.destroyForcibly().waitFor();
        long before = tapeOf(program, "%s");
        Files.createFile(temporary.resolve("go1"));
        made("go2");
        assertThat(tapeOf(program, "%s")).isEqualTo(before);
        // It ends when it sees the file, which goes with the test.
        Files.createFile(temporary.resolve("go2"));
        eventually("the program has ended", () -> !Program.runs(program));
    }

    /** It dropped its rights; its parent has them. */
    private static final String HOSTILE_CHILD = """
        #include <stdint.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/eventfd.h>
        #include <sys/mman.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static void spoil(int tape, int end)
        {
            uint64_t *head;
            if (!end) {
                if (ftruncate(tape, 0))
                    return;
            }
            head = mmap(0, 64, PROT_READ | PROT_WRITE, MAP_SHARED, tape, 0);
            head[1] = end ? 0ULL - 104 : 64;
            head[2] = 1ULL << 40;
        }
        int main(int count, char **words)
        {
            int fd = eventfd(0, EFD_NONBLOCK);
            uint64_t one = 1;
            if (write(fd, &one, sizeof(one)) != sizeof(one))
                return 1;
            if (!fork()) {
                for (int i = 3; i < 1024; i++) {
                    char link[32], file[256] = "";
                    snprintf(link, sizeof(link), "/proc/self/fd/%d", i);
                    if (readlink(link, file, sizeof(file) - 1) > 0 && strstr(file, "kvmirq"))
                        spoil(i, count == 2 && !strcmp(words[1], "end"));
                }
                return 0;
            }
            wait(0);
            for (int i = 0; i < 20000; i++)
                if (write(fd, &one, sizeof(one)) != sizeof(one))
                    return 1;
            return 5;
        }
        """;

    @ParameterizedTest
    @ValueSource(strings = {"end", "cut"})
    void headThatAChildWritesEndsNoParent(String how) throws Exception {
        Path source = Files.writeString(temporary.resolve("hostile.c"), HOSTILE_CHILD);
        String hostile = temporary.resolve("hostile").toString();
        Machine.compile("-o", hostile, source.toString());
        Cli.Ended ended = Cli.jvm().execute("tape", "--", hostile, how);
        assertThat(ended.exitCode()).as(ended.err()).isEqualTo(PROGRAM_EXITS_WITH);
        assertThat(ended.err()).isEqualTo(how.equals("end") ? cut("the output") : "");
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
    void killedCommandLeavesNoFile() throws Exception {
        Path tmp = Files.createDirectory(temporary.resolve("tmp"));
        Process killed = Cli.jvm("-Djava.io.tmpdir=" + tmp).start("tape", "--", "sh", "-c", "echo ready; read line");
        try (BufferedReader out =
                new BufferedReader(new InputStreamReader(killed.getInputStream(), StandardCharsets.UTF_8))) {
            String line = out.readLine();
            while (!"ready".equals(line)) {
                assertThat(line).as("said before it was ready").isNotNull();
                line = out.readLine();
            }
            killed.toHandle().destroyForcibly();
            killed.waitFor();
        }
        assertThat(tmp).isDirectoryNotContaining("glob:**kvmirq*");
    }

    /** Of the tracer's report too: the tracer is one that does not come to remove it. */
    @Test
    void killedTracingLeavesNoFile() throws Exception {
        Path tmp = Files.createDirectory(temporary.resolve("tmp"));
        Cli cli = Cli.jvm("-Djava.io.tmpdir=" + tmp, "-Dkvmirq.tracer=" + StopsAtOnce.compiled(temporary));
        StopsAtOnce.killed(cli.start("tape", "--ptrace", "--", "true"));
        assertThat(tmp).isDirectoryNotContaining("glob:**kvmirq*");
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
