/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

/** The steps of a device's interrupt on its way into a guest, in the order of an {@link InterruptPath}. */
public enum Hop {
    /** The device itself: whether it has power, responds, and may send interrupts. */
    DEVICE("device"),
    /** The Linux irq of the host, in {@code /proc/interrupts}. */
    HOST_IRQ("host irq"),
    /** The device's vector or interrupt pin: whether VFIO has the device and signals an eventfd for the vector. */
    DEVICE_VECTOR("device vector"),
    /** The process that runs the VM: whether its threads run, or are stopped, traced or frozen. */
    VMM("VMM"),
    /** The eventfd that VFIO signals. */
    EVENTFD("eventfd"),
    /** The irqfd, by which KVM raises a GSI for each signal of the eventfd. */
    IRQFD("irqfd"),
    /** The GSI that the irqfd raises, and its route. */
    GSI("GSI"),
    /** The guest's vector, or the LPI on arm64. No file shows this step as broken: its link is whole or not shown. */
    GUEST_VECTOR("guest vector"),
    /** The vCPU that gets the interrupt. */
    VCPU("vCPU"),
    /** The step of no link: the host could post the interrupt, but does not, see {@link InterruptPath#unposted}. */
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
