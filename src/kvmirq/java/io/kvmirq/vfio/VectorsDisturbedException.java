/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import java.util.List;

/**
 * A change of armed interrupts failed, and other armed interrupts had no eventfd for a moment, because the kernel
 * detaches eventfds before it fails. The former eventfds were attached again, as far as the kernel allowed it. An
 * interrupt raised in that moment may be lost. MSI-X keeps it in its table, unless all vectors were disabled in order
 * to add some. Since Linux 6.9 INTx keeps its eventfd; this exception does not know that. The cause is the failure.
 */
public final class VectorsDisturbedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    @SuppressWarnings("serial") // made by List.copyOf
    private final List<Integer> interrupted;

    @SuppressWarnings("serial") // made by List.copyOf
    private final List<Integer> lost;

    /** @param state the state of the interrupts after the failure, for the message */
    VectorsDisturbedException(RuntimeException cause, String state, List<Integer> interrupted, List<Integer> lost) {
        super(cause.getMessage() + "; " + state, cause);
        this.interrupted = List.copyOf(interrupted);
        this.lost = List.copyOf(lost);
    }

    /**
     * The interrupts that had no eventfd for a moment, by number. Empty if all were detached before, or if the device
     * was adopted and this arming was the first: what another program had armed is not known.
     */
    public List<Integer> interrupted() {
        return interrupted;
    }

    /** Those of {@link #interrupted} that have no eventfd now. */
    public List<Integer> lost() {
        return lost;
    }
}
