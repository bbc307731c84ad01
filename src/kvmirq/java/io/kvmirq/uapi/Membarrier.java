/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

/** Commands of membarrier(2). Source: linux/membarrier.h. */
public final class Membarrier {
    /** A full barrier in all running threads of this process. */
    public static final int MEMBARRIER_CMD_PRIVATE_EXPEDITED = 1 << 3;
    /** Registers the process, which is needed once before {@link #MEMBARRIER_CMD_PRIVATE_EXPEDITED}. */
    public static final int MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4;

    private Membarrier() {}
}
