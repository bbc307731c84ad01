/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.text.Foreign;
import java.util.Comparator;
import java.util.List;
import java.util.function.Predicate;

/** Prints findings as text. */
final class DoctorText {
    private static final int STATUS = 9;
    private static final int ID = 19;

    private static final List<Status> WEIGHTS = List.of(Status.FAIL, Status.WARN, Status.UNKNOWN, Status.PASS);

    private DoctorText() {}

    /**
     * Prints a summary, then a line for each finding, the worst first, and its remedies below.
     *
     * @param quiet only findings that are not PASS
     * @param all whether these are the checks that run without being named
     * @param except the checks that were left out
     */
    static void print(List<Finding> findings, boolean quiet, boolean all, List<String> except, Terminal terminal) {
        if (all && !quiet) {
            String summary = of(Status.FAIL, " fails", " fail", findings)
                    + of(Status.WARN, " warns", " warn", findings)
                    + of(Status.UNKNOWN, " is unknown", " are unknown", findings);
            terminal.line(
                    terminal.bold((summary.isEmpty() ? "all " + findings.size() + " checks pass" : summary.substring(2))
                            + leftOut(except)));
        }
        findings.stream()
                .filter(finding ->
                        finding.status() != Status.PASS || !quiet && !(all && finding.check() == Check.TRACING))
                .sorted(Comparator.comparing(finding -> WEIGHTS.indexOf(finding.status())))
                .forEach(finding -> print(finding, terminal));
        String ids = String.join(", ", ids(findings, Finding::needsRoot));
        if (all && !quiet && !ids.isEmpty()) {
            terminal.line("run as root to check these in full: " + ids);
        }
    }

    /** The checks that were not made, after a semicolon. Empty if none was left out. */
    static String leftOut(List<String> except) {
        return except.isEmpty() ? "" : "; left out: " + String.join(", ", except);
    }

    /** The checks with a status, after a semicolon. Empty if none has it. */
    private static String of(Status status, String singular, String many, List<Finding> findings) {
        List<String> ids = ids(findings, finding -> finding.status() == status);
        String checks = ids.size() == 1 ? " check" + singular : " checks" + many;
        return ids.isEmpty() ? "" : "; " + ids.size() + checks + " (" + String.join(", ", ids) + ")";
    }

    private static List<String> ids(List<Finding> findings, Predicate<Finding> condition) {
        return findings.stream()
                .filter(condition)
                .map(finding -> finding.check().id())
                .toList();
    }

    private static String status(Status status, Terminal terminal) {
        return switch (status) {
            case PASS -> terminal.good(status.name());
            case FAIL -> terminal.bad(status.name());
            case WARN, UNKNOWN -> terminal.bold(status.name());
        };
    }

    private static boolean isStep(Remedy remedy) {
        return !remedy.change().shows() && remedy.change() != Change.SEE;
    }

    /** Steps are numbered if all of them are needed, but not if they are alternatives. */
    private static void print(Finding finding, Terminal terminal) {
        String id = finding.check().id();
        terminal.line(
                status(finding.status(), terminal)
                        + " ".repeat(STATUS - finding.status().name().length())
                        + id
                        + " ".repeat(ID - id.length())
                        + Foreign.printable(finding.text()),
                STATUS + ID);
        long steps = finding.remedies().stream().filter(DoctorText::isStep).count();
        int step = 0;
        for (Remedy remedy : finding.remedies()) {
            String mark = "";
            if (isStep(remedy) && steps > 1) {
                step++;
                mark = finding.oneIsEnough() ? step == 1 ? "either " : "or " : step + ". ";
            }
            terminal.remedy(" ".repeat(STATUS) + mark + remedy.change().label() + ": ", remedy);
        }
    }
}
