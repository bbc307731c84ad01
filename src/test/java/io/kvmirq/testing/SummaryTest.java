/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.RuleRow.Status.SEARCHED;
import static io.kvmirq.testing.RuleRow.Status.SEEN;
import static io.kvmirq.testing.RuleRow.Status.UNSEEN;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explain.Grade;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What makes a run fail, what is only said, and what is printed of both. */
class SummaryTest {
    private static final Verdict.Here HERE = new Verdict.Here(false, "6.18.44");
    private static final Verdict.Here KVM_REQUIRED = new Verdict.Here(true, "6.18.44");
    private static final String NO_KVM = "no real KVM: open /dev/kvm: ENOENT";

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    /** What was printed, and the exit code. {@link #print} checks for each test that the two agree. */
    private record Printed(int exitCode, List<String> lines) {
        private List<String> failures() {
            return lines.stream().filter(line -> line.startsWith("failed: ")).toList();
        }

        private String last() {
            return lines.get(lines.size() - 1);
        }
    }

    private Printed print(Verdict.Here here, String... brokenParts) throws IOException {
        StringWriter out = new StringWriter();
        int exitCode = Summary.print(directory, List.of(brokenParts), here, new PrintWriter(out, true));
        Printed printed = new Printed(exitCode, out.toString().lines().toList());
        if (!printed.last().equals("no test ran")) {
            int failures = printed.failures().size();
            assertThat(printed.last()).matches("\\d+ passed, " + failures + " failed, \\d+ skipped");
            assertThat(exitCode).isEqualTo(failures == 0 ? 0 : 1);
        }
        return printed;
    }

    private void test(String run, String kernel, TestRow.Status status, String name, String reason, String world)
            throws IOException {
        append(run + ".tsv", new TestRow(run, "17", kernel, status, name, reason, world).line());
    }

    private void passed(String run, String kernel) throws IOException {
        test(run, kernel, TestRow.Status.PASSED, "io.kvmirq.SomeTest.passes", "", "");
    }

    private void skipped(String run, String reason) throws IOException {
        test(run, TestRow.REAL_KVM, TestRow.Status.SKIPPED, "io.kvmirq.SomeTest.asksKvm", reason, "");
    }

    private void rule(String run, String name, Grade grade, RuleRow.Status status) throws IOException {
        append(run + ".rules", new RuleRow(run, name, grade, status, "text of " + name).line());
    }

    private void append(String file, String line) throws IOException {
        Files.writeString(directory.resolve(file), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    // What ran

    @Test
    void withoutRowsNoTestRan() throws IOException {
        rule("native", Verdict.SHOWN_BY_C, Grade.MEASURED, SEEN);
        Printed printed = print(HERE, "the build, see above");
        assertThat(printed.lines()).containsExactly("failed: the build, see above", "no test ran");
        assertThat(printed.exitCode()).isEqualTo(1);
    }

    @Test
    void withoutDirectoryNoTestRan() throws IOException {
        directory = directory.resolve("missing");
        assertThat(print(HERE)).isEqualTo(new Printed(1, List.of("no test ran")));
    }

    @Test
    void runInWhichNoTestPassedFails() throws IOException {
        skipped("baseline", NO_KVM);
        assertThat(print(HERE).failures()).containsExactly("failed: no test passed");
    }

    @Test
    void failedTestFails() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        test("baseline", TestRow.REAL_KVM, TestRow.Status.FAILED, "io.kvmirq.contract.FdContract.reads", "why", "jni");
        test("newest", "none", TestRow.Status.FAILED, "io.kvmirq.SomeTest.adds", "", "");
        assertThat(print(HERE).failures())
                .containsExactly(
                        "failed: io.kvmirq.contract.FdContract.reads (baseline, jni, JDK 17): why",
                        "failed: io.kvmirq.SomeTest.adds (newest, JDK 17)");
    }

    @Test
    void failureNamesItsCausesAndTheirLines() {
        Exception failure = new IllegalStateException("round 3", new IOException("closed"));
        assertThat(SummaryListener.failure(failure))
                .matches("java\\.lang\\.IllegalStateException: round 3 at SummaryTest\\.java:\\d+;"
                        + " by java\\.io\\.IOException: closed at SummaryTest\\.java:\\d+");
    }

    @Test
    void partThatFailedOutsideOfTheTestsFails() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        assertThat(print(HERE, "the C library", "the build").failures())
                .containsExactly("failed: the C library", "failed: the build");
    }

    @Test
    void reasonsAreCountedAndPrinted() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        skipped("baseline", NO_KVM);
        skipped("baseline", "needs\n root");
        skipped("command", NO_KVM);
        skipped("command", "");
        assertThat(print(HERE).lines())
                .containsSubsequence("skipped 2: " + NO_KVM, "skipped 1: needs root", "skipped 1: no reason given")
                .endsWith("1 passed, 0 failed, 4 skipped");
    }

    // This machine's KVM

    @Test
    void runWithoutKvmFailsWhereKvmIsRequired() throws IOException {
        passed("baseline", "none");
        passed("baseline", "fake");
        skipped("baseline", NO_KVM);
        assertThat(print(KVM_REQUIRED).failures())
                .containsExactly("failed: no test passed on the real KVM, which KVMIRQ_REQUIRE_KVM=1 demands");
    }

    /** Eventfds need no KVM. */
    @Test
    void testOfAnEventfdThatPassesWithoutKvmShowsNoKvm() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        skipped("baseline", NO_KVM);
        assertThat(print(KVM_REQUIRED).failures())
                .containsExactly("failed: no test passed on the real KVM, which KVMIRQ_REQUIRE_KVM=1 demands");
    }

    @Test
    void runWithoutKvmSucceedsAndSaysSoElsewhere() throws IOException {
        passed("baseline", "fake");
        skipped("baseline", NO_KVM);
        assertThat(print(HERE).lines())
                .containsSubsequence(
                        "skipped 1: " + NO_KVM,
                        "no test passed on this machine's KVM; KVMIRQ_REQUIRE_KVM=1 makes that a failure",
                        "1 passed, 0 failed, 1 skipped");
    }

    @Test
    void runOnKvmSucceedsWhereKvmIsRequired() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        assertThat(print(KVM_REQUIRED).lines()).noneMatch(line -> line.contains("KVMIRQ_REQUIRE_KVM"));
    }

    @Test
    void kvmOfTheLabIsNotThisMachines() throws IOException {
        passed("baseline", "none");
        passed("lab-6.12", TestRow.REAL_KVM);
        assertThat(print(KVM_REQUIRED).failures()).hasSize(1);
    }

    @Test
    void labAloneNeedsNoKvmOfThisMachine() throws IOException {
        passed("lab-6.12", TestRow.REAL_KVM);
        assertThat(print(KVM_REQUIRED).failures()).isEmpty();
    }

    // Rules called measured

    private void measuredRules() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        unseenRule();
    }

    private void unseenRule() throws IOException {
        rule("baseline", "EVENTFD_FULL", Grade.MEASURED, SEEN);
        rule("baseline", "EVENTFD_EMPTY", Grade.MEASURED, UNSEEN);
    }

    @Test
    void measuredRuleThatOnlyRandomCallsMeasureFails() throws IOException {
        measuredRules();
        rule("newest", "EVENTFD_EMPTY", Grade.MEASURED, SEARCHED);
        assertThat(print(HERE).failures())
                .containsExactly("failed: only random calls measure EVENTFD_EMPTY, text of EVENTFD_EMPTY");
        rule("baseline", "EVENTFD_EMPTY", Grade.MEASURED, SEEN);
        assertThat(print(HERE).failures()).as("a test measures it too").isEmpty();
    }

    @Test
    void slowestClassesAreNamed() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        StringBuilder seconds = new StringBuilder();
        for (int i = 0; i < 12; i++) {
            seconds.append("baseline\tio.kvmirq.C")
                    .append(i)
                    .append("Test\t")
                    .append(i)
                    .append(".5\n");
        }
        Files.writeString(directory.resolve("baseline@7.seconds"), seconds);
        assertThat(print(HERE).lines())
                .containsSequence(
                        "slowest classes, seconds:", "   11.5  C11Test (baseline)", "   10.5  C10Test (baseline)")
                .contains("    2.5  C2Test (baseline)")
                .doesNotContain("    1.5  C1Test (baseline)");
    }

    @Test
    void filesOfProcessesThatShareARunAreMerged() throws IOException {
        passed("baseline@1", TestRow.REAL_KVM);
        Files.move(directory.resolve("baseline@1.tsv"), directory.resolve("baseline@2.tsv"));
        Files.writeString(directory.resolve("baseline@2.rules"), "A\tmeasured\tunseen\ttext\n");
        Files.writeString(directory.resolve("baseline@3.rules"), "A\tmeasured\tseen\ttext\n");
        assertThat(print(HERE).failures()).as("another process saw it").isEmpty();
    }

    @Test
    void measuredRuleThatNoTestMeasuresFails() throws IOException {
        measuredRules();
        assertThat(print(HERE).failures())
                .containsExactly("failed: no test measures EVENTFD_EMPTY, text of EVENTFD_EMPTY");
    }

    @Test
    void measuredRuleNeedsOneRunOnly() throws IOException {
        measuredRules();
        rule("newest", "EVENTFD_EMPTY", Grade.MEASURED, SEEN);
        assertThat(print(HERE).failures()).isEmpty();
    }

    @Test
    void ruleSeenInTheLabIsNotMeasuredHere() throws IOException {
        passed("lab-6.12", TestRow.REAL_KVM);
        measuredRules();
        rule("lab-6.12", "EVENTFD_EMPTY", Grade.MEASURED, SEEN);
        assertThat(print(HERE).failures()).hasSize(1);
    }

    @Test
    void labNeedsToMeasureNothing() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        passed("lab-6.12", TestRow.REAL_KVM);
        rule("lab-6.12", "EVENTFD_EMPTY", Grade.MEASURED, UNSEEN);
        assertThat(print(HERE).failures()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1.170", "6.12.3", "6.17.9", "6.180.1", "16.18.1", "7.1.0"})
    void onAnotherKernelUnmeasuredRuleIsOnlySaid(String release) throws IOException {
        measuredRules();
        assertThat(print(new Verdict.Here(true, release)).lines())
                .contains("not measured on this kernel: EVENTFD_EMPTY, text of EVENTFD_EMPTY");
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.18", "6.18.44", "6.18-rc3", "6.18+deb14-amd64"})
    void everyReleaseOfTheMeasuredKernelCounts(String release) throws IOException {
        measuredRules();
        assertThat(print(new Verdict.Here(false, release)).failures()).hasSize(1);
    }

    @Test
    void onAKernelBuiltOtherwiseUnmeasuredRuleIsOnlySaid() throws IOException {
        skipped("baseline", Machine.NO_PROFILE + ": it was built otherwise than the 6.18 modelled");
        measuredRules();
        assertThat(print(KVM_REQUIRED).lines())
                .contains("not measured on this kernel: EVENTFD_EMPTY, text of EVENTFD_EMPTY");
    }

    @Test
    void profileMissingInTheLabExcusesNothingHere() throws IOException {
        passed("lab-7.2", TestRow.REAL_KVM);
        skipped("lab-7.2", Machine.NO_PROFILE + ": 7.2.0 is none of 6.18, 7.1");
        measuredRules();
        assertThat(print(HERE).failures()).hasSize(1);
    }

    @Test
    void withoutKvmUnmeasuredRulesAreCounted() throws IOException {
        passed("baseline", "fake");
        unseenRule();
        assertThat(print(HERE).lines())
                .contains("rules not measured without a real KVM: 1")
                .noneMatch(line -> line.contains("EVENTFD_EMPTY"));
    }

    @Test
    void makeCheckLeavesOutTheRuleThatCShows() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        rule("baseline", Verdict.SHOWN_BY_C, Grade.MEASURED, UNSEEN);
        assertThat(print(HERE).lines())
                .contains("not measured in this run: FOREIGN_PROCESS, which make native-test shows");
    }

    @Test
    void ruleThatCShowsIsMeasured() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        rule("baseline", Verdict.SHOWN_BY_C, Grade.MEASURED, UNSEEN);
        rule("native", Verdict.SHOWN_BY_C, Grade.MEASURED, UNSEEN);
        rule("native", Verdict.SHOWN_BY_C, Grade.MEASURED, SEEN);
        assertThat(print(HERE).lines()).noneMatch(line -> line.contains("FOREIGN_PROCESS"));
    }

    @Test
    void ruleThatCDoesNotShowFailsOnceCRan() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        rule("baseline", Verdict.SHOWN_BY_C, Grade.MEASURED, UNSEEN);
        rule("native", Verdict.SHOWN_BY_C, Grade.MEASURED, UNSEEN);
        assertThat(print(HERE).failures())
                .containsExactly("failed: no test measures FOREIGN_PROCESS, text of FOREIGN_PROCESS");
    }

    // The lab

    @Test
    void kernelOfTheLabWithoutKvmFails() throws IOException {
        passed("lab-amd-6.1", "fake");
        skipped("lab-amd-6.1", NO_KVM);
        passed("lab-6.12", TestRow.REAL_KVM);
        assertThat(print(HERE).failures()).containsExactly("failed: lab-amd-6.1 has no KVM: no test passed on it");
    }

    @Test
    void labRuleThatNoTestInTheLabSeesFails() throws IOException {
        passed("baseline", TestRow.REAL_KVM);
        passed("lab-amd-6.1", TestRow.REAL_KVM);
        rule("baseline", "EVENTFD_LONG_WRITE_TAKEN", Grade.LAB, SEEN);
        rule("lab-amd-6.1", "EVENTFD_LONG_WRITE_TAKEN", Grade.LAB, UNSEEN);
        assertThat(print(HERE).failures())
                .containsExactly(
                        "failed: no test in the lab sees EVENTFD_LONG_WRITE_TAKEN, text of EVENTFD_LONG_WRITE_TAKEN");
    }

    @Test
    void labRuleNeedsOneKernelOfTheLab() throws IOException {
        passed("lab-amd-6.1", TestRow.REAL_KVM);
        passed("lab-6.12", TestRow.REAL_KVM);
        rule("lab-amd-6.1", "X2APIC_TWO_BITS_BEFORE", Grade.LAB, UNSEEN);
        rule("lab-6.12", "X2APIC_TWO_BITS_BEFORE", Grade.LAB, SEEN);
        assertThat(print(HERE).failures()).isEmpty();
    }

    @Test
    void labRulesAreAskedOfTheOldestKernelOnly() throws IOException {
        passed("lab-6.12", TestRow.REAL_KVM);
        rule("lab-6.12", "EVENTFD_LONG_WRITE_TAKEN", Grade.LAB, UNSEEN);
        assertThat(print(HERE).failures()).isEmpty();
    }

    @Test
    void labOwesOnlyRulesCalledLab() throws IOException {
        passed("lab-amd-6.1", TestRow.REAL_KVM);
        rule("lab-amd-6.1", "EVENTFD_FULL", Grade.MEASURED, UNSEEN);
        rule("lab-amd-6.1", "IRQCHIP_NOT_BUILT_IN", Grade.SOURCE, UNSEEN);
        assertThat(print(HERE).failures()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"ARM_NO_PIC", "VGIC_ADDRESS", "ITS_ADDRESS"})
    void labRulesOfArm64AreShownByKernelsOfArm64(String name) throws IOException {
        passed("lab-amd-6.1", TestRow.REAL_KVM);
        rule("lab-amd-6.1", name, Grade.LAB, UNSEEN);
        assertThat(print(HERE).failures()).isEmpty();
        passed("lab-arm-gicv4-6.1", TestRow.REAL_KVM);
        rule("lab-arm-gicv4-6.1", name, Grade.LAB, UNSEEN);
        assertThat(print(HERE).failures())
                .as("the lab does not run the tests of recorded answers")
                .isEmpty();
        passed("baseline", TestRow.REAL_KVM);
        rule("baseline", name, Grade.LAB, UNSEEN);
        assertThat(print(HERE).failures())
                .containsExactly("failed: no test in the lab sees " + name + ", text of " + name);
        rule("baseline", name, Grade.LAB, SEEN);
        assertThat(print(HERE).failures()).as("recorded").isEmpty();
    }

    @Test
    void labRulesOfAGicV2AreShownByAHostWithOne() throws IOException {
        for (String run : List.of("lab-amd-6.1", "lab-arm-gicv4-6.1", "lab-arm-gicv2-6.12", "baseline")) {
            passed(run, TestRow.REAL_KVM);
            rule(run, "GICV2_PENDING", Grade.LAB, UNSEEN);
        }
        assertThat(print(HERE).failures()).isEmpty();
        passed("lab-arm-gicv2-6.1", TestRow.REAL_KVM);
        rule("lab-arm-gicv2-6.1", "GICV2_PENDING", Grade.LAB, UNSEEN);
        assertThat(print(HERE).failures())
                .containsExactly("failed: no test in the lab sees GICV2_PENDING, text of GICV2_PENDING");
        rule("lab-arm-gicv2-6.12", "GICV2_PENDING", Grade.LAB, SEEN);
        assertThat(print(HERE).failures()).isEmpty();
    }

    @Test
    void rulesOfTheLabMayBeShownByRandomCalls() throws IOException {
        passed("lab-amd-6.1", TestRow.REAL_KVM);
        rule("lab-amd-6.1", "EVENTFD_LONG_WRITE_TAKEN", Grade.LAB, SEARCHED);
        assertThat(print(HERE).failures()).isEmpty();
        assertThat(directory.resolve("grades.txt")).hasContent("EVENTFD_LONG_WRITE_TAKEN lab amd-6.1");
    }

    // What is printed

    @Test
    void tablesShowWhatRanOnWhat() throws IOException {
        String name = "io.kvmirq.contract.IrqfdContract.assigns";
        test("baseline", TestRow.REAL_KVM, TestRow.Status.PASSED, name, "", "jni");
        test("baseline", "fake", TestRow.Status.PASSED, name, "", "fake-6.1");
        test("baseline", "fake", TestRow.Status.FAILED, name, "why", "fake");
        test("checked-jni", TestRow.REAL_KVM, TestRow.Status.PASSED, name, "", "jni");
        test("lab-amd-6.1", TestRow.REAL_KVM, TestRow.Status.PASSED, "io.kvmirq.contract.FdContract.reads", "", "jni");
        test(
                "lab-amd-6.1",
                TestRow.REAL_KVM,
                TestRow.Status.SKIPPED,
                "io.kvmirq.contract.FdContract.waits",
                "x",
                "jni");
        test("lab-amd-6.1", "fake", TestRow.Status.PASSED, "io.kvmirq.contract.FdContract.reads", "", "fake-6.1");
        rule("baseline", "EVENTFD_FULL", Grade.MEASURED, SEEN);
        rule("baseline", "GUESS", Grade.INFERRED, UNSEEN);
        rule("lab-amd-6.1", "EVENTFD_FULL", Grade.MEASURED, SEEN);
        rule("lab-amd-6.1", "EVENTFD_LONG_WRITE_TAKEN", Grade.LAB, SEEN);
        assertThat(print(HERE).lines())
                .containsExactly(
                        "",
                        "contract        jni 17   fake 17   amd-6.1"
                                + "   (passed, +skipped, !failed; binding and JDK, the fake in all profiles)",
                        "Irqfd                1       1!1         0",
                        "Fd                   0         0       1+1",
                        "",
                        "run                JDK        kernel        passed  failed skipped",
                        "baseline           17         real KVM           1       0       0",
                        "baseline           17         fake               1       1       0",
                        "checked-jni        17         real KVM           1       0       0",
                        "lab-amd-6.1        17         real KVM           1       0       1",
                        "lab-amd-6.1        17         fake               1       0       0",
                        "skipped 1: x",
                        "",
                        "rules of the fake: 3 (leaned on by tests that ask a real kernel the same):"
                                + " measured 1 (1), lab 1 (1), source 0 (0), inferred 1 (0)",
                        "  seen on 6.18.44          measured 1",
                        "  seen on amd-6.1          measured 1, lab 1",
                        "inferred: GUESS, text of GUESS",
                        "failed: " + name + " (baseline, fake, JDK 17): why",
                        "5 passed, 1 failed, 1 skipped");
        assertThat(directory.resolve("grades.txt"))
                .hasContent(
                        "EVENTFD_FULL measured 6.18.44 amd-6.1\nGUESS inferred\nEVENTFD_LONG_WRITE_TAKEN lab amd-6.1");
    }

    @Test
    void rowsReadBackAsTheyWereWritten() {
        TestRow test = new TestRow("newest", "25", "fake", TestRow.Status.SKIPPED, "a.B.c", "why", "fake-6.1");
        assertThat(TestRow.parse(test.line())).isEqualTo(test);
        RuleRow rule = new RuleRow("newest", "EVENTFD_FULL", Grade.SOURCE, SEARCHED, "text");
        assertThat(RuleRow.parse("newest", rule.line())).isEqualTo(rule);
    }

    @Test
    void tornRowIsRefused() {
        assertIllegalArgument(
                () -> TestRow.parse("baseline\t17\tfake\tpas"),
                "a row has 4 cells, expected 7: baseline\t17\tfake\tpas");
        assertIllegalArgument(() -> RuleRow.parse("baseline", "EVENTFD"), "a rule has 1 cells, expected 4: EVENTFD");
    }

    // The scripts

    /** Runs a copy of the script in a tree of its own. */
    private Printed script(String... brokenParts) throws IOException, InterruptedException {
        Path scripts = Files.createDirectories(directory.resolve("tree/scripts"));
        for (String name : List.of("test-summary", "artifacts", "locale", "jdks")) {
            Files.copy(Machine.root().resolve("scripts").resolve(name), scripts.resolve(name));
        }
        ProcessBuilder builder =
                new ProcessBuilder(scripts.resolve("test-summary").toString());
        builder.command().addAll(List.of(brokenParts));
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        builder.environment().remove("KVMIRQ_REQUIRE_KVM");
        Process process = builder.redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Printed(process.waitFor(), said.lines().toList());
    }

    @Test
    void withoutCompiledTestsTheScriptSaysThatNoTestRan() throws Exception {
        assertThat(script("the build, see above"))
                .isEqualTo(new Printed(
                        1, List.of("failed: the build, see above", "no test ran: the tests are not compiled")));
    }

    @Test
    void scriptNeedsNoClassesButItsOwn() throws Exception {
        Path target = directory.resolve("tree/target");
        for (Class<?> needed : List.of(
                Summary.class,
                Verdict.class,
                Verdict.Here.class,
                TestRow.class,
                TestRow.Status.class,
                RuleRow.class,
                RuleRow.Status.class,
                Grade.class)) {
            String file = needed.getName().replace('.', '/') + ".class";
            Path copy = target.resolve(needed == Grade.class ? "classes/io.kvmirq" : "test-classes")
                    .resolve(file);
            Files.createDirectories(copy.getParent());
            try (InputStream in = requireNonNull(needed.getResourceAsStream("/" + file))) {
                Files.copy(in, copy);
            }
        }
        Path top = directory;
        directory = Files.createDirectory(target.resolve("summary"));
        passed("baseline", TestRow.REAL_KVM);
        directory = top;
        Printed printed = script("the C library");
        assertThat(printed.exitCode()).isEqualTo(1);
        assertThat(printed.lines()).endsWith("failed: the C library", "1 passed, 1 failed, 0 skipped");
    }

    /** {@code scripts/native-test} writes its row itself. */
    @Test
    void rowOfTheCProgramIsARule() throws Exception {
        String script = Files.readString(Machine.root().resolve("scripts/native-test"));
        String format = script.lines()
                .filter(line -> line.contains("printf '" + Verdict.SHOWN_BY_C))
                .findFirst()
                .orElseThrow();
        String line = Program.output(List.of("bash", "-c", "f() { " + format + "; }; f seen"));
        RuleRow row = RuleRow.parse(Verdict.C_PROGRAM, line.strip());
        assertThat(row.rule()).isEqualTo(Verdict.SHOWN_BY_C);
        assertThat(row.grade()).isEqualTo(Grade.MEASURED);
        assertThat(row.status()).isEqualTo(SEEN);
        assertThat(script).contains("rules=../target/summary/" + Verdict.C_PROGRAM + ".rules");
    }
}
