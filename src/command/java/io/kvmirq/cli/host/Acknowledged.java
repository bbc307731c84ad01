/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.KernelChoice;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.text.Foreign;
import java.time.DateTimeException;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Findings that an administrator has acknowledged, because they cannot be cured on this host. A line of the file is {@code
 * CHECK.REASON | LAST-DAY | WHY}. Immutable.
 */
record Acknowledged(String file, List<Entry> entries) {
    static final Acknowledged NONE = new Acknowledged("", List.of());

    /** An acknowledged finding, by the check's id and the finding's reason. */
    record Entry(String finding, LocalDate lastDay, String why) {
        boolean isOf(Finding other) {
            return finding.equals(name(other)) && other.status() != Status.PASS;
        }
    }

    private static String name(Finding finding) {
        return finding.check().id() + "." + finding.reason();
    }

    /** @throws IllegalArgumentException if a line is wrong; the message begins with the file and the line's number */
    static Acknowledged parse(String file, String text) {
        List<Entry> entries = new ArrayList<>();
        List<String> lines = text.lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            if (!lines.get(i).isBlank() && !lines.get(i).startsWith("#")) {
                try {
                    entries.add(entry(lines.get(i)));
                } catch (IllegalArgumentException e) {
                    throw new IllegalArgumentException(file + ":" + (i + 1) + ": " + e.getMessage(), e);
                }
            }
        }
        return new Acknowledged(file, List.copyOf(entries));
    }

    private static Entry entry(String line) {
        int first = line.indexOf('|');
        int second = line.indexOf('|', first + 1);
        List<String> checks = Stream.of(Check.values()).map(Check::id).toList();
        String finding = line.substring(0, Math.max(0, first)).strip();
        String why = line.substring(second + 1).strip();
        if (second <= first || why.isEmpty() || !finding.contains(".")) {
            throw new IllegalArgumentException("expected CHECK.REASON | LAST-DAY | WHY, such as"
                    + " 'iommu.off | 2027-06-30 | replaced in summer', got " + Foreign.quoted(line));
        }
        String check = finding.substring(0, finding.indexOf('.'));
        if (!checks.contains(check)) {
            throw new IllegalArgumentException("the check " + KernelChoice.notOneOf(check, checks));
        }
        String day = line.substring(first + 1, second).strip();
        try {
            return new Entry(finding, LocalDate.parse(day), why);
        } catch (DateTimeException e) {
            throw new IllegalArgumentException("expected a day such as 2027-06-30, got " + Foreign.quoted(day), e);
        }
    }

    /** The findings, of which the acknowledged ones pass, with the reason, until their last day is over. */
    List<Finding> applyTo(List<Finding> findings, LocalDate today) {
        return findings.stream().map(finding -> applied(finding, today)).toList();
    }

    private Finding applied(Finding finding, LocalDate today) {
        return entries.stream()
                .filter(entry -> entry.isOf(finding))
                .findFirst()
                .map(entry -> entry.lastDay().isBefore(today)
                        ? finding.whose(
                                finding.reason(),
                                finding.text() + "; its acknowledgement ended on " + entry.lastDay() + " ("
                                        + entry.why() + ")")
                        : Finding.pass(
                                finding.check(),
                                finding.reason(),
                                "acknowledged until " + entry.lastDay() + " (" + entry.why() + "): " + finding.text()))
                .orElse(finding);
    }

    /** The entries of checks that ran and did not find this, as a clause; empty if there are none. */
    String notFound(List<Finding> findings, Set<Check> ran) {
        String names = entries.stream()
                .filter(entry -> ran.stream().anyMatch(check -> entry.finding().startsWith(check.id() + ".")))
                .filter(entry -> findings.stream().noneMatch(entry::isOf))
                .map(Entry::finding)
                .collect(Collectors.joining(", "));
        return names.isEmpty() ? "" : "acknowledged, but not found: " + names + " (remove it from " + file + ")";
    }
}
