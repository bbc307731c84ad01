/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** The ways in which a device's interrupt reaches the guest, best first. */
public enum Mechanism {
    /**
     * VFIO signals the eventfd of an irqfd, and KVM injects. If hardware can post the interrupt, it does, and the host
     * takes no part. Whether it does, no kernel tells; {@link ForwardedIrq#predicted} says what must be.
     */
    IRQFD("irqfd"),
    /**
     * A level-triggered line: the guest's EOI signals a second eventfd, which unmasks the line. It needs the full
     * irqchip in the kernel, or a VGIC.
     */
    RESAMPLE("resample"),
    /** A thread of this process takes the eventfd and injects: for a VMM without irqchip in the kernel. */
    USERSPACE("userspace"),
    /**
     * The guest's EOI ends the interrupt of the host. Only the ABI of 2014 can, which no released kernel has.
     */
    DIRECT_EOI("direct EOI");

    private final String label;

    Mechanism(String label) {
        this.label = label;
    }

    /** As messages name it. */
    public String label() {
        return label;
    }
}
