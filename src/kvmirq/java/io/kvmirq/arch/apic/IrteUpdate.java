/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;

/**
 * Posts a host irq to a vCPU, as {@code pi_update_irte} does through {@code irq_set_vcpu_affinity}. On VT-d, this only
 * writes the remapping entry. On AMD, it also moves the irqfd to the vCPU's {@code ir_list}.
 */
public interface IrteUpdate {
    /**
     * Posts the host irq to the vCPU with this id. Throws KernelException EINVAL if the entry cannot be posted and
     * ENOSYS if the host irq is not remapped. After an exception the host irq is not posted.
     */
    void post(VcpuId vcpu, InterruptVector vector);

    /** Ends posting, so that the host irq interrupts the host. Does nothing if the host irq is not posted. */
    void unpost();

    /** The update for a host irq that is not remapped, for which {@code irq_set_vcpu_affinity} fails with ENOSYS. */
    static IrteUpdate notRemapped(int hostIrq) {
        return new IrteUpdate() {
            @Override
            public void post(VcpuId vcpu, InterruptVector vector) {
                throw new KernelException(
                        "irq_set_vcpu_affinity",
                        "irq=" + hostIrq + " vcpu=" + vcpu.number(),
                        Errno.ENOSYS,
                        "no unit remaps the host irq");
            }

            @Override
            public void unpost() {}
        };
    }
}
