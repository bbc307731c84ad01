/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.path.Known;
import java.util.Objects;
import java.util.Optional;

/**
 * The vCPU that an entry posts to. Immutable.
 *
 * @param entry the entry, as it was after the rest was read
 * @param vcpu the vCPU of the irqfd's VM that the entry's address belongs to: of its LAPIC's page with AMD, of its descriptor
 *     with VT-d. Empty if it belongs to none
 * @param recorded the vCPU that KVM has a record of for the irq; empty if it has none. Unknown where the kernel keeps no such
 *     record: with VT-d up to 6.16
 * @param record the member that is the record, such as {@code kvm_kernel_irqfd.irq_bypass_vcpu}
 * @param state the vCPU's entry in the physical APIC id table with AMD; bits 319:256 of its descriptor with VT-d; 0 without a
 *     vCPU
 */
public record PostedVcpu(
        RemappingEntry entry, Optional<VcpuId> vcpu, Known<Optional<VcpuId>> recorded, String record, long state) {
    public PostedVcpu {
        Objects.requireNonNull(entry, "entry is null");
        Objects.requireNonNull(vcpu, "vcpu is null");
        Objects.requireNonNull(recorded, "recorded is null");
        Objects.requireNonNull(record, "record is null");
    }

    /** Whether the entry of AMD's IOMMU says that the vCPU runs, and the vCPU's own entry that it does not. */
    public boolean runsInTheTableAlone() {
        return vcpu.isPresent()
                && entry.unit() == Vendor.AMD
                && GaIrte.IS_RUN.isSet(entry.low())
                && !AvicTables.IS_RUNNING.isSet(state);
    }
}
