/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.util.List;
import java.util.Locale;

/**
 * One test of one run: a line of {@code target/summary/RUN.tsv}.
 *
 * @param kernel what answered the test: {@link #REAL_KVM}, "fake" or "none"
 * @param reason why it was skipped or failed; may be empty
 * @param world the binding or the profile of the fake through which a contract test asks; empty for other tests
 */
record TestRow(String run, String jdk, String kernel, Status status, String test, String reason, String world) {
    static final String REAL_KVM = "real KVM";

    /** The name of the run that this process is a part of. */
    static final String THIS_RUN = System.getProperty("kvmirq.test.run", "tests");

    enum Status {
        PASSED,
        FAILED,
        SKIPPED;

        String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    static TestRow parse(String line) {
        List<String> cells = List.of(line.split("\t", -1));
        if (cells.size() != 7) {
            throw new IllegalArgumentException("a row has " + cells.size() + " cells, expected 7: " + line);
        }
        Status status = Status.valueOf(cells.get(3).toUpperCase(Locale.ROOT));
        return new TestRow(cells.get(0), cells.get(1), cells.get(2), status, cells.get(4), cells.get(5), cells.get(6));
    }

    String line() {
        return String.join("\t", run, jdk, kernel, status.label(), test, reason.replaceAll("\\s+", " "), world);
    }

    boolean inLab() {
        return isLab(run);
    }

    /** Whether the test passed on a real KVM: this machine's, or in the lab that of the lab's kernel. */
    boolean showsKvm() {
        return status == Status.PASSED && kernel.equals(REAL_KVM);
    }

    boolean onFake() {
        return world.startsWith("fake");
    }

    /** Whether a run of this name was in a virtual machine of the lab. */
    static boolean isLab(String run) {
        return run.startsWith("lab-");
    }
}
