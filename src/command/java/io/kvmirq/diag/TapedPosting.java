/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.Route;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.diag.Claim.Question;
import io.kvmirq.diag.TapedVmm.Feed;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.vfio.IrqKind;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/** Whether an interrupt of a taped VMM is posted, from its tape and the facts of a host. Immutable. */
final class TapedPosting {
    private final TapedVmm vmm;
    private final HostFacts host;

    TapedPosting(TapedVmm vmm, HostFacts host) {
        this.vmm = vmm;
        this.host = host;
    }

    /** Of a chain that is not broken; of a broken one, posting is not the question. */
    List<Claim> claims(IrqKind kind, Feed feed) {
        Claim eligible = vmm.x86 ? eligible(kind, feed) : ofArm(kind, feed);
        boolean cannot = eligible.holds().filter(holds -> !holds).isPresent();
        if (cannot) {
            Evidence rules = Evidence.predicted("only an interrupt that is eligible is posted");
            return List.of(eligible, Claim.of(Question.DELIVERED, false, rules, "software delivers it"));
        }
        String running = "run kvmirq explain while the VMM runs";
        return List.of(
                eligible,
                Claim.unknown(
                        Question.REQUESTED,
                        vmm.x86
                                ? "KVM asks the IOMMU itself, with no call of the VMM"
                                : "KVM asks the host's ITS itself, with no call of the VMM",
                        vmm.x86 ? "watch the tracepoint kvm_pi_irte_update" : "vgic-state of the VM in debugfs"),
                Claim.unknown(
                        Question.FORM,
                        vmm.x86 ? "no tape shows the IOMMU's entry" : "no tape shows whether an LPI is a vLPI",
                        running),
                Claim.unknown(Question.DELIVERED, "no tape shows delivery by hardware", running));
    }

    private boolean isAlone(Feed feed) {
        return vmm.signallers(feed.eventfd()) == 1 && vmm.feeds(feed.eventfd()).size() <= 1;
    }

    private List<Route> routes(Feed feed) {
        return Objects.requireNonNull(vmm.vm(feed.vm()).routes.get(feed.gsi())).routes();
    }

    /** Of an event whose route is whole. Whether the guest has mapped it is on no tape. */
    private Claim ofArm(IrqKind kind, Feed feed) {
        List<Route> routes = routes(feed);
        PostingOutlook outlook = PostingOutlook.of(host);
        if (!host.isArm()) {
            return Claim.unknown(
                    Question.ELIGIBLE,
                    "the tape is of arm64, and the host is not",
                    "kvmirq explain --tape FILE --from CAPTURE, with a capture of the host");
        }
        if (outlook.posts().filter(posts -> !posts).isPresent()) {
            return not(outlook.text(), outlook.remedy().orElse("none")).byHost();
        }
        if (kind == IrqKind.INTX) {
            return not(PostingObstacle.NO_PRODUCER.text(), PostingObstacle.NO_PRODUCER.remedy())
                    .byHost();
        }
        if (!isAlone(feed)) {
            return not(PostingObstacle.EVENTFD_TAKEN.text(), PostingObstacle.EVENTFD_TAKEN.remedy());
        }
        if (routes.size() != 1 || !(routes.get(0) instanceof Route.Msi message)) {
            return not(PostingObstacle.NOT_ONE_MESSAGE.text(), PostingObstacle.NOT_ONE_MESSAGE.remedy());
        }
        if (host.posting().vlpiKernel().equals(Optional.of(VlpiKernel.BY_HOST_IRQ))
                && vmm.isTakenBefore(feed, message.message())) {
            return not(VlpiObstacle.TAKEN.text(), VlpiObstacle.TAKEN.remedy());
        }
        return Claim.unknown(
                Question.ELIGIBLE,
                "host and VMM may, as far as the tape shows; whether the guest had mapped the event when the irqfd was"
                        + " assigned is not on it",
                "vgic-state of the VM in debugfs shows its vLPIs (H=1)");
    }

    private static Claim not(String text, String remedy) {
        return Claim.not(
                Question.ELIGIBLE,
                Evidence.predicted("the kernel's rules, applied to the tape and the host"),
                text,
                remedy);
    }

    private Claim eligible(IrqKind kind, Feed feed) {
        TapedMachine vm = vmm.vm(feed.vm());
        List<Route> routes = routes(feed);
        PostingIrq irq = new PostingIrq(kind != IrqKind.INTX, true, isAlone(feed), routes, true);
        boolean needsLogical = routes.size() == 1
                && routes.get(0) instanceof Route.Msi msi
                && vm.vcpus.size() > 1
                && CompatibilityMsi.LOGICAL.isSet(msi.message().address());
        Set<InhibitReason> inhibits = vm.pitReinjects ? Set.of(InhibitReason.PIT_REINJ) : Set.of();
        PostingVm posting = new PostingVm(vm.lapics, vm.apicIds32Bit, vm.destinations(), inhibits);
        Optional<PostingHost> known = host.posting().host();
        // Without a host: of the one that hides nothing, for what the tape alone decides.
        PostingHost here = known.orElseGet(() -> PostingHost.of(Vendor.INTEL));
        PostingDecision decision = PostingDecision.of(here, posting, irq);
        if (decision instanceof PostingDecision.Unposted unposted
                && !(needsLogical && unposted.reason() == PostingObstacle.NOT_ONE_VCPU)) {
            Claim claim = Claim.not(
                    Question.ELIGIBLE,
                    Evidence.predicted(
                            unposted.reason() == PostingObstacle.INHIBITED
                                    ? "the tape has KVM_CREATE_PIT2, and no KVM_REINJECT_CONTROL that ends it"
                                    : "the kernel's rules, applied to the tape and the host"),
                    unposted.reason().text()
                            + (unposted.detail().equals(unposted.reason().text()) ? "" : ": " + unposted.detail()),
                    unposted.reason().remedy());
            return unposted.reason().isOfHost() || kind == IrqKind.INTX ? claim.byHost() : claim;
        }
        if (known.isEmpty()) {
            return Claim.unknown(
                    Question.ELIGIBLE,
                    "the VM may, as far as its tape shows; of the host: "
                            + String.join("; ", host.posting().unreadable()),
                    "kvmirq explain --tape FILE --from CAPTURE, with a capture of the host");
        }
        if (needsLogical) {
            return Claim.unknown(
                    Question.ELIGIBLE,
                    "the host may; whether the message means one vCPU depends on logical ids, which the guest sets",
                    "/proc/irq/N/effective_affinity in the guest");
        }
        return Claim.of(
                Question.ELIGIBLE,
                true,
                Evidence.predicted(
                        "the kernel's rules, applied to the tape and the host; a guest may still inhibit AVIC"),
                "host and VM may post to " + ((PostingDecision.Posted) decision).vcpu());
    }
}
