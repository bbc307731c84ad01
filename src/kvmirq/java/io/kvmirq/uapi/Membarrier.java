/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

/** Commands of membarrier(2); source: linux/membarrier.h. */
public final class Membarrier {
    /** A full barrier in all threads of this process that run. */
    public static final int MEMBARRIER_CMD_PRIVATE_EXPEDITED = 1 << 3;
    /** Once, before the command above. */
    public static final int MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4;

    private Membarrier() {}
}
