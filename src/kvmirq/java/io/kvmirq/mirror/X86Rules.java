/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.LocalApic;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Predicts an interrupt on x86. */
final class X86Rules {
    /** A VM with a placeholder vCPU, to check the other obstacles of a message whose vCPU is unknown. */
    private static final PostingVm STAND_IN = PostingVm.of(List.of(LapicIds.flat(0, 0)), false);

    /** Applies to {@link AvicKernel#UP_TO_6_16}. */
    static final Posting WRITTEN_ONCE = new Posting.NotPosted(
            "KVM wrote the entry while AVIC was inhibited, and up to Linux 6.16 KVM does not rewrite it when the"
                    + " inhibit ends",
            "mask and unmask the interrupt");

    private static final Posting.Unknown WRITTEN_BETWEEN = new Posting.Unknown(
            "KVM wrote the entry after AVIC's inhibits had changed, and no event shows whether the vCPU had applied the"
                    + " change, on which the entry depends up to Linux 6.16 (mask and unmask the interrupt)");

    private static final Posting TABLE =
            new Posting.Unknown("a vCPU id above 511 inhibits AVIC unless the processor has"
                    + " X2AVIC_EXT, and no file shows whether it has");

    private static final Optional<String> SAMPLED =
            Optional.of("the guest's LAPICs had this logical destination when they were sampled");

    private static final Known<VcpuId> CHOSEN_BY_GUEST =
            new Known.Unknown<>("the guest's interrupt controller chooses the vCPU, not a message");

    private static final int GA_BITS = 128;

    private X86Rules() {}

    /**
     * The prediction for an interrupt from KVM's last write of its entry, which {@code met} records, or without an
     * entry from the current facts.
     *
     * @param irq the interrupt's current facts
     */
    static Prediction predict(MirrorHost.X86 host, State state, EventFdEnds met, PostingIrq irq) {
        long aim = aim(state, irq);
        boolean joined = irq.producer() && irq.consumer() && irq.alone();
        Optional<Written> last = joined ? met.written() : Optional.empty();
        Written.Decision decision = last.map(Written::decision).orElseGet(() -> decide(host, state, irq));
        Optional<Boolean> listed = last.map(Written::listed).orElse(Optional.of(true));
        Posting posting = posting(host, state, decision, listed);
        Known<EntryUpdate> update = last.filter(written -> state.posts)
                .<Known<EntryUpdate>>map(written -> new Known.Predicted<>(update(host, state, irq, written, posting)))
                .orElse(Known.none());
        return new Prediction(
                posting, vcpu(decision, listed), entry(host, state, irq, decision, posting), Known.none(), update, aim);
    }

    /** The vCPU whose list holds the entry. An entry written while AVIC was off may be on no list. */
    private static Known<VcpuId> vcpu(Written.Decision decision, Optional<Boolean> listed) {
        if (decision.target().isEmpty()) {
            return Prediction.without(decision.refusal().orElseThrow());
        }
        if (listed.isEmpty()) {
            return Prediction.without(WRITTEN_BETWEEN);
        }
        return listed.get() ? new Known.Predicted<>(decision.target().get().vcpu()) : Known.none();
    }

    private static Known<PredictedIrte> entry(
            MirrorHost.X86 host, State state, PostingIrq irq, Written.Decision decision, Posting posting) {
        if (posting instanceof Posting.Posted) {
            return new Known.Predicted<>(posted(host, state, decision.target().orElseThrow()));
        }
        return posting instanceof Posting.NotPosted && irq.producer() && decision.remaps()
                ? new Known.Predicted<>(remapped(host))
                : Prediction.without(posting);
    }

    /** @param posting the current prediction from the last write */
    private static EntryUpdate update(MirrorHost.X86 host, State state, PostingIrq irq, Written last, Posting posting) {
        if (last.facts() == state.facts()) {
            return new EntryUpdate(last.moment(), Optional.empty());
        }
        Written.Decision next = decide(host, state, irq);
        Posting later = posting(host, state, next, state.lists(next));
        return new EntryUpdate(last.moment(), later.equals(posting) ? Optional.empty() : Optional.of(later));
    }

    private static PredictedIrte posted(MirrorHost.X86 host, State state, Posting.ToVcpu to) {
        return host.host().vendor() == Vendor.INTEL
                ? new PredictedIrte.VtdPosted(to.vcpu(), to.vector())
                : running(
                        new PredictedIrte.AmdGuest(
                                to.vcpu(), to.vector(), Optional.empty(), Optional.empty(), OptionalInt.empty()),
                        host.avic(),
                        state.runOfEntries(to.vcpu()));
    }

    /**
     * The prediction for an entry. After an AVIC inhibit, the entries on a vCPU's list become remapped at the vCPU's
     * next guest entry, and posted again after the inhibits end ({@code avic_refresh_apicv_exec_ctrl}).
     *
     * @param listed as {@link Written#listed}
     */
    private static Posting posting(
            MirrorHost.X86 host, State state, Written.Decision decision, Optional<Boolean> listed) {
        if (decision.target().isEmpty()) {
            return decision.refusal().orElseThrow();
        }
        Set<InhibitReason> inhibits = state.inhibits();
        if (host.host().vendor() == Vendor.AMD) {
            Optional<Boolean> on = state.isAvicOn(decision.target().get().vcpu());
            boolean never = listed.equals(Optional.of(false));
            if (never && inhibits.isEmpty()) {
                return WRITTEN_ONCE;
            }
            if (never || on.equals(Optional.of(false))) {
                return new Posting.NotPosted(
                        PostingObstacle.INHIBITED.text() + " (" + causes(inhibits) + ")",
                        inhibits.stream().map(InhibitReason::remedy).collect(Collectors.joining("; ")));
            }
            if (state.needsLongTable()) {
                return TABLE;
            }
            if (listed.isEmpty()) {
                return WRITTEN_BETWEEN;
            }
            if (on.isEmpty()) {
                return new Posting.Unknown(
                        (inhibits.isEmpty()
                                        ? "AVIC is no longer inhibited"
                                        : "AVIC is inhibited (" + causes(inhibits) + ")")
                                + ", but KVM updates the IRTE only when the vCPU next enters the guest, and no event has shown that");
            }
        }
        Optional<String> software = inhibits.isEmpty()
                ? Optional.empty()
                : Optional.of("KVM injects the vector at the next VM entry, because " + causes(inhibits));
        String notes =
                Stream.of(software, decision.note()).flatMap(Optional::stream).collect(Collectors.joining("; "));
        return new Posting.Posted(decision.target().get(), notes.isEmpty() ? Optional.empty() : Optional.of(notes));
    }

    private static String causes(Set<InhibitReason> inhibits) {
        return inhibits.stream().map(InhibitReason::cause).collect(Collectors.joining("; "));
    }

    /**
     * A message's destination as KVM resolves it now ({@code kvm_pi_update_irte}). Ignores AVIC inhibits, because the
     * entry follows them later.
     */
    static Written.Decision decide(MirrorHost.X86 host, State state, PostingIrq irq) {
        Optional<ApicMessage> message = message(irq.routes());
        boolean logical = message.filter(ApicMessage::logical).isPresent();
        boolean known = message.isEmpty() || isKnown(state, logical);
        PostingVm vm = known ? state.vm(logical) : state.vm(false).withDestinations(STAND_IN.destinations());
        PostingDecision decision = PostingDecision.decide(host.host(), vm, known ? irq : named(irq));
        boolean remaps = true;
        if (decision instanceof PostingDecision.Unposted unposted) {
            remaps = unposted.reason() != PostingObstacle.NO_REMAPPING;
            if (unposted.reason() != PostingObstacle.INHIBITED) {
                return Written.Decision.of(notPosted(unposted), remaps);
            }
        }
        if (!known) {
            String why = unread(message.get(), state);
            return Written.Decision.of(
                    new Posting.Unknown(logical && state.lapics.isKnown() ? why + " when KVM wrote the entry" : why),
                    remaps);
        }
        LocalApic single =
                vm.destinations().single(message.get(), host.host().kernel()).orElseThrow();
        Posting.ToVcpu to = new Posting.ToVcpu(
                new VcpuId(single.vcpuId()), new InterruptVector(message.get().vector()));
        return new Written.Decision(Optional.of(to), logical ? SAMPLED : Optional.empty(), Optional.empty(), remaps);
    }

    private static boolean isKnown(State state, boolean logical) {
        return logical ? state.lapics.isCurrent() : state.lapics.isKnown();
    }

    /**
     * The only target vCPU of a message that KVM delivers in software. Unlike for an entry, KVM looks it up at each
     * interrupt.
     *
     * @param routes the routes of the irqfd's GSI
     */
    static Known<VcpuId> destination(MirrorHost.X86 host, State state, List<Route> routes) {
        if (routes.isEmpty()) {
            return Prediction.unrouted();
        }
        if (!routes.stream().allMatch(Route.Msi.class::isInstance)) {
            return CHOSEN_BY_GUEST;
        }
        Optional<ApicMessage> message = message(routes);
        if (message.isEmpty()) {
            return Known.none();
        }
        ApicMessage sent = message.get();
        if (!isKnown(state, sent.logical())) {
            return new Known.Unknown<>(unread(sent, state));
        }
        PostingVm vm = state.vm(sent.logical());
        return vm.destinations()
                .mapped(sent, host.host().kernel())
                .filter(lapic -> !sent.isInvalid(vm.apicIds32Bit()))
                .filter(lapic -> !sent.isLowestPriority()
                        || vm.destinations().meant(sent).size() == 1)
                .<Known<VcpuId>>map(lapic -> new Known.Predicted<>(new VcpuId(lapic.vcpuId())))
                .orElse(Known.none());
    }

    private static long aim(State state, PostingIrq irq) {
        Optional<ApicMessage> message = message(irq.routes());
        if (message.isEmpty()) {
            return Prediction.ANY;
        }
        if (message.get().logical()) {
            return Prediction.LOGICAL;
        }
        int destination = message.get().destination(state.vm(false).apicIds32Bit());
        // Without the quirk, 255 is still the broadcast to LAPICs in xAPIC mode.
        boolean single = destination >= 0 && destination <= VcpuId.MAX && destination != ApicMessage.BROADCAST;
        return single ? destination : Prediction.ANY;
    }

    private static Optional<ApicMessage> message(List<Route> routes) {
        return routes.size() == 1 && routes.get(0) instanceof Route.Msi msi
                ? Optional.of(ApicMessage.of(new CompatibilityMsi(
                        msi.message().address(), msi.message().data())))
                : Optional.empty();
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
        String reason = unposted.detail().equals(row.text()) ? row.text() : row.text() + " (" + unposted.detail() + ")";
        return new Posting.NotPosted(reason, unposted.remedy());
    }

    /** The reason why a message's destination is not known. */
    private static String unread(ApicMessage message, State state) {
        String destination = "destination 0x" + Integer.toHexString(message.destination32());
        if (!state.lapics.isKnown()) {
            return "no vCPU of the VM is known, and " + destination + " need not be a vCPU id";
        }
        return "the guest assigns logical " + destination + " to its LAPICs, and not all LAPICs were read";
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
            PredictedIrte.AmdGuest entry, Optional<AvicKernel> kernel, @Nullable VcpuPlace run) {
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

    /** Whether a vCPU's entries have GALogIntr set. {@code known} is true if the vCPU is known not to block. */
    private static Optional<Boolean> logs(Optional<AvicKernel> kernel, boolean known) {
        return kernel.filter(kvm -> kvm == AvicKernel.UP_TO_6_16 || known).map(kvm -> kvm == AvicKernel.UP_TO_6_16);
    }
}
