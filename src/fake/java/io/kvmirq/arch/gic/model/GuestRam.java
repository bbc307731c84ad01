/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.nio.ByteBuffer;

/** The guest memory with the commands and tables of an ITS. */
public interface GuestRam {
    /** Reads a guest-physical address into a buffer. Returns false, and undefined bytes, if a part is not memory. */
    boolean read(long address, ByteBuffer to);

    /** Writes a buffer to a guest-physical address. Returns false if a part is not writable memory. */
    boolean write(long address, ByteBuffer from);

    boolean isVisible(long address);
}
