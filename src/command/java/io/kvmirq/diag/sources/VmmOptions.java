/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.VmProcess;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An x86 VM's settings that follow from its VMM's command line. Changes by another process, a configuration file or a
 * monitor are not visible. Immutable.
 *
 * <p>Source: hw/i386/pc.c, microvm.c, kvm/i8254.c and {@code kvm_hyperv_expand_features()} of QEMU; x86/kvm.c of kvmtool; hypervisor/src/kvm of Cloud
 * Hypervisor.
 *
 * @param known whether the VMM's options are known
 * @param noLapics the reason why the VM has no LAPICs in the kernel; empty if it has, or if the VMM is not known
 * @param inhibits other reasons that inhibit APIC virtualization on AMD
 * @param ofVfio the globals of vfio-pci, followed by all devices
 * @param split whether the I/O APIC is in the VMM
 * @param x2apic whether the VMM certainly offers x2APIC
 * @param svm whether the VMM certainly offers SVM, if the host lets guests run guests
 */
public record VmmOptions(
        boolean known,
        Optional<Inhibit> noLapics,
        List<Inhibit> inhibits,
        List<String> ofVfio,
        boolean split,
        boolean x2apic,
        boolean svm) {
    /**
     * A reason that inhibits APIC virtualization.
     *
     * @param why the cause on the command line
     * @param remedy the change of the command line
     * @param condition the necessary action of the guest, a clause that begins with "if". Empty if none is necessary
     */
    public record Inhibit(InhibitReason reason, String why, String remedy, Optional<String> condition) {
        Inhibit(InhibitReason reason, String why, String remedy) {
            this(reason, why, remedy, Optional.empty());
        }

        /** The same reason, which is not certain with the kernel of a vendor. */
        Inhibit on(Optional<String> release) {
            Optional<String> condition = release.filter(
                            version -> BACKPORTS.matcher(version).find())
                    .map(version -> "if this vendor kernel lacks the change from Linux "
                            + (reason == InhibitReason.NESTED ? "5.19" : "6.0"));
            return new Inhibit(reason, why, remedy, condition);
        }

        public boolean isCertain() {
            return condition.isEmpty();
        }

        public String name() {
            return why.equals(X2APIC.why) ? "x2apic" : Finding.name(reason);
        }

        public String cause() {
            return why.equals(X2APIC.why)
                    ? "before Linux 6.0, a guest with x2APIC inhibits AVIC"
                    : why.equals(MAY_NEST.why)
                            ? "before Linux 5.19, a guest with SVM, which may run nested guests, inhibits AVIC"
                            : reason.causeAndRemedy();
        }
    }

    private static final String DISCARD =
            "start QEMU with -global kvm-pit.lost_tick_policy=discard (libvirt: <timer name='pit'"
                    + " tickpolicy='discard'/> in <clock>), or with -machine kernel-irqchip=split";
    private static final Inhibit NO_LAPICS = new Inhibit(
            InhibitReason.ABSENT,
            "the command line has kernel-irqchip=off",
            "start QEMU with -machine kernel-irqchip=split instead of off");
    private static final Inhibit AUTO_EOI = new Inhibit(
            InhibitReason.HYPERV,
            "the command line has hv-synic but not hv-apicv",
            "start QEMU with hv-apicv in -cpu (libvirt: <avic state='on'/> in <hyperv>), which advises the guest not to"
                    + " use"
                    + " AutoEOI",
            Optional.of("if the guest uses AutoEOI"));
    private static final Inhibit PASSTHROUGH = new Inhibit(
            InhibitReason.HYPERV,
            "the command line has hv-passthrough, which offers a SynIC",
            "list the enlightenments in -cpu, including hv-apicv, which advises the guest not to use AutoEOI, as Linux"
                    + " 5.15"
                    + " and newer do with hv-passthrough",
            Optional.of("if the guest uses AutoEOI"));
    private static final Inhibit DEBUGGER = new Inhibit(
            InhibitReason.BLOCKIRQ,
            "the command line has -s or -gdb",
            "detach the debugger, or start QEMU without -s and -gdb",
            Optional.of("if a debugger steps through the guest"));
    /** Linux 5.6 to 5.19, whose reason bits differ. Source: svm_vcpu_after_set_cpuid(). */
    private static final Inhibit X2APIC = new Inhibit(
            InhibitReason.DISABLED,
            "QEMU gives guests x2APIC, and the command line has no x2apic=off",
            "start QEMU with x2apic=off in -cpu (libvirt: <feature policy='disable' name='x2apic'/>), or boot Linux 6.0"
                    + " or newer");

    /** Before 5.19, f44509f849fe ("KVM: x86: SVM: allow AVIC to co-exist with a nested guest running"). */
    private static final Inhibit MAY_NEST = new Inhibit(
            InhibitReason.NESTED,
            "the command line gives the guest SVM, so the guest may run nested guests",
            "start QEMU with svm=off in -cpu (libvirt: <feature policy='disable' name='svm'/>), load kvm_amd with nested=0,"
                    + " or boot Linux 5.19 or newer");

    /** Kernels of RHEL, SUSE, Amazon and Oracle, which take features of later versions. */
    private static final Pattern BACKPORTS = Pattern.compile("\\.el\\d|-default$|\\.amzn\\d|uek");

    private static final String ENCRYPTED = "leave it as it is, because AVIC does not support encrypted guests";
    /** A word that was removed from a capture. */
    private static final String HIDDEN = "-";

    private static final String GLOBAL = "global ";

    private static final List<String> SPLIT_MACHINES = List.of("microvm", "pc-q35-4.0");

    /** The settings of the VM of a process. */
    public static VmmOptions parse(VmProcess process) {
        if (process.arguments().isEmpty()) {
            return new VmmOptions(false, Optional.empty(), List.of(), List.of(), false, false, false);
        }
        String program = process.arguments().get(0);
        String name = program.substring(program.lastIndexOf('/') + 1);
        if (name.startsWith("qemu") || name.equals("kvm")) {
            return ofQemu(process.arguments());
        }
        if (name.equals("lkvm") || name.equals("kvmtool")) {
            return new VmmOptions(
                    true,
                    Optional.empty(),
                    List.of(new Inhibit(
                            InhibitReason.PIT_REINJ,
                            "kvmtool creates an in-kernel PIT and leaves it in reinject mode",
                            "run the guest with a VMM other than kvmtool, without an in-kernel PIT, such as QEMU with"
                                    + " -machine kernel-irqchip=split")),
                    List.of(),
                    false,
                    false,
                    false);
        }
        return new VmmOptions(
                name.equals("cloud-hypervisor"), Optional.empty(), List.of(), List.of(), false, false, false);
    }

    private static VmmOptions ofQemu(List<String> arguments) {
        String type = "pc";
        Map<String, String> machine = new HashMap<>();
        boolean discards = arguments.contains("-no-kvm-pit-reinjection");
        boolean encrypted = false;
        List<String> cpu = List.of();
        List<String> cpuGlobals = new ArrayList<>();
        List<String> devices = new ArrayList<>();
        List<String> globals = new ArrayList<>();
        for (int i = 0; i + 1 < arguments.size(); i++) {
            String value = arguments.get(i + 1);
            switch (arguments.get(i).replaceFirst("^--", "-")) {
                case "-machine", "-M", "-accel" -> {
                    String[] words = value.split(",");
                    for (int at = 0; at < words.length; at++) {
                        String word = words[at];
                        int equals = word.indexOf('=');
                        // QEMU accepts kernel_irqchip for kernel-irqchip.
                        String key = word.substring(0, Math.max(equals, 0)).replace('_', '-');
                        if (equals > 0 && !key.equals("type")) {
                            machine.put(key, word.substring(equals + 1).toLowerCase(Locale.ROOT));
                        } else if (!arguments.get(i).endsWith("accel") && (at == 0 || equals > 0)) {
                            // Only the first word without a key is the type. A capture may hide it.
                            type = word.equals(HIDDEN) ? "" : word.substring(equals + 1);
                        }
                    }
                }
                case "-global" -> {
                    String[] global = global(value);
                    if (global[0].equals("kvm-pit") && global[1].equals("lost_tick_policy")) {
                        discards = global[2].equals("discard"); // the last one holds
                    } else if (global[0].toLowerCase(Locale.ROOT).endsWith("cpu")) {
                        cpuGlobals.add(global[1] + "=" + global[2]);
                    } else if (global[0].startsWith("vfio-pci")) {
                        globals.add(GLOBAL + "vfio-pci," + global[1] + "=" + global[2]);
                    }
                }
                case "-object" -> encrypted |= value.contains("sev-guest") || value.contains("sev-snp-guest");
                case "-device" -> devices.add(value);
                case "-cpu" -> cpu = List.of(value.split(",")); // the last one holds
                default -> {
                    // Other options do not change the irqchip.
                }
            }
        }
        String irqchip = machine.getOrDefault("kernel-irqchip", SPLIT_MACHINES.contains(type) ? "split" : "on");
        List<Inhibit> inhibits = new ArrayList<>();
        if (irqchip.equals("on") && !machine.getOrDefault("pit", "on").equals("off") && !discards) {
            inhibits.add(new Inhibit(
                    InhibitReason.PIT_REINJ,
                    "QEMU's machine " + type + (type.isEmpty() ? "" : " ")
                            + "has an in-kernel PIT, and the command line has neither"
                            + " kvm-pit.lost_tick_policy=discard nor kernel-irqchip=split nor pit=off",
                    DISCARD));
        }
        if (encrypted) {
            inhibits.add(new Inhibit(InhibitReason.SEV, "the command line has an object sev-guest", ENCRYPTED));
        }
        cpuGlobals.addAll(cpu); // -cpu overrides a global in any position
        inhibits.addAll(hyperV(cpuGlobals));
        List<String> words =
                arguments.stream().map(word -> word.replaceFirst("^--", "-")).toList();
        globals.addAll(devices); // a device's property overrides a global
        if (words.contains("-s") || words.contains("-gdb")) {
            inhibits.add(DEBUGGER);
        }
        return new VmmOptions(
                !words.contains("-readconfig"),
                irqchip.equals("off") ? Optional.of(NO_LAPICS) : Optional.empty(),
                inhibits,
                globals,
                irqchip.equals("split"),
                flags(cpuGlobals).getOrDefault("x2apic", true),
                flags(cpuGlobals)
                        .getOrDefault(
                                "svm", !cpu.isEmpty() && List.of("host", "max").contains(cpu.get(0))));
    }

    /** Driver, property and value, in either form that QEMU accepts. */
    private static String[] global(String value) {
        if (value.startsWith("driver=") || value.contains(",driver=")) {
            String[] parts = {"", "", ""};
            for (String word : value.split(",")) {
                int at = List.of("driver", "property", "value").indexOf(word.replaceFirst("=.*", ""));
                if (at >= 0) {
                    parts[at] = word.substring(word.indexOf('=') + 1);
                }
            }
            return parts;
        }
        int dot = Math.max(0, value.indexOf('.'));
        int equals = Math.max(dot, value.indexOf('=', dot));
        return new String[] {
            value.substring(0, dot),
            value.substring(Math.min(dot + 1, equals), equals),
            value.substring(Math.min(equals + 1, value.length()))
        };
    }

    /** The last setting of a flag holds. hv-avic is an older name of hv-apicv. */
    private static Map<String, Boolean> flags(List<String> cpu) {
        Map<String, Boolean> flags = new HashMap<>();
        for (String word : cpu) {
            String flag = word.replace('_', '-').replaceFirst("^\\+", "");
            String name = flag.replaceFirst("=.*", "").replaceFirst("^-", "");
            flags.put(
                    name.equals("hv-avic") ? "hv-apicv" : name,
                    !flag.startsWith("-") && !flag.matches(".*=(off|no|n|false)"));
        }
        return flags;
    }

    private static List<Inhibit> hyperV(List<String> cpu) {
        Map<String, Boolean> flags = flags(cpu);
        if (flags.getOrDefault("hv-passthrough", false)) {
            return List.of(PASSTHROUGH);
        }
        return flags.getOrDefault("hv-synic", false) && !flags.getOrDefault("hv-apicv", false)
                ? List.of(AUTO_EOI)
                : List.of();
    }

    /**
     * All reasons that inhibit AVIC in a VM: of the command line, and of its vCPUs; certain ones first.
     *
     * @param host the kernel, and the highest vCPU id that AVIC serves
     * @param nests whether KVM lets guests run guests
     * @param release of the kernel, such as {@code 5.14.0-503.el9.x86_64}: a vendor's kernel may have later changes, so its
     *     version proves nothing
     */
    public static List<Inhibit> inhibits(VmProcess vm, PostingHost host, boolean nests, Optional<String> release) {
        VmmOptions options = parse(vm);
        int highestId = host.highestAvicId();
        List<Inhibit> all = new ArrayList<>(options.noLapics().stream().toList());
        if (options.x2apic() && !host.kernel().isSince(6, 0)) {
            all.add(X2APIC.on(release));
        }
        // kvm_default_props in QEMU takes SVM from all models but these.
        if (options.svm()
                && nests
                && host.kernel().isSince(5, 6)
                && !host.kernel().isSince(5, 19)) {
            all.add(MAY_NEST.on(release));
        }
        vm.vcpus().stream()
                .mapToInt(VmProcess.VcpuFile::id)
                .filter(id -> id > highestId)
                .findFirst()
                .ifPresent(id -> all.add(new Inhibit(
                        InhibitReason.PHYSICAL_ID_TOO_BIG,
                        "the VM has vcpu " + id
                                + (highestId == 0
                                        ? ", and Linux 6.18 before 6.18.10 treats it as too large without x2AVIC"
                                        : ""),
                        highestId == 0 ? "boot Linux 6.18.10 or newer" : "give the VM vCPU ids up to " + highestId)));
        all.addAll(options.inhibits());
        all.sort(Comparator.comparing(inhibit -> !inhibit.isCertain()));
        return all;
    }

    /**
     * The reason why the VMM makes no irqfd for the interrupts of a device. Empty if it makes them, or if this is
     * unknown.
     */
    public Optional<String> noIrqfd(PciAddress device, IrqKind kind) {
        String option = "x-no-kvm-" + kind.name().toLowerCase(Locale.ROOT);
        String address = device.toString();
        String brief = address.substring(address.indexOf(':') + 1);
        boolean none = false;
        for (String argument : ofVfio) {
            if (argument.contains(option)
                    && (argument.startsWith(GLOBAL)
                            || argument.contains("vfio-pci")
                                    && (argument.contains(address) || argument.contains("=" + brief)))) {
                Matcher set =
                        Pattern.compile("\\b" + option + "\"?[=:]\"?(\\w+)").matcher(argument);
                while (set.find()) {
                    none = set.group(1).matches("on|yes|true|y");
                }
            }
        }
        return none ? Optional.of("the command line has " + option + " for the device") : Optional.empty();
    }
}
