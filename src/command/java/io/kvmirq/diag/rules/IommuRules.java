/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.Finding;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.PostingOutlook;
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
import java.util.stream.Stream;

/** Rules for the IOMMUs: DMA translation, interrupt remapping, posting. */
public final class IommuRules {
    private static final List<String> ENDS_REMAPPING =
            List.of("intremap=off", "nointremap", "iommu=off", "amd_iommu=off");
    /** enable_IR_x2apic() in arch/x86/kernel/apic/apic.c remaps nothing if the I/O APICs are not set up. */
    private static final List<String> ENDS_APIC = List.of("noapic", "nolapic", "disableapic");

    private static final List<String> ENDS_IOMMU = List.of("intel_iommu=off", "amd_iommu=off", "iommu=off");
    /** Without an IOMMU, remapping and posting have the remedies of that check. */
    private static final Remedy AS_FOR_IOMMU = Remedy.of(Change.SEE, "iommu");

    private record Machine(Fact.Facts facts) implements Fact.Subject {
        boolean isVirtual() {
            return kvm().hasFlag("hypervisor");
        }

        boolean hasUnits() {
            return host().units().known().filter(List::isEmpty).isEmpty();
        }

        String translate() {
            List<String> units = host().iommus();
            int groups = host().groups();
            return String.join(", ", units) + (units.size() == 1 ? " translates" : " translate") + " device DMA, in "
                    + groups + (groups == 1 ? " group" : " groups");
        }

        boolean isAmd() {
            return kvm().hasFlag("svm")
                    || kvm().vendorModules().contains("kvm_amd")
                    || host().posting()
                            .host()
                            .filter(host -> host.vendor() == Vendor.AMD)
                            .isPresent();
        }

        /** The words that are on the kernel's command line. Values are lists, as in {@code intel_iommu=on,sm_on}. */
        List<String> given(List<String> words) {
            return kvm().commandLine().known().orElse(List.of()).stream()
                    .filter(word -> {
                        String name = word.substring(0, word.indexOf('=') + 1);
                        return words.contains(word)
                                || !name.isEmpty()
                                        && Stream.of(word.substring(name.length())
                                                        .split(","))
                                                .anyMatch(value -> words.contains(name + value));
                    })
                    .toList();
        }

        private List<Remedy> remove(List<String> words) {
            return given(words).stream()
                    .map(word -> Remedy.of(
                            Change.KERNEL_PARAMETER, "remove " + word, "drivers that set up DMA wrongly fail"))
                    .toList();
        }

        private Remedy guestIommu() {
            return Remedy.of(
                    Change.VMM_FLAG,
                    "give this guest an IOMMU (QEMU: -machine q35,kernel-irqchip=split -device "
                            + (isAmd()
                                    ? "amd-iommu,intremap=on,xtsup=on)"
                                    : "intel-iommu,intremap=on,caching-mode=on)"),
                    "its devices' DMA becomes slower");
        }

        /** The remedies that enable the IOMMU: first the kernel options that are certainly missing. */
        List<Remedy> enable() {
            boolean amd = isAmd();
            String options = Stream.of(amd ? "AMD_IOMMU" : "INTEL_IOMMU", "IRQ_REMAP")
                    .filter(option -> !isArm() && !kvm().isBuilt(option).known().orElse(true))
                    .map(option -> "CONFIG_" + option + "=y")
                    .collect(Collectors.joining(" and "));
            List<Remedy> all = new ArrayList<>();
            if (!options.isEmpty()) {
                all.add(Remedy.of(Change.KERNEL, "use a kernel with " + options));
            }
            all.addAll(remove(ENDS_IOMMU));
            if (isArm()) {
                all.add(Remedy.of(Change.FIRMWARE, "describe the SMMU to the kernel (IORT, or the device tree)"));
                return all;
            }
            if (isVirtual()) {
                all.add(guestIommu());
            } else if (given(ENDS_IOMMU).isEmpty()) {
                all.add(Remedy.of(Change.FIRMWARE, amd ? "enable AMD-Vi (IOMMU)" : "enable VT-d"));
            }
            if (!amd && given(List.of("intel_iommu=on")).isEmpty()) {
                all.add(Remedy.of(
                        Change.KERNEL_PARAMETER,
                        "add intel_iommu=on iommu=pt to the kernel's command line",
                        "devices fail if the firmware describes their DMA wrongly"));
            }
            return all;
        }

        /** The IOMMUs are on, so neither the firmware nor intel_iommu=on keeps them from remapping. */
        private List<Remedy> remapOnly() {
            List<Remedy> all = new ArrayList<>(remove(ENDS_REMAPPING));
            given(ENDS_APIC)
                    .forEach(word -> all.add(Remedy.of(
                            Change.KERNEL_PARAMETER,
                            "remove " + word + ", which disables the I/O APICs that remapping needs",
                            "devices fail if the firmware describes their lines wrongly")));
            if (isVirtual()) {
                all.add(guestIommu());
            } else if (all.isEmpty()) {
                all.add(Remedy.of(
                        Change.FIRMWARE,
                        "the kernel's log shows why (dmesg | grep -e DMAR-IR: -e AMD-Vi:); often the firmware"
                                + " opts out of x2APIC, or has no IOAPIC in its tables"));
            }
            return all;
        }

        List<Remedy> remap() {
            return hasUnits() ? remapOnly() : List.of(isVirtual() ? guestIommu() : AS_FOR_IOMMU);
        }

        boolean has(PostingObstacle obstacle) {
            return host().posting().host().flatMap(PostingHost::flaw).equals(Optional.of(obstacle));
        }

        Remedy outlook(Change change) {
            return Remedy.of(change, OUTLOOK.in(this).remedy().orElse(""));
        }

        List<Remedy> post(PostingObstacle flaw) {
            return flaw != PostingObstacle.NO_REMAPPING
                    ? List.of(remedy(host(), host().posting().host().orElseThrow(), flaw))
                    : isVirtual()
                            ? List.of(outlook(Change.HARDWARE))
                            : hasUnits() ? remapOnly() : List.of(AS_FOR_IOMMU);
        }
    }

    // spotless:off: tables
    private static final Fact<Machine, List<String>> UNITS = new Fact<>("sys/class/iommu", machine -> machine.host().units());
    private static final Fact<Machine, Integer> GROUPS = new Fact<>(UNITS.file(), machine -> machine.host().groupCount());
    private static final Fact<Machine, HostInterrupts> CHIPS = new Fact<>("proc/interrupts", machine -> machine.host().interrupts()
        .<Known<HostInterrupts>>map(Known.Observed::new)
        .orElseGet(() -> machine.host().noInterrupts()));
    private static final Fact<Machine, Boolean> ITS = new Fact<>("proc/interrupts", machine -> CHIPS.of(machine).then(all ->
        all.hasChip("ITS") ? new Known.Observed<>(true) : new Known.Unknown<>("no interrupt goes through an ITS, which"
        + " distinguishes devices' MSIs", "bind a device with MSI to its driver, or look for ITS in dmesg")));
    private static final Fact<Machine, PostingOutlook> OUTLOOK = new Fact<>("proc/cmdline", machine -> {
        PostingOutlook outlook = PostingOutlook.fromHost(machine.host());
        return outlook.posts().isPresent() ? new Known.Observed<>(outlook) : new Known.Unknown<>("it is not known"
            + " whether hardware posts interrupts: " + outlook.text(), outlook.remedy().orElse("make these files readable"));
    });

    private static final Rule.Checks<Machine> IOMMU = new Rule.Checks<>(
        rule("iommu.no-iommu", UNITS, machine -> !machine.hasUnits()).remedies(Machine::enable),
        rule("iommu.no-groups", GROUPS, machine -> GROUPS.in(machine) == 0).remedies(Machine::enable).otherwise(),
        rule("iommu.acs-override", UNITS, machine -> machine.files().text("proc/cmdline").orElse("").contains("pcie_acs_override="))
            .with(Machine::translate).otherwise(),
        rule("iommu.in-use", UNITS, machine -> GROUPS.is(machine, value -> true)).with(Machine::translate).otherwise());

    private static final Rule.Checks<Machine> REMAPPING = new Rule.Checks<>(
        rule("remapping.its", ITS, machine -> true).on("arm64", Machine::isArm),
        rule("remapping.sources-not-checked", CHIPS,
            machine -> CHIPS.in(machine).hasChip("IR-") && !machine.given(List.of("intremap=nosid")).isEmpty())
            .on("x86", machine -> !machine.isArm()),
        rule("remapping.on", CHIPS, machine -> CHIPS.in(machine).hasChip("IR-")).on("x86", machine -> !machine.isArm()).otherwise(),
        rule("remapping-unsafe.off", CHIPS, machine -> machine.host().allowsUnsafeInterrupts()).remedies(Machine::remap)
            .on("x86", machine -> !machine.isArm()).otherwise(),
        rule("remapping.off", CHIPS, machine -> true).remedies(Machine::remap).on("x86", machine -> !machine.isArm()).otherwise());

    private static final Rule.Checks<Machine> POSTING = new Rule.Checks<>(Stream.<Rule<Machine>>concat(
        EnumSet.range(PostingObstacle.NO_REMAPPING, PostingObstacle.DEVICES_NOT_POSTED).stream().map(flaw ->
            rule("posting." + Finding.id(flaw), OUTLOOK, (Machine machine) -> machine.has(flaw)).with(machine -> OUTLOOK.in(machine).text())
            .remedies(machine -> machine.post(flaw)).on("x86", machine -> !machine.isArm())), Stream.of(
        rule("posting.no-gicv4", OUTLOOK, (Machine machine) -> !OUTLOOK.in(machine).posts().orElse(true))
            .with(machine -> OUTLOOK.in(machine).text()).remedy(machine -> machine.outlook(Change.KERNEL_PARAMETER))
            .on("arm64", Machine::isArm),
        rule("posting.on", OUTLOOK, (Machine machine) -> OUTLOOK.in(machine).posts().orElse(false))
            .with(machine -> OUTLOOK.in(machine).text()))).toList());
    // spotless:on

    /** The rules of these checks. */
    public static final List<Rule.Checks<?>> CHECKS = List.of(IOMMU, REMAPPING, POSTING);

    private IommuRules() {}

    private static Finding of(HostFacts host, Rule.Checks<Machine> checks) {
        return checks.finding(new Machine(new Fact.Facts(host)));
    }

    public static Finding iommu(HostFacts host) {
        return of(host, IOMMU).with("units", host.iommus()).with("groups", (long) host.groups());
    }

    public static Finding remapping(HostFacts host) {
        Finding finding = of(host, REMAPPING);
        return finding.status() == Finding.Status.UNKNOWN && host.interrupts().isPresent()
                ? finding.whose("no-its", finding.text())
                : finding;
    }

    /** With the module parameter that enables posting, since Linux 6.16. */
    public static Finding posting(HostFacts host) {
        Finding finding = of(host, POSTING);
        if (finding.status() == Finding.Status.UNKNOWN) {
            return finding.whose("not-known", finding.text());
        }
        for (String module : host.kvm().vendorModules()) {
            Optional<String> value =
                    host.kvm().parameter(module, "enable_device_posted_irqs").known();
            finding = value.isPresent() ? finding.with("enableDevicePostedIrqs", value.get()) : finding;
        }
        return finding;
    }

    /** The remedies that enable the IOMMU. */
    static List<Remedy> enable(HostFacts host) {
        return new Machine(new Fact.Facts(host)).enable();
    }

    /** The remedies that make the IOMMU remap interrupts. */
    static List<Remedy> remap(HostFacts host) {
        return new Machine(new Fact.Facts(host)).remapOnly();
    }

    /** The remedies that make the host post. */
    static List<Remedy> forPosting(HostFacts host) {
        List<Remedy> remedies = posting(host).remedies();
        return remedies.contains(AS_FOR_IOMMU) ? iommu(host).remedies() : remedies;
    }

    /** The change that enables posting on an x86 host; {@code flaw} is the reason why it cannot post. */
    static Remedy remedy(HostFacts host, PostingHost posting, PostingObstacle flaw) {
        return switch (flaw) {
            case NO_REMAPPING -> Remedy.of(Change.FIRMWARE, flaw.remedy());
            case SWITCHED_OFF -> Remedy.of(Change.KERNEL_PARAMETER, flaw.remedy());
            case NO_VIRTUAL_APIC ->
                posting.commandLine().contains("amd_iommu_intr=legacy")
                        ? Remedy.of(
                                Change.KERNEL_PARAMETER, "remove amd_iommu_intr=legacy from the kernel's command line")
                        : Remedy.of(Change.HARDWARE, "use hardware that can post");
            case NO_APIC_VIRTUALIZATION -> virtualization(host, posting);
            case DEVICES_NOT_POSTED -> reload(host, posting, "enable_device_posted_irqs=1");
            default -> Remedy.of(Change.HARDWARE, flaw.remedy());
        };
    }

    /** The parameter is also N if the processor cannot post. */
    private static Remedy virtualization(HostFacts host, PostingHost posting) {
        boolean intel = posting.vendor() == Vendor.INTEL;
        if (host.kvm().virtualizesApic().filter(can -> !can).isPresent()) {
            return Remedy.of(
                    Change.HARDWARE,
                    "use a processor that virtualizes the APIC"
                            + (intel
                                    ? ""
                                    : "; some processors that do not advertise AVIC support it with"
                                            + " kvm_amd.force_avic=1"));
        }
        return reload(host, posting, intel ? "enable_apicv=1" : "avic=1 npt=1");
    }

    private static Remedy reload(HostFacts host, PostingHost posting, String options) {
        String module = posting.vendor() == Vendor.INTEL ? "kvm_intel" : "kvm_amd";
        // modprobe takes the words of the kernel's command line, too; the last one of a parameter counts.
        Map<String, String> given = new LinkedHashMap<>();
        Stream.of(posting.commandLine().split("\\s+"))
                .filter(word -> word.replace('-', '_').startsWith(module + "."))
                .filter(word -> Stream.of(options.split(" ")).anyMatch(option -> isOf(option, word)))
                .forEach(word -> given.put(word.split("=")[0].replace('-', '_'), word));
        List<String> against =
                given.values().stream().filter(word -> !isOn(word)).toList();
        if (against.isEmpty() && given.containsKey(module + "." + options.split("=")[0])) {
            return Rows.remedy("@enabled-in-vain", String.join(" and ", given.values()), module);
        }
        if (!host.kvm().isModule(module).orElse(true)) {
            return Remedy.of(
                    Change.KERNEL_PARAMETER,
                    (against.isEmpty() ? "" : "remove " + String.join(" and ", against) + ", and ") + "add " + module
                            + "." + options.replace(" ", " " + module + "."));
        }
        return Remedy.of(
                Change.MODULE_OPTION,
                "stop all VMs, then: modprobe -r " + module + " && modprobe " + module + " " + options
                        + "; to keep it, "
                        + (against.isEmpty()
                                ? "put 'options " + module + " " + options + "' into " + HostKvm.OPTIONS
                                : "remove " + String.join(" and ", against) + " from the kernel's command line"),
                Takes.MODULE_RELOAD,
                "all VMs on the host must be stopped first");
    }

    /** Whether a word switches its parameter on: {@code kstrtobool()} in lib/kstrtox.c. */
    private static boolean isOn(String word) {
        return word.matches("[^=]*|.*=([yYtT1].*|[oO][nN].*)");
    }

    /** Whether a word of the command line sets the parameter of an option, such as {@code kvm_amd.avic=0} that of {@code avic=1}. */
    private static boolean isOf(String option, String word) {
        return word.contains("." + option.substring(0, option.indexOf('=') + 1));
    }
}
