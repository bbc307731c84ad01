/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * The program that a command runs, one at a time. From the constructor to {@link #close}, a signal that ends the command
 * stops the program first: it may not have received the signal. Thread-safe.
 */
public final class RunningProgram implements AutoCloseable {
    /** Limit for the program to end after SIGTERM. The launcher of faults kills its program after 5 s. */
    private static final long PATIENCE_SECONDS = 10;

    private final Thread hook = new Thread(this::end, "kvmirq-stop");
    private final Afterwards afterwards;

    // Guarded by this

    private Optional<Process> running = Optional.empty();
    private boolean stopped;

    /** The command's work after its program has been stopped, before the JVM ends. */
    @FunctionalInterface
    public interface Afterwards {
        void run() throws InterruptedException;
    }

    /** @param afterwards runs in the thread of the shutdown hook */
    public RunningProgram(Afterwards afterwards) {
        this.afterwards = afterwards;
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /** Starts the program after the last one ended; IOException also if the command is being stopped. */
    public synchronized Process start(ProcessBuilder builder) throws IOException {
        if (stopped) {
            throw new IOException("kvmirq is being stopped");
        }
        Process process = OtherProgram.start(builder);
        running = Optional.of(process);
        return process;
    }

    /** Whether a signal ends the command. */
    public synchronized boolean isStopped() {
        return stopped;
    }

    @Override
    public void close() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The hook is running, and ends now, because the program has ended.
        }
    }

    private synchronized Optional<Process> stop() {
        stopped = true;
        running.ifPresent(Process::destroy);
        return running;
    }

    private void end() {
        Optional<Process> last = stop();
        try {
            if (last.isPresent() && !last.get().waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                last.get().destroyForcibly();
            }
            afterwards.run();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
