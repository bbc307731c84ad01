/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

/** When other actors see a store. */
public enum Memory {
    /** At once. */
    SEQUENTIAL,
    /** Some time later and in order; a locked access and a barrier wait until it is so (x86-TSO). */
    STORE_BUFFERS
}
