/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.MsiMessage;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.explain.Condition;
import java.util.EnumSet;
import java.util.Set;

/**
 * A guest-physical page with registers of an in-kernel irqchip (x86). KVM accepts memory there, but whether the guest
 * then reaches the memory or the irqchip depends on the processor.
 */
enum ChipPage {
    LAPICS("LAPICs", MsiMessage.X86_WINDOW),
    IOAPIC("IOAPIC", IoapicEntry.REGISTERS);

    private static final long SIZE = 4096;

    private final String label;
    private final long address;

    ChipPage(String label, long address) {
        this.label = label;
        this.address = address;
    }

    /** The register pages of the VM's irqchip. */
    static Set<ChipPage> of(VmCalls calls) {
        if (calls.has(Condition.FULL_IRQCHIP)) {
            return EnumSet.allOf(ChipPage.class);
        }
        return calls.has(Condition.SPLIT_IRQCHIP) ? EnumSet.of(LAPICS) : EnumSet.noneOf(ChipPage.class);
    }

    /** @throws IllegalArgumentException if memory of {@code vm} would overlap this page */
    void requireFree(Object vm, long guestAddress, long length) {
        if (Long.compareUnsigned(address - guestAddress, length) < 0
                || Long.compareUnsigned(guestAddress - address, SIZE) < 0) {
            throw new IllegalArgumentException("memory of " + length + " bytes at 0x" + Long.toHexString(guestAddress)
                    + " overlaps the page of the " + label + " of " + vm + ", 0x" + Long.toHexString(address)
                    + ": the guest would not reach its interrupt controller; add the memory below and above it"
                    + " separately");
        }
    }
}
