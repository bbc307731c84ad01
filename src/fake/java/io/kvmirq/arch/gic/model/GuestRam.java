/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.nio.ByteBuffer;

/** The guest memory with the commands and tables of an ITS. */
public interface GuestRam {
    /** Fills {@code to} from a guest-physical address. If a part is not memory, returns false and may fill a part. */
    boolean read(long address, ByteBuffer to);

    /** Writes {@code from} to a guest-physical address. Returns false if a part is not writable memory. */
    boolean write(long address, ByteBuffer from);

    boolean isVisible(long address);
}
