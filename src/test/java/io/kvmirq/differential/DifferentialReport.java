/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Search;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** {@code main}: seeds from the command line, a line now and then, coverage, and what differs as soon as it is found. */
final class DifferentialReport {
    private static final long REPORT_SECONDS = 30;
    private static final int MOST_DIVERGENCES = 5;

    private DifferentialReport() {}

    /** Searches until enough differences are found, and returns them as tests to paste. */
    static List<String> run(Differential differential, long first, long seeds) {
        List<String> found = new ArrayList<>();
        long start = System.nanoTime();
        long[] reported = {0};
        Search.Program program = random -> {
            long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - start);
            if (seconds / REPORT_SECONDS > reported[0]) {
                reported[0] = seconds / REPORT_SECONDS;
                System.err.println(differential.sequences() + " of " + seeds + " sequences in " + seconds + " s, "
                        + found.size() + " divergences");
            }
            differential.run(random);
        };
        Search.run("random calls", first, seeds, program, failure -> {
            System.err.println(failure.getMessage());
            found.add(failure.getMessage());
            return found.size() < MOST_DIVERGENCES;
        });
        long vcpus = differential.coverage().count(Operation.CREATE_VCPU, "ok");
        if (found.isEmpty() && vcpus <= differential.sequences() / 2) {
            throw new AssertionError(
                    vcpus + " vCPUs in " + differential.sequences() + " sequences: most calls had none");
        }
        return found;
    }

    /** @param arguments how many seeds, and the first one */
    public static void main(String[] arguments) {
        long seeds = Long.parseLong(arguments[0]);
        long first = arguments.length > 1 ? Long.parseLong(arguments[1]) : 0;
        long start = System.nanoTime();
        Machine.profileFlaw()
                .ifPresent(flaw -> System.err.println(flaw + "; it is compared with profile "
                        + Machine.profile().label() + ", and what differs may come of that"));
        try (Differential differential = Differential.ofThisMachine()) {
            List<String> found = run(differential, first, seeds);
            System.out.println(differential.coverage());
            found.forEach(test -> System.out.println("\n" + test));
            System.out.println("\n" + summary(differential, System.nanoTime() - start) + ": "
                    + (found.isEmpty() ? "no divergence" : found.size() + " divergences"));
            System.exit(found.isEmpty() ? 0 : 1);
        }
    }

    /** How much was searched, in one line. */
    static String summary(Differential differential, long nanos) {
        Coverage coverage = differential.coverage();
        return String.format(
                "%d sequences, %d guests, %d calls, %d not modelled (they end %d sequences), %d differences that depend on time, %d s",
                differential.sequences(),
                coverage.count(Operation.LOAD) + coverage.count(Operation.RUN),
                coverage.calls(),
                coverage.notModelled(),
                coverage.ended(),
                differential.dependOnTime(),
                TimeUnit.NANOSECONDS.toSeconds(nanos));
    }
}
