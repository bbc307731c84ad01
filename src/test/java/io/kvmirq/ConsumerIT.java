/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.Program.Ended;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Projects of users are built without a network, against the library in a local repository: {@code
 * src/examples/consumer}, and what a page has to paste.
 */
class ConsumerIT {
    private static final String TESTING = "src/docs/testing.md";
    private static final String LIBRARY = "src/docs/library.md";
    private static final String COMMANDS = "console maven";

    private static final String SEED = "PlantedRace.unmaskLosesNothing:B2A1B1";

    @TempDir
    private Path temporary;

    @BeforeEach
    void needsWhatTheBuildFetches() {
        assumeTrue(Files.exists(Machine.root().resolve("target/build/fetched")), "needs what scripts/build fetches");
    }

    private void copy() throws Exception {
        Program.output(List.of(
                "cp",
                "-r",
                Machine.root().resolve("src/examples/consumer").toString(),
                project().toString()));
    }

    private Path project() {
        return temporary.resolve("project");
    }

    /** Copies what a page shows: its pom.xml, and a class. */
    private void paste(String page, String source, String code) throws IOException {
        paste("pom.xml", Page.of(page).first("xml").text());
        paste(source, code);
    }

    private void paste(String file, String text) throws IOException {
        Path place = project().resolve(file);
        Files.createDirectories(place.getParent());
        Files.writeString(place, text);
    }

    /** Runs commands of a page in the directory of the project. */
    private Ended shell(String commands) throws IOException, InterruptedException {
        String maven = "mvn() { '" + Machine.root().resolve("scripts/consumer")
                + "' . -o \"$@\"; local code=$?; cat target/maven.log; return $code; }";
        return Program.run(List.of("bash", "-c", maven + "; cd '" + project() + "' && " + commands));
    }

    /** Runs each command of a page's block, and returns what all printed. */
    private String assertShown(String setting, String shown) throws IOException, InterruptedException {
        StringBuilder said = new StringBuilder();
        for (String part : shown.split("(?m)^\\$ ", -1)) {
            if (!part.isEmpty()) {
                String command = part.substring(0, part.indexOf('\n'));
                Ended ended = shell(setting + command);
                assertThat(ended.code()).as(command + "\n" + ended.said()).isZero();
                Block.assertShownExceptNumbers(part.substring(command.length() + 1), ended.said());
                said.append(ended.said());
            }
        }
        return said.toString();
    }

    private String report(String test) throws IOException {
        return Files.readString(project().resolve("target/surefire-reports/TEST-com.example." + test + ".xml"));
    }

    @Tag("long")
    @Test
    void noOtherPageHasCommandsOfMaven() throws Exception {
        assertThat(Page.blocks(COMMANDS))
                .containsExactlyInAnyOrder(
                        Page.of(TESTING).first(COMMANDS), Page.of(LIBRARY).first(COMMANDS));
    }

    @Tag("long")
    @Test
    void firstTestOfThePageRunsOnTheFakeAndOnKvm() throws Exception {
        String test = Page.of(TESTING).first("java").text();
        paste(TESTING, "src/test/java/SignalArrivesTest.java", test);
        String shown = Page.of(TESTING).first(COMMANDS).text();
        Matcher count = Pattern.compile("Tests run: \\d+,").matcher(shown);
        assertThat(count.find()).isTrue();
        String here = Machine.kvmFlaw().isEmpty() ? shown : shown.replace(" through jni", "");
        assertThat(assertShown("", here)).contains(count.group());
    }

    @Tag("long")
    @Test
    void firstTestOfThePageRunsInAModule() throws Exception {
        String test = Page.of(TESTING).first("java").text();
        paste(TESTING, "src/test/java/com/example/SignalArrivesTest.java", "package com.example;\n" + test);
        paste("src/main/java/module-info.java", "module com.example { requires io.kvmirq; }\n");
        paste("src/main/java/com/example/Vmm.java", "package com.example;\nclass Vmm {}\n");
        Ended tests = shell("mvn test");
        assertThat(tests.code()).as(tests.said()).isZero();
        assertThat(tests.said()).contains("Tests run: 2, Failures: 0, Errors: 0");
    }

    @Tag("long")
    @Test
    void aBuildWithoutATestFails() throws Exception {
        paste(TESTING, "src/test/java/Misnamed.java", "class Misnamed {}\n");
        Ended ended = shell("mvn test");
        assertThat(ended.code()).isNotZero();
        assertThat(ended.said()).contains("No tests were executed!");
    }

    @RealKvm(fullIrqchip = true)
    @Tag("long")
    @Test
    void firstExampleRunsWithThePomOfThePageOfTheLibrary() throws Exception {
        String example = Files.readString(Machine.root().resolve("src/examples/FirstInterrupt.java"));
        paste(LIBRARY, "src/main/java/FirstInterrupt.java", example);
        assertShown("", Page.of(LIBRARY).first(COMMANDS).text());
    }

    @Tag("long")
    @Test
    void itsTestsPassOnTheFakeAndOnKvm() throws Exception {
        copy();
        String report = passing();
        Optional<String> flaw = Machine.kvmFlaw();
        assertThat(report).contains(flaw.isPresent() ? "skipped=\"2\"" : "skipped=\"0\"");
        assertThat(project().resolve("target/surefire-reports/TEST-com.example.PlantedRace.xml"))
                .doesNotExist();
    }

    /** The report of the project's tests, which pass. */
    private String passing() throws Exception {
        Ended tests = shell("mvn test");
        assertThat(tests.code()).as(tests.said()).isZero();
        String report = report("SmallVmmTest");
        assertThat(report)
                .contains("name=\"passedVectorsArrive(", "name=\"unmaskLosesNothing(", "failures=\"0\"")
                .contains("aCallThatFailsLeavesNothing(Kernel)[fake 6.12, call 12: routesSet fails with ENOMEM]");
        return report;
    }

    @Tag("search")
    @Test
    void itsTestsPassOnJUnit6() throws Exception {
        assumeTrue(
                Files.exists(Machine.root().resolve("target/build/consumer-fetched")),
                "needs what scripts/consumer --fetch fetches");
        String six = found("<junit6.version>(6\\.[^<]*)<", Machine.root().resolve("pom.xml"));
        copy();
        Path pom = project().resolve("pom.xml");
        String five = found("<artifactId>junit-jupiter</artifactId>\\s*<version>([^<]*)", pom);
        Files.writeString(pom, Files.readString(pom).replace(">" + five + "<", ">" + six + "<"));
        assertThat(passing()).contains("junit-jupiter-engine/" + six + "/");
    }

    private static String found(String pattern, Path file) throws IOException {
        Matcher matcher = Pattern.compile(pattern).matcher(Files.readString(file));
        assertThat(matcher.find()).as(pattern).isTrue();
        return matcher.group(1);
    }

    @Tag("long")
    @Test
    void plantedRaceIsFoundAndReplayed() throws Exception {
        copy();
        Ended found = shell("mvn test -Dtest=PlantedRace");
        assertThat(found.code()).isNotZero();
        assertThat(found.said())
                .containsPattern("1 of 2 orders with 1 preemption fails; all 2 with fewer pass\\. Order B2A1B1:\n"
                        + "  1\\. vcpu, step 1 \\(SmallVmmTest.java:\\d+, from PlantedRace.java:\\d+\\)\n"
                        + "  2\\. vcpu, step 2 .*\n"
                        + "  3\\. device, step 1 .*\n"
                        + "  4\\. vcpu, step 3 .*\n"
                        + "after it: expected vcpu 0 to receive vector 0x33 once, but it received it never\n")
                .contains("to replay it: -Dkvmirq.order=" + SEED + " or @Interleavings(order = \"B2A1B1\")\n")
                .doesNotContain("at io.kvmirq.");
        Ended replayed = shell("mvn test -Dtest=PlantedRace -Dkvmirq.order=" + SEED);
        assertThat(replayed.code()).isNotZero();
        assertThat(replayed.said())
                .contains("Order B2A1B1:\n  1. vcpu, step 1 ", "after it: expected vcpu 0 to receive vector 0x33 once")
                .doesNotContain("orders with");
    }
}
