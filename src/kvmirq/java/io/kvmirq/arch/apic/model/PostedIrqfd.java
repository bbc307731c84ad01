/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.IrteUpdate;
import java.util.Optional;

/**
 * An irqfd with a producer, whose IRTE is updated when its route changes, as in {@code kvm_pi_update_irte} of Linux 7.1
 * for both vendors. {@link PostingDecision} explains why an interrupt is not posted.
 *
 * <p>Only one thread may use an irqfd at a time. Linux holds {@code kvm->irqfds.lock} instead.
 */
public final class PostedIrqfd {
    private final IrteUpdate irte;
    private final LinuxVersion kernel;
    private Optional<VcpuId> vcpu = Optional.empty();

    /** Creates an irqfd that is not posted. {@code kernel} selects the rules of {@link Destinations#single}. */
    public PostedIrqfd(IrteUpdate irte, LinuxVersion kernel) {
        this.irte = irte;
        this.kernel = kernel;
    }

    /** The vCPU to which the irqfd is posted, {@code irq_bypass_vcpu}. On AMD set even while AVIC is inhibited. */
    public Optional<VcpuId> vcpu() {
        return vcpu;
    }

    /**
     * Posts the irqfd to its route's destination vCPU, or unposts it if the destination is not a single vCPU. Does
     * nothing if the irqfd is not posted and has nothing to be posted to. If {@link IrteUpdate#post} throws
     * KernelException, the irqfd is not posted. {@code route} is empty if the irqfd's GSI has no MSI route.
     */
    public void update(PostingVm vm, Optional<ApicMessage> route) {
        Optional<ApicMessage> message = route.filter(
                found -> !found.isInvalid(vm.apicIds32Bit()) && found.mode().hasVector());
        Optional<? extends LocalApic> single =
                message.flatMap(found -> vm.destinations().single(found, kernel));
        if (single.isPresent()) {
            VcpuId to = new VcpuId(single.get().vcpuId());
            vcpu = Optional.empty();
            irte.post(to, new InterruptVector(message.get().vector()));
            vcpu = Optional.of(to);
        } else {
            unpost();
        }
    }

    /** Ends posting when the producer or the irqfd is removed. Does nothing if the irqfd is not posted. */
    public void unpost() {
        if (vcpu.isPresent()) {
            vcpu = Optional.empty();
            irte.unpost();
        }
    }
}
