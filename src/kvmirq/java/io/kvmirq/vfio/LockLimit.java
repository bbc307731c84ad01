/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.backend.HostFiles;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * This process's limit on locked memory (RLIMIT_MEMLOCK). Memory mapped for DMA counts against it.
 *
 * <p>Source: fs/proc/base.c proc_pid_limits(), fs/proc/task_mmu.c task_mem().
 */
final class LockLimit {
    private static final long KIB = 1024;

    private LockLimit() {}

    /**
     * The reason why the kernel could not pin {@code bytes}. {@code counter} is VmLck (containers) or VmPin (iommufd).
     * Empty if the limit is high enough or not known.
     */
    static Optional<String> why(HostFiles files, String counter, long bytes) {
        OptionalLong limit = files.number("proc/self/limits", "Max locked memory");
        OptionalLong locked = files.number("proc/self/status", counter + ":");
        long needed = bytes / KIB + locked.orElse(0);
        if (limit.isEmpty() || limit.getAsLong() / KIB >= needed) {
            return Optional.empty();
        }
        return Optional.of("RLIMIT_MEMLOCK of this process is " + limit.getAsLong() / KIB + " KiB, and this needs "
                + bytes / KIB + " KiB beside " + locked.orElse(0)
                + " KiB already locked: raise it before starting the process, ulimit -l "
                + needed + " or more, systemd LimitMEMLOCK=, or give the process CAP_IPC_LOCK");
    }
}
