/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.kernel.EventFd;
import java.util.List;

/** A part of a guest's device whose state can be saved: its MSI, its MSI-X, or the whole PCI function. */
public sealed interface DeviceState permits GuestMessages, PciFunction {
    /**
     * Masks all interrupts of the device until {@link #release}, whatever the guest writes. Interrupts that the device
     * sends before {@code release} stay pending, so that {@link #state} is consistent. A second call does nothing.
     *
     * @throws io.kvmirq.KernelException if {@link io.kvmirq.forward.ForwardedIrq#mask} fails; no interrupt stays held
     */
    void hold();

    /** Ends {@link #hold}. Delivers each pending interrupt once, except those that the guest has masked. */
    void release();

    /** Returns whether {@link #hold} masks the device's interrupts now. */
    boolean isHeld();

    /** Returns the GSIs that the device's interrupt vectors use now. */
    List<Gsi> gsis();

    /** Returns how many of the device's interrupts (its vectors and its line) are forwarded to {@code gsi} now. */
    int forwardedTo(Gsi gsi);

    /**
     * Returns the eventfds of an emulated device's vectors, by vector; none for a host device. {@link
     * io.kvmirq.snapshot.VmMove} moves the signals in them to the new VM.
     */
    List<EventFd> events();

    /**
     * Returns a state for {@link #restore}: the registers, and pending bits except those of the device itself.
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

    /** Resets the state like a device reset, so that no interrupt is enabled or pending. */
    void reset();
}
