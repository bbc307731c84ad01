/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import java.util.List;

/**
 * A change of armed interrupts failed, and others of them had no eventfd for a moment: the kernel detaches them before
 * it fails. Those have their former eventfds again, as far as the kernel let them. An interrupt of that moment may be
 * lost. The table of MSI-X keeps it, unless vectors were added by disabling all. INTx of kernels since 6.9 keeps its
 * eventfd, which is not known here. The cause is the failure.
 */
public final class VectorsDisturbedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    @SuppressWarnings("serial") // made by List.copyOf
    private final List<Integer> interrupted;

    @SuppressWarnings("serial") // made by List.copyOf
    private final List<Integer> lost;

    /** @param state what became of the interrupts, for the message */
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
