/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.VfioOutlook.Obstacle;
import io.kvmirq.diag.rules.VfioOutlook.Refusal;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

public final class VfioChecks {
    private static final int SHOWN = 3;

    private final HostFacts host;
    private final HostKvm kvm;

    public VfioChecks(HostFacts host, HostKvm kvm) {
        this.host = host;
        this.kvm = kvm;
    }

    public Finding vfio() {
        List<String> modules = kvm.vfioModules();
        List<String> bound = new ArrayList<>();
        List<String> refused = new ArrayList<>();
        List<Refusal> refusals = new ArrayList<>();
        List<String> closed = new ArrayList<>();
        List<String> files = new ArrayList<>();
        for (PciAddress address : host.boundToVfio()) {
            bound.add(address.toString());
            Optional<PciDevice> device = host.pci(address);
            List<Refusal> all =
                    device.isPresent() ? VfioOutlook.of(host, device.get()).refusals() : List.of();
            boolean counted = false;
            for (Refusal refusal : all) {
                if (refusal.cause() == Obstacle.NO_PERMISSION) {
                    closed.add(address.toString());
                    files.add(refusal.text());
                    // A device that a guest uses is not a problem.
                } else if (refusal.cause() != Obstacle.IN_USE) {
                    refusals.add(refusal);
                    counted = true;
                }
            }
            if (counted) {
                refused.add(address.toString());
            }
        }
        Finding finding;
        if (!refused.isEmpty()) {
            finding = refused(refused, refusals);
        } else if (!closed.isEmpty()) {
            finding = Finding.warn(
                            Check.VFIO,
                            "no-permission",
                            files.get(0) + ", so a VMM that this user starts cannot have " + some(closed)
                                    + "; VMMs of other users are not affected")
                    .with(Remedy.look(HostKvm.AS_ROOT))
                    .withRoot(true);
        } else if (modules.contains("vfio_pci")
                && !modules.contains("vfio_iommu_type1")
                && !modules.contains("iommufd")) {
            finding = Finding.warn(
                            Check.VFIO,
                            "no-iommu-driver",
                            "neither vfio_iommu_type1 nor iommufd is loaded: no VMM can map the memory of its guest for a"
                                    + " device")
                    .with(Remedy.command(
                            "modprobe vfio_iommu_type1, and look in /etc/modprobe.d for blacklist or install"));
        } else if (!bound.isEmpty()) {
            finding = Finding.pass(Check.VFIO, "usable", "VFIO takes all devices that are bound to it: " + some(bound));
        } else if (host.hasVfioPci() && !modules.isEmpty()) {
            finding = Finding.pass(
                    Check.VFIO,
                    "nothing-bound",
                    "vfio-pci is loaded; no device is bound to it, so there is nothing to refuse");
        } else {
            finding = notLoaded();
        }
        List<String> nobody = host.namedIds().stream()
                .filter(id -> host.pciAddresses().stream()
                        .flatMap(one -> host.pci(one).stream())
                        .noneMatch(one -> id.equals(String.format("%04x:%04x", one.vendor(), one.device()))))
                .toList();
        if (!nobody.isEmpty() && finding.status() != Finding.Status.FAIL) {
            finding = finding.whose(
                            "ids-missing",
                            "the kernel's command line gives " + some(nobody)
                                    + " to vfio-pci, and no PCI device has this id; " + finding.text())
                    .as(Finding.Status.WARN)
                    .with(Remedy.look("lspci -nn: the device is gone, or the id is wrong"));
        }
        return finding.with("modules", modules).with("bound", bound).with("refused", refused);
    }

    private Finding notLoaded() {
        if (!kvm.isBuilt("VFIO_PCI").known().orElse(true)) {
            return Finding.fail(Check.VFIO, "not-built", "this kernel is built without vfio-pci")
                    .with(Remedy.of(Change.KERNEL, "use a kernel with CONFIG_VFIO_PCI=y or =m"));
        }
        Finding finding = Finding.warn(Check.VFIO, "not-loaded", "the module vfio-pci is not loaded");
        Optional<String> refuses = VfioRules.refusedModule(host);
        if (refuses.isPresent()) {
            return finding.with(
                    Remedy.of(Change.KERNEL_PARAMETER, "remove " + refuses.get() + ", which refuses the module"));
        }
        return kvm.loadsModules()
                ? finding.with(Remedy.command("modprobe vfio-pci"))
                : finding.with(
                        Remedy.of(Change.KERNEL, "this one loads no modules: use a kernel with CONFIG_VFIO_PCI=y"));
    }

    private static Finding refused(List<String> devices, List<Refusal> refusals) {
        Finding finding = Finding.fail(
                Check.VFIO,
                refusals.get(0)
                        .cause()
                        .name()
                        .toLowerCase(java.util.Locale.ROOT)
                        .replace('_', '-'),
                "VFIO would refuse " + some(devices) + ": " + refusals.get(0).text());
        List<String> said = new ArrayList<>();
        for (Refusal refusal : refusals) {
            if (!said.contains(refusal.remedy())) {
                said.add(refusal.remedy());
                for (Remedy remedy : remedies(refusal)) {
                    finding = finding.with(remedy);
                }
            }
        }
        return finding;
    }

    /** Adds the remedies of a refusal; on a host that does not remap interrupts, one of them is enough. */
    public static List<Remedy> remedies(Refusal refusal) {
        return switch (refusal.cause()) {
            case NO_IOMMU -> List.of(Remedy.of(Change.SEE, "iommu"));
            case NO_GROUP -> List.of(Remedy.of(Change.HARDWARE, refusal.remedy()));
            case NO_REMAPPING ->
                List.of(
                        Remedy.of(Change.SEE, "remapping"),
                        Remedy.of(
                                Change.COMMAND,
                                "or, if all guests are trusted, echo 1 >"
                                        + " /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
                                "a guest with a device can send any interrupt to the host"));
            case GROUP_NOT_VIABLE ->
                List.of(Remedy.of(Change.COMMAND, refusal.remedy(), "the host loses the devices of the group"));
            default -> List.of(Remedy.of(Change.COMMAND, refusal.remedy(), refusal.risk()));
        };
    }

    private static String some(List<String> names) {
        return names.size() <= SHOWN
                ? String.join(", ", names)
                : String.join(", ", names.subList(0, SHOWN)) + " and " + (names.size() - SHOWN) + " more";
    }

    /** Of VFIO's containers, and of iommufd. */
    public Finding unsafeInterrupts() {
        List<String> allowing = new ArrayList<>();
        Optional<Known.Unknown<String>> denied = Optional.empty();
        for (String module : List.of("vfio_iommu_type1", "iommufd")) {
            Known<String> allows = kvm.parameter(module, "allow_unsafe_interrupts");
            if (allows.known().orElse("").equals("Y")) {
                allowing.add(module);
            } else if (allows instanceof Known.Unknown<String> unknown
                    && unknown.remedy().equals(HostKvm.AS_ROOT)) {
                denied = Optional.of(unknown);
            }
        }
        if (kvm.parameter("vfio", "enable_unsafe_noiommu_mode")
                .known()
                .orElse("")
                .equals("Y")) {
            return Finding.warn(
                            Check.UNSAFE_INTERRUPTS,
                            "noiommu",
                            "VFIO takes devices without any IOMMU: a program with a device can read and write all"
                                    + " memory")
                    .with("modules", List.of("vfio"))
                    .with(Remedy.of(
                            Change.MODULE_OPTION,
                            "echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode, and remove the option"
                                    + " from /etc/modprobe.d and the kernel's command line",
                            "devices without an IOMMU cannot be opened then"));
        }
        if (allowing.isEmpty() && denied.isPresent()) {
            return Finding.unknown(Check.UNSAFE_INTERRUPTS, "not-shown", denied.get());
        }
        if (allowing.isEmpty()) {
            return Finding.pass(
                    Check.UNSAFE_INTERRUPTS,
                    "not-allowed",
                    kvm.vfioModules().isEmpty() && !host.hasVfioPci()
                            ? "does not apply: VFIO is not loaded"
                            : "VFIO takes no device without interrupt remapping");
        }
        StringBuilder commands = new StringBuilder();
        for (String module : allowing) {
            commands.append("echo N > /sys/module/").append(module).append("/parameters/allow_unsafe_interrupts, ");
        }
        return Finding.warn(
                        Check.UNSAFE_INTERRUPTS,
                        "allowed",
                        String.join(" and ", allowing) + " allows unsafe interrupts: without remapping, a guest with a"
                                + " device can send any interrupt to the host")
                .with("modules", allowing)
                .with(Remedy.of(
                        Change.MODULE_OPTION,
                        commands + "and remove the option from /etc/modprobe.d and the kernel's command line",
                        "VFIO refuses devices then if interrupts are not remapped"));
    }
}
