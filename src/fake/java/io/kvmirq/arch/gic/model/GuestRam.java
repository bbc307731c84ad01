/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.nio.ByteBuffer;

/** The guest memory with the commands and tables of an ITS. */
public interface GuestRam {
    /** Fills a buffer from a guest-physical address. Returns false, with the buffer undefined, outside of memory. */
    boolean read(long address, ByteBuffer to);

    /** Writes a buffer to a guest-physical address. Returns false if a part is not writable memory. */
    boolean write(long address, ByteBuffer from);

    boolean isVisible(long address);
}
