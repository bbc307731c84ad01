/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import java.util.List;

/**
 * A change of armed interrupts failed, and others of them had no eventfd for a moment: the kernel detaches them before it
 * fails. Those have their former eventfds again, as far as the kernel let them. An interrupt of that moment may be lost,
 * except of MSI-X, whose table keeps it. The cause is the failure.
 */
public final class VectorsDisturbedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    @SuppressWarnings("serial") // made by List.copyOf
    private final List<Integer> interrupted;

    @SuppressWarnings("serial") // made by List.copyOf
    private final List<Integer> lost;

    VectorsDisturbedException(
            RuntimeException cause, String kind, String device, List<Integer> interrupted, List<Integer> lost) {
        super(
                cause.getMessage() + "; " + kind + " " + interrupted + " of " + device + " had no eventfd for a moment"
                        + (lost.isEmpty()
                                ? " and have their former ones again"
                                : ", of which " + lost + " could not be armed again: arm them"),
                cause);
        this.interrupted = List.copyOf(interrupted);
        this.lost = List.copyOf(lost);
    }

    /** The interrupts that had no eventfd for a moment, by number. */
    public List<Integer> interrupted() {
        return interrupted;
    }

    /** Those of {@link #interrupted} that have no eventfd now. */
    public List<Integer> lost() {
        return lost;
    }
}
