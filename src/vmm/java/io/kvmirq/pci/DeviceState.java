/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import java.util.List;

/** The state of a device as its guest sees it, which can be saved: of its messages, or of all that is passed through. */
public sealed interface DeviceState permits GuestMessages, PassedThroughDevice {
    /**
     * Masks all interrupts and keeps them so until {@link #release}, whatever the guest writes: what the device sends waits,
     * and is pending. Their state can then be read as one. Twice is once.
     *
     * @throws io.kvmirq.KernelException as {@link io.kvmirq.forward.ForwardedIrq#mask}; none is held then
     */
    void hold();

    /** Ends {@link #hold}: interrupts are as the registers say, and what is pending arrives, once of each. */
    void release();

    /** Whether {@link #hold} was called last. */
    boolean isHeld();

    /** The GSIs that vectors have now. */
    List<Gsi> gsis();

    /** How many interrupts of the device are forwarded to {@code gsi} now: vectors, and its line. */
    int forwardedTo(Gsi gsi);

    /**
     * The registers and the pending bits, for {@link #restore}. Pending bits that the device alone has are not among
     * them.
     *
     * @throws IllegalStateException on a virtual thread
     */
    byte[] state();

    /**
     * Becomes what {@link #state} gave, in a batch; pending vectors arrive when they are open.
     *
     * @throws IllegalArgumentException if it is of another kind, or of another number of vectors
     */
    void restore(byte[] bytes);

    /** The device was reset: nothing is enabled, and nothing is pending. */
    void reset();
}
