/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import java.util.List;

/** The state of a device as its guest sees it, which can be saved: of its messages, or of all that is passed through. */
public sealed interface DeviceState permits GuestMessages, PassedThroughDevice {
    /**
     * Masks all interrupts until {@link #release}, whatever the guest writes. Interrupts that the device sends in this
     * time stay pending. Their state can then be read consistently. A second call does nothing.
     *
     * @throws io.kvmirq.KernelException as {@link io.kvmirq.forward.ForwardedIrq#mask}; no interrupt is held then
     */
    void hold();

    /**
     * Ends {@link #hold}: the registers decide again which interrupts are masked, and each pending interrupt is
     * delivered once.
     */
    void release();

    /** Whether {@link #hold} was called last. */
    boolean isHeld();

    /** The GSIs that vectors have now. */
    List<Gsi> gsis();

    /** The number of the device's interrupts (vectors, and its line) that are forwarded to {@code gsi} now. */
    int forwardedTo(Gsi gsi);

    /**
     * The registers and the pending bits, for {@link #restore}. Pending bits that the device alone has are not among
     * them.
     *
     * @throws IllegalStateException on a virtual thread
     */
    byte[] state();

    /**
     * Takes over a state that {@link #state} returned, in one batch. Pending vectors are delivered when they are open.
     *
     * @throws IllegalArgumentException if the state is of another kind, or has another number of vectors
     */
    void restore(byte[] bytes);

    /** The device was reset: nothing is enabled, and nothing is pending. */
    void reset();
}
