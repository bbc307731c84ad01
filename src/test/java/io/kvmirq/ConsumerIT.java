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
    private static final String SEED = "PlantedRaceTest.unmaskLosesNothing:B2A1B2";

    @TempDir
    private Path temporary;

    @BeforeEach
    void copy() throws Exception {
        assumeTrue(Files.exists(Machine.root().resolve("target/build/fetched")), "needs what scripts/build fetches");
        Program.output(List.of(
                "cp", "-r", Machine.root().resolve("src/examples/consumer").toString(), project().toString()));
    }

    private Path project() {
        return temporary.resolve("project");
    }

    private Ended maven(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Machine.root().resolve("scripts/consumer").toString(),
                project().toString(),
                temporary.resolve("repository").toString(),
                "-o",
                "test"));
        command.addAll(List.of(arguments));
        return Program.run(command);
    }

    private String report(String test) throws IOException {
        return Files.readString(project().resolve("target/surefire-reports/TEST-com.example." + test + ".xml"));
    }
}
