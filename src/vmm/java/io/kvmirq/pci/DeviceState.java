/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import java.util.List;

/** A part of a guest's device whose state can be saved: MSI or MSI-X alone, or the whole PCI function. */
public sealed interface DeviceState permits GuestMessages, PciFunction {
    /**
     * Masks all interrupts until {@link #release}, whatever the guest writes. Interrupts that the device sends during
     * the hold stay pending, so that their state can be read consistently. A second call does nothing.
     *
     * @throws io.kvmirq.KernelException as {@link io.kvmirq.forward.ForwardedIrq#mask}; no interrupt is masked
     */
    void hold();

    /**
     * Ends {@link #hold}: only interrupts that the guest's registers mask stay masked. Each pending interrupt is
     * delivered once.
     */
    void release();

    /** Whether {@link #hold} masks the interrupts. */
    boolean isHeld();

    /** The GSIs that the device's vectors have now. */
    List<Gsi> gsis();

    /** The number of the device's interrupts (vectors, and its line) that are forwarded to {@code gsi} now. */
    int forwardedTo(Gsi gsi);

    /**
     * The registers and the pending bits, for {@link #restore}. Pending bits only in the host's device are missing.
     *
     * @throws IllegalStateException on a virtual thread
     */
    byte[] state();

    /**
     * Restores a state that {@link #state} returned, in one batch. Delivers a pending vector when the guest unmasks it.
     *
     * @throws IllegalArgumentException if the state belongs to another kind of device, or has another number of vectors
     */
    void restore(byte[] bytes);

    /** Resets the state, as a reset of the device does: no interrupt is enabled, and none is pending. */
    void reset();
}
