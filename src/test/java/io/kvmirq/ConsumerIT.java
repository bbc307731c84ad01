/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.Program.Ended;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code src/examples/consumer} is built elsewhere, without a network, against the library in a local repository. */
@Tag("long")
class ConsumerIT {
    private static final String SEED = "PlantedRaceTest.unmaskLosesNothing:B2A1B1";

    @TempDir
    private Path temporary;

    @BeforeEach
    void copy() throws Exception {
        assumeTrue(Files.exists(Machine.root().resolve("target/build/fetched")), "needs what scripts/build fetches");
        Program.output(List.of(
                "cp",
                "-r",
                Machine.root().resolve("src/examples/consumer").toString(),
                project().toString()));
    }

    private Path project() {
        return temporary.resolve("project");
    }

    private Ended maven(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Machine.root().resolve("scripts/consumer").toString(), project().toString(), "-o", "test"));
        command.addAll(List.of(arguments));
        return Program.run(command);
    }

    private String report(String test) throws IOException {
        return Files.readString(project().resolve("target/surefire-reports/TEST-com.example." + test + ".xml"));
    }

    @Test
    void itsTestsPassOnTheFakeAndOnKvm() throws Exception {
        Ended tests = maven();
        assertThat(tests.code()).as(tests.said()).isZero();
        String report = report("SmallVmmTest");
        assertThat(report)
                .contains("name=\"passedVectorsArrive(", "name=\"unmaskLosesNothing(", "failures=\"0\"")
                .contains("aCallThatFailsLeavesNothing(Kernel)[fake 6.12, call 13: ");
        Optional<String> flaw = Machine.kvmFlaw();
        assertThat(report).contains(flaw.isPresent() ? "skipped=\"2\"" : "skipped=\"0\"");
        assertThat(project().resolve("target/surefire-reports/TEST-com.example.PlantedRaceTest.xml"))
                .doesNotExist();
    }

    @Test
    void plantedRaceIsFoundAndReplayed() throws Exception {
        Ended found = maven("-Dgroups=planted", "-DexcludedGroups=");
        assertThat(found.code()).isNotZero();
        assertThat(found.said())
                .containsPattern("1 of 2 orders with 1 preemption fails; all 2 with fewer pass\\. Order B2A1B1:\n"
                        + "  1\\. vcpu, step 1 \\(SmallVmmTest.java:\\d+, from PlantedRaceTest.java:\\d+\\)\n"
                        + "  2\\. vcpu, step 2 .*\n"
                        + "  3\\. device, step 1 .*\n"
                        + "  4\\. vcpu, step 3 .*\n"
                        + "after it: expected vcpu 0 to receive vector 0x33 once, and it received it never\n")
                .contains("to replay it: -Dkvmirq.order=" + SEED + " or @Interleavings(order = \"B2A1B1\")\n")
                .doesNotContain("at io.kvmirq.");
        Ended replayed = maven("-Dgroups=planted", "-DexcludedGroups=", "-Dkvmirq.order=" + SEED);
        assertThat(replayed.code()).isNotZero();
        assertThat(replayed.said())
                .contains("Order B2A1B1:\n  1. vcpu, step 1 ", "after it: expected vcpu 0 to receive vector 0x33 once")
                .doesNotContain("orders with");
    }
}
