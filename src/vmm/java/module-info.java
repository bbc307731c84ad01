/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Building blocks of a VMM: PCI functions with INTx, MSI and MSI-X, an IOAPIC, vCPU threads, and VM snapshots.
 *
 * <p>Read first: {@link io.kvmirq.pci}, then {@link io.kvmirq.irqchip} and {@link io.kvmirq.snapshot}.
 */
module io.kvmirq.vmm {
    requires transitive io.kvmirq;
    requires static org.jspecify;
    requires com.fasterxml.jackson.core;

    exports io.kvmirq.irqchip;
    exports io.kvmirq.pci;
    exports io.kvmirq.run;
    exports io.kvmirq.snapshot;
}
