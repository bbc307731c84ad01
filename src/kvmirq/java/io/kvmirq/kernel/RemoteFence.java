/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.uapi.Membarrier;
import java.lang.invoke.VarHandle;

/**
 * A full fence between two threads, of which one passes it for each event and the other rarely. Each writes, passes its
 * side, and reads what the other wrote, so one of them sees the other. Where the kernel allows membarrier(2), the rare
 * side makes the fence for both, and the frequent side costs nothing.
 *
 * <p>Source: kernel/sched/membarrier.c.
 */
final class RemoteFence {
    private final Libc libc;
    /** Whether the rare side makes the fence of both. */
    private final boolean remote;

    RemoteFence(Libc libc) {
        this.libc = libc;
        this.remote = command(Membarrier.MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    }

    private boolean command(int command) {
        return libc.syscall(SystemCall.MEMBARRIER, command, 0, 0, 0) == 0;
    }

    /** Whether the frequent side costs nothing. */
    boolean isRemote() {
        return remote;
    }

    /** The frequent side. */
    void pass() {
        if (remote) {
            // For the compiler, which moves no access over a fence of any kind. On x86-64 both are no instruction.
            VarHandle.releaseFence();
            VarHandle.acquireFence();
        } else {
            VarHandle.fullFence();
        }
    }

    /**
     * The rare side. Never fails.
     *
     * @param frequent the thread of the other side
     */
    void make(Thread frequent) {
        VarHandle.fullFence();
        while (remote && !command(Membarrier.MEMBARRIER_CMD_PRIVATE_EXPEDITED) && !stopped(frequent)) {
            Thread.onSpinWait();
        }
    }

    /**
     * Used after a system call filter was installed, or if the kernel is out of memory: the JVM stops the thread for a
     * moment.
     */
    private static boolean stopped(Thread thread) {
        try {
            thread.getStackTrace();
            return true;
        } catch (OutOfMemoryError e) {
            return false;
        }
    }
}
