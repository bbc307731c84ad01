/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;

/**
 * A host's VT-d remapping unit. {@link #request} sends a device's MSI to the CPU that the remapping entry or the
 * posted-interrupt descriptor names. {@link HostCpu#takeInterrupt} takes the interrupt on that CPU, and the handlers of
 * {@link io.kvmirq.arch.vtd.posting.PostedVm} deliver the interrupt to the vCPU.
 *
 * <p>A destination is a physical APIC id, or all ones for all CPUs. Logical destinations are not modelled, so an entry
 * with a logical destination interrupts no CPU. Only one thread may use a unit at a time.
 */
public final class RemappingUnit {
    private static final long BROADCAST = 0xffff_ffffL;
    private static final long XAPIC_BROADCAST = 0xff;

    private final RemappingTable table;
    private final HostCpus host;
    private final RemappingTable.Descriptors descriptors;

    /** Creates a unit. {@code descriptors} finds a descriptor by address, like {@code PostedVm::descriptorAt}. */
    public RemappingUnit(RemappingTable table, HostCpus host, RemappingTable.Descriptors descriptors) {
        this.table = table;
        this.host = host;
        this.descriptors = descriptors;
    }

    /** Handles an MSI from the device with this 16-bit requester id, and sends the resulting interrupt. */
    public RemappingOutcome request(RemappableMsi message, int requester) {
        RemappingOutcome outcome = table.request(message, requester, descriptors);
        if (outcome instanceof RemappingOutcome.Posted posted) {
            posted.notification().ifPresent(sent -> interrupt(sent.destination(), sent.vector()));
        } else if (outcome instanceof RemappingOutcome.Remapped remapped
                && remapped.entry().mode().hasVector()
                && !remapped.entry().is(RemappedIrte.LOGICAL)) {
            interrupt(remapped.entry().destination(), remapped.entry().vector());
        }
        return outcome;
    }

    private void interrupt(long destination, InterruptVector vector) {
        long id = table.isExtended() ? destination : destination >>> 8;
        if (id == (table.isExtended() ? BROADCAST : XAPIC_BROADCAST)) {
            host.cpus().forEach(cpu -> cpu.interrupt(vector.number()));
        } else {
            host.interrupt(id, vector.number());
        }
    }
}
