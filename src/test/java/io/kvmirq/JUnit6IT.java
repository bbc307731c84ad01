/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.Program.Ended;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The tests of {@code src/examples/consumer} on JUnit 6. ConsumerIT runs them on JUnit 5. */
@Tag("search")
class JUnit6IT {
    private static final Pattern VERSION =
            Pattern.compile("(<artifactId>junit-jupiter</artifactId>\\s*<version>)[^<]*");

    @TempDir
    private Path temporary;

    @Test
    void testsOfAVmmPassOnJUnit6() throws Exception {
        Path fetched = Machine.root().resolve("target/build/consumer-fetched");
        assumeTrue(Files.exists(fetched), "needs what scripts/consumer --fetch fetches");
        Matcher six = Pattern.compile("<junit6.version>(6\\.[^<]*)<")
                .matcher(Files.readString(Machine.root().resolve("pom.xml")));
        assertThat(six.find()).isTrue();
        Path project = temporary.resolve("project");
        Program.output(List.of(
                "cp", "-r", Machine.root().resolve("src/examples/consumer").toString(), project.toString()));
        Path pom = project.resolve("pom.xml");
        Matcher five = VERSION.matcher(Files.readString(pom));
        assertThat(five.find()).isTrue();
        Files.writeString(pom, five.replaceFirst("$1" + six.group(1)));
        Ended tests = Program.run(
                List.of(Machine.root().resolve("scripts/consumer").toString(), project.toString(), "-o", "test"));
        assertThat(tests.code()).as(tests.said()).isZero();
        assertThat(Files.readString(project.resolve("target/surefire-reports/TEST-com.example.SmallVmmTest.xml")))
                .contains("junit-jupiter-engine/" + six.group(1) + "/")
                .contains("name=\"passedVectorsArrive(", "name=\"unmaskLosesNothing(", "failures=\"0\"")
                .contains("aCallThatFailsLeavesNothing(Kernel)[fake 6.12, call 12: routesSet fails with ENOMEM]");
    }
}
