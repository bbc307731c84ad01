/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;

/** Whether a held-back interrupt is known to have a pending message. */
@NotPromised
public enum HeldMessage {
    /** The message is known to be pending. */
    KNOWN,
    /**
     * The message may be pending, or the guest may have taken it already. This happens after a guest changed the number
     * of its MSI vectors, after a device was restored on arm64, or after a GICv4.0 vLPI ended, because no program can
     * read its pending bit. The guest gets one interrupt in any case.
     */
    POSSIBLE
}
