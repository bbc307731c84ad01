/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

/** The steps of a device's interrupt on its way into a guest, in the order of an {@link InterruptPath}. */
public enum Hop {
    /** The device itself: whether it has power, responds, and may send interrupts. */
    DEVICE("device"),
    /** The Linux irq of the host, in {@code /proc/interrupts}. */
    HOST_IRQ("host irq"),
    /** The device's vector, or its interrupt pin: whether VFIO has the device and has armed the vector. */
    DEVICE_VECTOR("device vector"),
    /** The process that runs the VM: whether its threads may run. */
    VMM("VMM"),
    /** The eventfd that VFIO signals. */
    EVENTFD("eventfd"),
    /** The eventfd's registration with KVM. */
    IRQFD("irqfd"),
    /** The GSI that the irqfd raises, and its route. */
    GSI("GSI"),
    /** The guest's vector, or the LPI on arm64. The state of this link is whole or not shown, never broken. */
    GUEST_VECTOR("guest vector"),
    /** The vCPU that gets the interrupt. */
    VCPU("vCPU"),
    /** Not a link: whether the host posts an interrupt that it can post, see {@link InterruptPath#unposted}. */
    POSTING("posting");

    private final String label;

    Hop(String label) {
        this.label = label;
    }

    /** The name of the step in words, such as {@code host irq}. */
    public String label() {
        return label;
    }
}
