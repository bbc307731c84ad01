/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import java.io.IOException;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Recognises an exception caused by this process's limit on descriptors, threads or memory. The exception then does not
 * indicate a fault in the kernel's interrupt path.
 */
public final class ProcessLimit {
    private static final Set<Errno> LIMITS = Set.of(Errno.EMFILE, Errno.ENFILE, Errno.ENOMEM);
    private static final int MEBI = 20;
    /** The maximum number of causes to search, because a chain of causes can be circular. */
    private static final int MOST_CAUSES = 20;

    private ProcessLimit() {}

    /** The limit that caused an exception or one of its causes, and the remedy, as a sentence without a full stop. */
    public static Optional<String> behind(Throwable thrown) {
        @Nullable Throwable cause = thrown;
        for (int i = 0; i < MOST_CAUSES && cause != null; i++) {
            Optional<String> limit = of(cause);
            if (limit.isPresent()) {
                return limit;
            }
            cause = cause.getCause();
        }
        return Optional.empty();
    }

    private static Optional<String> of(Throwable failure) {
        String text = String.valueOf(failure.getMessage());
        if (failure instanceof KernelException refusal) {
            return LIMITS.contains(refusal.errno()) ? Optional.of(text) : Optional.empty();
        }
        if (failure instanceof OutOfMemoryError) {
            return Optional.of(text.contains("native thread") ? noThread() : noMemory());
        }
        // Only these have a text from the C library. Others can quote a file.
        if (!(failure instanceof IOException) && !(failure instanceof LinkageError)) {
            return Optional.empty();
        }
        // The texts for EMFILE and ENOMEM. Java also keeps them in the error of a class whose initialization failed.
        if (text.contains("Too many open files")) {
            return Optional.of("this process has no descriptor left: raise RLIMIT_NOFILE (ulimit -n)");
        }
        return text.contains("Cannot allocate memory")
                ? Optional.of(
                        "the kernel refused memory: raise RLIMIT_AS (ulimit -v) or RLIMIT_MEMLOCK (ulimit -l), or end"
                                + " other programs")
                : Optional.empty();
    }

    private static String noThread() {
        return "no thread could be created: raise RLIMIT_NPROC (ulimit -u), pids.max of the cgroup, or RLIMIT_AS (ulimit -v)";
    }

    private static String noMemory() {
        return "not enough memory: Java gives this command "
                + (Runtime.getRuntime().maxMemory() >> MEBI) + " MiB; give it more, such as with"
                + " JAVA_TOOL_OPTIONS=-Xmx1g, or use a smaller file";
    }
}
