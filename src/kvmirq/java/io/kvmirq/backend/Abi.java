/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;

/**
 * The ABI version of {@code libkvmirq.so}, and the sizes of the records shared with it.
 *
 * @param version the result of {@code kvmirq_abi_version()}, which must equal that of {@link #OURS}
 * @param routeSize the size of {@code struct kvmirq_route} in bytes
 * @param irqchipSize the size of an interrupt chip's state in bytes
 * @param vfioIrqSize the size of {@code struct kvmirq_vfio_irq} in bytes
 * @param irqfdSize the size of {@code struct kvmirq_irqfd} in bytes
 */
@NotPromised
public record Abi(int version, int routeSize, int irqchipSize, int vfioIrqSize, int irqfdSize) {
    /** The ABI version and record sizes that kvmirq's Java code needs. */
    public static final Abi OURS = new Abi(
            2,
            KernelBackend.ROUTE_SIZE,
            KernelBackend.IRQCHIP_STATE_SIZE,
            KernelBackend.VFIO_IRQ_SIZE,
            KernelBackend.IRQFD_SIZE);

    /** The argument of {@code kvmirq_abi_record_size()} for the record of a route. */
    public static final int RECORD_ROUTE = 0;

    /** The argument of {@code kvmirq_abi_record_size()} for an irqchip's state. */
    public static final int RECORD_IRQCHIP = 1;

    /** The argument of {@code kvmirq_abi_record_size()} for a VFIO index's interrupts. */
    public static final int RECORD_VFIO_IRQ = 2;

    /** The argument of {@code kvmirq_abi_record_size()} for one record of {@link KernelBackend#irqfdsAssign}. */
    public static final int RECORD_IRQFD = 3;

    /** @throws BackendUnavailableException if the library's ABI is not {@link #OURS}. The message names both */
    public void requireFits(String library) {
        if (version != OURS.version) {
            throw new BackendUnavailableException(library + " has " + this + ", but this kvmirq needs " + OURS
                    + ": use the library and the jar of one release");
        }
        if (!sizes().equals(OURS.sizes())) {
            throw new BackendUnavailableException(library + " has records of " + sizes()
                    + " bytes (route, irqchip, vfio irq, irqfd), this kvmirq of " + OURS.sizes()
                    + ": use the library and the jar of one release");
        }
    }

    private String sizes() {
        return routeSize + ", " + irqchipSize + ", " + vfioIrqSize + " and " + irqfdSize;
    }

    @Override
    public String toString() {
        return "ABI " + version;
    }
}
