/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.uapi.Signals;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * The signal that ends a vCPU's run, a real-time signal that nothing in this process handles or ignores. It is blocked
 * in the vCPU thread and so is never delivered, but if another library sent it, runs would end needlessly.
 */
final class KickSignal {
    private static final int FIRST = Signals.FIRST_REAL_TIME + 2;
    /** The system property that overrides the choice. */
    static final String PROPERTY = "kvmirq.vcpu.signal";

    private static final Path STATUS = Path.of("/proc/self/status");

    private KickSignal() {}

    /** @throws IllegalStateException if every signal is taken, or {@value #PROPERTY} does not name one */
    static int choose() {
        String named = System.getProperty(PROPERTY, "");
        return named.isEmpty() ? free(status()) : named(named);
    }

    private static int named(String text) {
        int signal = text.matches("\\d{1,2}") ? Integer.parseInt(text) : 0;
        if (signal < FIRST || signal > Signals.LAST) {
            throw new IllegalStateException("-D" + PROPERTY + "=" + text + " is not a real-time signal: expected "
                    + FIRST + " to " + Signals.LAST);
        }
        return signal;
    }

    /** The lines of {@link #STATUS}; empty if it cannot be read. */
    private static List<String> status() {
        try {
            return Files.readAllLines(STATUS);
        } catch (IOException e) {
            return List.of();
        }
    }

    /** @param status the lines of {@code /proc/PID/status} */
    static int free(List<String> status) {
        long taken = set(status, "SigCgt:") | set(status, "SigIgn:");
        for (int signal = Signals.LAST; signal >= FIRST; signal--) {
            if ((taken & Signals.set(signal)) == 0) {
                return signal;
            }
        }
        throw new IllegalStateException("every real-time signal of this process has a handler, but kvmirq needs one"
                + " to interrupt KVM_RUN: name one that no library sends, with -D" + PROPERTY + "=N");
    }

    private static long set(List<String> status, String name) {
        return status.stream()
                .filter(line -> line.startsWith(name))
                .map(line -> line.substring(name.length()).strip())
                .filter(word -> word.matches("[0-9a-f]{16}"))
                .mapToLong(word -> Long.parseUnsignedLong(word, 16))
                .findFirst()
                .orElse(0);
    }
}
