/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** The mechanisms that deliver a device's interrupt to the guest, best first. */
public enum Mechanism {
    /**
     * VFIO signals the eventfd of an irqfd, and KVM injects the interrupt. If hardware can post the interrupt, the
     * guest gets it without VFIO and KVM. No kernel reports this delivery by hardware: see {@link
     * ForwardedIrq#predicted}.
     */
    IRQFD("irqfd"),
    /**
     * KVM injects a level-triggered line; the guest's EOI signals a second eventfd, which unmasks the line. This
     * mechanism needs the full irqchip in the kernel, or a VGIC.
     */
    RESAMPLE("resample"),
    /** A thread of this process reads the eventfd and injects the interrupt: for a VMM without an in-kernel irqchip. */
    USERSPACE("userspace"),
    /** The guest's EOI also ends the host's interrupt; needs the ABI of 2014, which no released kernel has. */
    DIRECT_EOI("direct EOI");

    private final String label;

    Mechanism(String label) {
        this.label = label;
    }

    /** The name of the mechanism in texts for people, such as {@code irqfd}. */
    public String label() {
        return label;
    }
}
