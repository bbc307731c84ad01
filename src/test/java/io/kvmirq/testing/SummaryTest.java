/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explain.Grade;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What makes a run fail, what is only said, and what is printed of both. */
class SummaryTest {
    private static final String HERE = "6.18.44";
    private static final String NO_KVM = "no real KVM: open /dev/kvm: ENOENT";
    private static final String KVM_DEMANDED =
            "failed: no test passed on the real KVM, which KVMIRQ_REQUIRE_KVM=1 demands";

    @TempDir
    private Path directory;

    private List<String> print(boolean kvmRequired, String release, String... parts) throws IOException {
        StringWriter out = new StringWriter();
        boolean succeeds = Summary.print(directory, List.of(parts), kvmRequired, release, new PrintWriter(out, true));
        List<String> lines = out.toString().lines().toList();
        long failures =
                lines.stream().filter(line -> line.startsWith("failed: ")).count();
        String last = lines.get(lines.size() - 1);
        assertThat(succeeds).isEqualTo(failures == 0 && !last.equals("no test ran"));
        assertThat(last).matches("no test ran|\\d+ passed, " + failures + " failed, \\d+ skipped");
        return lines;
    }

    private List<String> failures(String... parts) throws IOException {
        return print(false, HERE, parts).stream()
                .filter(line -> line.startsWith("failed: "))
                .toList();
    }

    private void test(String run, String kernel, String status, String name, String reason, String world)
            throws IOException {
        append(run + "@7.tsv", String.join("\t", run, "17", kernel, status, name, reason, world));
    }

    private void passed(String run, String kernel) throws IOException {
        test(run, kernel, "passed", "io.kvmirq.SomeTest.passes", "", "");
    }

    private void skipped(String run, String reason) throws IOException {
        test(run, Summary.REAL_KVM, "skipped", "io.kvmirq.SomeTest.asksKvm", reason, "");
    }

    private void rule(String run, String name, Grade grade, RuleRow.Status status) throws IOException {
        append(run + "@7.rules", new RuleRow(run, name, grade, status, "text of " + name).line());
    }

    private void append(String file, String line) throws IOException {
        Files.writeString(directory.resolve(file), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    @Test
    void runInWhichNoTestPassedFails() throws IOException {
        assertThat(print(false, HERE, "the build")).containsExactly("failed: the build", "no test ran");
        skipped("baseline", NO_KVM);
        assertThat(failures()).containsExactly("failed: no test passed");
        directory = directory.resolve("missing");
        assertThat(print(false, HERE)).containsExactly("no test ran");
    }

    @Test
    void whatFailedIsNamed() throws IOException {
        passed("baseline", Summary.REAL_KVM);
        test("baseline", Summary.REAL_KVM, "failed", "io.kvmirq.contract.FdContract.reads", "why", "jni");
        test("newest", "none", "failed", "io.kvmirq.SomeTest.adds", "", "");
        assertThat(failures("the C library"))
                .containsExactly(
                        "failed: the C library",
                        "failed: io.kvmirq.contract.FdContract.reads (baseline, jni, JDK 17): why",
                        "failed: io.kvmirq.SomeTest.adds (newest, JDK 17)");
    }

    /** A JVM that crashed, or that Surefire ended, writes no more. */
    @Test
    void classThatDidNotEndFails() throws IOException {
        passed("baseline", Summary.REAL_KVM);
        append("baseline@7.seconds", "baseline\tio.kvmirq.ATest");
        append("baseline@7.seconds", "baseline\tio.kvmirq.ATest\t19.9");
        append("baseline@8.seconds", "baseline\tio.kvmirq.BTest");
        assertThat(failures())
                .containsExactly("failed: io.kvmirq.BTest began and did not end: its JVM, baseline@8, is gone");
        append("baseline@8.seconds", "baseline\tio.kvmirq.BTest\t20.0");
        assertThat(print(false, HERE))
                .contains("io.kvmirq.BTest took 20.0 s (baseline)")
                .noneMatch(line -> line.contains("ATest"));
    }

    @ParameterizedTest
    @CsvSource({
        "baseline, none, baseline, true",
        "baseline, real KVM, baseline, true", // of an eventfd, which needs no KVM
        "lab-amd-6.12, real KVM, baseline, true",
        "baseline, real KVM, lab-amd-6.12, false",
        "lab-amd-6.12, real KVM, lab-amd-6.12, false"
    })
    void runWithoutThisMachinesKvmFailsWhereItIsRequired(String run, String kernel, String without, boolean fails)
            throws IOException {
        passed(run, kernel);
        passed("baseline", fails ? "fake" : Summary.REAL_KVM);
        skipped(without, NO_KVM);
        assertThat(print(true, HERE).contains(KVM_DEMANDED)).isEqualTo(fails);
        assertThat(print(false, HERE)
                        .contains("no test passed on this machine's KVM; KVMIRQ_REQUIRE_KVM=1 makes that a failure"))
                .isEqualTo(fails);
    }

    @Test
    void labAloneNeedsNoKvmOfThisMachineAndItsOwnEach() throws IOException {
        passed("lab-amd-6.12", Summary.REAL_KVM);
        assertThat(print(true, HERE)).noneMatch(line -> line.startsWith("failed"));
        passed("lab-amd-6.1", "fake");
        assertThat(failures()).containsExactly("failed: lab-amd-6.1 has no KVM: no test passed on it");
    }

    @ParameterizedTest
    @CsvSource({
        "6.18, baseline, UNSEEN, no test measures",
        "6.18.44, newest, SEARCHED, only random calls measure",
        "6.18+deb14-amd64, newest, SEEN, ''",
        "6.180.1, baseline, UNSEEN, ''",
        "16.18.1, baseline, UNSEEN, ''"
    })
    void ruleThatIsMeasuredIsShownHere(String release, String run, RuleRow.Status status, String failure)
            throws IOException {
        passed("baseline", Summary.REAL_KVM);
        passed("lab-amd-6.12", Summary.REAL_KVM);
        rule("baseline", "EVENTFD_FULL", Grade.MEASURED, RuleRow.Status.SEEN);
        rule("baseline", "EVENTFD_EMPTY", Grade.MEASURED, RuleRow.Status.UNSEEN);
        rule(run, "EVENTFD_EMPTY", Grade.MEASURED, status);
        String about = " EVENTFD_EMPTY, text of EVENTFD_EMPTY";
        List<String> lines = print(false, release);
        assertThat(lines.contains("failed: " + failure + about)).isEqualTo(!failure.isEmpty());
        assertThat(lines.contains("not measured on this kernel:" + about))
                .isEqualTo(!release.startsWith("6.18") || release.startsWith("6.180"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"baseline", "lab-amd-6.12"})
    void kernelBuiltOtherwiseExcusesWhatItDoesNotShow(String run) throws IOException {
        passed(run, Summary.REAL_KVM);
        passed("baseline", Summary.REAL_KVM);
        skipped(run, Machine.NO_PROFILE + ": it was built otherwise than the 6.18 modelled");
        rule("baseline", "EVENTFD_EMPTY", Grade.MEASURED, RuleRow.Status.UNSEEN);
        assertThat(failures()).hasSize(run.equals("baseline") ? 0 : 1);
    }

    @ParameterizedTest
    @CsvSource({
        "EVENTFD_LONG_WRITE_TAKEN, lab-amd-6.1, lab-amd-6.12, true",
        "VGIC_ADDRESS, lab-arm-gicv4-6.1, baseline, true",
        "GICV2_PENDING, lab-arm-gicv2-6.1, lab-arm-gicv2-6.12, true",
        "VMX_ENTRY_FAILS, lab-apicv-6.12, lab-apicv-6.1, true",
        "EVENTFD_LONG_WRITE_TAKEN, lab-amd-6.12, lab-amd-6.12, false",
        "GICV2_PENDING, lab-arm-gicv4-6.1, baseline, false",
        "VMX_ENTRY_FAILS, lab-apicv-6.1, lab-amd-6.12, false"
    })
    void ruleOfTheLabIsShownByItsOldestKernelOrANewerOne(String rule, String oldest, String other, boolean owed)
            throws IOException {
        passed("baseline", Summary.REAL_KVM);
        passed(oldest, Summary.REAL_KVM);
        rule("baseline", "EVENTFD_FULL", Grade.SOURCE, RuleRow.Status.UNSEEN);
        rule(oldest, rule, Grade.LAB, RuleRow.Status.UNSEEN);
        assertThat(failures())
                .hasSize(owed ? 1 : 0)
                .allMatch(line -> line.equals("failed: no test in the lab sees " + rule + ", text of " + rule));
        rule(other, rule, Grade.LAB, RuleRow.Status.SEARCHED);
        assertThat(failures()).isEmpty();
    }

    @Test
    void tablesShowWhatRanOnWhat() throws IOException {
        String name = "io.kvmirq.contract.IrqfdContract.assigns";
        test("baseline", Summary.REAL_KVM, "passed", name, "", "jni");
        test("baseline", "fake", "passed", name, "", "fake-6.1");
        test("baseline", "fake", "failed", name, "why", "fake");
        test("checked-jni", Summary.REAL_KVM, "passed", name, "", "jni");
        test("lab-amd-6.1", Summary.REAL_KVM, "passed", "io.kvmirq.contract.FdContract.reads", "", "jni");
        test("lab-amd-6.1", Summary.REAL_KVM, "skipped", "io.kvmirq.contract.FdContract.waits", "x", "jni");
        test("lab-amd-6.1", "fake", "passed", "io.kvmirq.contract.FdContract.reads", "", "fake-6.1");
        skipped("lab-amd-6.1", "");
        rule("baseline", "EVENTFD_FULL", Grade.MEASURED, RuleRow.Status.SEEN);
        rule("baseline", "GUESS", Grade.INFERRED, RuleRow.Status.UNSEEN);
        rule("lab-amd-6.1", "EVENTFD_FULL", Grade.MEASURED, RuleRow.Status.SEEN);
        rule("lab-amd-6.1", "EVENTFD_LONG_WRITE_TAKEN", Grade.LAB, RuleRow.Status.SEEN);
        assertThat(print(false, HERE))
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
                        "lab-amd-6.1        17         real KVM           1       0       2",
                        "lab-amd-6.1        17         fake               1       0       0",
                        "skipped 1: x",
                        "skipped 1: no reason given",
                        "",
                        "rules of the fake: 3 (leaned on by tests that ask a real kernel the same):"
                                + " measured 1 (1), lab 1 (1), source 0 (0), inferred 1 (0)",
                        "  seen on 6.18.44          measured 1",
                        "  seen on amd-6.1          measured 1, lab 1",
                        "inferred: GUESS, text of GUESS",
                        "failed: " + name + " (baseline, fake, JDK 17): why",
                        "5 passed, 1 failed, 2 skipped");
    }
}
