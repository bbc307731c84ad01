/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class ReplayCommandIT {
    @TempDir
    private Path temporary;

    private String tape() {
        return temporary.resolve("tape").toString();
    }

    private static Cli.Ended run(String... arguments) throws Exception {
        return Cli.run(arguments);
    }

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @EnumSource
    void recordedScenarioReplaysOnTheFakeAndOnRealKvm(Scenario scenario) throws Exception {
        assertThat(run("selftest", "--scenario", scenario.label(), "--count", "3", "--record", tape())
                        .exitCode())
                .isZero();
        Cli.Ended onFake = run("replay", tape()).exited(0);
        assertThat(onFake.out())
                .containsPattern(" calls replayed on fake kernel [67][.0-9]+, all answered as on the tape\n$");
        Cli.Ended onReal = run("replay", tape(), "--backend", "auto").exited(0);
        assertThat(onReal.out())
                .containsPattern(" calls replayed on this machine's kernel, \\w+, all answered as on the tape\n$");
    }

    /** The tape needs KVM, and there is none: no call was compared. */
    @Test
    void withoutKvmARealReplayCannotRun() throws Exception {
        String hide = Machine.root() + "/scripts/without-kvm";
        Machine.assumeSucceeds(hide, "true");
        run("selftest", "--backend", "fake", "--scenario", "guestless", "--record", tape());
        Cli.Ended ended = Cli.launcher()
                .under(hide)
                .execute("replay", tape(), "--backend", "auto")
                .exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.out()).isEmpty();
        assertThat(ended.err())
                .isEqualTo(
                        "kvmirq: cannot replay: open /dev/kvm gives ENOENT here and kvm#1 on the tape; leave --backend"
                                + " out to replay on the fake kernel\n");
    }

    @Test
    void splitKernelDivergesWhereTheFullIrqchipIsMade() throws Exception {
        run("selftest", "--backend", "fake", "--scenario", "guestless", "--record", tape());
        Cli.Ended ended = run("replay", tape(), "--profile", "6.18,split").exited(ExitCode.FAILED);
        assertThat(ended.out().lines().toList())
                .containsExactly(
                        "diverged at call 6 on fake kernel 6.18,split",
                        "  call      vm#1 KVM_CREATE_IRQCHIP = 0",
                        "  expected  0",
                        "  got       ENOTTY",
                        "  open      kvm#1, vm#1");
    }

    /** The tape names the profile; -D and --profile come first. */
    @Test
    void tapeOfAFakeKernelReplaysOnItsProfile() throws Exception {
        run(
                "selftest",
                "--backend",
                "fake",
                "--profile",
                "6.12,gicv4",
                "--scenario",
                "edge",
                "--count",
                "2",
                "--record",
                tape());
        Cli.Ended ended = run("replay", tape()).exited(0);
        assertThat(ended.out())
                .contains(" calls replayed on fake kernel 6.12,arm64,gicv4, all answered as on the tape\n");
        assertThat(run("replay", tape(), "--profile", "6.18").out()).startsWith("diverged at call ");
        Path later = Path.of(tape());
        Files.writeString(later, Files.readString(later).replaceFirst("6[.]12,arm64,gicv4", "9.9,arm64"));
        Cli.Ended unknown = run("replay", tape()).exited(ExitCode.COULD_NOT_RUN);
        assertThat(unknown.out()).isEmpty();
        assertThat(unknown.err())
                .startsWith("kvmirq: " + later + ": the tape was recorded on a fake kernel: profile '9.9,arm64' is"
                        + " unknown: expected one of 6.1, ")
                .endsWith("; name one with --profile\n");
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void tapeOfACProgramReplaysToItsEnd() throws Exception {
        Machine.assumeProgram("cc");
        Path program = temporary.resolve("taped");
        Path source = Machine.root().resolve("src/test/native/taped.c");
        Machine.compile("-o", program.toString(), source.toString());
        run("tape", "-o", tape(), "--", program.toString());
        assertThat(Files.readAllLines(Path.of(tape())))
                .allMatch(line -> line.startsWith("{"))
                .anyMatch(line -> line.contains("\"on\":\"vm#1\",\"name\":\"KVM_IRQFD\",\"request\":1075883638"));
        Cli.Ended ended = run("replay", tape()).exited(ExitCode.OK);
        assertThat(ended.out().lines())
                .containsExactly(
                        "22 calls replayed on fake kernel 6.18, all answered as on the tape", "passed over: write 1");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "replay                           | 2 | kvmirq: Missing required parameter: 'FILE'. See kvmirq replay"
                        + " --help",
                "replay x --backend jni --profile 6.1 | 2 | kvmirq: --profile is for the fake kernel: leave --backend"
                        + " out",
                "replay /nonexistent/x            | 3 | kvmirq: cannot read /nonexistent/x: no such file",
                "replay /dev/null                 | 3 | kvmirq: cannot read /dev/null: not a regular file: a replay"
                        + " reads it twice"
            })
    void whatCannotBeReplayedIsSaidInOneSentence(String arguments, int code, String sentence) throws Exception {
        Cli.Ended ended = run(arguments.split(" ", -1)).exited(code);
        assertThat(ended.out()).isEmpty();
        assertThat(List.of(ended.err().strip())).containsExactly(sentence);
    }
}
