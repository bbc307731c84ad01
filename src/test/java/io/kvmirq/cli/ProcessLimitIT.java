/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The command with a low limit of its user: it runs, or says in one sentence that it could not. */
class ProcessLimitIT {
    private static final int COULD_NOT_RUN = 3;

    /** Exit codes of a run, those of explain included. */
    private static final List<Integer> RAN = List.of(0, 11);

    @TempDir
    private Path temporary;

    /** From its classes the command has other descriptors open. */
    @BeforeAll
    static void jarIsOfTheseClasses() {
        Cli.jar();
    }

    private static Cli.Ended limited(String limit, String... arguments) throws Exception {
        return explained(Cli.launcher().under("prlimit", limit).execute(arguments));
    }

    private static Cli.Ended explained(Cli.Ended ended) {
        String all = ended.out() + ended.err();
        assertThat(all).doesNotContain("FAIL", "\tat ", "Exception in thread", "initialization of VM");
        if (!RAN.contains(ended.exitCode())) {
            ended.exited(COULD_NOT_RUN);
            assertThat(ended.err()).contains("kvmirq: ");
        }
        return ended;
    }

    private static Cli.Ended selftest(String limit) throws Exception {
        return limited(limit, "selftest", "--count", "5", "--scenario", "edge", "--scenario", "reroute");
    }

    /** The vCPU or an eventfd of the scenario is the first that gets no descriptor. */
    @ParameterizedTest
    @ValueSource(ints = {8, 9, 10})
    @RealKvm(fullIrqchip = true)
    void selftestWithFewDescriptorsBlamesNoKernel(int descriptors) throws Exception {
        Cli.Ended ended = selftest("--nofile=" + descriptors);
        ended.exited(COULD_NOT_RUN);
        assertThat(ended.err())
                .startsWith("kvmirq: could not run: ")
                .contains("this process has no descriptor left: raise RLIMIT_NOFILE");
    }

    @ParameterizedTest
    @ValueSource(strings = {"--as=500000000", "--as=1500000000", "--as=5000000000"})
    void littleAddressSpaceIsEnoughOrOneSentence(String limit) throws Exception {
        limited(limit, "selftest", "--backend", "fake", "--count", "5", "--scenario", "edge");
    }

    /** The launcher starts no process, Java starts none of its threads, the scenario none of its own. */
    @ParameterizedTest
    @ValueSource(ints = {1, 16, 19, 20, 64})
    void fewProcessesAreEnoughOrOneSentence(int processes) throws Exception {
        Machine.assumeRoot("to become nobody: the limit does not bind root");
        Machine.assumeProgram("setpriv");
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path lib = Files.createDirectories(temporary.resolve("lib/kvmirq"));
        Files.copy(Cli.jar(), lib.resolve("kvmirq.jar"));
        Path bin = Files.createDirectory(temporary.resolve("bin"));
        Path launcher = Files.copy(Machine.root().resolve("scripts/kvmirq"), bin.resolve("kvmirq"));
        Cli.Ended ended = explained(Cli.launcher(launcher)
                .asNobody()
                .under("prlimit", "--nproc=" + processes)
                .execute("selftest", "--backend", "fake", "--count", "5", "--scenario", "reroute"));
        assertThat(ended.err()).doesNotContain("[warning]");
    }

    static Stream<String> steps() {
        return Stream.of(
                        IntStream.of(8, 10, 11, 12, 13, 14, 16, 24, 64).mapToObj(n -> "--nofile=" + n),
                        LongStream.of(1, 3, 5, 9, 10).mapToObj(n -> "--as=" + n * 500_000_000L),
                        Stream.of("--memlock=0", "--memlock=65536"))
                .flatMap(all -> all);
    }

    @ParameterizedTest
    @MethodSource("steps")
    @Tag("search")
    @RealKvm(fullIrqchip = true)
    void eachStepOfALimit(String limit) throws Exception {
        selftest(limit);
        limited(limit, "forward", "--fake", "7.1", "--selftest", "0000:3b:00.0");
        limited(limit, "explain", "--fake", "7.1", "0000:3b:00.0");
    }
}
