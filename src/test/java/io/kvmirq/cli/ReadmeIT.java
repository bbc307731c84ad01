/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The commands that README, CONTRIBUTING and the pages of src/docs show: each succeeds, and prints what is shown. */
class ReadmeIT {
    private static final String COMMAND = "scripts/kvmirq ";

    private static Stream<Block> commands() throws IOException {
        return Page.blocks("sh");
    }

    private static Stream<Block> commandsOnKvm() throws IOException {
        return Page.blocks("sh kvm");
    }

    private static Stream<Block> outputs() throws IOException {
        return Page.blocks("console");
    }

    private static Stream<Block> outputsOnKvm() throws IOException {
        return Page.blocks("console kvm");
    }

    @ParameterizedTest
    @MethodSource("commands")
    void commandsShownSucceed(Block block) throws Exception {
        runEachLine(block);
    }

    @ParameterizedTest
    @MethodSource("commandsOnKvm")
    @RealKvm
    void commandsShownSucceedOnKvm(Block block) throws Exception {
        runEachLine(block);
    }

    @ParameterizedTest
    @MethodSource("outputs")
    void outputShownIsPrinted(Block block) throws Exception {
        Block.assertShown(block.output(), printed(block.command()));
    }

    @ParameterizedTest
    @MethodSource("outputsOnKvm")
    @RealKvm(fullIrqchip = true)
    void outputShownIsPrintedOnKvm(Block block) throws Exception {
        String printed = printed(block.command());
        Block.assertShownExceptNumbers(block.output(), printed);
        if (block.command().equals(COMMAND + "selftest")) {
            assertThat(Scenario.values())
                    .allSatisfy(scenario -> assertThat(printed).contains(scenario.path(Irqchip.FULL)));
        }
    }

    /** Targets of make are not run here: {@code DocsTest} sees that they exist. */
    private static void runEachLine(Block block) throws Exception {
        for (String line : block.text().lines().toList()) {
            if (!line.startsWith("make ")) {
                printed(line);
            }
        }
    }

    private static String printed(String command) throws Exception {
        if (!command.startsWith(COMMAND) || command.matches(".*[|$'\"<>].*")) {
            return printedByShell(command);
        }
        Cli.Ended ended = Cli.run(command.substring(COMMAND.length()).split(" ", -1));
        assertThat(ended.exitCode()).as(command + "\n" + ended.err()).isZero();
        return ended.out() + ended.err();
    }

    private static String printedByShell(String command) throws Exception {
        if (command.contains("kvmirq-cli.jar") || command.contains("guest.jfr")) { // which the jar records
            Machine.jar();
        }
        String newest = command.startsWith("jfr ") ? "$(scripts/jdks | tail -1)/bin/" : ""; // Java 21 has its views
        Process process = new ProcessBuilder("bash", "-c", newest + command)
                .directory(Machine.root().toFile())
                .redirectErrorStream(true)
                .start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(command + "\n" + out).isZero();
        return out;
    }
}
