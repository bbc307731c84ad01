/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.Fact;
import io.kvmirq.host.HostFacts;
import io.kvmirq.host.HostKvm;
import io.kvmirq.host.VfioOutlook;
import io.kvmirq.host.VmProcess;
import io.kvmirq.host.VmProcess.VcpuFile;
import io.kvmirq.host.VmProcesses;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The reasons that inhibit AVIC in running VMs, inferred from the command lines of their VMMs. The kernel shows them
 * only by a tracepoint.
 *
 * <p>Source: {@code enum kvm_apicv_inhibit}; QEMU's hw/i386/kvm/i8254.c (the policy delay, the default, reinjects) and
 * hw/i386/x86-common.c ({@code kernel-irqchip}).
 */
final class InhibitChecks {
    private static final String TRACEPOINT =
            "the tracepoint kvm:kvm_apicv_inhibit_changed shows each reason when it begins and ends; switch it on before"
                    + " the VM starts, as root";

    private final HostFacts host;

    InhibitChecks(HostFacts host) {
        this.host = host;
    }

    Finding avicInhibits() {
        Optional<PostingHost> posting = host.posting();
        boolean other = VfioOutlook.isArm(host) || host.kvm().hasFlag("vmx");
        if (posting.isEmpty() && !other) {
            return Finding.unknown(
                    Check.AVIC_INHIBITS,
                    "posting-not-known",
                    new Fact.Unknown<>("whether KVM uses AVIC is not known", "as for the check posting"));
        }
        if (posting.isEmpty() || posting.get().vendor() != Vendor.AMD) {
            return Finding.of(
                    Check.AVIC_INHIBITS,
                    Status.PASS,
                    "not-amd",
                    "does not apply: only KVM on AMD takes a posted entry back when a VM inhibits APIC virtualization");
        }
        Optional<PostingObstacle> flaw = posting.get().flaw();
        if (flaw.isPresent()) {
            return Finding.of(
                    Check.AVIC_INHIBITS,
                    Status.PASS,
                    "not-posted-anyway",
                    "does not apply: posting is off on this host for another reason, see posting");
        }
        VmProcesses vms = host.vms();
        Finding finding = finding(vms, posting.get());
        if (vms.unreadable() > 0) {
            finding = finding.with(Remedy.look(HostKvm.AS_ROOT
                            + ": processes of other users that do not show whether they hold VMs: " + vms.unreadable()))
                    .withRoot(true);
        }
        return finding.with("vms", (long) vms.all().size()).with("unreadableProcesses", (long) vms.unreadable());
    }

    private static Finding finding(VmProcesses vms, PostingHost posting) {
        List<String> inhibited = new ArrayList<>();
        List<String> inferred = new ArrayList<>();
        List<Remedy> remedies = new ArrayList<>();
        EnumSet<InhibitReason> seen = EnumSet.noneOf(InhibitReason.class);
        StringBuilder strange = new StringBuilder();
        for (VmProcess vm : vms.all()) {
            if (!isQemu(program(vm)) && !reinjects(program(vm))) {
                strange.append("; how ").append(program(vm)).append(" sets up its VM is not known");
            }
            for (InhibitReason reason : reasons(vm, posting)) {
                inhibited.add(vm.name() + " (process " + vm.pid() + "): " + Doctor.id(reason)
                        + (reason == InhibitReason.HYPERV ? ", if the guest uses AutoEOI" : ""));
                inferred.add(vm.pid() + ":" + Doctor.id(reason));
                if (seen.add(reason)) {
                    remedies.add(remedy(reason));
                }
            }
        }
        if (!inhibited.isEmpty()) {
            Finding finding = Finding.of(
                            Check.AVIC_INHIBITS,
                            Status.WARN,
                            "inhibited",
                            "by their VMMs' command lines, AVIC is inhibited in " + String.join("; ", inhibited))
                    .with("inferred", inferred);
            for (Remedy remedy : remedies) {
                finding = finding.with(remedy);
            }
            return finding.with(Remedy.look(TRACEPOINT));
        }
        if (vms.all().isEmpty() && vms.unreadable() == 0) {
            return Finding.of(Check.AVIC_INHIBITS, Status.PASS, "no-vm", "no VM runs: nothing inhibits AVIC");
        }
        return Finding.of(
                        Check.AVIC_INHIBITS,
                        Status.UNKNOWN,
                        "not-visible",
                        vms.all().isEmpty()
                                ? "no VM is visible to this user"
                                : "no command line of a VMM inhibits AVIC; what guests do is not visible: "
                                        + names(EnumSet.complementOf(EnumSet.copyOf(BY_COMMAND_LINE)))
                                        + strange)
                .with(Remedy.look(TRACEPOINT));
    }

    private static final Set<InhibitReason> BY_COMMAND_LINE = Set.of(
            InhibitReason.DISABLED,
            InhibitReason.ABSENT,
            InhibitReason.PIT_REINJ,
            InhibitReason.SEV,
            InhibitReason.PHYSICAL_ID_TOO_BIG);

    private static String names(Set<InhibitReason> reasons) {
        StringBuilder names = new StringBuilder();
        for (InhibitReason reason : reasons) {
            names.append(names.length() == 0 ? "" : ", ").append(Doctor.id(reason));
        }
        return names.toString();
    }

    /** The reasons that the command line of a VMM makes, or, of hv-synic, offers to the guest. */
    static Set<InhibitReason> reasons(VmProcess vm, PostingHost posting) {
        EnumSet<InhibitReason> reasons = EnumSet.noneOf(InhibitReason.class);
        for (VcpuFile vcpu : vm.vcpus()) {
            if (vcpu.id() > posting.highestAvicId()) {
                reasons.add(InhibitReason.PHYSICAL_ID_TOO_BIG);
            }
        }
        String program = program(vm);
        if (isQemu(program)) {
            qemu(vm.arguments(), reasons);
        } else if (reinjects(program)) {
            reasons.add(InhibitReason.PIT_REINJ);
        }
        return reasons;
    }

    private static String program(VmProcess vm) {
        String first = vm.arguments().isEmpty() ? vm.command() : vm.arguments().get(0);
        return first.substring(first.lastIndexOf('/') + 1);
    }

    private static boolean isQemu(String program) {
        return program.startsWith("qemu") || program.equals("kvm");
    }

    /** kvmtool and Firecracker: KVM_CREATE_PIT2 reinjects until KVM_REINJECT_CONTROL, which neither calls, ends it. */
    private static boolean reinjects(String program) {
        return program.equals("lkvm") || program.startsWith("firecracker");
    }

    private static void qemu(List<String> words, Set<InhibitReason> reasons) {
        boolean pit = true;
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            String option = word.startsWith("--") ? word.substring(1) : word;
            String value = i + 1 < words.size() ? words.get(i + 1) : "";
            switch (option) {
                case "-global" -> pit &= !value.equals("kvm-pit.lost_tick_policy=discard");
                case "-no-kvm-pit-reinjection" -> pit = false;
                case "-machine", "-M", "-accel" -> {
                    if (has(value, "kernel-irqchip=split")
                            || has(value, "kernel_irqchip=split")
                            || has(value, "pit=off")) {
                        pit = false;
                    } else if (has(value, "kernel-irqchip=off") || has(value, "kernel_irqchip=off")) {
                        pit = false;
                        reasons.add(InhibitReason.ABSENT);
                    }
                }
                case "-cpu" -> {
                    boolean synic = has(value, "hv-synic") || has(value, "hv_synic") || has(value, "hv-synic=on");
                    boolean hint = has(value, "hv-apicv") || has(value, "hv-avic") || has(value, "hv-apicv=on");
                    if (synic && !hint) {
                        reasons.add(InhibitReason.HYPERV);
                    }
                }
                case "-object" -> {
                    if (value.startsWith("sev-") || value.contains("\"qom-type\":\"sev-")) {
                        reasons.add(InhibitReason.SEV);
                    }
                }
                default -> {}
            }
        }
        if (pit) {
            reasons.add(InhibitReason.PIT_REINJ);
        }
    }

    /** Whether a list separated by commas has an element. */
    private static boolean has(String list, String element) {
        return ("," + list + ",").contains("," + element + ",");
    }

    private static Remedy remedy(InhibitReason reason) {
        return switch (reason) {
            case SEV, PHYSICAL_ID_TOO_BIG ->
                Remedy.of(Change.VMM_FLAG, "none for this VM: " + reason.causeAndRemedy(), Takes.NOTHING, "");
            case PIT_REINJ ->
                Remedy.of(
                        Change.VMM_FLAG,
                        reason.causeAndRemedy()
                                + ", or -machine kernel-irqchip=split; libvirt: <timer name='pit' tickpolicy='discard'/>",
                        Takes.VMM_RESTART,
                        "a guest that counts ticks of the PIT, such as a very old one, loses time");
            default -> Remedy.of(Change.VMM_FLAG, reason.causeAndRemedy(), Takes.VMM_RESTART, "");
        };
    }
}
