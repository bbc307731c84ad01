/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import java.util.List;

/** The savable state of a device as its guest sees it: of its messages only, or of the whole function. */
public sealed interface DeviceState permits GuestMessages, PciFunction {
    /**
     * Masks all interrupts until {@link #release}, whatever the guest writes. Interrupts that the device sends during
     * the hold stay pending, so their state can be read consistently. A second call does nothing.
     *
     * @throws io.kvmirq.KernelException as {@link io.kvmirq.forward.ForwardedIrq#mask}; no interrupt is held then
     */
    void hold();

    /**
     * Ends {@link #hold}: the registers decide again which interrupts are masked. Each pending interrupt is delivered
     * once.
     */
    void release();

    /** Whether interrupts are held by {@link #hold}. */
    boolean isHeld();

    /** The GSIs that vectors have now. */
    List<Gsi> gsis();

    /** The number of the device's interrupts (vectors, and its line) that are forwarded to {@code gsi} now. */
    int forwardedTo(Gsi gsi);

    /**
     * The registers and the pending bits, for {@link #restore}. Pending bits that only the device has are left out.
     *
     * @throws IllegalStateException on a virtual thread
     */
    byte[] state();

    /**
     * Restores a state that {@link #state} returned, in one batch. Pending vectors are delivered when they are open.
     *
     * @throws IllegalArgumentException if the state is of another kind, or has another number of vectors
     */
    void restore(byte[] bytes);

    /** Resets this state with the device: no interrupt is enabled, and none is pending. */
    void reset();
}
