/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.HostFiles;
import java.util.OptionalLong;

/**
 * This process's limit of open files (RLIMIT_NOFILE).
 *
 * <p>Source: fs/proc/base.c proc_pid_limits(), fs/file.c alloc_fd(): each descriptor is below it, and the lowest free
 * one is taken, so at the limit all below are in use.
 */
final class DescriptorLimit {
    /** fs/file.c sysctl_nr_open as the kernel starts; a process without /proc is not asked for its own. */
    private static final long DEFAULT_LIMIT = 1024 * 1024;

    private static final String NONE_LEFT = "this process has no descriptor left: raise RLIMIT_NOFILE (ulimit -n)";

    private DescriptorLimit() {}

    /** Whether so many descriptors are more than the limit. */
    static boolean isBelow(HostFiles files, int count) {
        return limit(files).orElse(DEFAULT_LIMIT) < count;
    }

    private static OptionalLong limit(HostFiles files) {
        return files.number("proc/self/limits", "Max open files");
    }

    /**
     * Says why this many more descriptors could not be had. The figures are missing if no descriptor is left to read
     * /proc.
     */
    static String why(HostFiles files, int missing) {
        OptionalLong limit = limit(files);
        if (limit.isEmpty()) {
            return NONE_LEFT;
        }
        long needed = limit.getAsLong() + missing;
        return "RLIMIT_NOFILE of this process is " + limit.getAsLong() + ", and this needs " + needed
                + ": raise it before the start, ulimit -n " + needed + " or more, systemd LimitNOFILE=";
    }
}
