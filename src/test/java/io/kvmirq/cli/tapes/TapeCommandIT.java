/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TapeCommandIT {
    @TempDir
    private Path temporary;

    /** The exit code of taped.c. */
    private static final int TAPED_EXITS_WITH = 7;

    private String compiled(String name) throws Exception {
        Machine.assumeProgram("cc");
        Path program = temporary.resolve(name);
        Path source = Machine.root().resolve("src/test/native/" + name + ".c");
        List<String> command = List.of("cc", "-o", program.toString(), source.toString());
        Process process = new ProcessBuilder(command).inheritIO().start();
        assertThat(process.waitFor()).isZero();
        return program.toString();
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void callsOfAProgramAreReadable() throws Exception {
        Cli.Ended ended = Cli.run("tape", "--", compiled("taped")).exited(TAPED_EXITS_WITH);
        List<String> lines = ended.out().lines().toList();
        assertThat(lines.get(0)).startsWith("# " + temporary + "/taped as process ");
        assertThat(lines.get(lines.size() - 1)).endsWith("] eventfd#4 write 5 = 8");
        assertThat(lines.subList(1, lines.size() - 1))
                .containsExactly(
                        "open /dev/kvm = kvm#1",
                        "kvm#1 KVM_CREATE_VM 0 = vm#1",
                        "eventfd 0 flags=NONBLOCK|CLOEXEC = eventfd#1",
                        "eventfd 5 = eventfd#2",
                        "vm#1 KVM_CREATE_IRQCHIP = 0",
                        "vm#1 KVM_IRQFD fd=eventfd#1 gsi=24 = 0",
                        "vm#1 KVM_IRQFD fd=eventfd#1 gsi=24 = EBUSY",
                        "vm#1 KVM_IRQFD fd=eventfd#1 gsi=24 flags=DEASSIGN = 0",
                        "vm#1 KVM_IRQFD (argument unreadable) = EFAULT",
                        "closed(fd -1) KVM_IRQFD fd=eventfd#1 gsi=24 flags=DEASSIGN = EBADF",
                        "vm#1 KVM_CREATE_DEVICE type=VFIO = kvm-vfio#1",
                        "kvm-vfio#1 KVM_SET_DEVICE_ATTR VFIO_FILE ADD fd=eventfd#2 = EINVAL",
                        "eventfd#1 write 1 = 8",
                        "ppoll eventfd#2:IN timeout=2ms = eventfd#2:IN",
                        "eventfd#2 read = 5",
                        "ppoll eventfd#2:IN timeout=2ms = 0",
                        "eventfd#1 read = EFAULT",
                        "eventfd#2 close = 0",
                        "eventfd 0 = eventfd#3",
                        "eventfd#3 write 5 = 8",
                        "eventfd#3 F_DUPFD_CLOEXEC 900 = eventfd#3",
                        "open /dev/vfio/none = ENOENT");
        assertThat(ended.err()).isEmpty();
    }

    @Test
    @RealKvm
    void selftestIsTapedAsItHappens() throws Exception {
        Path tape = temporary.resolve("edge.tape");
        Cli.Ended ended = Cli.launcher()
                .execute(
                        "tape",
                        "-o",
                        tape.toString(),
                        "--",
                        Machine.root() + "/scripts/kvmirq",
                        "selftest",
                        "--scenario",
                        "edge",
                        "--count",
                        "3")
                .exited(0);
        assertThat(ended.out()).contains("sent 3, answered 3, lost 0").doesNotContain("KVM_IRQFD");
        assertThat(Files.getPosixFilePermissions(tape)).isEqualTo(PosixFilePermissions.fromString("rw-------"));
        Cli.Ended shown = Cli.run("tape", "--show", tape.toString()).exited(0);
        assertThat(shown.out().lines())
                .containsSubsequence(
                        "open /dev/kvm = kvm#1",
                        "vm#2 KVM_IRQFD fd=eventfd#1 gsi=24 = 0",
                        "vm#2 KVM_IOEVENTFD fd=eventfd#2 addr=0x80 len=1 flags=PIO = 0",
                        "vm#2 KVM_CREATE_VCPU 0 = vcpu#1",
                        "eventfd#1 write 1 = 8",
                        "eventfd#2 read = 1",
                        "vm#2 KVM_IRQFD fd=eventfd#1 gsi=24 flags=DEASSIGN = 0",
                        "vm#2 close = 0")
                .anyMatch(line -> line.contains("KVM_SET_GSI_ROUTING") && line.contains("24→msi 0xfee00000/0x31"));
    }

    private static final String LEAVES_ONE_RUNNING = """
        #include <fcntl.h>
        #include <sys/eventfd.h>
        #include <unistd.h>
        int main(int count, char **file)
        {
            if (count != 3)
                return 2;
            if (fork())
                return 0;
            for (int fd = 0; fd < 3; fd++)
                close(fd);
            for (int i = 0; i < 2000 && access(file[1], F_OK); i++)
                usleep(10000);
            eventfd(0, 0);
            return mkdir(file[2], 0700);
        }
        """;

    /** As qemu -daemonize does. */
    @Test
    void whatTheProgramLeftRunningIsOnTheTape() throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("leaves.c"), "#include <sys/stat.h>\n" + LEAVES_ONE_RUNNING);
        String program = temporary.resolve("leaves").toString();
        Machine.compile("-o", program, source.toString());
        Path tape = temporary.resolve("left");
        Path go = temporary.resolve("go");
        Path done = temporary.resolve("done");
        Path tmp = Files.createSymbolicLink(temporary.resolve("tmp"), temporary);
        Process process = Cli.jvm("-Djava.io.tmpdir=" + tmp)
                .start("tape", "-o", tape.toString(), "--", program, go.toString(), done.toString());
        try (BufferedReader err =
                new BufferedReader(new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8))) {
            assertThat(err.readLine())
                    .matches("kvmirq: process \\d+ still runs and is recorded until it ends; Ctrl-C ends the tape now");
            Files.createFile(go);
            assertThat(process.waitFor()).isZero();
        }
        assertThat(done).exists();
        List<String> lines = Files.readAllLines(tape);
        assertThat(lines.get(lines.size() - 2)).contains("\"call\":\"eventfd\"");
        assertThat(lines.get(lines.size() - 1)).isEqualTo("{\"end\":true,\"calls\":1}");
    }

    @Test
    void mistypedCommandCostsNoEarlierTape() throws Exception {
        Path tape = Files.writeString(temporary.resolve("earlier.tape"), "earlier");
        Cli.Ended ended = Cli.run("tape", "-o", tape.toString(), "--", "/nonexistent/program")
                .exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err()).contains("cannot run /nonexistent/program: not found");
        assertThat(tape).hasContent("earlier");
    }

    /** It may start another, as a shell of busybox does. */
    @ParameterizedTest
    @ValueSource(strings = {"-static", "-static-pie"})
    void staticProgramIsSaidBeforeItRuns(String link) throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(
                temporary.resolve("starts.c"),
                "#include <unistd.h>\n" + "int main(int n, char **w) { if (n > 1) execv(w[1], w + 1); return 4; }\n");
        String program = temporary.resolve("static").toString();
        Machine.compile(link, "-o", program, source.toString());
        String said = "kvmirq: " + program + " is statically linked: the recorder is a library that is loaded into"
                + " programs, so only dynamically linked programs that it starts are recorded; --ptrace records it, and"
                + " makes each call take about 20 to 350 microseconds longer\n";
        assertThat(Cli.run("tape", "--", program).exited(4).err())
                .isEqualTo(said + "kvmirq: nothing was recorded: " + program
                        + " did not load the recorder; is it set-user-id, or a script for a static program?\n");
        assertThat(Cli.run("tape", "--", program, "/bin/true")
                        .exited(ExitCode.OK)
                        .err())
                .startsWith(said + "kvmirq: no call was recorded: " + program + " made none, ");
    }

    @Test
    void staticProgramBehindAScriptIsSaidAfterwards() throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("empty.c"), "int main(void) { return 4; }\n");
        String program = temporary.resolve("static").toString();
        Machine.compile("-static", "-o", program, source.toString());
        Path script = Files.writeString(temporary.resolve("script"), "#!" + program + "\n");
        Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwx------"));
        assertThat(Cli.run("tape", "--", script.toString()).exited(4).err().strip())
                .isEqualTo("kvmirq: nothing was recorded: " + script
                        + " did not load the recorder; is it set-user-id, or a script for a static program?");
    }

    private static final String UNTIL_TOLD = """
        #include <signal.h>
        #include <stdint.h>
        #include <sys/eventfd.h>
        #include <unistd.h>
        static int fd;
        static void told(int signal)
        {
            uint64_t one = 1;
            (void)signal;
            _exit(write(fd, &one, sizeof(one)) == 8 && dup2(fd, 900) == 900 ? 0 : 1);
        }
        int main(void)
        {
            fd = eventfd(0, 0);
            signal(SIGTERM, told);
            if (write(1, "ready\\n", 6) == 6)
                for (;;)
                    pause();
        }
        """;

    @ParameterizedTest
    @CsvSource({"true, false", "false, false", "true, true", "false, true"})
    void endBySignalKeepsTheTape(boolean printed, boolean traced) throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("told.c"), UNTIL_TOLD);
        String program = temporary.resolve("told").toString();
        Machine.compile("-o", program, source.toString());
        Path tape = temporary.resolve("kept");
        Cli cli = Cli.jvm("-Djava.io.tmpdir=" + temporary);
        List<String> words = new ArrayList<>(List.of("tape"));
        words.addAll(traced ? List.of("--ptrace") : List.of());
        words.addAll(printed ? List.of(program) : List.of("-o", tape.toString(), "--", program));
        Process process = cli.start(words.toArray(String[]::new));
        String out;
        try (BufferedReader reader =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            StringBuilder before = new StringBuilder();
            for (String line = reader.readLine(); !"ready".equals(line); line = reader.readLine()) {
                assertThat(line).as("said before it was ready").isNotNull();
                before.append(line).append('\n');
            }
            process.toHandle().destroy(); // not its streams
            out = before + reader.lines().collect(Collectors.joining("\n"));
        }
        assertThat(process.waitFor()).isEqualTo(Cli.ENDED_BY_SIGTERM);
        if (!printed) {
            assertThat(out).isEmpty();
            out = Cli.run("tape", "--show", tape.toString()).out();
        }
        assertThat(out.lines().skip(1))
                .containsExactly("eventfd 0 = eventfd#1", "eventfd#1 write 1 = 8", "eventfd#1 dup2 900 = eventfd#1");
        try (Stream<Path> left = Files.list(temporary)) {
            assertThat(left.filter(file -> file.toString().contains(".tape"))).isEmpty();
        }
    }

    private static final String UNTIL_THE_FILE_IS_THERE = """
        #include <sys/eventfd.h>
        #include <unistd.h>
        int main(int count, char **file)
        {
            int looks = 0;
            eventfd(0, 0);
            while (count == 2 && access(file[1], F_OK) && looks < 2000) {
                usleep(10000);
                looks++;
            }
            eventfd(3, 0);
            return looks < 2000 ? 5 : 1;
        }
        """;

    /** The program goes on when its first call has been seen, or fails. */
    @Test
    void callsAreShownWhileTheProgramRuns() throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("waits.c"), UNTIL_THE_FILE_IS_THERE);
        String program = temporary.resolve("waits").toString();
        Machine.compile("-o", program, source.toString());
        Path go = temporary.resolve("go");
        Process process = Cli.launcher().start("tape", "--", program, go.toString());
        try (BufferedReader reader =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            assertThat(reader.readLine()).startsWith("# " + program + " as process ");
            assertThat(reader.readLine()).isEqualTo("eventfd 0 = eventfd#1");
            Files.createFile(go);
            assertThat(reader.lines()).containsExactly("eventfd 3 = eventfd#2");
        }
        assertThat(process.waitFor()).isEqualTo(5);
    }

    /** A recorder that is killed leaves the calls that were made before. */
    @Test
    void tapeIsWrittenWhileTheProgramRuns() throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("waits.c"), UNTIL_THE_FILE_IS_THERE);
        String program = temporary.resolve("waits").toString();
        Machine.compile("-o", program, source.toString());
        Path go = temporary.resolve("go");
        Path tape = temporary.resolve("killed.tape");
        Process process = Cli.jvm().start("tape", "-o", tape.toString(), "--", program, go.toString());
        eventually("the first call is written", () -> holdsACall(tape));
        process.destroyForcibly().waitFor();
        Files.createFile(go);
        Cli.Ended shown = Cli.run("tape", "--show", tape.toString()).exited(ExitCode.FAILED);
        assertThat(shown.out().lines().skip(1)).containsExactly("eventfd 0 = eventfd#1");
        assertThat(shown.err()).contains("is incomplete: it has no end");
    }

    private static boolean holdsACall(Path tape) {
        try {
            return Files.readString(tape).contains("\"call\":\"eventfd\"");
        } catch (IOException e) {
            return false; // not made yet
        }
    }

    @Test
    void shownTapeEndsWithItsReader() throws Exception {
        Path tape = temporary.resolve("long.tape");
        String line = "{\"pid\":1,\"tid\":1,\"call\":\"open\",\"fd\":-1,\"file\":\"/dev/kvm\",\"result\":3}\n";
        Files.writeString(tape, line.repeat(1 << 16) + "no line of a tape\n");
        Process process = Cli.launcher().start("tape", "--show", tape.toString());
        process.getInputStream().close();
        try (BufferedReader err =
                new BufferedReader(new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8))) {
            assertThat(err.lines()).as("it did not read to the end").isEmpty();
        }
        assertThat(process.waitFor()).isZero();
    }

    @Test
    void programHasTheLocaleItWasStartedWith() throws Exception {
        String print = "echo \"${LC_ALL-unset} ${LANG-unset}\"";
        Cli cli = Cli.launcher().under("env", "-u", "LC_ALL", "LANG=");
        assertThat(cli.execute("tape", "-o", temporary.resolve("unread").toString(), "--", "sh", "-c", print)
                        .out())
                .isEqualTo("unset \n");
        assertThat(Cli.launcher()
                        .with("LC_ALL", "POSIX")
                        .execute("tape", "-o", temporary.resolve("unread").toString(), "--", "sh", "-c", print)
                        .out())
                .startsWith("POSIX ");
    }

    @Test
    void selftestToldToEndLeavesAWholeTape() throws Exception {
        Path tape = temporary.resolve("interrupted");
        Process process =
                Cli.jvm().start("selftest", "--backend", "fake", "--count", "10000000", "--record", tape.toString());
        try (BufferedReader reader =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            eventually("a part of the tape is written", () -> tape.toFile().length() >= 1 << 20);
            process.toHandle().destroy();
            reader.lines().forEach(line -> {});
        }
        assertThat(process.waitFor()).isEqualTo(Cli.ENDED_BY_SIGTERM);
        assertThat(Files.readString(tape)).containsPattern("\\{\"end\":true,\"calls\":\\d+}\n\\z");
    }

    @Test
    void addressesAreNotOnTheTapeAndWhatIsCutIsSaid() throws Exception {
        Path built = Machine.root().resolve("target/native/libkvmirqtape.so");
        assumeTrue(Files.exists(built), "needs " + built);
        Path tape = temporary.resolve("tape");
        Cli.run("tape", "-o", tape.toString(), "--", compiled("tapedraw")).exited(0);
        List<String> lines = Files.readAllLines(tape);
        assertThat(lines).hasSize(12);
        assertThat(lines).noneMatch(line -> line.contains("8877665544332211") || line.contains("1234605616436508552"));
        assertThat(lines.get(2)).contains("\"value\":0,\"in\":\"00000000000000000700000000000000\"");
        assertThat(lines.get(7)).contains("\"value\":4294692864,");
        assertThat(lines).filteredOn(line -> line.contains("\"cut\":true")).containsExactly(lines.get(8));
        assertThat(lines.get(9))
                .as("VFIO_IOMMU_MAP_DMA: vaddr is 0, iova stays")
                .contains("00".repeat(8) + "efcdab0000000000");
        assertThat(lines.get(10)).endsWith("\"value\":4,\"in\":\"30000000\",\"result\":-1,\"errno\":\"EINVAL\"}");
        assertThat(lines.get(11)).isEqualTo("{\"end\":true,\"calls\":10}");
    }

    @Test
    void argumentsReachTheProgramAsTheyAre() throws Exception {
        Path at = Files.writeString(temporary.resolve("words"), "expanded\n");
        Cli.Ended ended = Cli.launcher()
                .execute(
                        "tape",
                        "-o",
                        temporary.resolve("unread").toString(),
                        "printf",
                        "%s.",
                        "@" + at,
                        "--help",
                        "-o",
                        "a b",
                        "");
        assertThat(ended.out()).isEqualTo("@" + at + ".--help.-o.a b..");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "tape                        | 2 | kvmirq: Give either CMD or --show FILE. See kvmirq tape --help",
                "tape --show x true          | 2 | kvmirq: Give either CMD or --show FILE. See kvmirq tape --help",
                "tape --show x -o y          | 2 | kvmirq: --output needs a CMD and excludes --show. See kvmirq tape"
                        + " --help",
                "tape --show /nonexistent/x  | 3 | kvmirq: cannot read /nonexistent/x: no such file",
                "tape --show /dev/null       | 1 | kvmirq: /dev/null is empty: no program wrote to it, or"
                        + " its recorder was killed before it did",
                "tape -o /nonexistent/x true | 3 | kvmirq: cannot write /nonexistent/x: the directory /nonexistent"
                        + " does not exist; make it with mkdir -p, or name another file",
                "tape -o /dev true           | 3 | kvmirq: cannot write /dev: it is a directory; name a file in it,"
                        + " such as /dev/kvmirq.tape",
                "tape -o /dev/null true      | 3 | kvmirq: cannot write /dev/null: it is not a regular file; name"
                        + " another file",
                "tape -- /nonexistent/x      | 3 | kvmirq: cannot run /nonexistent/x: not found"
            })
    void whatCannotBeDoneIsOneSentence(String arguments, int exitCode, String sentence) throws Exception {
        Cli.Ended ended = Cli.run(arguments.strip().split(" ", -1));
        assertThat(ended.err().strip()).isEqualTo(sentence);
        assertThat(ended.exitCode()).isEqualTo(exitCode);
        assertThat(ended.out()).isEmpty();
    }

    @Test
    void truncatedTapeShowsWhatItHasAndFails() throws Exception {
        Path tape = Files.writeString(
                temporary.resolve("cut.tape"),
                "{\"pid\":1,\"tid\":1,\"call\":\"open\",\"fd\":-1,\"file\":\"/dev/kvm\",\"result\":3}\n"
                        + "{\"pid\":1,\"call\":\"io");
        Cli.Ended ended = Cli.run("tape", "--show", tape.toString()).exited(ExitCode.FAILED);
        assertThat(ended.out().strip()).isEqualTo("open /dev/kvm = kvm#1");
        assertThat(ended.err().strip()).isEqualTo("kvmirq: tape line 2: the tape ends within the line, in field call");
    }

    /** A tape of a recorder that was killed has whole lines and no end. */
    @Test
    void tapeWithoutAnEndShowsWhatItHasAndFails() throws Exception {
        Path tape = temporary.resolve("endless.tape");
        Cli.run("selftest", "--backend", "fake", "--count", "1", "--record", tape.toString())
                .exited(0);
        String whole = Cli.run("tape", "--show", tape.toString()).exited(0).out();
        List<String> lines = Files.readAllLines(tape);
        Files.write(tape, lines.subList(0, lines.size() - 1));
        Cli.Ended ended = Cli.run("tape", "--show", tape.toString()).exited(ExitCode.FAILED);
        assertThat(ended.out()).isEqualTo(whole);
        assertThat(ended.err().strip())
                .isEqualTo("kvmirq: " + tape + " is incomplete: it has no end, as of a recorder that was killed; calls"
                        + " after the last line may be missing");
    }

    @Test
    void tapeThatIsNotWholeIsSaidInOtherWordsThanCallsThatAreNotPrinted() {
        assertThat(TapedProgram.late(Optional.of(Path.of("/tmp/a.tape"))))
                .isEqualTo("stopped before the whole tape was written: /tmp/a.tape lacks its last calls and its end");
        assertThat(TapedProgram.late(Optional.empty())).contains("-o keeps them");
    }

    private static final String POLL = """
        #include <limits.h>
        #include <poll.h>
        #include <sys/eventfd.h>
        int main(void)
        {
            struct pollfd one = { .fd = eventfd(1, 0), .events = POLLIN };
            struct timespec ever = { .tv_sec = LONG_MAX, .tv_nsec = 999999999 };
            return ppoll(&one, 1, &ever, 0) == 1 ? 0 : 1;
        }
        """;

    @Test
    void waitForEverIsTheLongestTimeAndNotANegativeOne() throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("poll.c"), POLL);
        String program = temporary.resolve("poll").toString();
        Machine.compile("-D_GNU_SOURCE", "-o", program, source.toString());
        Path tape = temporary.resolve("poll.tape");
        Cli.run("tape", "-o", tape.toString(), "--", program).exited(0);
        assertThat(Files.readString(tape)).contains("\"value\":9223372036854775807,");
    }
}
