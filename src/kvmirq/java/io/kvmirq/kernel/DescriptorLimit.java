/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.HostFiles;
import java.util.OptionalLong;

/**
 * This process's open-file limit (RLIMIT_NOFILE).
 *
 * <p>Source: proc_pid_limits() in fs/proc/base.c, alloc_fd() in fs/file.c. The kernel allocates the lowest free
 * descriptor below the limit, so it fails only if all of them are in use.
 */
final class DescriptorLimit {
    /** The initial sysctl_nr_open in fs/file.c, used if /proc cannot be read. */
    private static final long DEFAULT_LIMIT = 1024 * 1024;

    private static final String NONE_LEFT = "this process has no descriptor left: raise RLIMIT_NOFILE (ulimit -n)";

    private DescriptorLimit() {}

    /** Whether the limit is below {@code count}. */
    static boolean isBelow(HostFiles files, int count) {
        return limit(files).orElse(DEFAULT_LIMIT) < count;
    }

    private static OptionalLong limit(HostFiles files) {
        return files.number("proc/self/limits", "Max open files");
    }

    /** Explains why {@code missing} more descriptors could not be opened, without figures if /proc cannot be read. */
    static String why(HostFiles files, int missing) {
        OptionalLong limit = limit(files);
        if (limit.isEmpty()) {
            return NONE_LEFT;
        }
        long needed = limit.getAsLong() + missing;
        return "RLIMIT_NOFILE of this process is " + limit.getAsLong() + ", and this needs " + needed
                + ": raise it before starting the process, ulimit -n " + needed + " or more, systemd LimitNOFILE=";
    }
}
