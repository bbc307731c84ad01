/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.nio.ByteBuffer;

/** The guest memory in which an ITS finds its commands and the tables of its guest. */
public interface GuestRam {
    /**
     * Fills {@code to} from a guest physical address. False if not all of it is memory; {@code to} is undefined then.
     */
    boolean read(long address, ByteBuffer to);

    /** Writes to a guest physical address. False if not all of it is memory that the guest may write. */
    boolean write(long address, ByteBuffer from);

    boolean isVisible(long address);
}
