/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.broken;
import static io.kvmirq.diag.rules.Rule.doubt;
import static io.kvmirq.diag.rules.Rule.note;

import io.kvmirq.backend.HostFiles.Access;
import io.kvmirq.backend.HostFiles.Owner;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** The rules of KVM itself: its file, its irqchips, and whether its host is a guest. */
public final class KvmRules {
    private static final Pattern VGIC = Pattern.compile("(?m)^ *\\d+:.* vgic$");
    private static final int GROUP_MAY = 060;
    private static final int OTHERS_MAY = 006;

    private record Machine(Fact.Facts facts) implements Fact.Subject {
        boolean has(String chip) {
            return host().interrupts().filter(all -> all.hasChip(chip)).isPresent();
        }

        boolean lacksVgic() {
            return kvm().isLoaded()
                    && has("GIC")
                    && !VGIC.matcher(files().text(CHIPS.file()).orElse("")).find();
        }

        String modules() {
            List<String> modules = kvm().vendorModules();
            return modules.isEmpty()
                    ? ""
                    : "; " + String.join(", ", modules) + (modules.size() == 1 ? " is" : " are")
                            + " there, loaded or built in";
        }

        boolean is(Access such) {
            return FILE.in(this).access() == such;
        }

        private String group(Owner owner) {
            return FILE.in(this).group().orElse(String.valueOf(owner.group()));
        }

        /** Such as {@code mode 660: root and the group kvm may}. */
        String owner() {
            return FILE.in(this)
                    .owner()
                    .map(owner -> " (mode " + Integer.toOctalString(owner.mode()) + ": "
                            + ((owner.mode() & OTHERS_MAY) == OTHERS_MAY
                                    ? "every user may"
                                    : (owner.mode() & GROUP_MAY) == GROUP_MAY
                                            ? "root and the group " + group(owner) + " may"
                                            : "only root may")
                            + ")")
                    .orElse("");
        }

        Remedy permit() {
            boolean byGroup = FILE.in(this)
                    .owner()
                    .filter(owner -> (owner.mode() & GROUP_MAY) == GROUP_MAY && owner.group() != 0)
                    .isPresent();
            return Remedy.of(
                    Change.COMMAND,
                    byGroup
                            ? "usermod -aG " + FILE.in(this).group().orElse("kvm")
                                    + " USER, and let the user log in again"
                            : "chgrp kvm /dev/kvm && chmod 660 /dev/kvm && usermod -aG kvm USER; a udev rule keeps it:"
                                    + " KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"",
                    "who may open it can start VMs and use the host's memory for them");
        }

        boolean hasHardware() {
            return kvm().hasFlag("vmx") || kvm().hasFlag("svm");
        }

        Remedy virtualize() {
            return kvm().hasFlag("hypervisor")
                    ? Remedy.of(
                            Change.VMM_FLAG,
                            "on the machine below, load its module of KVM with nested=1, and start this guest with vmx or"
                                    + " svm (QEMU: -cpu host)",
                            "a nested host cannot always be migrated")
                    : Remedy.of(Change.FIRMWARE, "enable VT-x, or SVM on AMD");
        }

        /** By the parameter nested: Y of kvm_intel, 1 of kvm_amd. */
        String nested() {
            return kvm().vendorModules().stream()
                    .flatMap(module -> kvm().parameter(module, "nested").known().stream())
                    .findFirst()
                    .map(nested -> "; its guests " + (nested.matches("[Y1]") ? "may" : "may not") + " run guests")
                    .orElse("");
        }
    }

    // spotless:off: tables
    private static final Fact<Machine, HostKvm.DeviceFile> FILE = new Fact<>("dev/kvm", one -> one.kvm().file());
    private static final Fact<Machine, Machine> WORDS = Fact.seen("proc/cmdline");
    private static final Fact<Machine, Machine> CHIPS = Fact.seen("proc/interrupts");
    private static final Fact<Machine, Boolean> FULL = new Fact<>("boot/config-RELEASE", one -> one.kvm().hasFullIrqchip());
    private static final Fact<Machine, Boolean> GUEST = new Fact<>("proc/cpuinfo", one -> one.kvm().isGuest());

    private static final Rule.Checks<Machine> KVM = new Rule.Checks<>(Check.KVM,
        broken("kvm.switched-off", WORDS, one -> one.kvm().commandLine().known().orElse(List.of()).contains("kvm-arm.mode=none"),
            "the kernel's command line has kvm-arm.mode=none: it switches KVM off", Remedy.of(Change.KERNEL_PARAMETER,
            "remove kvm-arm.mode=none, and boot again")).on("arm64", Machine::isArm),
        doubt("kvm.no-vgic", CHIPS, Machine::lacksVgic, "KVM has no virtual interrupt controller (/proc/interrupts has no row"
            + " vgic): VMMs emulate it, and guests get no LPIs and no irqfds", Remedy.look("dmesg | grep -i vgic: the firmware may"
            + " not describe the GIC's virtual interface")).on("arm64", Machine::isArm).otherwise(),
        broken("kvm.no-permission", FILE, one -> one.is(Access.DENIED), "/dev/kvm is there, and this user may not open it%s")
            .with(Machine::owner).remedy(Machine::permit).otherwise(),
        note("kvm.usable", FILE, one -> one.is(Access.ALLOWED), "this user may open /dev/kvm%s%s")
            .with(Machine::owner, Machine::modules).otherwise(),
        broken("kvm.no-flag", FILE, one -> one.kvm().isLoaded() && !one.isArm() && !one.hasHardware(), "KVM is in the kernel, and"
            + " the processor shows neither vmx nor svm: virtualization is switched off below the kernel")
            .remedy(Machine::virtualize).otherwise(),
        broken("kvm.no-file", FILE, one -> one.kvm().isLoaded(), "KVM is in the kernel, and /dev/kvm does not exist here",
            Remedy.command("in a container, pass /dev/kvm to it; otherwise load the module of the processor")).otherwise(),
        broken("kvm.no-module", FILE, Machine::hasHardware, "KVM is not loaded")
            .remedy(one -> Remedy.command("modprobe " + (one.kvm().hasFlag("vmx") ? "kvm_intel" : "kvm_amd"))).otherwise(),
        broken("kvm.no-virtualization", FILE, one -> true, "KVM is not loaded, and the processor shows neither vmx nor svm")
            .remedy(Machine::virtualize).otherwise());

    private static final Rule.Checks<Machine> IRQCHIP = new Rule.Checks<>(Check.IRQCHIP,
        note("irqchip.vgic-v3", CHIPS, one -> one.has("GICv3"), "KVM emulates a VGICv3 with ITS; a VGICv2 only if the GICv3 has"
            + " its interface").on("arm64", Machine::isArm),
        note("irqchip.vgic-v2", CHIPS, one -> true, "KVM emulates a VGICv2; no ITS, so guests have no LPIs")
            .on("arm64", Machine::isArm).otherwise(),
        note("irqchip.full-and-split", FULL, FULL::in, "this kernel offers the full and the split irqchip").otherwise(),
        doubt("irqchip.split-only", FULL, one -> true, "this kernel emulates no I/O APIC, PIC and PIT: VMMs have only the split"
            + " irqchip, and INTx of devices is delivered by the VMM", Remedy.of(Change.VMM_FLAG, "QEMU: -machine"
            + " kernel-irqchip=split"), Remedy.of(Change.KERNEL, "build it with CONFIG_KVM_IOAPIC=y")).otherwise());

    private static final String OF_GUEST =
        "this host is a guest itself (flag hypervisor)%s; its IOMMU, if any, is emulated, and latencies are those of the host below%s";
    private static final Remedy MEASURE =
        Remedy.of(Change.HARDWARE, "measure, and give devices to guests, on a machine that is no guest");
    private static final Rule.Checks<Machine> NESTED = new Rule.Checks<>(Check.NESTED,
        note("nested.bare-metal", GUEST, one -> !GUEST.in(one), "this host is no guest (the processor has no flag hypervisor)%s")
            .with(Machine::nested),
        doubt("nested.guest-without-hardware", GUEST, one -> one.kvm().isLoaded() && !one.hasHardware(), OF_GUEST, MEASURE)
            .with(one -> "; its KVM (" + String.join(", ", one.kvm().vendorModules()) + ") runs guests without VMX or SVM",
            Machine::nested).otherwise(),
        doubt("nested.guest", GUEST, one -> true, OF_GUEST, MEASURE).with(one -> "", Machine::nested).otherwise());
    // spotless:on

    /** The rules of these checks. */
    public static final List<Rule.Checks<?>> CHECKS = List.of(KVM, IRQCHIP, NESTED);

    private KvmRules() {}

    private static Finding explained(Finding finding, String reason, String before, String after) {
        return finding.status() == Finding.Status.UNKNOWN
                ? finding.whose(reason, before + finding.text() + after)
                : finding;
    }

    public static Finding kvm(HostFacts host) {
        Machine one = new Machine(new Fact.Facts(host));
        Finding finding = explained(KVM.finding(one), "file-not-shown", "/dev/kvm is not shown: ", one.modules());
        Optional<HostKvm.DeviceFile> file = FILE.of(one).known();
        Optional<Owner> owner = file.flatMap(HostKvm.DeviceFile::owner);
        if (owner.isPresent()) {
            finding = finding.with("mode", Integer.toOctalString(owner.get().mode()))
                    .with("group", one.group(owner.get()));
        }
        if (file.isPresent()) {
            finding = finding.with("access", Finding.id(file.get().access()));
        }
        return finding.with("modules", host.kvm().vendorModules())
                .withRoot(finding.reason().equals("no-permission"));
    }

    public static Finding irqchip(HostFacts host) {
        Finding finding = explained(
                IRQCHIP.finding(new Machine(new Fact.Facts(host))),
                "full-not-shown",
                "this kernel offers the split irqchip; whether the full one is not known: ",
                "");
        return switch (finding.reason()) {
            case "full-and-split" -> finding.with("modes", List.of("full", "split", "userspace"));
            case "split-only" ->
                finding.with("modes", List.of("split", "userspace")).withAlternatives();
            case "full-not-shown" ->
                finding.with(Remedy.look("kvmirq selftest --scenario edge --irqchip full"))
                        .with("modes", List.of("split", "userspace"));
            default -> finding.with("modes", List.of(finding.reason(), "userspace"));
        };
    }

    public static Finding nested(HostFacts host) {
        Machine one = new Machine(new Fact.Facts(host));
        Finding finding =
                explained(NESTED.finding(one), "not-shown", "whether this host is a guest is not known: ", "");
        return switch (finding.status()) {
            case UNKNOWN -> finding;
            case PASS -> finding.with("guest", false);
            default -> finding.with("guest", true).with("hardware", one.hasHardware());
        };
    }
}
