/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Whether KVM posts a device interrupt to a vCPU, and if not, why.
 *
 * <p>Source: {@code kvm_pi_update_irte()} in arch/x86/kvm/irq.c, Linux 7.1, and its callers.
 */
public sealed interface PostingDecision {
    /**
     * Hardware posts the interrupt.
     *
     * @param inhibits on Intel, the reasons for which APIC virtualization is inhibited, if any. The entry then stays
     *     posted, and KVM injects the vector at the vCPU's next VM entry
     */
    record Posted(VcpuId vcpu, InterruptVector vector, Set<InhibitReason> inhibits) implements PostingDecision {}

    /** Delivery in software, with the first obstacle, its cause for this interrupt and a remedy. */
    record Unposted(PostingObstacle reason, String detail, String remedy) implements PostingDecision {
        /** Creates the decision with the obstacle's general remedy. */
        public Unposted(PostingObstacle reason, String detail) {
            this(reason, detail, reason.remedy());
        }
    }

    /** Checks the obstacles in the order of {@link PostingObstacle}, and the first that applies decides. */
    static PostingDecision decide(PostingHost host, PostingVm vm, PostingIrq irq) {
        Optional<PostingObstacle> flaw = host.flaw().or(() -> flawOfPath(vm, irq));
        if (flaw.isPresent()) {
            return unposted(flaw.get());
        }
        Optional<MsiMessage> found = irq.message();
        if (found.isEmpty()) {
            return new Unposted(PostingObstacle.NOT_ONE_MESSAGE, "the GSI's routes are " + irq.routes());
        }
        ApicMessage message = ApicMessage.of(
                new CompatibilityMsi(found.get().address(), found.get().data()));
        if (message.isInvalid(vm.apicIds32Bit())) {
            return new Unposted(
                    PostingObstacle.NOT_DECODED,
                    "the address is 0x" + Long.toHexString(found.get().address()));
        }
        if (!message.mode().hasVector()) {
            return new Unposted(PostingObstacle.MODE_NOT_POSTABLE, "the delivery mode is " + message.mode());
        }
        Optional<? extends LocalApic> single = vm.destinations().single(message, host.kernel());
        if (single.isEmpty()) {
            return notOneVcpu(vm, message);
        }
        if (host.vendor() == Vendor.AMD && !irq.unmanagedDomain()) {
            return unposted(PostingObstacle.DOMAIN_NOT_UNMANAGED);
        }
        Set<InhibitReason> inhibits = EnumSet.noneOf(InhibitReason.class);
        inhibits.addAll(vm.inhibits());
        inhibits.addAll(vm.destinations().inhibits(host));
        inhibits.removeIf(reason -> !reason.counts(host.vendor()));
        if (host.vendor() == Vendor.AMD && !inhibits.isEmpty()) {
            return new Unposted(
                    PostingObstacle.INHIBITED,
                    inhibits.stream().map(InhibitReason::cause).collect(Collectors.joining("; ")),
                    inhibits.stream().map(InhibitReason::remedy).collect(Collectors.joining("; ")));
        }
        return new Posted(
                new VcpuId(single.get().vcpuId()), new InterruptVector(message.vector()), Set.copyOf(inhibits));
    }

    private static Unposted unposted(PostingObstacle reason) {
        return new Unposted(reason, reason.text());
    }

    private static Optional<PostingObstacle> flawOfPath(PostingVm vm, PostingIrq irq) {
        if (!vm.lapicsInKernel()) {
            return Optional.of(PostingObstacle.NO_LAPIC_IN_KERNEL);
        }
        if (!irq.producer()) {
            return Optional.of(PostingObstacle.NO_PRODUCER);
        }
        if (!irq.consumer()) {
            return Optional.of(PostingObstacle.NO_CONSUMER);
        }
        return irq.alone() ? Optional.empty() : Optional.of(PostingObstacle.EVENTFD_TAKEN);
    }

    private static Unposted notOneVcpu(PostingVm vm, ApicMessage message) {
        List<? extends LocalApic> all = vm.destinations().meant(message);
        String destination = (message.logical() ? "logical" : "physical") + " destination 0x"
                + Integer.toHexString(message.destination(vm.apicIds32Bit()));
        return all.isEmpty()
                ? new Unposted(
                        PostingObstacle.NOT_ONE_VCPU,
                        destination + " matches no vCPU",
                        "have the guest direct the vector to an existing vCPU")
                : new Unposted(
                        PostingObstacle.NOT_ONE_VCPU,
                        destination + " matches vCPUs "
                                + all.stream()
                                        .map(LocalApic::vcpuId)
                                        .map(String::valueOf)
                                        .collect(Collectors.joining(", ")),
                        "have the guest direct the vector to one of them, as irqbalance does");
    }
}
