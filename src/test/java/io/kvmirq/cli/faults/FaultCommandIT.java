/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.StopsAtOnce;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code kvmirq fault} with {@code src/test/native/faulted.c}, which says what it bears. */
@RealKvm(fullIrqchip = true)
class FaultCommandIT {
    /** The exit code of faulted.c. */
    private static final int ENDS_WITH = 7;

    private static final int ENDED_BY_SIGABRT = 128 + 6;
    private static final int ENDED_BY_SIGKILL = 128 + 9;

    /** Four times the time that a program has from the first to its end. */
    private static final int MANY_SIGNALS = 100;

    private static final int SIGNALS_EACH_MILLIS = 200;

    @TempDir
    private Path temporary;

    private String compiled(String... options) throws Exception {
        String program = temporary.resolve("faulted").toString();
        List<String> words = new ArrayList<>(List.of(options));
        words.addAll(List.of(
                "-o",
                program,
                Machine.root().resolve("src/test/native/faulted.c").toString()));
        Machine.compile(words.toArray(String[]::new));
        return program;
    }

    @ParameterizedTest
    @CsvSource({
        // It makes the call again.
        "KVM_CREATE_VM=EINTR@1,       7,   1 of 2 such calls failed",
        "KVM_CREATE_VM=ENOMEM,        1,   1 of 1 such call failed",
        "KVM_CHECK_EXTENSION=EIO@1,   7,   1 of 1 such call failed",
    })
    void chosenCallFails(String fault, int code, String sentence) throws Exception {
        Cli.Ended ended = Cli.run("fault", fault, "--", compiled()).exited(code);
        assertThat(ended.err()).isEqualTo("kvmirq: " + fault + ": " + sentence + "\n");
        assertThat(ended.out()).isEmpty();
    }

    /** The earlier one answers. */
    @Test
    void callHasOneFault() throws Exception {
        String program = compiled();
        Cli.Ended ended = Cli.run("fault", "KVM_CREATE_VM=ENOMEM", "KVM_CREATE_VM=EIO@1", "--", program)
                .exited(1);
        assertThat(ended.err())
                .isEqualTo("kvmirq: KVM_CREATE_VM=ENOMEM: 1 of 1 such call failed\n"
                        + "kvmirq: KVM_CREATE_VM=EIO@1 never came: " + program + " made 1 such call\n");
    }

    /** As at the end of a terminal, which tells the program too. */
    @ParameterizedTest
    @ValueSource(strings = {"HUP", "INT", "QUIT"})
    void launcherLeavesSignalsOfATerminalToTheProgram(String signal) throws Exception {
        Cli.run("fault", "KVM_RUN=EIO", "--", "sh", "-c", "kill -" + signal + " $PPID; exit 5")
                .exited(5);
    }

    /** Java has it blocked. */
    @Test
    void programEndsAtSigquit() throws Exception {
        Cli.run("fault", "KVM_RUN=EIO", "--", "sh", "-c", "ulimit -c 0; kill -QUIT $$; exit 5")
                .exited(128 + 3);
    }

    @Test
    void staticProgramHasFaultsToo() throws Exception {
        Cli.run("fault", "KVM_CREATE_VM=ENOMEM", "--", compiled("-static")).exited(1);
    }

    @Test
    void abortShowsItsSignal() throws Exception {
        String program = compiled();
        Cli.Ended ended =
                Cli.run("fault", "KVM_SET_GSI_ROUTING=EINVAL@1", "--", program).exited(ENDED_BY_SIGABRT);
        assertThat(ended.err())
                .isEqualTo("kvmirq: KVM_SET_GSI_ROUTING=EINVAL@1: 1 of 1 such call failed\nkvmirq: " + program
                        + " was ended by SIGABRT\n");
    }

    @Test
    void faultThatNeverComesIsSaid() throws Exception {
        String program = compiled();
        Cli.Ended ended = Cli.run("fault", "KVM_CREATE_VM=EIO@2", "KVM_RUN=EIO", "--", program)
                .exited(ENDS_WITH);
        assertThat(ended.err())
                .isEqualTo("kvmirq: KVM_CREATE_VM=EIO@2 never came: " + program + " made 1 such call\n"
                        + "kvmirq: KVM_RUN=EIO never came: " + program + " made no such call\n");
        assertThat(Cli.run("fault", "KVM_RUN=EIO", "--", "true")
                        .exited(ExitCode.FAILED)
                        .err())
                .isEqualTo("kvmirq: KVM_RUN=EIO never came: true made no such call\n");
    }

    /** The second call is that of the other process, or of the program that took its place. */
    @ParameterizedTest
    @CsvSource({
        "fork, KVM_CHECK_EXTENSION=EIO@2, 0",
        "exec, KVM_CREATE_VM=EIO@2,       1",
    })
    void otherProcessesAreCountedToo(String then, String fault, int code) throws Exception {
        Cli.Ended ended = Cli.run("fault", fault, "--", compiled(), then).exited(code);
        assertThat(ended.err()).isEqualTo("kvmirq: " + fault + ": 1 of 2 such calls failed\n");
    }

    /** Of two filters the stricter wins, and a process has one listener. */
    @ParameterizedTest
    @CsvSource({"filter, KVM_CHECK_EXTENSION=EIO@2", "listen, KVM_CHECK_EXTENSION=EIO@1"})
    void programMayFilterItself(String then, String fault) throws Exception {
        Cli.run("fault", fault, "--", compiled(), then).exited(0);
    }

    @Test
    void secondListenerIsRefused() throws Exception {
        Cli.Ended ended = Cli.launcher()
                .execute(
                        "fault",
                        "KVM_RUN=EIO",
                        "--",
                        Machine.root() + "/scripts/kvmirq",
                        "fault",
                        "KVM_RUN=EIO",
                        "--",
                        "true")
                .exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err())
                .contains("kvmirq: cannot run true: a seccomp listener watches this process already, as in some"
                        + " containers, and a process has one at most\n");
    }

    @Test
    void programThatCannotRunIsSaid() throws Exception {
        assertThat(Cli.run("fault", "KVM_RUN=EIO", "--", "/nonexistent")
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo("kvmirq: cannot run /nonexistent: not found\n");
        Path text = Files.writeString(temporary.resolve("text"), "no program");
        assertThat(Cli.run("fault", "KVM_RUN=EIO", "--", text.toString())
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo("kvmirq: cannot run " + text + ": permission denied\n");
    }

    @Test
    void programDiesWithTheLauncher() throws Exception {
        Path process = temporary.resolve("process");
        String script = "echo $$ > " + process + "; kill -9 $PPID; exec sleep 1000";
        assertThat(Cli.run("fault", "KVM_RUN=EIO", "--", "sh", "-c", script)
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo("kvmirq: the launcher was killed, and sh with it\n");
        long program = Long.parseLong(Files.readString(process).strip());
        eventually("the program has ended", () -> !Program.runs(program));
    }

    /** Its processes too, though not in its session. */
    @ParameterizedTest
    @ValueSource(strings = {"wait", "leave"})
    void programDiesWithTheCommandAndNoFileIsLeft(String then) throws Exception {
        Process command =
                Cli.jvm("-Djava.io.tmpdir=" + temporary).start("fault", "KVM_RUN=EIO", "--", compiled(), then);
        ProcessHandle program = ProcessHandle.of(ready(command)).orElseThrow();
        command.destroyForcibly();
        eventually("the program has ended", () -> !Program.runs(program.pid()));
        assertThat(temporary).isDirectoryNotContaining("glob:**.tmp");
    }

    /** Java raises it for itself. */
    @ParameterizedTest
    @ValueSource(strings = {"fault KVM_RUN=EIO", "tape"})
    void programHasTheLimitOfOpenFilesOfItsUser(String command) throws Exception {
        List<String> words = new ArrayList<>(List.of(command.split(" ", -1)));
        words.addAll(List.of("--", "sh", "-c", "echo limit $(ulimit -Sn)"));
        assertThat(Cli.launcher()
                        .under("sh", "-c", "ulimit -Sn 512; exec \"$@\"", "sh")
                        .execute(words.toArray(String[]::new))
                        .out())
                .contains("limit 512\n");
    }

    @Test
    void stoppedCommandStopsTheProgramAndLeavesNoFile() throws Exception {
        Process command =
                Cli.jvm("-Djava.io.tmpdir=" + temporary).start("fault", "KVM_RUN=EIO", "--", compiled(), "wait");
        ProcessHandle program = ProcessHandle.of(ready(command)).orElseThrow();
        command.toHandle().destroy();
        assertThat(command.waitFor()).isEqualTo(Cli.ENDED_BY_SIGTERM);
        assertThat(Program.runs(program.pid())).isFalse();
        assertThat(temporary).isDirectoryNotContaining("glob:**.tmp");
    }

    @Test
    void killedCommandLeavesNoFile() throws Exception {
        Path tmp = Files.createDirectory(temporary.resolve("tmp"));
        Cli cli = Cli.jvm("-Djava.io.tmpdir=" + tmp, "-Dkvmirq.launcher=" + StopsAtOnce.compiled(temporary));
        StopsAtOnce.killed(cli.start("fault", "KVM_RUN=EIO", "--", "true"));
        assertThat(tmp).isDirectoryNotContaining("glob:**kvmirq*");
    }

    /** The report is in memory. */
    @Test
    void fullTemporaryDirectoryDoesNotMatter() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path disk = Files.createDirectory(temporary.resolve("disk"));
        String filled = "mount -t tmpfs -o size=4k none " + disk + " && head -c 4096 /dev/zero > " + disk
                + "/full && exec \"$@\"";
        Cli.Ended ended = Cli.jvm("-Djava.io.tmpdir=" + disk, "-Dkvmirq.cache=" + temporary.resolve("cache"))
                .under("unshare", "--mount", "sh", "-c", filled, "sh")
                .execute("fault", "KVM_RUN=EIO", "--", "true")
                .exited(ExitCode.FAILED);
        assertThat(ended.err()).isEqualTo("kvmirq: KVM_RUN=EIO never came: true made no such call\n");
    }

    /** The time runs from the first signal. */
    @Test
    void moreSignalsGiveTheProgramNoMoreTime() throws Exception {
        Process launcher = new ProcessBuilder(
                        NativeLibrary.launcherOfThisMachine().file().toString(),
                        temporary.resolve("report").toString(),
                        "0",
                        Long.toString(ProcessHandle.current().pid()),
                        FaultRule.of("KVM_RUN=EIO").row(),
                        "--",
                        "sh",
                        "-c",
                        "trap '' TERM; echo ready $$; exec sleep 1000")
                .start();
        ProcessHandle program = ProcessHandle.of(ready(launcher)).orElseThrow();
        boolean ended = false;
        for (int signals = 0; signals < MANY_SIGNALS && !ended; signals++) {
            launcher.toHandle().destroy();
            ended = launcher.waitFor(SIGNALS_EACH_MILLIS, TimeUnit.MILLISECONDS);
        }
        launcher.destroyForcibly();
        assertThat(ended).isTrue();
        assertThat(launcher.exitValue()).isEqualTo(ENDED_BY_SIGKILL);
        assertThat(Program.runs(program.pid())).isFalse();
    }

    /** The process that says it is ready. */
    private static long ready(Process command) throws IOException {
        BufferedReader out =
                new BufferedReader(new InputStreamReader(command.getInputStream(), StandardCharsets.UTF_8));
        String line = out.readLine();
        assertThat(line).startsWith("ready ");
        return Long.parseLong(line.substring("ready ".length()));
    }
}
