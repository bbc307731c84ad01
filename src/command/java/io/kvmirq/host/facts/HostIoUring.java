/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import java.util.Optional;

/**
 * The host's restrictions on io_uring, and whether this process passes them. For one thread.
 *
 * <p>Source: {@code io_uring_allowed()} in io_uring/io_uring.c, {@code task_seccomp()}, {@code task_cap()} and {@code
 * task_state()} in fs/proc/array.c.
 */
public final class HostIoUring {
    private static final String SYSCTL = "proc/sys/kernel/io_uring_";
    private static final int SYS_ADMIN = 21;
    private static final String FILTERED = "2";

    private final HostFiles tree;

    HostIoUring(HostFiles tree) {
        this.tree = tree;
    }

    /**
     * The sysctl kernel.io_uring_disabled: 0 allows io_uring to every process, 1 only to processes with CAP_SYS_ADMIN
     * or in the group, 2 to none. Empty before Linux 6.6, in a kernel without io_uring, and if the file cannot be read.
     */
    public Optional<String> disabled() {
        Optional<String> text = tree.text(SYSCTL + "disabled");
        return text.isPresent() ? Optional.of(text.get().strip()) : text;
    }

    /** Whether this process has CAP_SYS_ADMIN, or is in the group of the sysctl kernel.io_uring_group. */
    public boolean isPrivileged() {
        String status = status();
        if (ThreadStat.hasCapability(status, SYS_ADMIN).orElse(false)) {
            return true;
        }
        String group = tree.text(SYSCTL + "group").orElse("").strip();
        String mine = " "
                + (ThreadStat.line(status, "Gid") + " " + ThreadStat.line(status, "Groups")).replace('\t', ' ') + " ";
        return !group.isEmpty() && mine.contains(" " + group + " ");
    }

    /** Whether a filter of system calls is installed. No file shows the forbidden calls. */
    public boolean isFiltered() {
        return ThreadStat.line(status(), "Seccomp").equals(FILTERED);
    }

    private String status() {
        return tree.text("proc/self/status").orElse("");
    }
}
