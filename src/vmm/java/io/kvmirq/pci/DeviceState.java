/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.kernel.EventFd;
import java.util.List;

/** A saveable part of a guest's device: its MSI, its MSI-X, or the whole PCI function. */
public sealed interface DeviceState permits GuestMessages, PciFunction {
    /**
     * Masks all of the device's interrupts until {@link #release}, whatever the guest writes. Interrupts that the
     * device sends meanwhile stay pending, so that {@link #state} is consistent. A second call does nothing.
     *
     * @throws io.kvmirq.KernelException if {@link io.kvmirq.forward.ForwardedIrq#mask} fails; no interrupt stays held
     */
    void hold();

    /** Ends {@link #hold}. Delivers each pending interrupt once, except those that the guest has masked. */
    void release();

    /** Whether {@link #hold} currently masks the device's interrupts. */
    boolean isHeld();

    /** Returns the GSIs that the device's vectors currently use. */
    List<Gsi> gsis();

    /** Returns how many of the device's vectors and lines are currently forwarded to {@code gsi}. */
    int forwardedTo(Gsi gsi);

    /**
     * Returns the eventfds of an emulated device's vectors, by vector. Empty for a host device. {@link
     * io.kvmirq.snapshot.VmMove} moves the signals in them to the new VM.
     */
    List<EventFd> events();

    /**
     * Returns a state for {@link #restore}: the registers and the pending bits, except those in the device's own
     * registers.
     *
     * @throws IllegalStateException if a virtual thread calls this method
     */
    byte[] state();

    /**
     * Restores a state that {@link #state} returned. A pending vector is delivered when the guest unmasks it.
     *
     * @throws IllegalArgumentException if the state belongs to another kind of device, or has another number of vectors
     */
    void restore(byte[] bytes);

    /** Resets the state as a device reset does: no interrupt stays enabled or pending. */
    void reset();
}
