/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import java.io.PrintStream;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarConsumer;
import me.tongfei.progressbar.ProgressBarStyle;

/** A line on a terminal with progress and remaining time. {@link #close} erases it. */
final class ProgressLine implements AutoCloseable {
    private static final int UPDATE_MILLIS = 500;

    private final ProgressBar bar;

    ProgressLine(String label, long done, long total, PrintStream out, int columns) {
        this.bar = new ProgressBarBuilder()
                .setTaskName(label)
                .setInitialMax(total)
                .setStyle(ProgressBarStyle.ASCII)
                .setUpdateIntervalMillis(UPDATE_MILLIS)
                .setConsumer(new LastLine(out, columns))
                .build();
        show(done);
    }

    void show(long done) {
        bar.stepTo(done);
    }

    @Override
    public void close() {
        bar.close();
    }

    /** Replaces the library's own consumer, which opens the terminal and handles its signals. */
    private record LastLine(PrintStream out, int columns) implements ProgressBarConsumer {
        private static final String ERASE = "\r\033[K";

        @Override
        public int getMaxRenderedLength() {
            return columns - 1;
        }

        @Override
        public void accept(String rendered) {
            out.print("\r" + rendered);
            out.flush();
        }

        @Override
        public void close() {
            out.print(ERASE);
            out.flush();
        }
    }
}
