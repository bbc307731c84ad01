/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.diag.Claim.Question;
import io.kvmirq.diag.TapedLog.Step;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.Producer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The mirror's prediction whether an interrupt of a taped VMM is posted on a host. For one thread. */
final class TapedPosting {
    private static final String CAPTURE = "kvmirq explain --tape FILE --from CAPTURE, with a capture of the host";

    private final TapedVmm vmm;
    private final HostFacts host;
    /** The predictions for each VM: a mirror folds the whole tape. */
    private final Map<String, List<PredictedIrq>> predictions = new HashMap<>();

    TapedPosting(TapedVmm vmm, HostFacts host) {
        this.vmm = vmm;
        this.host = host;
    }

    /** The prediction for a chain that is not broken; a broken chain has none. */
    List<Claim> claims(Producer vector, Step irqfd) {
        Claim eligible = eligible(vector, irqfd);
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

    private Claim eligible(Producer vector, Step irqfd) {
        if (!vmm.x86 && !host.isArm()) {
            return Claim.unknown(Question.ELIGIBLE, "the tape is of arm64, and the host is not", CAPTURE);
        }
        Posting posting = predicted(vector, irqfd);
        if (posting instanceof Posting.NotPosted not) {
            Claim claim = Claim.not(Question.ELIGIBLE, Evidence.predicted(rules(not)), not.reason(), not.remedy());
            boolean byHost =
                    PostingOutlook.of(host).posts().filter(posts -> !posts).isPresent()
                            || !vector.kind().isMessage();
            return byHost ? claim.byHost() : claim;
        }
        if (!vmm.x86) {
            return Claim.unknown(
                    Question.ELIGIBLE,
                    "host and VMM may, as far as the tape shows; whether the guest had mapped the event when the irqfd was"
                            + " assigned is not on it",
                    "vgic-state of the VM in debugfs shows its vLPIs (H=1)");
        }
        if (host.posting().host().isEmpty()) {
            return Claim.unknown(
                    Question.ELIGIBLE,
                    "the VM may, as far as its tape shows; of the host: "
                            + String.join("; ", host.posting().unreadable()),
                    CAPTURE);
        }
        return vcpu(irqfd, posting)
                .map(vcpu -> Claim.of(
                        Question.ELIGIBLE,
                        true,
                        Evidence.predicted(
                                "the kernel's rules, applied to the tape and the host; a guest may still inhibit AVIC"),
                        "host and VM may post to " + vcpu))
                .orElseGet(() -> Claim.unknown(
                        Question.ELIGIBLE,
                        "the host may; whether the message means one vCPU depends on logical ids, which the guest sets",
                        "/proc/irq/N/effective_affinity in the guest"));
    }

    private Posting predicted(Producer vector, Step irqfd) {
        if (irqfd.eventfd().filter(event -> vmm.log.irqfds(event).size() > 1).isPresent()) {
            return row(PostingObstacle.EVENTFD_TAKEN.text(), PostingObstacle.EVENTFD_TAKEN.remedy());
        }
        if (host.posting().vlpiKernel().equals(Optional.of(VlpiKernel.BY_HOST_IRQ)) && !vmm.x86 && isTaken(irqfd)) {
            return row(VlpiObstacle.TAKEN.text(), VlpiObstacle.TAKEN.remedy());
        }
        return predictions.computeIfAbsent(irqfd.vm(), this::predictions).stream()
                .filter(irq -> irq.producer().equals(Optional.of(vector)))
                .findFirst()
                .orElseThrow()
                .posting();
    }

    /** Without facts of a host: those of a host without obstacles, for decisions that depend only on the tape. */
    private List<PredictedIrq> predictions(String vm) {
        MirrorHost facts = vmm.x86 && host.posting().host().isEmpty()
                ? MirrorHost.x86(PostingHost.of(Vendor.INTEL))
                : host.posting().forMirror(!vmm.x86);
        return vmm.log.mirror(vm, facts).now().irqs();
    }

    private static Posting row(String text, String remedy) {
        return new Posting.NotPosted(text, remedy);
    }

    private static String rules(Posting.NotPosted not) {
        return not.reason().contains(InhibitReason.PIT_REINJ.cause())
                ? "the tape has KVM_CREATE_PIT2, and no KVM_REINJECT_CONTROL that ends it"
                : "the kernel's rules, applied to the tape and the host";
    }

    /** The one vCPU; a logical message to a VM with one vCPU means that one. */
    private Optional<VcpuId> vcpu(Step irqfd, Posting posting) {
        if (posting instanceof Posting.Posted posted) {
            return posted.what() instanceof Posting.ToVcpu to ? Optional.of(to.vcpu()) : Optional.empty();
        }
        List<VcpuId> vcpus = vmm.log.vcpus(irqfd.vm());
        return vcpus.size() == 1
                        && message(irqfd)
                                .filter(message -> CompatibilityMsi.LOGICAL.isSet(message.address()))
                                .isPresent()
                ? Optional.of(vcpus.get(0))
                : Optional.empty();
    }

    private Optional<MsiMessage> message(Step irqfd) {
        List<Route> routes =
                vmm.log.target(irqfd.vm(), irqfd.gsi()).map(Step::routes).orElse(List.of());
        return routes.size() == 1 && routes.get(0) instanceof Route.Msi msi
                ? Optional.of(msi.message())
                : Optional.empty();
    }

    /** Whether an earlier irqfd of the VM has the same message. */
    private boolean isTaken(Step irqfd) {
        return message(irqfd).isPresent()
                && vmm.log.irqfds(irqfd.vm()).stream()
                        .takeWhile(other -> other.at() < irqfd.at())
                        .anyMatch(other -> message(other).equals(message(irqfd)));
    }
}
