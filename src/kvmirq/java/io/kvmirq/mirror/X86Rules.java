/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.LocalApic;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Predicts an interrupt on x86. */
final class X86Rules {
    /** A placeholder vCPU, for a message whose vCPU is unknown. */
    private static final PostingVm STAND_IN = PostingVm.of(List.of(LapicIds.flat(0, 0)), false);

    /** {@link AvicKernel#UP_TO_6_16}. */
    static final Posting WRITTEN_ONCE = new Posting.NotPosted(
            "KVM wrote the entry while AVIC was inhibited, and up to Linux 6.16 does not write it again when the"
                    + " inhibit ends",
            "mask and unmask the interrupt");

    private static final int GA_BITS = 128;

    private X86Rules() {}

    static Verdict of(MirrorHost.X86 host, State state, Optional<Posting> obstacle, PostingIrq irq) {
        Optional<ApicMessage> message = message(irq);
        boolean logical = message.filter(ApicMessage::logical).isPresent();
        PostingVm vm = state.vm(logical);
        Optional<Integer> destination = message.filter(found -> !found.logical())
                .map(found -> found.destination(vm.apicIds32Bit()))
                .filter(found ->
                        found >= 0 && (found != ApicMessage.BROADCAST || !state.lapics.quirk()) && found <= VcpuId.MAX);
        boolean known = message.isEmpty() || !state.lapics.vcpus().isEmpty() && (!logical || state.lapics.isSampled());
        PostingDecision decision = known
                ? PostingDecision.of(host.host(), vm, irq)
                : PostingDecision.of(host.host(), standIn(host.host(), vm), named(irq));
        Optional<VcpuId> vcpu = known ? single(host.host(), vm, message) : destination.map(VcpuId::new);
        long aim = destination.map(Integer::longValue).orElse(logical ? Verdict.LOGICAL : Verdict.ANY);
        if (decision instanceof PostingDecision.Unposted unposted) {
            boolean listed = unposted.reason() == PostingObstacle.INHIBITED && obstacle.isEmpty();
            Optional<PredictedIrte> entry = irq.producer() && unposted.reason() != PostingObstacle.NO_REMAPPING
                    ? Optional.of(remapped(host))
                    : Optional.empty();
            return new Verdict(notPosted(unposted), listed ? vcpu : Optional.empty(), entry, Optional.empty(), aim);
        }
        if (vcpu.isEmpty()) {
            return Verdict.of(new Posting.Unknown(unknown(message.get())), aim);
        }
        if (obstacle.isPresent()) {
            return new Verdict(obstacle.get(), Optional.empty(), Optional.of(remapped(host)), Optional.empty(), aim);
        }
        PostingDecision.Posted posted = (PostingDecision.Posted) decision;
        PredictedIrte irte = host.host().vendor() == Vendor.INTEL
                ? new PredictedIrte.VtdPosted(vcpu.get(), posted.vector())
                : running(
                        new PredictedIrte.AmdGuest(
                                vcpu.get(), posted.vector(), Optional.empty(), Optional.empty(), OptionalInt.empty()),
                        host.avic(),
                        state.runs.get(vcpu.get()));
        return new Verdict(
                new Posting.Posted(new Posting.ToVcpu(vcpu.get(), posted.vector()), note(posted, logical)),
                vcpu,
                Optional.of(irte),
                Optional.empty(),
                aim);
    }

    private static Optional<ApicMessage> message(PostingIrq irq) {
        return irq.routes().size() == 1 && irq.routes().get(0) instanceof Route.Msi msi
                ? Optional.of(ApicMessage.of(new CompatibilityMsi(
                        msi.message().address(), msi.message().data())))
                : Optional.empty();
    }

    private static Optional<VcpuId> single(PostingHost host, PostingVm vm, Optional<ApicMessage> message) {
        Optional<? extends LocalApic> single =
                message.flatMap(found -> vm.destinations().single(found, host.kernel()));
        return single.map(lapic -> new VcpuId(lapic.vcpuId()));
    }

    private static PostingVm standIn(PostingHost host, PostingVm vm) {
        Set<InhibitReason> inhibits = vm.destinations().inhibits(host);
        inhibits.addAll(vm.inhibits());
        return new PostingVm(vm.lapicsInKernel(), vm.apicIds32Bit(), STAND_IN.destinations(), inhibits);
    }

    /** The same interrupt, addressed to the vCPU of {@link #STAND_IN}. */
    private static PostingIrq named(PostingIrq irq) {
        Route.Msi route = (Route.Msi) irq.routes().get(0);
        long address = CompatibilityMsi.LOGICAL.put(
                CompatibilityMsi.DESTINATION_LOW.put(
                        CompatibilityMsi.DESTINATION_HIGH.put(route.message().address(), 0), 0),
                0);
        Route.Msi named = new Route.Msi(
                route.gsi(), new MsiMessage(address, route.message().data()));
        return new PostingIrq(irq.producer(), irq.consumer(), irq.alone(), List.of(named), irq.unmanagedDomain());
    }

    private static Posting notPosted(PostingDecision.Unposted unposted) {
        PostingObstacle row = unposted.reason();
        String reason = unposted.detail().equals(row.text()) ? row.text() : row.text() + ": " + unposted.detail();
        return new Posting.NotPosted(reason, unposted.remedy());
    }

    private static String unknown(ApicMessage message) {
        String destination = "destination 0x" + Integer.toHexString(message.destination32());
        return message.logical()
                ? "logical " + destination + " is an id that the guest gives its LAPICs"
                : "no vCPU of the VM is known, and " + destination + " need not be the number of one";
    }

    private static Optional<String> note(PostingDecision.Posted posted, boolean logical) {
        List<String> notes = new ArrayList<>();
        if (!posted.inhibits().isEmpty()) {
            notes.add("software takes the vector to the guest at the next entry, since "
                    + posted.inhibits().stream()
                            .sorted()
                            .map(InhibitReason::cause)
                            .collect(Collectors.joining("; ")));
        }
        if (logical) {
            notes.add("the guest's LAPICs had this logical destination when they were sampled");
        }
        return notes.isEmpty() ? Optional.empty() : Optional.of(String.join("; ", notes));
    }

    private static PredictedIrte remapped(MirrorHost.X86 host) {
        return host.host().vendor() == Vendor.INTEL
                ? new PredictedIrte.VtdRemapped()
                : new PredictedIrte.AmdRemapped(
                        host.host().features().contains(Feature.POSTING_UNITS)
                                ? OptionalInt.of(GA_BITS)
                                : OptionalInt.empty());
    }

    /** The entry after a step of its vCPU's schedule. Source: {@code avic_vcpu_load}, {@code avic_vcpu_put}. */
    static PredictedIrte.AmdGuest running(
            PredictedIrte.AmdGuest entry, Optional<AvicKernel> kernel, @Nullable VcpuRun run) {
        VcpuStage stage = run == null ? new VcpuStage.InRun() : run.stage();
        boolean known = !(stage instanceof VcpuStage.InRun);
        OptionalInt cpu = stage instanceof VcpuStage.Loaded loaded ? OptionalInt.of(loaded.cpu()) : OptionalInt.empty();
        return new PredictedIrte.AmdGuest(
                entry.vcpu(),
                entry.vector(),
                known ? Optional.of(cpu.isPresent()) : Optional.empty(),
                stage instanceof VcpuStage.Blocked ? Optional.of(true) : logs(kernel, known),
                cpu);
    }

    /** Whether entries of a vCPU have GALogIntr set; {@code known}: whether the vCPU is known not to block. */
    private static Optional<Boolean> logs(Optional<AvicKernel> kernel, boolean known) {
        return kernel.filter(kvm -> kvm == AvicKernel.UP_TO_6_16 || known).map(kvm -> kvm == AvicKernel.UP_TO_6_16);
    }
}
