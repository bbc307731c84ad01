/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.diag.Verdict;
import io.kvmirq.path.Hop;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;

/** The exit codes of all commands, and their table in help and manual pages. */
public final class ExitCode {
    public static final int OK = 0;
    public static final int FAILED = 1;
    public static final int USAGE = 2;
    public static final int COULD_NOT_RUN = 3;

    /** Added to the code of a link in doubt. */
    private static final int DOUBT_CODES = 20;

    private static final Map<Hop<?>, Integer> CODES = Map.of(
            Hop.HOST_IRQ, 10,
            Hop.DEVICE_VECTOR, 11,
            Hop.EVENTFD, 12,
            Hop.IRQFD, 13,
            Hop.GSI, 14,
            Hop.GUEST_VECTOR, 0,
            Hop.VCPU, 16,
            Hop.POSTING, 17,
            Hop.DEVICE, 18,
            Hop.VMM, 19);

    private ExitCode() {}

    /** The exit code of {@code explain} if this is the first broken hop; 0 for a guest vector, which cannot break. */
    public static int of(Hop<?> hop) {
        return Objects.requireNonNull(CODES.get(hop), hop::label);
    }

    /** The exit code of {@code explain --strict} if no hop is broken and this is the first one in doubt. */
    public static int ofDoubt(Hop<?> hop) {
        return of(hop) + DOUBT_CODES;
    }

    /** The exit code of a verdict. Empty without a flaw, or if its only one is a doubt and {@code strict} is not set. */
    public static OptionalInt of(Verdict verdict, boolean strict) {
        return verdict.broken().isPresent()
                ? OptionalInt.of(of(verdict.broken().get()))
                : strict && verdict.doubtful().isPresent()
                        ? OptionalInt.of(ofDoubt(verdict.doubtful().get()))
                        : OptionalInt.empty();
    }

    /** The rows of the general codes, of {@code explain}, and of {@code --nagios}. */
    static List<String> table() {
        List<String> rows = new ArrayList<>();
        row(rows, OK, "nothing failed; for explain, nothing visible is broken");
        row(rows, FAILED, "something failed, or the selftest skipped all its scenarios");
        row(rows, USAGE, "the command line, or a line of --batch, is wrong");
        row(rows, COULD_NOT_RUN, "could not run, for example without /dev/kvm, or nothing could be read");
        rows.addAll(ofExplain());
        for (Nagios grade : Nagios.values()) {
            row(rows, grade.exitCode(), "--nagios, " + grade + ": " + grade.meaning());
        }
        return rows;
    }

    /** The rows of {@code explain}. */
    public static List<String> ofExplain() {
        List<String> rows = new ArrayList<>();
        Hop.all().stream()
                .filter(hop -> of(hop) != 0)
                .sorted(Comparator.comparing(ExitCode::of))
                .forEach(hop -> row(
                        rows,
                        of(hop),
                        hop == Hop.POSTING
                                ? "explain: no link is broken, but this host can post and does not"
                                : "explain: the first broken link is the " + hop.label()));
        rows.add("  +" + DOUBT_CODES + "  explain --strict: no link is broken, and this link is the first in doubt");
        return rows;
    }

    private static void row(List<String> rows, int code, String meaning) {
        rows.add((code < 10 ? "    " : "   ") + code + "  " + meaning);
    }
}
