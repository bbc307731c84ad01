/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.diag.rules.LogRules;
import io.kvmirq.diag.rules.ParameterRules;
import io.kvmirq.diag.sources.KernelHelpers;
import io.kvmirq.diag.sources.OtherNames;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.KernelLog;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/**
 * Removes the names of a machine, its owner and its guests from a capture. Words that an analysis reads and fixed names
 * of the kernel are kept; all others become {@value #GONE}, or another name if they must stay distinct. So an
 * unexpected word is removed. A name has the same replacement in all captures of one host, so that two can be compared.
 */
final class Redaction {
    static final String GONE = "-";

    /** The kernel parameters that affect the path of interrupts. They may be quoted. */
    private static final Pattern KERNEL =
            Pattern.compile("\"?((intel_iommu|amd_iommu|amd_iommu_intr|iommu|iommu\\.[a-z_]+|intremap|kvm[-_.a-z0-9]*"
                    + "|vfio[-_.a-z0-9]*|acpi|irqchip[.a-z0-9_]*|"
                    + anyOf(ParameterRules.names())
                    + ")=\"?[-A-Za-z0-9_,.:=@]*"
                    + "|nox2apic|irqpoll|irqfixup|noirqdebug|irqchip[.a-z0-9_]*|" + anyOf(ParameterRules.flags())
                    + ")\"?");

    /** The vCPU whose KVM_RUN a thread is in, without the thread's stack. */
    private static final Pattern RUN = Pattern.compile("\\d{1,3} 0x[0-9a-f]{1,7} 0xae80 ");

    private static final Pattern PROCESS_FILE = Pattern.compile("proc/(\\d+)/(cmdline|comm|task/\\d+/comm)");
    private static final Pattern THREAD =
            Pattern.compile("CPU \\d{1,5}/KVM|((crosvm_)?vcpu|fc_vcpu |kvm-vcpu-)\\d{1,5}" + "|" + KernelHelpers.NAME);
    private static final Pattern STATUS = Pattern.compile("(CapEff|Seccomp|Cpus_allowed_list|State|TracerPid):");
    private static final Pattern VERSION =
            Pattern.compile("(Linux version )?(\\S+)(?:.*( Debian \\d+\\.\\d+(\\.\\d+)?-\\d+))?[\\s\\S]*");
    private static final Pattern RELEASE =
            Pattern.compile("\\d+\\.\\d+(\\.\\d+)?([-.+~_](\\d+|rc\\d+|git|deb\\d+u?\\d*|bpo"
                    + "|amd64|arm64|x86_64|x86|64|aarch64|cloud|generic|lowlatency|default|azure|aws|gcp|oracle|kvm|pve|rt|lts"
                    + "|el\\d+|fc\\d*|arch\\d*|pvm|fake)(?![a-zA-Z0-9]))*");
    private static final Pattern CONFIGURED =
            Pattern.compile("CONFIG_[A-Z0-9_]*(KVM|VFIO|IOMMU|IRQ|DEBUGFS|DEBUG_FS)[A-Z0-9_]*=[ymn]");
    /** Lines of the kernel's log that name devices and threads of vCPUs alone. */
    private static final Pattern LOGGED =
            Pattern.compile("\\[ *\\d+\\.\\d+] ((DMAR|AMD-Vi): .*|(arm-smmu\\S*|vfio-pci|pcieport|pci)"
                    + " [0-9a-z:.]+: .*|irq \\d+: nobody cared.*|INFO: task CPU \\d+/KVM:\\d+ blocked .*|(mlx5_core|ice|i40e|ixgbe) [0-9a-z:.]+: .*(failed|aborted|reload driver).*"
                    + "|(__)?common_interrupt: \\d+\\.\\d+ No irq handler for vector|ITS queue timeout .*"
                    + "|watchdog: BUG: soft lockup .*\\[CPU \\d+/KVM:\\d+\\])");

    /** Regions of devices, and of what draws on the screen. Addresses of memory would tell where the kernel is. */
    private static final Pattern REGION =
            Pattern.compile(" *\\w+-\\w+ : ([0-9a-f:.]+|vfio.{0,12}|BOOTFB|(simple|efi|vesa|vga16|lxc?)\\w{0,8})");

    private static final Pattern PROCESSOR = Pattern.compile(
            "(processor|vendor_id|flags|vmx flags|Features|cpu family|model|stepping|CPU [a-z]+)\\s*:.*");
    private static final String GROUPS_OF_PROCESSES = "sys/fs/cgroup/";
    private static final Pattern CONTROLLERS =
            Pattern.compile("|\\.\\.|unified|freezer|cpu|cpuacct|(cpu,cpuacct)|(cpuacct,cpu)");
    private static final Set<String> GROUPS = Set.of("root", "kvm", "libvirt", "qemu", "vfio", "disk");
    private static final Pattern DRIVER = Pattern.compile("|\\(null\\)|vfio-pci|[a-z0-9]{1,12}[-_]vfio[-_]pci");

    /** Hardware number and trigger in a row of an irq, before its handlers. */
    private static final Pattern BEFORE_HANDLERS = Pattern.compile("\\s*\\d*(-\\S+|\\s+(Level|Edge)(?=\\s|$))?\\s*");
    /** Handlers that the kernel names; handlers of networks have the name of an interface. */
    private static final Pattern HANDLER =
            Pattern.compile("vfio-[a-z]{2,8}(\\[\\d+])?\\([0-9a-f:.]+\\)|timer|arch_timer"
                    + "|rtc\\d*|acpi|i8042|cascade|dmar\\d+|AMD-Vi\\d*(-[A-Za-z]+)?|PCIe (PME|hotplug)|pciehp|aerdrv|pcieport"
                    + "|ahci(\\[[0-9a-f:.]+])?|[eoux]hci[-_]hcd(:usb\\d+)?|nvme\\d+q\\d+|ttyS\\d*|i801_smbus|mei_me|vcpu|vgic"
                    + "|virtio\\d+(-[a-z]+(\\.\\d+)?)?|kvm guest [a-z]+timer|(ena|mlx5)[a-z0-9_]*@pci:[0-9a-f:.]+|uart-pl011"
                    + "|arm-smmu-v3-[a-z]+|snd_hda_intel:card\\d+|i915|amdgpu|nvidia|mlx5_comp\\d+@pci:[0-9a-f:.]+");

    private static final Pattern QUEUE =
            Pattern.compile("[-:_.@](?i:txrx|rx|tx|input|output|fp|q|comp)?[-._]?\\d{0,4}");
    private static final Pattern DISK = Pattern.compile("(sd|vd|hd|xvd)[a-z]{1,3}\\d{0,3}|nvme\\d+(c\\d+)?n\\d+(p\\d+)?"
            + "|mmcblk\\d+(p\\d+)?|dasd[a-z]+\\d*|(md|dm-|loop|zram|ram|nbd|rbd|sr|pmem|bcache|drbd)\\d+(p\\d+)?");
    private static final Pattern NAMED_PART = Pattern.compile("(?<=(?:^|/)(net|block|slaves)/)[^/]+");
    private static final Pattern LIST = Pattern.compile("sys/class/(net|block)/([^/]+)(/.*)?");

    private final SortedMap<String, String> interfaces = new TreeMap<>();
    private final SortedMap<String, String> disks = new TreeMap<>();
    private final SortedMap<String, String> groups = new TreeMap<>();

    private final OtherNames names;
    private final VmmWords vmm;

    Redaction(Capture whole) {
        this.names = OtherNames.read(whole.tree());
        this.vmm = new VmmWords(names);
    }

    Capture of(Capture whole) {
        name(whole);
        SortedMap<String, byte[]> files = new TreeMap<>();
        whole.files().forEach((path, content) -> {
            if (path.equals(OtherNames.MACHINE)) {
                return;
            }
            if (path.endsWith("/config")) {
                files.put(path, content);
            } else if (path.equals("proc/config.gz")) {
                files.put(path, packed(content));
            } else {
                String text = new String(content, StandardCharsets.UTF_8);
                files.put(path(path), text(path, text).getBytes(StandardCharsets.UTF_8));
            }
        });
        SortedMap<String, String> links = new TreeMap<>();
        whole.links().forEach((path, target) -> links.put(path(path), path(target)));
        NavigableSet<String> denied =
                whole.denied().stream().map(this::path).collect(Collectors.toCollection(TreeSet::new));
        return new Capture(true, files, links, denied, whole.owners());
    }

    /** Replaces the names of interfaces, and of disks that a user named. */
    private void name(Capture whole) {
        NavigableSet<String> networks = new TreeSet<>();
        NavigableSet<String> blocks = new TreeSet<>();
        for (Set<String> paths : List.of(whole.files().keySet(), whole.links().keySet())) {
            paths.forEach(path -> {
                Matcher list = LIST.matcher(path);
                if (list.matches()) {
                    (list.group(1).equals("net") ? networks : blocks).add(list.group(2));
                }
            });
        }
        new String(whole.files().getOrDefault("proc/net/route", new byte[0]), StandardCharsets.UTF_8)
                .lines()
                .skip(1)
                .map(line -> line.split("\\s+")[0])
                .filter(name -> !name.isEmpty())
                .forEach(networks::add);
        networks.forEach(name -> names.name("net-", interfaces, name));
        blocks.removeIf(name -> DISK.matcher(name).matches());
        blocks.forEach(name -> names.name("disk-", disks, name));
    }

    /** The path of a file, or the target of a link. */
    private String path(String path) {
        if (path.startsWith("boot/config-")) {
            return "boot/config-" + release(path.substring("boot/config-".length()));
        }
        if (path.startsWith("proc/")) {
            return path;
        }
        if (path.startsWith(GROUPS_OF_PROCESSES)) {
            int file = path.lastIndexOf('/') + 1;
            return GROUPS_OF_PROCESSES
                    + (file > GROUPS_OF_PROCESSES.length()
                            ? groups(path.substring(GROUPS_OF_PROCESSES.length(), file - 1)) + "/"
                            : "")
                    + path.substring(file);
        }
        return NAMED_PART.matcher(path).replaceAll(part -> {
            String name = part.group();
            return Matcher.quoteReplacement(
                    part.group(1).equals("net")
                            ? interfaces.getOrDefault(name, GONE)
                            : DISK.matcher(name).matches() || name.matches("\\d+:\\d+")
                                    ? name
                                    : disks.getOrDefault(name, GONE));
        });
    }

    private String text(String path, String text) {
        Matcher process = PROCESS_FILE.matcher(path);
        if (process.matches()) {
            return process.group(2).equals("cmdline") ? vmm.redacted(text) : comm(text);
        }
        if (path.startsWith("proc/") && path.endsWith("/status")) {
            return lines(text, line -> STATUS.matcher(line).lookingAt() ? line : "");
        }
        if (path.startsWith("proc/") && path.endsWith("/syscall")) {
            Matcher run = RUN.matcher(text);
            return (run.lookingAt() ? run.group() : "") + GONE + "\n";
        }
        if (path.startsWith("proc/") && path.endsWith("/cgroup")) {
            return lines(text, this::controlled);
        }
        if (path.startsWith("proc/") && path.endsWith("/stat")) {
            Matcher stat = KernelHelpers.STAT.matcher(text);
            boolean helper = stat.matches();
            return helper && stat.group(2) == null
                    ? text
                    : text.replaceFirst("(?s)\\(.*\\)", "(" + (helper ? stat.group(2) : "") + "-)");
        }
        if (path.endsWith("/driver_override")) {
            return (DRIVER.matcher(text.strip()).matches() ? text.strip() : GONE) + "\n";
        }
        if (path.startsWith("boot/config-")) {
            return configured(text);
        }
        return switch (path) {
            case KernelLog.FILE -> lines(text, line -> LOGGED.matcher(line).matches() ? line : LogRules.redacted(line));
            case "proc/cmdline" -> words(text, KERNEL) + "\n";
            case "proc/version", "proc/sys/kernel/osrelease" -> {
                Matcher version = VERSION.matcher(text);
                yield version.matches()
                        ? Objects.toString(version.group(1), "") + release(version.group(2))
                                + Objects.toString(version.group(3), "") + "\n"
                        : "";
            }
            case "proc/sys/kernel/random/boot_id" -> GONE + "\n";
            case "proc/interrupts" -> lines(text, this::interrupt);
            case "proc/cpuinfo" -> lines(text, line -> PROCESSOR.matcher(line).matches() ? line : "");
            case "proc/self/mountinfo" -> lines(text, this::mount);
            case "proc/net/route" -> lines(text, this::route);
            case "proc/iomem" ->
                lines(text, line -> REGION.matcher(line).matches() ? line.replaceFirst("\\w+-\\w+", "0-0") : "");
            case "proc/swaps" -> lines(text, this::swap);
            case "etc/group" ->
                text.lines().flatMap(line -> group(line).stream()).collect(Collectors.joining("\n", "", "\n"));
            default -> text;
        };
    }

    /** A line of a hierarchy, its controllers and a path. */
    private String controlled(String line) {
        String[] parts = line.split(":", 3);
        return parts.length < 3 ? "" : parts[0] + ":" + parts[1] + ":" + groups(parts[2]);
    }

    /** A path of control groups, which have names of guests and users. */
    private String groups(String path) {
        return Pattern.compile("/")
                .splitAsStream(path)
                .map(name -> CONTROLLERS.matcher(name).matches() ? name : names.name("group-", groups, name))
                .collect(Collectors.joining("/"));
    }

    private static String anyOf(Set<String> words) {
        return words.stream().map(Pattern::quote).collect(Collectors.joining("|"));
    }

    private static String lines(String text, UnaryOperator<String> change) {
        return text.lines().map(change).collect(Collectors.joining("\n", "", "\n"));
    }

    /** Keeps the text up to the first word that is not one of a distribution. */
    private static String release(String release) {
        Matcher known = RELEASE.matcher(release);
        return known.lookingAt() ? known.group() : GONE;
    }

    private static String configured(String text) {
        return text.lines()
                .filter(line -> CONFIGURED.matcher(line).matches())
                .map(line -> line + "\n")
                .collect(Collectors.joining());
    }

    /** A damaged file stays empty, because an analysis cannot read it. */
    private static byte[] packed(byte[] content) {
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (GZIPInputStream in = new GZIPInputStream(new ByteArrayInputStream(content))) {
            String text = new String(in.readNBytes(HostKvm.MOST_UNPACKED), StandardCharsets.ISO_8859_1);
            try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
                out.write(configured(text).getBytes(StandardCharsets.ISO_8859_1));
            }
        } catch (IOException e) {
            return new byte[0];
        }
        return packed.toByteArray();
    }

    private static String words(String text, Pattern kept) {
        List<String> words = new ArrayList<>();
        for (String word : text.strip().split("\\s+")) {
            words.add(kept.matcher(word).matches() ? word : GONE);
        }
        return String.join(" ", words);
    }

    private static String comm(String text) {
        String name = text.strip();
        return (THREAD.matcher(name).matches() ? name : VmmWords.program(name)) + "\n";
    }

    /** Counts, chip and hardware number stay. A row with a name is fixed text of the kernel. */
    private String interrupt(String line) {
        int colon = line.indexOf(':');
        if (colon < 0 || !line.substring(0, colon).strip().matches("\\d+")) {
            return line;
        }
        int at = colon + 1;
        while (at < line.length() && (line.charAt(at) == ' ' || Character.isDigit(line.charAt(at)))) {
            at++;
        }
        while (at < line.length() && line.charAt(at) != ' ') {
            at++;
        }
        Matcher before = BEFORE_HANDLERS.matcher(line).region(at, line.length());
        int handlers = before.lookingAt() ? before.end() : at;
        return line.substring(0, handlers)
                + Pattern.compile(", ")
                        .splitAsStream(line.substring(handlers).strip())
                        .map(this::handler)
                        .collect(Collectors.joining(", "));
    }

    private String handler(String name) {
        if (name.isEmpty() || HANDLER.matcher(name).matches()) {
            return name;
        }
        for (Map.Entry<String, String> entry : interfaces.entrySet()) {
            if (name.startsWith(entry.getKey())) {
                String rest = name.substring(entry.getKey().length());
                return entry.getValue() + (QUEUE.matcher(rest).matches() ? rest : "");
            }
        }
        return GONE;
    }

    /** The device numbers, the type and a plain source stay; of the mount points only the root. */
    private String mount(String line) {
        String[] words = line.split(" ");
        int dash = List.of(words).indexOf("-");
        if (dash < 5 || words.length < dash + 3) {
            return "";
        }
        return words[0] + " " + words[1] + " " + words[2] + " / " + (words[4].equals("/") ? "/" : "/" + GONE) + " rw - "
                + words[dash + 1] + " " + device(words[dash + 2]) + " rw";
    }

    /** The file of a disk. */
    private String device(String file) {
        String name = file.substring(file.lastIndexOf('/') + 1);
        return file.startsWith("/dev/") && DISK.matcher(name).matches()
                ? file
                : file.equals("/dev/" + name) && disks.containsKey(name) ? "/dev/" + disks.get(name) : GONE;
    }

    private String swap(String line) {
        String[] words = line.split("\\s+", 2);
        return words.length < 2 || words[0].equals("Filename") ? line : device(words[0]) + " " + words[1];
    }

    /** Keeps groups that a distribution makes, without their members. */
    private static Optional<String> group(String line) {
        String[] words = line.split(":", -1);
        return words.length > 2 && GROUPS.contains(words[0])
                ? Optional.of(words[0] + ":x:" + words[2] + ":")
                : Optional.empty();
    }

    /** Keeps the interface, and whether it has the default route. */
    private String route(String line) {
        String[] words = line.split("\\s+");
        return words.length < 2
                ? ""
                : interfaces.getOrDefault(words[0], GONE) + "\t"
                        + (words[1].equals("00000000") ? words[1] : "FFFFFFFF");
    }
}
