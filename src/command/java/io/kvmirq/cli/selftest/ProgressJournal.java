/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.selftest.SelftestListener;
import java.io.PrintStream;
import java.util.Optional;

/**
 * Shows the progress of a long scenario on the last line of a terminal, and forwards everything else. The progress
 * library is loaded after a scenario has printed nothing for a second.
 */
final class ProgressJournal implements SelftestListener {
    private static final long PATIENCE_NANOS = 1_000_000_000;

    /** Round trips between two readings of the clock. */
    private static final long STRIDE = 256;

    private final SelftestListener next;
    private final PrintStream err;
    private final int columns;
    private Optional<ProgressLine> line = Optional.empty();
    private String label = "";
    private long silentSince = System.nanoTime();

    ProgressJournal(SelftestListener next, PrintStream err, int columns) {
        this.next = next;
        this.err = err;
        this.columns = columns;
    }

    @Override
    public void begin(Scenario scenario) {
        label = scenario.label();
        next.begin(scenario);
    }

    @Override
    public void progress(long done, long total) {
        if (line.isPresent()) {
            line.get().show(done);
        } else if (done % STRIDE == 0 && System.nanoTime() - silentSince > PATIENCE_NANOS) {
            line = Optional.of(new ProgressLine(label, done, total, err, columns));
        }
    }

    /** Called before each print: stdout and stderr may be the same terminal. */
    private void erase() {
        // A method reference would load the class, and the library with it.
        if (line.isPresent()) {
            line.get().close();
        }
        line = Optional.empty();
        silentSince = System.nanoTime();
    }

    @Override
    public void step(String done, String answer) {
        erase();
        next.step(done, answer);
    }

    @Override
    public void end(Result result) {
        erase();
        next.end(result);
    }
}
