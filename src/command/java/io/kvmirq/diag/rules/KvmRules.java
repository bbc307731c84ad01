/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.backend.HostFiles.Access;
import io.kvmirq.backend.HostFiles.Owner;
import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Rules for KVM itself: its file, its irqchips, and whether its host is a guest. */
public final class KvmRules {
    private static final Pattern VGIC = Pattern.compile("(?m)^ *\\d+:.* vgic$");
    private static final int GROUP_MAY = 060;
    private static final int OTHERS_MAY = 006;
    private static final int STOLEN = 8;
    private static final int MUCH_STEAL = 10;
    /** The ticks of a minute: a CPU that was set online since has fewer. */
    private static final int LONG_ENOUGH = 6000;

    private static final Pattern CPU = Pattern.compile("cpu\\d{1,5}( +\\d{1,15}){8,12}");

    private record Machine(Fact.Facts facts) implements Fact.Subject {
        boolean has(String chip) {
            return host().interrupts().filter(all -> all.hasChip(chip)).isPresent();
        }

        boolean lacksVgic() {
            return (kvm().isLoaded() || FILE.is(this, file -> file.access() != Access.ABSENT))
                    && has("GIC")
                    && !VGIC.matcher(files().text(CHIPS.file()).orElse("")).find();
        }

        String modules() {
            List<String> modules = kvm().vendorModules();
            return modules.isEmpty()
                    ? ""
                    : "; " + String.join(", ", modules) + (modules.size() == 1 ? " is" : " are")
                            + " loaded or built in";
        }

        boolean is(Access access) {
            return FILE.in(this).access() == access;
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
            return byGroup
                    ? Rows.remedy("@join-group", FILE.in(this).group().orElse("kvm"))
                    : Rows.remedy("@make-group");
        }

        boolean hasHardware() {
            return kvm().hasFlag("vmx") || kvm().hasFlag("svm");
        }

        Remedy virtualize() {
            return Rows.remedy(kvm().hasFlag("hypervisor") ? "@nest" : "@virtualize");
        }

        /** Whether hardware keeps the guests' LAPICs, by the module's parameter. */
        String virtualizesApics() {
            return HostKvm.APIC_PARAMETERS.stream()
                    .flatMap(of -> kvm().parameter(of.getKey(), of.getValue()).known().stream()
                            .map(value -> "; APIC virtualization is " + (value.matches("[Y1]") ? "on" : "off") + " ("
                                    + of.getKey() + "." + of.getValue() + "=" + value + ")"))
                    .findFirst()
                    .orElse("");
        }

        String nested() {
            return kvm().nests()
                    .map(nests -> "; nested virtualization is " + (nests ? "on" : "off"))
                    .orElse("");
        }
    }

    // spotless:off: tables
    private static final Fact<Machine, HostKvm.DeviceFile> FILE = new Fact<>("dev/kvm", machine -> machine.kvm().file());
    private static final Fact<Machine, Machine> WORDS = Fact.seen("proc/cmdline");
    private static final Fact<Machine, Machine> CHIPS = Fact.seen("proc/interrupts");
    private static final Fact<Machine, Boolean> FULL = new Fact<>("boot/config-RELEASE", machine -> machine.kvm().hasFullIrqchip());
    /** The CPU from which most was kept, and how many percent. */
    private static final Fact<Machine, Map.Entry<String, Long>> STEAL = Fact.text("proc/stat", machine -> false, KvmRules::steal);
    private static final Fact<Machine, Boolean> GUEST = new Fact<>("proc/cpuinfo", machine -> machine.kvm().isGuest());

    private static final Rule.Checks<Machine> KVM = new Rule.Checks<>(
        rule("kvm.switched-off", WORDS,
            machine -> machine.kvm().commandLine().known().orElse(List.of()).contains("kvm-arm.mode=none"))
            .on("arm64", Machine::isArm),
        rule("kvm.no-vgic", CHIPS, Machine::lacksVgic).on("arm64", Machine::isArm).otherwise(),
        rule("kvm.no-permission", FILE, machine -> machine.is(Access.DENIED)).with(Machine::owner).remedy(Machine::permit)
            .otherwise(),
        rule("kvm.usable", FILE, machine -> machine.is(Access.ALLOWED)).with(Machine::owner, Machine::modules).otherwise(),
        rule("kvm.no-flag", FILE, machine -> machine.kvm().isLoaded() && !machine.isArm() && !machine.hasHardware())
            .remedy(Machine::virtualize).otherwise(),
        rule("kvm.no-file", FILE, machine -> machine.kvm().isLoaded()).otherwise(),
        rule("kvm.no-module", FILE, Machine::hasHardware).fill(machine -> (machine.kvm().hasFlag("vmx") ? "kvm_intel" : "kvm_amd"))
            .otherwise(),
        rule("kvm.not-started", FILE, machine -> true).on("arm64", Machine::isArm).otherwise(),
        rule("kvm.no-virtualization", FILE, machine -> true).remedy(Machine::virtualize).otherwise());

    private static final Rule.Checks<Machine> IRQCHIP = new Rule.Checks<>(
        rule("irqchip.no-vgic", CHIPS, Machine::lacksVgic).on("arm64", Machine::isArm),
        rule("irqchip.vgic-v3", CHIPS, machine -> machine.has("GICv3")).on("arm64", Machine::isArm).otherwise(),
        rule("irqchip.vgic-v2", CHIPS, machine -> true).on("arm64", Machine::isArm).otherwise(),
        rule("irqchip.full-and-split", FULL, FULL::in).with(Machine::virtualizesApics).otherwise(),
        rule("irqchip.split-only", FULL, machine -> true).with(Machine::virtualizesApics).otherwise());

    private static final Rule.Checks<Machine> NESTED = new Rule.Checks<>(
        rule("nested.steal", STEAL, machine -> STEAL.in(machine).getValue() >= MUCH_STEAL)
            .with(machine -> STEAL.in(machine).getKey(), machine -> STEAL.in(machine).getValue()).on("guests", machine -> GUEST.is(machine, guest -> guest)),
        rule("nested.bare-metal", GUEST, machine -> !GUEST.in(machine)).with(Machine::nested),
        rule("nested.guest-without-hardware", GUEST, machine -> machine.kvm().isLoaded() && !machine.hasHardware())
            .with(machine -> "; its KVM (" + String.join(", ", machine.kvm().vendorModules()) + ") runs guests without VMX or SVM",
            Machine::nested).otherwise(),
        rule("nested.guest", GUEST, machine -> true).with(machine -> "", Machine::nested).otherwise());
    // spotless:on

    /** The rules of these checks. */
    public static final List<Rule.Checks<?>> CHECKS = List.of(KVM, IRQCHIP, NESTED);

    private KvmRules() {}

    /** Fields of a line: the CPU, user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice. */
    private static Optional<Map.Entry<String, Long>> steal(String text) {
        return text.lines()
                .filter(line -> CPU.matcher(line).matches())
                .map(line -> line.split(" +"))
                .flatMap(words -> {
                    long all = Stream.of(words)
                            .skip(1)
                            .limit(STOLEN)
                            .mapToLong(Long::parseLong)
                            .sum();
                    return all < LONG_ENOUGH
                            ? Stream.empty()
                            : Stream.of(Map.entry(
                                    words[0].substring("cpu".length()), 100 * Long.parseLong(words[STOLEN]) / all));
                })
                .max(Map.Entry.comparingByValue());
    }

    private static Finding explained(Finding finding, String reason, String before, String after) {
        return finding.status() == Finding.Status.UNKNOWN
                ? finding.whose(reason, before + finding.text() + after)
                : finding;
    }

    public static Finding kvm(HostFacts host) {
        Machine machine = new Machine(new Fact.Facts(host));
        Finding finding =
                explained(KVM.finding(machine), "file-not-shown", "/dev/kvm is not shown: ", machine.modules());
        Optional<HostKvm.DeviceFile> file = FILE.of(machine).known();
        Optional<Owner> owner = file.flatMap(HostKvm.DeviceFile::owner);
        if (owner.isPresent()) {
            finding = finding.with("mode", Integer.toOctalString(owner.get().mode()))
                    .with("group", machine.group(owner.get()));
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
                "this kernel supports the split irqchip, but it is not known whether it supports the full one: ",
                "");
        return switch (finding.reason()) {
            case "full-and-split" -> finding.with("modes", List.of("full", "split", "userspace"));
            case "split-only" ->
                finding.with("modes", List.of("split", "userspace")).withAlternatives();
            case "full-not-shown" ->
                finding.with(Remedy.look("run kvmirq selftest --scenario edge --irqchip full"))
                        .with("modes", List.of("split", "userspace"));
            default -> finding.with("modes", List.of(finding.reason(), "userspace"));
        };
    }

    public static Finding nested(HostFacts host) {
        Machine machine = new Machine(new Fact.Facts(host));
        Finding finding =
                explained(NESTED.finding(machine), "not-shown", "it is not known whether this host is a guest: ", "");
        return switch (finding.status()) {
            case UNKNOWN -> finding;
            case PASS -> finding.with("guest", false);
            default -> finding.with("guest", true).with("hardware", machine.hasHardware());
        };
    }
}
