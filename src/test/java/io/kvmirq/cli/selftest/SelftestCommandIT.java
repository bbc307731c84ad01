/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.RealKvm;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code kvmirq selftest}: what it prints, on the real kernel and on fakes. */
class SelftestCommandIT {
    private static final String ESCAPE = "\033";

    @TempDir
    private Path temporary;

    @Test
    @RealKvm(fullIrqchip = true)
    void selftestPassesAndExplains() throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--count", "100");
        assertThat(ended.exitCode()).as(ended.out()).isZero();
        assertThat(ended.out())
                .contains("sent 100, answered 100, lost 0", "6 of 6 scenarios passed on the real kernel")
                .doesNotContain(ESCAPE);
        assertThat(ended.err()).isEmpty();
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void jsonIsOneDocument() throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--json", "--count", "50", "--scenario", "edge", "--scenario", "many");
        assertThat(ended.exitCode()).isZero();
        List<String> names = new ArrayList<>();
        List<String> fields = new ArrayList<>();
        try (JsonParser parser = new JsonFactory().createParser(ended.out())) {
            for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
                if (token == JsonToken.FIELD_NAME) {
                    fields.add(parser.currentName());
                } else if ("name".equals(parser.currentName()) && token == JsonToken.VALUE_STRING) {
                    names.add(parser.getText());
                }
            }
        }
        assertThat(names).containsExactly("edge", "many");
        assertThat(fields)
                .startsWith("schema", "kernel")
                .contains("backend", "scenarios", "passed", "sent", "answered", "lost", "latencyNanos", "p50", "max");
        assertThat(ended.out())
                .startsWith("{\"schema\":\"kvmirq.selftest/1\",\"kernel\":\"real\",")
                .contains(
                        "\"backend\":\"jni\",\"irqchip\":\"full\"",
                        "\"passed\":true,\"sent\":50,\"answered\":50,\"lost\":0");
    }

    @Test
    @RealKvm
    void colourIsForTerminalsThatWantIt() throws Exception {
        String[] arguments = {"selftest", "--scenario", "guestless"};
        Cli onTerminal = Cli.jvm("-Dkvmirq.terminal=true").with("TERM", "xterm");
        assertThat(onTerminal.execute(arguments).out()).contains(ESCAPE);
        assertThat(onTerminal.with("NO_COLOR", "1").execute(arguments).out()).doesNotContain(ESCAPE);
    }

    // Progress

    private static final String[] LONG_ENOUGH = {"selftest", "--backend", "fake", "--scenario", "edge", "--count"};

    private static String[] rounds(String count) {
        return Stream.concat(Stream.of(LONG_ENOUGH), Stream.of(count)).toArray(String[]::new);
    }

    /** The launcher reports a terminal of 70 columns. The run is stopped when its progress line was seen. */
    @Test
    void longRunShowsOnATerminalHowFarItIs() throws Exception {
        Process process = Cli.jvm("-Dkvmirq.progress=70", "-Xlog:class+load:file=" + temporary + "/loaded")
                .start(rounds("10000000"));
        StringBuilder seen = new StringBuilder();
        try (InputStream err = process.getErrorStream()) {
            for (int c = err.read(); c >= 0 && seen.indexOf("/10000000") < 0; c = err.read()) {
                seen.append((char) c);
            }
        } finally {
            process.destroyForcibly().waitFor();
        }
        assertThat(seen.toString()).startsWith("\redge").contains("%", "/10000000");
        assertThat(Files.readString(temporary.resolve("loaded")))
                .contains("me.tongfei.")
                .doesNotContain("org.jline.terminal.Terminal ");
    }

    @Test
    void progressIsForTerminalsAndLongRuns() throws Exception {
        Cli.Ended piped =
                Cli.jvm("-Xlog:class+load:file=" + temporary + "/loaded").execute(rounds("20000"));
        assertThat(piped.err()).isEmpty();
        Cli.Ended quick = Cli.jvm("-Dkvmirq.progress=70", "-Xlog:class+load:file=" + temporary + "/quick")
                .execute("selftest", "--backend", "fake", "--count", "10");
        assertThat(quick.err()).isEmpty();
        assertThat(Files.readString(temporary.resolve("loaded"))).doesNotContain("me.tongfei.");
        assertThat(Files.readString(temporary.resolve("quick"))).doesNotContain("me.tongfei.");
    }

    @Test
    void launcherSaysWhetherStandardErrorIsATerminal() throws Exception {
        Path java = temporary.resolve("java");
        Files.writeString(java, "#!/bin/sh\necho \"$@\"\n");
        Files.setPosixFilePermissions(java, PosixFilePermissions.fromString("rwxr-xr-x"));
        Cli cli = Cli.launcher().with("JAVA", java.toString());
        assertThat(cli.execute("backends").out()).doesNotContain("kvmirq.progress", "kvmirq.columns");
        assertThat(cli.onTerminal(90).execute("backends").out())
                .contains("-Dkvmirq.progress=90", "-Dkvmirq.columns=90", "-Dkvmirq.rows=");
    }

    // Profiles

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12", "6.18", "7.1"})
    void fakePassesOnRequestForEachProfile(String profile) throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--backend", "fake", "--profile", profile, "--count", "200");
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out()).contains("FAKE 6 of 6 scenarios passed on the fake kernel " + profile);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12", "6.18", "7.1"})
    void fakePassesWithTheSplitIrqchipForEachProfile(String profile) throws Exception {
        Cli.Ended ended =
                Cli.run("selftest", "--backend", "fake", "--profile", profile, "--irqchip", "split", "--count", "50");
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out())
                .contains("FAKE 5 of 6 scenarios passed, 1 skipped on the fake kernel " + profile)
                .contains("no in-kernel pins");
    }

    /** No guest runs: each interrupt is seen in the pending state, and the lines say so. */
    @ParameterizedTest
    @ValueSource(strings = {"6.1,arm64", "6.12,arm64"})
    void fakeOfArm64SeesInterruptsInThePendingState(String profile) throws Exception {
        String[] arguments = {"selftest", "--backend", "fake", "--profile", profile, "--count", "50"};
        Cli.Ended ended = Cli.run(arguments);
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out())
                .contains("FAKE 6 of 6 scenarios passed in the pending state, no guest ran, on the fake kernel "
                        + profile)
                .contains("sent 50, seen pending 50, lost 0; no guest ran")
                .doesNotContain("answered");
        Cli.Ended json =
                Cli.run(Stream.concat(Stream.of(arguments), Stream.of("--json")).toArray(String[]::new));
        assertThat(json.exitCode()).isZero();
        assertThat(json.out())
                .contains("\"irqchip\":\"vgic\",\"guestRan\":false", "{\"name\":\"edge\",\"passed\":true,\"sent\":50,");
        Cli.Ended refused = Cli.run(Stream.concat(Stream.of(arguments), Stream.of("--irqchip", "full"))
                .toArray(String[]::new));
        assertThat(refused.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(refused.out()).isEmpty();
        assertThat(refused.err())
                .isEqualTo(
                        "kvmirq: --irqchip full is for x86, and this kernel is arm64: leave it out, or use pending\n");
        Cli.Ended named = Cli.run(Stream.concat(Stream.of(arguments), Stream.of("--irqchip", "vgic"))
                .toArray(String[]::new));
        assertThat(named.exitCode()).as(named.out() + named.err()).isZero();
        assertThat(named.out()).contains("in the pending state, no guest ran, on the fake kernel");
    }

    /** Without CONFIG_KVM_IOAPIC there is but the split one, and full is refused by the kernel itself. */
    @Test
    void kernelWithoutPinsIsTestedWithTheSplitIrqchip() throws Exception {
        String[] split = {"selftest", "--backend", "fake", "--profile", "6.18,split", "--count", "50"};
        assertThat(Cli.run(split).out()).contains("FAKE 5 of 6 scenarios passed, 1 skipped");
        Cli.Ended refused = Cli.run("selftest", "--backend", "fake", "--profile", "6.18,split", "--irqchip", "full");
        assertThat(refused.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(refused.out()).contains("FAKE 0 of 6 scenarios passed").contains("ENOTTY");
    }

    /** The summary names the inferred rules: a pass that uses them proves less. */
    @Test
    void fakeSaysHowFarItCanBeBelieved() throws Exception {
        assertThat(Cli.run("selftest", "--backend", "fake", "--count", "5").out())
                .containsPattern("FAKE used \\d+ of the fake's rules: \\d+ measured on 6\\.18,pvm.*; none inferred");
        assertThat(Cli.run("selftest", "--backend", "fake", "--profile", "6.1", "--count", "5")
                        .out())
                .containsPattern("of the fake's rules: \\d+ measured on 6\\.18,pvm, \\d+ lab on Debian");
        assertThat(Cli.run("selftest", "--backend", "fake", "--count", "5", "--json")
                        .out())
                .contains("\"kernel\":\"fake\"", "\"inferredRules\":[");
    }

    @Test
    @RealKvm
    void splitIrqchipPassesOnTheRealKernel() throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--irqchip", "split", "--count", "50");
        assertThat(ended.out()).contains("5 of 6 scenarios passed, 1 skipped on the real kernel");
    }

    /** A scenario that was skipped is neither passed nor failed, and a self-test of none proves nothing. */
    @Test
    void selftestThatSkippedAllIsNoSuccess() throws Exception {
        String[] level = {"selftest", "--backend", "fake", "--irqchip", "split", "--scenario", "level"};
        Cli.Ended text = Cli.run(level);
        assertThat(text.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(text.out()).contains("FAKE 0 of 1 scenarios passed, 1 skipped");
        Cli.Ended json =
                Cli.run(Stream.concat(Stream.of(level), Stream.of("--json")).toArray(String[]::new));
        assertThat(json.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(json.out())
                .contains(
                        "\"irqchip\":\"split\"",
                        "\"passed\":false",
                        "\"skipped\":\"a split irqchip has no in-kernel pins")
                .doesNotContain("\"failure\"");
    }

    @Test
    void unknownProfileIsAUsageError() throws Exception {
        assertThat(Cli.run("selftest", "--backend", "fake", "--profile", "5.4").err())
                .contains("profile '5.4' is unknown: expected one of 6.1, 6.12, 6.18, 7.1");
        assertThat(Cli.run("selftest", "--profile", "6.1").err())
                .contains("--profile is for the fake kernel: add --backend fake");
        assertThat(Cli.run("selftest", "--backend", "fake", "--profile", "6.1,split")
                        .err())
                .contains("profile '6.1,split' contradicts itself");
    }
}
