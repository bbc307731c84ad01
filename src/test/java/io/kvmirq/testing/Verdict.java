/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.explain.Grade;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Whether what ran is enough.
 *
 * @param remarks what was not shown and is no failure
 * @param failures why the run fails; empty if it succeeds
 */
record Verdict(List<String> remarks, List<String> failures) {
    /** The rule that only the C program shows, because it needs a second process and no JVM forks. */
    static final String SHOWN_BY_C = "FOREIGN_PROCESS";

    /** The run of {@code scripts/native-test}, which {@code make check} leaves out. */
    static final String C_PROGRAM = "native";

    /** The oldest kernel of the lab: it has everything that newer kernels lack. */
    static final String OLDEST_LAB = "lab-amd-6.1";

    private static final Pattern OLDEST_ARM64_LAB = Pattern.compile("lab-arm-gicv[34]-6\\.1");

    /** The oldest kernel of the lab on a host with a GICv2, which the shorter runs of the lab leave out. */
    static final String OLDEST_GICV2_LAB = "lab-arm-gicv2-6.1";

    /** How the rules of a GICv2 begin. */
    private static final String GICV2 = "GICV2_";

    /** The rules with grade measured describe this kernel as the fake's profile models it. */
    private static final Pattern MEASURED_KERNEL = Pattern.compile("6\\.18([^0-9].*)?");

    /** Rules of arm64: its kernels show them. */
    private static final Pattern ARM64 = Pattern.compile("(ARM|VGIC|ITS)_.*");

    /** A failure's reason is cut to so many characters. */
    private static final int REASON = 600;

    /**
     * The machine the summary is of.
     *
     * @param kvmRequired whether a run without a test on this machine's KVM fails
     * @param kernelRelease of the running kernel, such as 6.18.44
     */
    record Here(boolean kvmRequired, String kernelRelease) {}

    /**
     * Decides.
     *
     * @param tests not empty
     * @param brokenParts the parts of the run that failed outside of the tests
     */
    static Verdict of(List<TestRow> tests, List<RuleRow> rules, List<String> brokenParts, Here here) {
        List<String> remarks = new ArrayList<>();
        List<String> failures = new ArrayList<>(brokenParts);
        tests.stream()
                .filter(test -> test.status() == TestRow.Status.FAILED)
                .map(test -> test.test() + " (" + test.run() + (test.world().isEmpty() ? "" : ", " + test.world())
                        + ", JDK " + test.jdk() + ")"
                        + (test.reason().isEmpty()
                                ? ""
                                : ": "
                                        + test.reason()
                                                .substring(
                                                        0,
                                                        Math.min(
                                                                REASON,
                                                                test.reason().length()))))
                .forEach(failures::add);
        if (tests.stream().noneMatch(test -> test.status() == TestRow.Status.PASSED)) {
            failures.add("no test passed");
        }
        // Without KVM the tests of eventfds pass through the bindings, too.
        boolean hasKvm =
                tests.stream().noneMatch(test -> !test.inLab() && test.reason().contains(Machine.NO_KVM));
        boolean showsKvm = hasKvm && tests.stream().anyMatch(test -> !test.inLab() && test.showsKvm());
        if (!showsKvm && tests.stream().anyMatch(test -> !test.inLab())) {
            if (here.kvmRequired()) {
                failures.add("no test passed on the real KVM, which KVMIRQ_REQUIRE_KVM=1 demands");
            } else {
                remarks.add("no test passed on this machine's KVM; KVMIRQ_REQUIRE_KVM=1 makes that a failure");
            }
        }
        Map<String, Long> kvmInLab = tests.stream()
                .filter(TestRow::inLab)
                .collect(Collectors.groupingBy(
                        TestRow::run,
                        LinkedHashMap::new,
                        Collectors.filtering(TestRow::showsKvm, Collectors.counting())));
        kvmInLab.forEach((run, passed) -> {
            if (passed == 0) {
                failures.add(run + " has no KVM: no test passed on it");
            }
        });
        boolean profileFits = MEASURED_KERNEL.matcher(here.kernelRelease()).matches()
                && tests.stream()
                        .noneMatch(test -> !test.inLab() && test.reason().contains(Machine.NO_PROFILE));
        judgeMeasured(rules, showsKvm, profileFits, remarks, failures);
        judgeLab(rules, failures);
        return new Verdict(List.copyOf(remarks), List.copyOf(failures));
    }

    /** Random calls measure nothing: a draw must not decide whether a run succeeds. */
    private static void judgeMeasured(
            List<RuleRow> rules, boolean showsKvm, boolean profileFits, List<String> remarks, List<String> failures) {
        Set<String> seen = names(rules, rule -> !rule.inLab() && rule.status() == RuleRow.Status.SEEN);
        Set<String> searched = names(rules, rule -> !rule.inLab() && rule.status() == RuleRow.Status.SEARCHED);
        boolean ranC = rules.stream().anyMatch(rule -> rule.run().equals(C_PROGRAM));
        List<RuleRow> unseen = distinct(rules.stream()
                .filter(rule -> !rule.inLab() && rule.grade() == Grade.MEASURED && !seen.contains(rule.rule()))
                .toList());
        if (!showsKvm) {
            if (!unseen.isEmpty()) {
                remarks.add("rules not measured without a real KVM: " + unseen.size());
            }
            return;
        }
        for (RuleRow rule : unseen) {
            if (rule.rule().equals(SHOWN_BY_C) && !ranC) {
                remarks.add("not measured in this run: " + rule.rule() + ", which make native-test shows");
            } else if (!profileFits) {
                remarks.add("not measured on this kernel: " + rule.rule() + ", " + rule.text());
            } else {
                String shown = searched.contains(rule.rule()) ? "only random calls measure " : "no test measures ";
                failures.add(shown + rule.rule() + ", " + rule.text());
            }
        }
    }

    /**
     * Rules of arm64 are also seen by the tests that compare the fake with recorded answers of real kernels. Those tests do
     * not run in the lab, so they are demanded only where this machine ran the tests too.
     */
    private static void judgeLab(List<RuleRow> rules, List<String> failures) {
        boolean ranX86 = rules.stream().anyMatch(rule -> rule.run().equals(OLDEST_LAB));
        boolean ranArm64 = rules.stream()
                        .anyMatch(rule -> OLDEST_ARM64_LAB.matcher(rule.run()).matches())
                && rules.stream().anyMatch(rule -> !rule.inLab());
        boolean ranGicV2 = rules.stream().anyMatch(rule -> rule.run().equals(OLDEST_GICV2_LAB));
        Set<String> seen = names(rules, RuleRow::leanedOn);
        Set<String> seenInLab = names(rules, rule -> rule.inLab() && rule.leanedOn());
        for (RuleRow rule : distinct(rules)) {
            boolean arm64 = isOfArm64(rule);
            boolean ran = rule.rule().startsWith(GICV2) ? ranGicV2 : arm64 ? ranArm64 : ranX86;
            if (rule.grade() == Grade.LAB && ran && !(arm64 ? seen : seenInLab).contains(rule.rule())) {
                failures.add("no test in the lab sees " + rule.rule() + ", " + rule.text());
            }
        }
    }

    /** Whether only kernels of arm64 show a rule. */
    static boolean isOfArm64(RuleRow rule) {
        return ARM64.matcher(rule.rule()).matches();
    }

    static Set<String> names(List<RuleRow> rules, Predicate<RuleRow> which) {
        return rules.stream().filter(which).map(RuleRow::rule).collect(Collectors.toSet());
    }

    /** The first row of each rule. */
    static List<RuleRow> distinct(List<RuleRow> rules) {
        Map<String, RuleRow> first = new LinkedHashMap<>();
        rules.forEach(rule -> first.putIfAbsent(rule.rule(), rule));
        return List.copyOf(first.values());
    }
}
