/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import java.util.List;

/**
 * Thrown if a change of armed interrupts failed, and interrupts that were armed before briefly had no eventfd, because
 * the kernel detaches eventfds when a change fails. The former eventfds were attached again as far as the kernel
 * allowed. An interrupt raised in between may be lost, but an MSI-X interrupt stays pending in the device unless all
 * vectors were disabled to add vectors. Since Linux 6.9, INTx keeps its eventfd, but this exception is thrown even
 * then. The exception's cause is the failure of the change.
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
     * The numbers of the interrupts that briefly had no eventfd. Empty if no vector had one before the change, and for
     * the first arming of a device that another program opened, because it is not known which interrupts that program
     * armed.
     */
    public List<Integer> interrupted() {
        return interrupted;
    }

    /** The interrupts in {@link #interrupted} whose former eventfd could not be attached again. */
    public List<Integer> lost() {
        return lost;
    }
}
