/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import java.util.Locale;

/** The effect of a fault on a program, and the first line of stderr that it writes only with the fault. */
record Outcome(Kind kind, Ended ended, String said) {
    /** From the best to the worst. */
    enum Kind {
        NOT_MADE,
        GOES_ON,
        ENDS,
        HANGS,
        ABORTS;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT).replace('_', ' ');
        }

        boolean isBad() {
            return this == HANGS || this == ABORTS;
        }
    }

    /**
     * Compares a run with the one without a fault. A program that runs until it is stopped, such as a VMM, goes on if it
     * makes progress after the fault.
     *
     * @param rule the number of the rule that fails a call
     * @param progress the number of calls after the fault that show progress
     */
    static Outcome of(Ended faulted, int rule, long progress, Ended unfaulted) {
        String said = faulted.said().stream()
                .filter(line -> !unfaulted.said().contains(line))
                .findFirst()
                .orElse("");
        return new Outcome(kind(faulted, faulted.counts().get(rule), progress, unfaulted), faulted, said);
    }

    private static Kind kind(Ended faulted, Ended.Count fault, long progress, Ended unfaulted) {
        if (fault.used() == 0) {
            return Kind.NOT_MADE;
        }
        if (faulted.late()) {
            return unfaulted.late() && progress > 0 ? Kind.GOES_ON : Kind.HANGS;
        }
        if (faulted.bySignal()) {
            return Kind.ABORTS;
        }
        return !unfaulted.late() && faulted.code() == unfaulted.code() ? Kind.GOES_ON : Kind.ENDS;
    }

    /** Such as {@code aborts SIGABRT}. */
    @Override
    public String toString() {
        return switch (kind) {
            case ABORTS -> kind + " " + ended.signal();
            case ENDS -> kind + " " + ended.code();
            default -> kind.toString();
        };
    }
}
