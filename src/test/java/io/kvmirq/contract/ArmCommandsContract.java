/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import java.io.IOException;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The commands that {@code src/docs/arm64.md} shows with their output, on an arm64 host with devices of VFIO. */
@ArmContract
class ArmCommandsContract extends ArmVms {
    private static final String COMMAND = "scripts/kvmirq ";
    private static final String CODE = "; echo $?";
    /** The kernel of the page. Others have a name of another form. */
    private static final String SHOWN = "6.1.0-50-arm64";

    ArmCommandsContract(World world) {
        super(world);
    }

    private static Stream<Block> shown() throws IOException {
        return Page.blocks("console arm64");
    }

    @ParameterizedTest
    @MethodSource("shown")
    void outputShownIsPrinted(Block block) throws IOException {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: commands read the files of the host");
        assumeTrue(Machine.isOfLab(), "needs the devices of the lab's machine");
        assumeTrue(Machine.hasVlpis(), "needs the lab's machine with a GICv4");
        assertThat(block.command()).as(block.where()).startsWith(COMMAND).endsWith(CODE);
        String words =
                block.command().substring(COMMAND.length(), block.command().length() - CODE.length());
        Cli.Ended ended = Cli.run(words.split(" ", -1));
        String printed = ended.out() + ended.err() + ended.exitCode() + "\n";
        Block.assertShownExceptNumbers(block.output(), printed.replace(System.getProperty("os.version"), SHOWN));
    }
}
