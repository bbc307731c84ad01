/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** The mechanisms that deliver a device interrupt to the guest, best first. */
public enum Mechanism {
    /**
     * VFIO signals an irqfd's eventfd, and KVM injects the interrupt. A posted interrupt bypasses VFIO and KVM. No
     * kernel reports this, so {@link ForwardedIrq#predicted} predicts it.
     */
    IRQFD("irqfd"),
    /**
     * KVM injects a level-triggered line. The guest's EOI signals a second eventfd, which unmasks the line. This needs
     * a full in-kernel irqchip or a VGIC.
     */
    RESAMPLE("resample"),
    /** A thread in this process reads the eventfd and injects the interrupt, for a VMM without an in-kernel irqchip. */
    USERSPACE("userspace"),
    /** The guest's EOI also ends the host interrupt. This needs the ABI of 2014, which no released kernel has. */
    DIRECT_EOI("direct EOI");

    private final String label;

    Mechanism(String label) {
        this.label = label;
    }

    /** The mechanism's name in texts for users, such as {@code irqfd}. */
    public String label() {
        return label;
    }
}
