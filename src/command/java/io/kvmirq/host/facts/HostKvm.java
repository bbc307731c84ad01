/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;

/**
 * KVM on a host: its modules and their parameters, its file, the kernel's configuration, and whether the host is
 * a guest itself. No file of KVM is opened. Thread-safe.
 *
 * <p>Source: {@code param_get_bool()} in kernel/params.c; {@code config KVM_IOAPIC} in arch/x86/kvm/Kconfig; {@code
 * show_cpuinfo()} in arch/x86/kernel/cpu/proc.c.
 */
public final class HostKvm {
    /** The remedy for a file that only root may read. */
    public static final String AS_ROOT = "run as root";

    /** The limit for reading the kernel's configuration, in bytes. */
    public static final int MOST_UNPACKED = 1 << 22;
    /** A file for options of the modules of KVM. */
    public static final String OPTIONS = "/etc/modprobe.d/kvm.conf";

    /** The parameters that switch APIC virtualization on, by their modules. */
    public static final List<Map.Entry<String, String>> APIC_PARAMETERS =
            List.of(Map.entry("kvm_intel", "enable_apicv"), Map.entry("kvm_amd", "avic"));

    private static final String MODULES = "sys/module";
    private static final int MOST_BYTES = 1 << 20;

    private final HostFacts facts;
    private final HostFiles tree;
    private volatile @Nullable String configuration;
    private volatile @Nullable String flags;

    /** {@code /dev/kvm}: this process's access, its mode and owner (empty in a copy of a tree), its group's name. */
    public record DeviceFile(HostFiles.Access access, Optional<HostFiles.Owner> owner, Optional<String> group) {}

    /** The remedy for a missing file of /proc. */
    static String absent(String path) {
        return "mount /proc; a copy of a host needs its " + path;
    }

    HostKvm(HostFacts facts, HostFiles tree) {
        this.facts = facts;
        this.tree = tree;
    }

    /** Whether the module kvm is loaded or built in. */
    public boolean isLoaded() {
        return tree.list(MODULES).contains("kvm");
    }

    /** The modules of processors, loaded or built in: kvm_intel, kvm_amd, or one of another maker. arm64 has none. */
    public List<String> vendorModules() {
        List<String> modules = new ArrayList<>();
        for (String name : tree.list(MODULES)) {
            if (name.startsWith("kvm_")) {
                modules.add(name);
            }
        }
        return modules;
    }

    /** The modules and drivers of VFIO and iommufd that are loaded or built in. */
    public List<String> vfioModules() {
        List<String> modules = new ArrayList<>();
        for (String name : tree.list(MODULES)) {
            if (name.startsWith("vfio") || name.contains("_vfio") || name.equals("iommufd")) {
                modules.add(name);
            }
        }
        return modules;
    }

    /** Whether the kernel can load modules. It has the file even if no module is loaded. */
    public boolean loadsModules() {
        return tree.reading("proc/modules") != HostFiles.Reading.ABSENT
                || tree.list("proc").isEmpty();
    }

    /** A parameter of a module as sysfs prints it, such as {@code Y}. */
    public Known<String> parameter(String module, String name) {
        String path = MODULES + "/" + module + "/parameters/" + name;
        Optional<String> text = tree.text(path);
        if (text.isPresent()) {
            return new Known.Observed<>(text.get());
        }
        return facts.sight().missing(tree, path, loading(module));
    }

    /** A module of KVM cannot be loaded without the processor's flag. */
    private String loading(String module) {
        String flag = module.equals("kvm_intel") ? "vmx" : module.equals("kvm_amd") ? "svm" : "";
        return flag.isEmpty() || flags().isEmpty() || hasFlag(flag)
                ? "load the module " + module
                : "enable virtualization in firmware, because /proc/cpuinfo does not show the flag " + flag;
    }

    /** {@code /dev/kvm}. Not known if the tree has no {@code /dev}. */
    public Known<DeviceFile> file() {
        if (tree.list("dev").isEmpty()) {
            return new Known.Unknown<>("the copy of the host has no /dev", "run kvmirq on the host itself");
        }
        Optional<HostFiles.Owner> owner = tree.owner("dev/kvm");
        Optional<String> group = owner.isPresent() ? groupName(owner.get().group()) : Optional.empty();
        return new Known.Observed<>(new DeviceFile(tree.access("dev/kvm"), owner, group));
    }

    /** Lines {@code kvm:x:104:alice,bob}. */
    private Optional<String> groupName(int number) {
        String wanted = ":" + number + ":";
        for (String line : lines(tree.text("etc/group").orElse(""))) {
            int colon = line.indexOf(':');
            int second = line.indexOf(':', colon + 1);
            if (colon > 0 && second > 0 && line.startsWith(wanted, second)) {
                return Optional.of(line.substring(0, colon));
            }
        }
        return Optional.empty();
    }

    /** Whether this host is a guest itself: the processor's flag hypervisor. */
    public Known<Boolean> isGuest() {
        if (flags().isEmpty()) {
            return new Known.Unknown<>(
                    tree.text("proc/cpuinfo").isEmpty()
                            ? "/proc/cpuinfo cannot be read"
                            : "/proc/cpuinfo has no flags line, as on arm64",
                    "run systemd-detect-virt");
        }
        return new Known.Observed<>(hasFlag("hypervisor"));
    }

    /** Whether the first processor has a flag in {@code /proc/cpuinfo}, such as {@code vmx}. */
    public boolean hasFlag(String flag) {
        return flags().contains(" " + flag + " ");
    }

    /**
     * Whether the processor virtualizes the APIC; empty if {@code /proc/cpuinfo} does not say it. Source: {@code avic}
     * in cpufeatures.h; {@code apicv} and {@code posted_intr} in vmxfeatures.h, whose line exists since Linux 5.7.
     */
    public Optional<Boolean> virtualizesApic() {
        if (hasFlag("svm")) {
            return Optional.of(hasFlag("avic"));
        }
        String processor = tree.text("proc/cpuinfo").orElse("");
        int begin = processor.indexOf("\nvmx flags");
        if (begin < 0) {
            return Optional.empty();
        }
        int end = processor.indexOf('\n', begin + 1);
        String line = processor.substring(begin, end < 0 ? processor.length() : end) + " ";
        return Optional.of(line.contains(" apicv ") || line.contains(" posted_intr "));
    }

    /** The maker whose module runs guests; empty if another module does, such as kvm_pvm. */
    public Optional<Vendor> vendor() {
        List<String> modules = vendorModules();
        boolean intel = modules.contains("kvm_intel");
        boolean amd = modules.contains("kvm_amd");
        // Where both are built in, only that of the processor works.
        return intel && (!amd || hasFlag("vmx"))
                ? Optional.of(Vendor.INTEL)
                : amd ? Optional.of(Vendor.AMD) : Optional.empty();
    }

    /**
     * The APIC ids of CPUs by their numbers: {@code processor} and {@code apicid}. Empty if CPUs share one, since some
     * hypervisors show their guests 0 for all.
     */
    public Map<Integer, Long> apicIds() {
        Map<Integer, Long> ids = new TreeMap<>();
        int cpu = -1;
        for (String line : lines(tree.text("proc/cpuinfo").orElse(""))) {
            if (line.startsWith("processor")) {
                cpu = (int) number(line);
            } else if (line.startsWith("apicid")) {
                ids.put(cpu < 0 ? ids.size() : cpu, number(line));
            }
        }
        ids.values().remove(-1L);
        return new HashSet<>(ids.values()).size() == ids.size() ? ids : Map.of();
    }

    /** The number behind the colon; -1 if there is none. */
    private static long number(String line) {
        String text = line.substring(line.indexOf(':') + 1).strip();
        return text.isEmpty() || text.length() > 9 || !text.chars().allMatch(c -> c >= '0' && c <= '9')
                ? -1
                : Long.parseLong(text);
    }

    /** Whether a module can be unloaded; a built-in module is not in the list. Empty if the list is not shown. */
    public Optional<Boolean> isModule(String name) {
        Optional<String> modules = tree.text("proc/modules");
        return modules.isPresent() ? Optional.of(("\n" + modules.get()).contains("\n" + name + " ")) : Optional.empty();
    }

    /** The line of the first processor; with many processors the file is long. */
    private String flags() {
        String known = flags;
        if (known == null) {
            String processor = tree.text("proc/cpuinfo").orElse("");
            int begin = processor.indexOf("\nflags");
            int end = processor.indexOf('\n', begin + 1);
            known = begin < 0 ? "" : processor.substring(begin, end < 0 ? processor.length() : end) + " ";
            flags = known;
        }
        return known;
    }

    /** Whether KVM lets guests run guests, by the parameter nested: Y of kvm_intel, 1 of kvm_amd. Empty if it is not shown. */
    public Optional<Boolean> nests() {
        return vendorModules().stream()
                .flatMap(module -> parameter(module, "nested").known().stream())
                .findFirst()
                .map(nested -> nested.matches("[Y1]"));
    }

    /** The words of the kernel's command line. */
    public Known<List<String>> commandLine() {
        Optional<String> line = tree.text("proc/cmdline");
        if (line.isEmpty()) {
            return new Known.Unknown<>("/proc/cmdline cannot be read", absent("proc/cmdline"));
        }
        if (line.get().isBlank()) {
            return new Known.Unknown<>("/proc/cmdline is empty", absent("proc/cmdline"));
        }
        List<String> words = new ArrayList<>();
        String text = line.get() + " ";
        int begin = 0;
        for (int i = 0; i < text.length(); i++) {
            if (text.charAt(i) <= ' ') {
                if (i > begin) {
                    words.add(text.substring(begin, i));
                }
                begin = i + 1;
            }
        }
        return new Known.Observed<>(words);
    }

    /**
     * Whether KVM on x86 emulates PIC, I/O APIC and PIT, so that a VMM may create the full irqchip. Kernels before 6.17
     * always do; later ones by CONFIG_KVM_IOAPIC.
     */
    public Known<Boolean> hasFullIrqchip() {
        Optional<Boolean> optional = facts.isSince(6, 17);
        return optional.isPresent() && !optional.get() ? new Known.Observed<>(true) : isBuilt("KVM_IOAPIC");
    }

    /** Whether an option such as {@code VFIO_PCI} is built in or a module, by the kernel's configuration. */
    public Known<Boolean> isBuilt(String option) {
        String boot = "boot/config-" + facts.kernel().orElse("");
        String known = configuration;
        if (known == null) {
            Optional<byte[]> packed = tree.bytes("proc/config.gz", MOST_BYTES);
            known = packed.isPresent()
                    ? unpacked(packed.get())
                    : boot.contains("..") ? "" : tree.text(boot).orElse("");
            configuration = known;
        }
        String line = "CONFIG_" + option + "=";
        if (!known.isEmpty()) {
            return new Known.Observed<>(known.contains("\n" + line) || known.startsWith(line));
        }
        boolean isRefused = tree.reading(boot) == HostFiles.Reading.DENIED;
        return new Known.Unknown<>(
                isRefused ? Known.Reason.REFUSED : Known.Reason.ABSENT,
                "neither /proc/config.gz nor /" + boot + " can be read",
                isRefused
                        ? facts.sight().refused(boot).remedy()
                        : "look for CONFIG_" + option + " in the kernel's configuration");
    }

    /** A small file may unpack to a long one. A damaged file is read up to the damage. */
    private static String unpacked(byte[] packed) {
        try (GZIPInputStream in = new GZIPInputStream(new ByteArrayInputStream(packed))) {
            return new String(in.readNBytes(MOST_UNPACKED), StandardCharsets.ISO_8859_1);
        } catch (IOException e) {
            return "";
        }
    }

    static List<String> lines(String text) {
        List<String> lines = new ArrayList<>();
        int begin = 0;
        while (begin < text.length()) {
            int end = text.indexOf('\n', begin);
            end = end < 0 ? text.length() : end;
            lines.add(text.substring(begin, end));
            begin = end + 1;
        }
        return lines;
    }
}
