/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.VmmOptions;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Claim;
import io.kvmirq.path.Claim.Question;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** The four claims about posting a device's interrupts. For one use by one thread. */
public final class PostingClaims {
    private static final String DELTA =
            "compare the guest's count in /proc/interrupts with the host irq's over time; if only the guest's grows,"
                    + " hardware delivers";

    private static final Evidence BY_ENTRY = Evidence.inferred("the entry is posted, and only KVM requests that");

    private final boolean arm;
    private final HostFacts host;
    private final PciDevice device;
    private final KernelPaths memory;
    private final FormClaims forms;
    private final Claim ofHost;
    private final Optional<VmProcess> process;
    private final Optional<PostingHost> x86;
    private final Optional<VmmOptions> options;
    private final List<VmmOptions.Inhibit> inhibits;

    public PostingClaims(
            HostFacts host,
            PciDevice device,
            Optional<VmProcess> process,
            Optional<VmmOptions> options,
            KernelPaths memory) {
        this.host = host;
        this.device = device;
        this.process = process;
        this.arm = host.isArm();
        this.x86 = arm ? Optional.empty() : host.posting().host();
        this.options = options;
        this.inhibits = process.stream()
                .flatMap(vmm -> x86.stream()
                        .flatMap(on ->
                                VmmOptions.inhibits(vmm, on, host.kvm().nests().orElse(false), host.kernel()).stream()))
                .toList();
        this.memory = memory;
        this.forms = new FormClaims(host, device, process, memory);
        this.ofHost = ofHost();
    }

    /** The form of entries. */
    public FormClaims forms() {
        return forms;
    }

    /** Claims about a device without interrupts. */
    public List<Claim> ofDevice() {
        return List.of(ofHost);
    }

    /**
     * @param broken whether the chain has a broken link
     * @param count how often the host handled it, whichever driver did. Empty if its irq is not seen
     */
    public List<Claim> of(SeenInterrupt interrupt, boolean broken, OptionalLong count) {
        Claim expected = eligible(interrupt);
        boolean cannot = expected.holds().filter(holds -> !holds).isPresent();
        Claim seen = interrupt.isLine() || cannot && ofHost.holds().isPresent() && !hasRemapping()
                ? Claim.of(
                        Question.FORM,
                        false,
                        Evidence.predicted("only remapped MSIs have an IRTE that can post"),
                        "no IRTE exists that could post it")
                : forms.of(interrupt);
        boolean could = process.isPresent() && ofHost.holds().orElse(false) && !interrupt.isLine();
        Claim form = could ? unposted(seen, host.posting().vendor()) : seen.byHost();
        boolean isPosted = form.holds().orElse(false);
        boolean isSeen = form.evidence()
                .filter(evidence -> evidence.kind() == Evidence.Kind.OBSERVED)
                .isPresent();
        Claim eligible = isPosted && isSeen && cannot ? despite(expected, form) : expected;
        boolean goesThroughHost = !isPosted && (cannot || broken || form.holds().isPresent());
        Claim requested = isPosted && isSeen
                ? Claim.of(Question.REQUESTED, true, BY_ENTRY, "KVM requested posting")
                : requested(eligible, interrupt);
        return List.of(eligible, requested, form, delivered(count, goesThroughHost, isPosted && isSeen));
    }

    /** A visible entry overrides what other facts say: a monitor may have changed the VM, or a file is of another boot. */
    private static Claim despite(Claim expected, Claim form) {
        String other = expected.evidence()
                .filter(evidence -> evidence.kind() == Evidence.Kind.INFERRED)
                .map(evidence -> "the command line suggests otherwise (" + evidence.from() + ")")
                .orElse("other facts suggest otherwise (" + expected.text() + ")");
        return Claim.of(Question.ELIGIBLE, true, form.evidence().orElseThrow(), "the entry is posted, but " + other);
    }

    private boolean hasRemapping() {
        return arm
                || x86.filter(host -> host.features().contains(PostingHost.Feature.REMAPPING))
                        .isPresent();
    }

    // Eligible

    /** The claim about host and hardware, independent of a VM. */
    private Claim ofHost() {
        if (arm) {
            PostingOutlook outlook = PostingOutlook.fromHost(host);
            String remedy = outlook.remedy().orElse("none");
            return outlook.posts()
                    .map(posts -> posts
                            ? Claim.of(Question.ELIGIBLE, true, Evidence.observed("/proc/interrupts"), outlook.text())
                            : Claim.of(
                                            Question.ELIGIBLE,
                                            false,
                                            Evidence.observed("/proc/cmdline and /proc/interrupts"),
                                            outlook.text())
                                    .with(List.of(Remedy.look(remedy)))
                                    .byHost())
                    .orElseGet(() -> Claim.unknown(Question.ELIGIBLE, outlook.text(), remedy));
        }
        if (x86.isEmpty()) {
            return Claim.unknown(
                    Question.ELIGIBLE, String.join("; ", host.posting().unreadable()), "make these files readable");
        }
        Optional<PostingObstacle> flaw = x86.get().flaw();
        // As the doctor says it.
        return flaw.map(obstacle -> Claim.of(
                                Question.ELIGIBLE,
                                false,
                                Evidence.observed(files(obstacle)),
                                host.posting().flaw().orElseThrow())
                        .with(IommuRules.forPosting(host))
                        .byHost())
                .orElseGet(() -> Claim.of(
                        Question.ELIGIBLE,
                        true,
                        Evidence.observed("the modules' parameters and /sys/class/iommu"),
                        "this host supports posting"));
    }

    /** The files that show an obstacle of a host. */
    private static String files(PostingObstacle flaw) {
        return switch (flaw) {
            case NO_REMAPPING -> "/proc/interrupts and /proc/cmdline";
            case SWITCHED_OFF -> "/proc/cmdline";
            case UNIT_CANNOT_POST -> "/sys/class/iommu/dmar*/intel-iommu/cap and /proc/cpuinfo";
            case NO_VIRTUAL_APIC -> "/sys/class/iommu/ivhd*/amd-iommu/features and /proc/cmdline";
            default -> "the parameters in /sys/module/kvm_intel or kvm_amd";
        };
    }

    private static Claim obstacle(PostingObstacle obstacle, String text, Evidence evidence) {
        return Claim.of(Question.ELIGIBLE, false, evidence, text).with(List.of(ofVm(obstacle)));
    }

    /** The remedy of an obstacle of a VM: another command line of the VMM. */
    static Remedy ofVm(PostingObstacle obstacle) {
        return obstacle == PostingObstacle.NO_PRODUCER
                ? Remedy.look(obstacle.remedy())
                : Remedy.of(Change.VMM_FLAG, obstacle.remedy());
    }

    private Claim eligible(SeenInterrupt interrupt) {
        if (ofHost.holds().filter(holds -> !holds).isPresent()) {
            return ofHost;
        }
        if (interrupt.isLine()) {
            PostingObstacle line = PostingObstacle.NO_PRODUCER;
            return obstacle(line, "no driver registers INTx with irqbypass", Evidence.observed(line.seen()))
                    .byHost();
        }
        if (process.isEmpty() || ofHost.holds().isEmpty()) {
            return ofHost.holds().isEmpty()
                    ? ofHost
                    : Claim.unknown(
                            Question.ELIGIBLE,
                            ofHost.text() + ", but no visible VM uses the device",
                            host.hidesProcesses().map(Known.Unknown::remedy).orElse("start the guest"));
        }
        return arm ? ofGic(process.get()) : ofLapics(process.get(), interrupt);
    }

    private Claim ofGic(VmProcess process) {
        VlpiObstacle none = VlpiObstacle.NO_ITS;
        return process.kvmDevices().contains("kvm-arm-vgic-its")
                ? ofHost
                : Claim.of(
                                Question.ELIGIBLE,
                                false,
                                Evidence.observed("/proc/" + process.pid() + "/fd has no kvm-arm-vgic-its"),
                                none.text())
                        .with(List.of(Remedy.of(
                                Change.VMM_FLAG, "give the VM an ITS (QEMU: -machine virt,gic-version=3,its=on)")));
    }

    private Claim ofLapics(VmProcess holder, SeenInterrupt interrupt) {
        PostingHost posting = x86.orElseThrow();
        VmmOptions vmm = options.orElseThrow();
        if (vmm.noLapics().isPresent()) {
            VmmOptions.Inhibit none = vmm.noLapics().get();
            return Claim.of(
                            Question.ELIGIBLE,
                            false,
                            Evidence.inferred(none.why()),
                            PostingObstacle.NO_LAPIC_IN_KERNEL.text())
                    .with(List.of(InhibitChecks.remedy(none)));
        }
        Optional<String> userspace =
                vmm.noIrqfd(device.address(), interrupt.id().kind().orElseThrow());
        if (userspace.isPresent()) {
            PostingObstacle none = PostingObstacle.NO_CONSUMER;
            return obstacle(none, none.text(), Evidence.inferred(userspace.get()));
        }
        if (posting.vendor() == Vendor.INTEL) {
            return Claim.of(
                    Question.ELIGIBLE,
                    true,
                    Evidence.predicted("no host setting prevents it"),
                    ofHost.text() + ", and no obstacle is visible in the VM");
        }
        return interrupt
                .armed()
                .flatMap(vector -> memory.path(vector.irq()).known())
                .flatMap(path -> path.inhibits().known())
                .map(this::ofMemory)
                .orElseGet(() -> ofAvic(holder, vmm));
    }

    /** The claim from the VM's inhibit reasons in kernel memory, by the names of the kernel. */
    private Claim ofMemory(List<String> all) {
        // One ends when the guest takes an interrupt.
        List<String> reasons = all.stream()
                .filter(reason -> !reason.equals(InhibitReason.IRQWIN.name()))
                .toList();
        Evidence evidence = Evidence.observed("kernel memory, kvm_arch.apicv_inhibit_reasons");
        if (reasons.isEmpty()) {
            return Claim.of(Question.ELIGIBLE, true, evidence, ofHost.text() + ", and nothing inhibits AVIC in the VM");
        }
        List<InhibitReason> known = Arrays.stream(InhibitReason.values())
                .filter(reason -> reasons.contains(reason.name()))
                .toList();
        String causes = known.stream().map(InhibitReason::cause).collect(Collectors.joining("; "));
        return Claim.of(
                        Question.ELIGIBLE,
                        false,
                        evidence,
                        "AVIC is inhibited (" + String.join(", ", reasons) + ") and the entry stays remapped"
                                + (causes.isEmpty() ? "" : " because " + causes))
                .with(known.stream()
                        .map(reason -> InhibitChecks.remedy(reason, reason.remedy()))
                        .toList());
    }

    /** The reasons that inhibit AVIC in a VM of a host that cannot post: they would prevent posting next. */
    public Optional<String> behindTheHost() {
        List<VmmOptions.Inhibit> inhibits =
                x86.filter(host -> host.vendor() == Vendor.AMD && host.flaw().isPresent())
                                .isPresent()
                        ? inhibits(VmmOptions.Inhibit::isCertain)
                        : List.of();
        return inhibits.isEmpty()
                ? Optional.empty()
                : Optional.of("on a host that posts, AVIC would be inhibited for this VM: "
                        + inhibits.stream()
                                .map(inhibit -> inhibit.why() + "; to change that, " + inhibit.remedy())
                                .collect(Collectors.joining("; ")));
    }

    private List<VmmOptions.Inhibit> inhibits(Predicate<VmmOptions.Inhibit> which) {
        return inhibits.stream().filter(which).toList();
    }

    private Claim ofAvic(VmProcess holder, VmmOptions vmm) {
        List<VmmOptions.Inhibit> inhibits = inhibits(VmmOptions.Inhibit::isCertain);
        if (!inhibits.isEmpty()) {
            return Claim.of(
                            Question.ELIGIBLE,
                            false,
                            Evidence.inferred(inhibits.stream()
                                    .map(VmmOptions.Inhibit::why)
                                    .collect(Collectors.joining("; "))),
                            "AVIC is inhibited for this VM because "
                                    + inhibits.stream()
                                            .map(VmmOptions.Inhibit::cause)
                                            .collect(Collectors.joining("; ")))
                    .with(inhibits.stream().map(InhibitChecks::remedy).toList());
        }
        Optional<VmmOptions.Inhibit> possible =
                inhibits(inhibit -> !inhibit.isCertain()).stream().findFirst();
        if (possible.isPresent()) {
            return new Claim(
                    Question.ELIGIBLE,
                    Optional.empty(),
                    Optional.empty(),
                    ofHost.text() + ", and " + possible.get().why() + ", so AVIC is inhibited "
                            + possible.get().condition().orElse("") + ", which no file shows",
                    List.of(
                            InhibitChecks.remedy(possible.get()),
                            Remedy.look("watch the tracepoint kvm_apicv_inhibit_changed")),
                    false);
        }
        return vmm.known()
                ? Claim.of(
                        Question.ELIGIBLE,
                        true,
                        Evidence.predicted("no host or VMM setting prevents it, but a guest may still inhibit AVIC"),
                        ofHost.text() + ", and the VMM's command line does not inhibit AVIC")
                : Claim.unknown(
                        Question.ELIGIBLE,
                        ofHost.text()
                                + ", but it is not known whether '" + holder.command()
                                + "' inhibits AVIC, as an in-kernel PIT does",
                        GuestRules.byVmmAfter("watch the tracepoint kvm_apicv_inhibit_changed"));
    }

    // Form

    /**
     * Adds a remedy if an interrupt is not posted that this host can post. Returns any other claim as it is.
     *
     * @param vendor empty on arm64
     */
    public static Claim unposted(Claim form, Optional<Vendor> vendor) {
        if (form.never() || form.holds().orElse(true)) {
            return form;
        }
        String remedy = vendor.map(found -> PostingObstacle.NOT_ONE_VCPU.remedy() + ", and not mask it"
                        + (found == Vendor.AMD
                                ? "; check whether AVIC is inhibited by "
                                        + "the last inhibits= of the tracepoint kvm_apicv_inhibit_changed"
                                : ""))
                .orElse("have the guest map the device's event in its ITS");
        return Claim.of(form.question(), false, form.evidence().orElseThrow(), form.text())
                .with(List.of(Remedy.look(remedy)));
    }

    // Requested

    private Claim requested(Claim eligible, SeenInterrupt interrupt) {
        boolean never = ofHost.holds().filter(holds -> !holds).isPresent() || interrupt.isLine();
        if (never && eligible.holds().isPresent()) {
            return Claim.of(
                    Question.REQUESTED,
                    false,
                    Evidence.predicted("KVM requests posting only for interrupts that can be posted"),
                    "KVM does not request posting");
        }
        return Claim.unknown(
                Question.REQUESTED,
                "no file shows whether KVM requested posting for it",
                arm ? GuestRules.BY_VMM : GuestRules.byVmmAfter("watch the tracepoint kvm_pi_irte_update"));
    }

    // Delivered

    private static Claim delivered(OptionalLong count, boolean goesThroughHost, boolean isPosted) {
        String handled = count.isPresent()
                ? "the host handled it " + count.getAsLong() + (count.getAsLong() == 1 ? " time" : " times")
                : "its host irq is not visible";
        if (goesThroughHost) {
            return Claim.of(
                    Question.DELIVERED,
                    false,
                    Evidence.predicted("an interrupt that is not posted goes through the host"),
                    handled);
        }
        return Claim.unknown(
                Question.DELIVERED,
                handled
                        + (isPosted && count.orElse(0) > 0 ? " while it was not posted" : "")
                        + (count.orElse(1) == 0 ? ", which does not prove delivery by hardware" : ""),
                DELTA);
    }
}
