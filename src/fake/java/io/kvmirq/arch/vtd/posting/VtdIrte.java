/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.IrteUpdate;

/**
 * A host irq's entry in a remapping table, which posts to a vCPU of {@code vm} as {@code vmx_pi_update_irte} of Linux
 * 7.1 does.
 */
public record VtdIrte(RemappingTable table, int index, PostedVm vm) implements IrteUpdate {
    @Override
    public void post(VcpuId vcpu, InterruptVector vector) {
        try {
            table.post(index, vm.vcpu(vcpu.number()).descriptorAddress(), vector);
        } catch (IllegalStateException e) {
            throw new KernelException(
                    "irq_set_vcpu_affinity",
                    "entry=" + index + " vcpu=" + vcpu.number(),
                    Errno.EINVAL,
                    String.valueOf(e.getMessage()));
        }
    }

    @Override
    public void unpost() {
        if (table.isPostedToVcpu(index)) {
            table.unpost(index);
        }
    }
}
