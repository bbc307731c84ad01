/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

/** The steps of a device's interrupt on its way into a guest, in the order in which a chain shows them. */
public enum Hop {
    /** The device itself: whether it has power, responds, and may send interrupts. */
    DEVICE("device", 18),
    /** The Linux irq of the host, in {@code /proc/interrupts}. */
    HOST_IRQ("host irq", 10),
    /** The device's vector, or its interrupt pin: whether VFIO has the device and has armed the vector. */
    DEVICE_VECTOR("device vector", 11),
    /** The process that runs the VM: whether its threads may run. */
    VMM("VMM", 19),
    /** The eventfd that VFIO signals. */
    EVENTFD("eventfd", 12),
    /** The eventfd's registration with KVM. */
    IRQFD("irqfd", 13),
    /** The GSI that the irqfd raises, and its route. */
    GSI("GSI", 14),
    /** The guest's vector, or the LPI on arm64: whole or not shown, so it has no exit code. */
    GUEST_VECTOR("guest vector", 0),
    /** The vCPU that gets the interrupt. */
    VCPU("vCPU", 16),
    /** Not a link: whether this host posts the interrupt if it can, see {@link Chain#unposted}. */
    POSTING("posting", 17);

    private final String label;
    private final int exitCode;

    Hop(String label, int exitCode) {
        this.label = label;
        this.exitCode = exitCode;
    }

    public String label() {
        return label;
    }

    /** The exit code if this is the first broken link of a chain; 0 if no link can break here. */
    public int exitCode() {
        return exitCode;
    }

    /** The exit code with {@code --strict} if no link is broken and this is the first one in doubt. */
    public int doubtCode() {
        return exitCode + 20;
    }
}
