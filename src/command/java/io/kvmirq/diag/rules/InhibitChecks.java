/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.sources.VmmOptions;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcesses;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.path.Remedy.Takes;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * The reasons that inhibit AVIC in running VMs, inferred from the command lines of their VMMs. The kernel shows them
 * only by a tracepoint.
 *
 * <p>Source: {@code enum kvm_apicv_inhibit}; {@link VmmOptions} for the command lines.
 */
public final class InhibitChecks {
    private static final String TRACEPOINT =
            "before the VM starts, enable the tracepoint kvm:kvm_apicv_inhibit_changed, which shows when each reason"
                    + " begins and ends";

    private static final EnumSet<InhibitReason> BY_COMMAND_LINE = EnumSet.of(
            InhibitReason.DISABLED,
            InhibitReason.ABSENT,
            InhibitReason.PIT_REINJ,
            InhibitReason.SEV,
            InhibitReason.PHYSICAL_ID_TOO_BIG);

    private InhibitChecks() {}

    public static Finding avicInhibits(HostFacts host) {
        Optional<PostingHost> posting = host.posting().host();
        boolean other = host.isArm() || host.kvm().hasFlag("vmx");
        if (posting.isEmpty() && !other) {
            return Finding.unknown(
                    Check.AVIC_INHIBITS,
                    "posting-not-known",
                    "it is not known whether KVM uses AVIC",
                    "see the check posting");
        }
        if (posting.isEmpty() || posting.get().vendor() != Vendor.AMD) {
            return Finding.pass(
                    Check.AVIC_INHIBITS,
                    "not-amd",
                    "nothing to check: only on AMD does KVM stop posting when a VM inhibits APIC virtualization");
        }
        Finding finding = finding(host, posting.get());
        if (posting.get().flaw().isPresent()) {
            return finding.status() == Status.WARN
                    ? finding.whose(
                            "later", "posting is off on this host (see posting); once it is on, " + finding.text())
                    : Finding.pass(
                            Check.AVIC_INHIBITS,
                            "not-posted-anyway",
                            "nothing to check: posting is off on this host for another reason (see posting)");
        }
        VmProcesses vms = host.vms();
        if (vms.unreadable() > 0) {
            finding = finding.with(Remedy.look(host.sight().toSeeProcesses() + " (unreadable processes of other users: "
                            + vms.unreadable() + ")"))
                    .withRoot(!host.sight().seesEveryUser());
        }
        return finding.with("vms", (long) vms.all().size()).with("unreadableProcesses", (long) vms.unreadable());
    }

    private static Finding finding(HostFacts host, PostingHost posting) {
        List<VmProcess> vms = host.vms().all();
        List<String> inhibited = new ArrayList<>();
        List<String> possible = new ArrayList<>();
        List<String> inferred = new ArrayList<>();
        Map<InhibitReason, Remedy> remedies = new LinkedHashMap<>();
        for (VmProcess vm : vms) {
            for (VmmOptions.Inhibit inhibit :
                    VmmOptions.inhibits(vm, posting, host.kvm().nests().orElse(false), host.kernel())) {
                String condition =
                        inhibit.condition().map(found -> ", " + found).orElse("");
                (inhibit.isCertain() ? inhibited : possible)
                        .add(vm.name() + " (process " + vm.pid() + "): " + inhibit.name() + condition);
                inferred.add(vm.pid() + ":" + inhibit.name());
                remedies.putIfAbsent(inhibit.reason(), remedy(inhibit));
            }
        }
        if (!remedies.isEmpty()) {
            return Finding.warn(
                            Check.AVIC_INHIBITS,
                            inhibited.isEmpty() ? "may-be-inhibited" : "inhibited",
                            "VMM command lines "
                                    + (inhibited.isEmpty() ? "" : "inhibit AVIC in " + String.join("; ", inhibited))
                                    + (inhibited.isEmpty() || possible.isEmpty() ? "" : "; they ")
                                    + (possible.isEmpty() ? "" : "may inhibit AVIC in " + String.join("; ", possible)))
                    .with("inferred", inferred)
                    .with(List.copyOf(remedies.values()))
                    .with(Remedy.look(TRACEPOINT));
        }
        boolean isArmed = !host.armed().isEmpty();
        if (vms.isEmpty() && !isArmed && host.hidesProcesses().isEmpty()) {
            return Finding.pass(Check.AVIC_INHIBITS, "no-vm", "no VM is running, so nothing inhibits AVIC");
        }
        return Finding.of(
                        Check.AVIC_INHIBITS,
                        Status.UNKNOWN,
                        "not-visible",
                        vms.isEmpty()
                                ? "no VM is visible: "
                                        + host.hidesProcesses()
                                                .map(Known.Unknown::why)
                                                .orElse("VFIO has armed interrupts, but no visible process has a VM")
                                : "no VMM command line inhibits AVIC; these inhibit reasons are not visible in any file: "
                                        + EnumSet.complementOf(BY_COMMAND_LINE).stream()
                                                .map(Finding::name)
                                                .collect(Collectors.joining(", "))
                                        + vms.stream()
                                                .filter(vm ->
                                                        !VmmOptions.parse(vm).known())
                                                .map(vm -> "; it is not known how " + vm.command() + " sets up its VM")
                                                .collect(Collectors.joining()))
                .with(Remedy.look(TRACEPOINT));
    }

    /** The remedy of a reason: another command line of the VMM. */
    static Remedy remedy(VmmOptions.Inhibit inhibit) {
        return remedy(inhibit.reason(), inhibit.remedy());
    }

    static Remedy remedy(InhibitReason reason, String text) {
        boolean helps =
                reason.clears() || reason == InhibitReason.PHYSICAL_ID_TOO_BIG || reason == InhibitReason.DISABLED;
        return Remedy.of(
                Change.VMM_FLAG,
                text,
                helps ? Takes.VMM_RESTART : Takes.NOTHING,
                reason == InhibitReason.PIT_REINJ
                        ? "a guest that counts PIT ticks, such as a very old one, loses time"
                        : "");
    }
}
