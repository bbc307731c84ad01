/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.backend.HostFiles.Owner;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

public final class KvmChecks {
    private static final Pattern VGIC = Pattern.compile("(?m)^ *\\d+:.* vgic$");
    private static final int GROUP_MAY = 060;
    private static final int OTHERS_MAY = 006;

    private final HostFacts host;
    private final HostKvm kvm;

    public KvmChecks(HostFacts host, HostKvm kvm) {
        this.host = host;
        this.kvm = kvm;
    }

    public Finding kvm() {
        List<String> modules = kvm.vendorModules();
        if (host.isArm() && kvm.commandLine().known().orElse(List.of()).contains("kvm-arm.mode=none")) {
            return Finding.fail(
                            Check.KVM,
                            "switched-off",
                            "the kernel's command line has kvm-arm.mode=none: it switches KVM off")
                    .with(Remedy.of(Change.KERNEL_PARAMETER, "remove kvm-arm.mode=none, and boot again"));
        }
        if (host.isArm()
                && kvm.isLoaded()
                && host.interrupts().filter(all -> all.hasChip("GIC")).isPresent()
                && !VGIC.matcher(host.files().text("proc/interrupts").orElse(""))
                        .find()) {
            return Finding.warn(
                            Check.KVM,
                            "no-vgic",
                            "KVM has no virtual interrupt controller (/proc/interrupts has no row vgic): VMMs emulate it, and"
                                    + " guests get no LPIs and no irqfds")
                    .with(Remedy.look(
                            "dmesg | grep -i vgic: the firmware may not describe the GIC's virtual interface"));
        }
        Known<HostKvm.DeviceFile> known = kvm.file();
        Finding finding;
        if (known instanceof Known.Observed<HostKvm.DeviceFile> fact) {
            HostKvm.DeviceFile file = fact.value();
            finding = switch (file.access()) {
                case ABSENT -> noFile();
                case DENIED -> denied(file);
                case ALLOWED ->
                    Finding.pass(
                            Check.KVM, "usable", "this user may open /dev/kvm" + owner(file, " (", ")") + by(modules));
            };
            finding =
                    file.owner().isPresent() ? with(finding, file, file.owner().get()) : finding;
            finding = finding.with("access", file.access().name().toLowerCase(java.util.Locale.ROOT));
        } else {
            Known.Unknown<HostKvm.DeviceFile> unknown = (Known.Unknown<HostKvm.DeviceFile>) known;
            finding = Finding.unknown(
                    Check.KVM,
                    "file-not-shown",
                    "/dev/kvm is not shown: " + unknown.why() + by(modules),
                    unknown.remedy());
        }
        return finding.with("modules", modules);
    }

    private static String by(List<String> modules) {
        return modules.isEmpty()
                ? ""
                : "; " + String.join(", ", modules) + (modules.size() == 1 ? " is" : " are")
                        + " there, loaded or built in";
    }

    private static Finding with(Finding finding, HostKvm.DeviceFile file, Owner owner) {
        return finding.with("mode", Integer.toOctalString(owner.mode()))
                .with("group", file.group().orElse(String.valueOf(owner.group())));
    }

    /** Such as {@code mode 660, group kvm}. */
    private static String owner(HostKvm.DeviceFile file, String before, String after) {
        if (file.owner().isEmpty()) {
            return "";
        }
        Owner owner = file.owner().get();
        String group = file.group().orElse(String.valueOf(owner.group()));
        String others = (owner.mode() & OTHERS_MAY) == OTHERS_MAY
                ? "every user may"
                : (owner.mode() & GROUP_MAY) == GROUP_MAY ? "root and the group " + group + " may" : "only root may";
        return before + "mode " + Integer.toOctalString(owner.mode()) + ": " + others + after;
    }

    private static Finding denied(HostKvm.DeviceFile file) {
        Finding finding = Finding.fail(
                        Check.KVM,
                        "no-permission",
                        "/dev/kvm is there, and this user may not open it" + owner(file, " (", ")"))
                .withRoot(true);
        String risk = "who may open it can start VMs and use the host's memory for them";
        boolean byGroup = file.owner().isPresent()
                && (file.owner().get().mode() & GROUP_MAY) == GROUP_MAY
                && file.owner().get().group() != 0;
        return byGroup
                ? finding.with(Remedy.of(
                        Change.COMMAND,
                        "usermod -aG " + file.group().orElse("kvm") + " USER, and let the user log in again",
                        risk))
                : finding.with(Remedy.of(
                        Change.COMMAND,
                        "chgrp kvm /dev/kvm && chmod 660 /dev/kvm && usermod -aG kvm USER; a udev rule keeps it:"
                                + " KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"",
                        risk));
    }

    private Finding noFile() {
        if (kvm.isLoaded()) {
            return Finding.fail(Check.KVM, "no-file", "KVM is in the kernel, and /dev/kvm does not exist here")
                    .with(Remedy.command(
                            "in a container, pass /dev/kvm to it; otherwise load the module of the processor"));
        }
        boolean intel = kvm.hasFlag("vmx");
        if (intel || kvm.hasFlag("svm")) {
            String module = intel ? "kvm_intel" : "kvm_amd";
            return Finding.fail(Check.KVM, "no-module", "KVM is not loaded").with(Remedy.command("modprobe " + module));
        }
        Finding finding = Finding.fail(
                Check.KVM, "no-virtualization", "KVM is not loaded, and the processor shows neither vmx nor svm");
        return kvm.hasFlag("hypervisor")
                ? finding.with(Remedy.of(
                        Change.VMM_FLAG,
                        "on the machine below, load its module of KVM with nested=1, and start this guest with vmx or"
                                + " svm (QEMU: -cpu host)",
                        "a nested host cannot always be migrated"))
                : finding.with(Remedy.of(Change.FIRMWARE, "enable VT-x, or SVM on AMD"));
    }

    public Finding irqchip() {
        if (host.isArm()) {
            boolean v3 =
                    host.interrupts().isPresent() && host.interrupts().get().hasChip("GICv3");
            return Finding.pass(
                            Check.IRQCHIP,
                            v3 ? "vgic-v3" : "vgic-v2",
                            v3
                                    ? "KVM emulates a VGICv3 with ITS; a VGICv2 only if the GICv3 has its interface"
                                    : "KVM emulates a VGICv2; no ITS, so guests have no LPIs")
                    .with("modes", List.of(v3 ? "vgic-v3" : "vgic-v2", "userspace"));
        }
        Known<Boolean> full = kvm.hasFullIrqchip();
        if (full instanceof Known.Observed<Boolean> known) {
            return known.value()
                    ? Finding.pass(Check.IRQCHIP, "full-and-split", "this kernel offers the full and the split irqchip")
                            .with("modes", List.of("full", "split", "userspace"))
                    : Finding.warn(
                                    Check.IRQCHIP,
                                    "split-only",
                                    "this kernel emulates no I/O APIC, PIC and PIT: VMMs have only the split irqchip, and"
                                            + " INTx of devices is delivered by the VMM")
                            .with("modes", List.of("split", "userspace"))
                            .with(Remedy.of(Change.VMM_FLAG, "QEMU: -machine kernel-irqchip=split"))
                            .with(Remedy.of(Change.KERNEL, "build it with CONFIG_KVM_IOAPIC=y"))
                            .withAlternatives();
        }
        Known.Unknown<Boolean> unknown = (Known.Unknown<Boolean>) full;
        return Finding.unknown(
                        Check.IRQCHIP,
                        "full-not-shown",
                        "this kernel offers the split irqchip; whether the full one is not known: " + unknown.why(),
                        unknown.remedy())
                .with(Remedy.look("kvmirq selftest --scenario edge --irqchip full"))
                .with("modes", List.of("split", "userspace"));
    }

    public Finding nested() {
        Known<Boolean> guest = kvm.isGuest();
        if (guest instanceof Known.Unknown<Boolean> unknown) {
            return Finding.unknown(
                    Check.NESTED,
                    "not-shown",
                    "whether this host is a guest is not known: " + unknown.why(),
                    unknown.remedy());
        }
        Optional<String> allows = allowsNested();
        if (!guest.known().orElse(false)) {
            return Finding.pass(
                            Check.NESTED,
                            "bare-metal",
                            "this host is no guest (the processor has no flag hypervisor)" + allowed(allows))
                    .with("guest", false);
        }
        boolean hardware = kvm.hasFlag("vmx") || kvm.hasFlag("svm");
        boolean loaded = kvm.isLoaded();
        String by = loaded && !hardware
                ? "; its KVM (" + String.join(", ", kvm.vendorModules()) + ") runs guests without VMX or SVM"
                : "";
        return Finding.warn(
                        Check.NESTED,
                        loaded && !hardware ? "guest-without-hardware" : "guest",
                        "this host is a guest itself (flag hypervisor)" + by
                                + "; its IOMMU, if any, is emulated, and latencies are those of the host below"
                                + allowed(allows))
                .with("guest", true)
                .with("hardware", hardware)
                .with(Remedy.of(Change.HARDWARE, "measure, and give devices to guests, on a machine that is no guest"));
    }

    private static String allowed(Optional<String> nested) {
        return nested.isEmpty()
                ? ""
                : "; its guests " + (nested.get().equals("Y") || nested.get().equals("1") ? "may" : "may not")
                        + " run guests";
    }

    /** The parameter nested: Y of kvm_intel, 1 of kvm_amd. */
    private Optional<String> allowsNested() {
        for (String module : kvm.vendorModules()) {
            Optional<String> nested = kvm.parameter(module, "nested").known();
            if (nested.isPresent()) {
                return nested;
            }
        }
        return Optional.empty();
    }
}
