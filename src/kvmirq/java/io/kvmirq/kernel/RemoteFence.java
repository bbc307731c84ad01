/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.uapi.Membarrier;
import java.lang.invoke.VarHandle;

/**
 * A full fence between two threads, one of which passes it for each event, the other only rarely. Each thread writes,
 * passes its side, and reads what the other wrote, so one of them sees the other's write. Where the kernel allows
 * membarrier(2), the rare side executes the fence for both, so the frequent side costs nothing.
 *
 * <p>Source: kernel/sched/membarrier.c.
 */
final class RemoteFence {
    private final Libc libc;
    /** Whether the rare side executes the fence for both. */
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

    /** Passes the frequent side. */
    void pass() {
        if (remote) {
            // These keep the compiler from moving accesses. On x86-64 neither is an instruction.
            VarHandle.releaseFence();
            VarHandle.acquireFence();
        } else {
            VarHandle.fullFence();
        }
    }

    /**
     * Executes the rare side's fence. Never fails.
     *
     * @param frequent the thread of the other side
     */
    void make(Thread frequent) {
        VarHandle.fullFence();
        while (remote && !command(Membarrier.MEMBARRIER_CMD_PRIVATE_EXPEDITED) && !stopped(frequent)) {
            Thread.onSpinWait();
        }
    }

    /** Makes the JVM stop the thread briefly. Used if membarrier(2) fails, due to a system call filter or no memory. */
    private static boolean stopped(Thread thread) {
        try {
            thread.getStackTrace();
            return true;
        } catch (OutOfMemoryError e) {
            return false;
        }
    }
}
