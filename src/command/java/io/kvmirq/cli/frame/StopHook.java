/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.util.function.Supplier;

/** Lets work end in order if the process is told to end: by Ctrl-C or SIGTERM. */
public final class StopHook {
    private StopHook() {}

    /** Does {@code work}. If the process is told to end meanwhile, {@code stop} runs, and then the JVM ends. */
    public static <T> T during(Supplier<T> work, Runnable stop) {
        Thread hook = new Thread(stop, "kvmirq-stop");
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            return work.get();
        } finally {
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException e) {
                // The JVM is stopping: the hook is running.
            }
        }
    }
}
