/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** How an interrupt of a device reaches the guest, best first. */
public enum Mechanism {
    /**
     * VFIO signals the eventfd of an irqfd, and its GSI has one message to one vCPU: KVM pairs the two, and the
     * hardware posts the interrupt if it can. Whether it does, no kernel tells; {@link ForwardedIrq#predicted} says
     * what must be.
     */
    BYPASS("bypass"),
    /** The same wiring, and the interrupt is not posted: the host takes it, and KVM injects it. */
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
