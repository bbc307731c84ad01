/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Takes out of a capture what names a machine, its owner or a guest. Words of command lines are kept when an analysis
 * knows them; all others become {@value #GONE}. So a word that nobody thought of is taken out.
 */
final class Redaction {
    private static final String GONE = "-";

    /** The parameters of the kernel that decide how interrupts travel. */
    private static final Pattern KERNEL = Pattern.compile(
            "(intel_iommu|amd_iommu|amd_iommu_intr|iommu|iommu\\.[a-z_]+|intremap|kvm[-_.a-z]*|vfio[-_.a-z0-9]*|pci)"
                    + "=[-A-Za-z0-9_,.:]*|nointremap|nox2apic|noapic|nolapic");

    /** The options of a VMM that decide how interrupts travel; each of these has a value in the next word. */
    private static final Set<String> OPTIONS =
            Set.of("-machine", "-M", "-accel", "-global", "-device", "-cpu", "-smp", "-name", "--name", "--id");

    private static final Set<String> NAMES = Set.of("-name", "--name", "--id");
    private static final Pattern SWITCH = Pattern.compile("-{1,2}[a-z][-a-z0-9]{0,40}");
    private static final Pattern PART = Pattern.compile(
            "(accel|kernel[-_]irqchip|pit|x-[-a-z]+|host|addr|bus|sysfsdev|iommufd|q35|pc[-.0-9a-z]*|virt[-.0-9]*|microvm"
                    + "|gic-version|its|kvm|max|driver|property|value|lost_tick_policy|kvm-pit\\.lost_tick_policy|discard|delay"
                    + "|hv[-_][a-z0-9_]+|avic|apic|x2apic|vfio-pci|cpus|sockets|cores|threads|maxcpus)"
                    + "(=[-A-Za-z0-9_.:]{0,40})?|\\d{1,4}");
    private static final Pattern PROCESS_FILE = Pattern.compile("proc/(\\d+)/(cmdline|comm|task/\\d+/comm)");
    private static final Pattern THREAD = Pattern.compile("CPU \\d{1,5}/KVM");
    private static final Pattern VMM =
            Pattern.compile("(qemu|kvmtool|lkvm|cloud-hyperviso|crosvm|firecracker|java|openvmm)[-a-z0-9_]*");
    private static final Pattern VERSION = Pattern.compile("Linux version \\S+");
    private static final Set<String> GROUPS = Set.of("root", "kvm", "libvirt", "qemu", "vfio", "disk");
    private static final Pattern BLOCK = Pattern.compile("/dev/[a-z]{2,4}[0-9a-z]{0,12}");
    private static final Pattern INTERFACE = Pattern.compile("\\ben[a-z]*x[0-9a-f]{12}\\b");

    private final SortedMap<String, String> guests = new TreeMap<>();

    Capture of(Capture whole) {
        SortedMap<String, byte[]> files = new TreeMap<>();
        whole.files().forEach((path, content) -> {
            if (path.endsWith("/config") || path.equals("proc/config.gz")) {
                files.put(path, content);
            } else {
                String text = new String(content, StandardCharsets.UTF_8);
                files.put(interfaces(path), interfaces(text(path, text)).getBytes(StandardCharsets.UTF_8));
            }
        });
        SortedMap<String, String> links = new TreeMap<>();
        whole.links().forEach((path, target) -> links.put(interfaces(path), interfaces(target)));
        return new Capture(true, files, links, whole.denied(), whole.owners());
    }

    private String text(String path, String text) {
        Matcher process = PROCESS_FILE.matcher(path);
        if (process.matches()) {
            return process.group(2).equals("cmdline") ? vmm(text) : comm(text);
        }
        return switch (path) {
            case "proc/cmdline" -> words(text, KERNEL) + "\n";
            case "proc/version" -> {
                Matcher version = VERSION.matcher(text);
                yield version.lookingAt() ? version.group() + "\n" : "";
            }
            case "proc/self/mountinfo" ->
                text.lines().map(Redaction::mount).collect(Collectors.joining("\n", "", "\n"));
            case "proc/net/route" -> text.lines().map(Redaction::route).collect(Collectors.joining("\n", "", "\n"));
            case "proc/swaps" -> text.lines().map(Redaction::swap).collect(Collectors.joining("\n", "", "\n"));
            case "etc/group" ->
                text.lines().flatMap(line -> group(line).stream()).collect(Collectors.joining("\n", "", "\n"));
            default -> text;
        };
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
        return (THREAD.matcher(name).matches() || VMM.matcher(name).matches() ? name : GONE) + "\n";
    }

    /** Words that end with a zero. */
    private String vmm(String text) {
        String[] words = text.split("\0", -1);
        for (int i = 0; i < words.length; i++) {
            String before = i == 0 ? "" : words[i - 1];
            if (i == 0) {
                String binary = words[0].substring(words[0].lastIndexOf('/') + 1);
                words[0] = VMM.matcher(binary).matches() ? binary : GONE;
            } else if (NAMES.contains(before)) {
                words[i] = guests.computeIfAbsent(words[i], name -> "guest-" + (guests.size() + 1));
            } else if (OPTIONS.contains(before)) {
                words[i] = parts(words[i]);
            } else if (!SWITCH.matcher(words[i]).matches() && !words[i].isEmpty()) {
                words[i] = GONE;
            }
        }
        return String.join("\0", words);
    }

    private static String parts(String value) {
        List<String> parts = new ArrayList<>();
        for (String part : value.split(",", -1)) {
            parts.add(PART.matcher(part).matches() ? part : GONE);
        }
        return String.join(",", parts);
    }

    /** The numbers of the device, the type and a plain source stay; of the places only the root. */
    private static String mount(String line) {
        String[] words = line.split(" ");
        int dash = List.of(words).indexOf("-");
        if (dash < 5 || words.length < dash + 3) {
            return "";
        }
        String source = BLOCK.matcher(words[dash + 2]).matches() ? words[dash + 2] : GONE;
        return words[0] + " " + words[1] + " " + words[2] + " / " + (words[4].equals("/") ? "/" : "/" + GONE) + " rw - "
                + words[dash + 1] + " " + source + " rw";
    }

    private static String swap(String line) {
        String[] words = line.split("\\s+", 2);
        return words.length < 2
                        || words[0].equals("Filename")
                        || BLOCK.matcher(words[0]).matches()
                ? line
                : GONE + " " + words[1];
    }

    /** Groups that a distribution makes, without their members. */
    private static Optional<String> group(String line) {
        String[] words = line.split(":", -1);
        return words.length > 2 && GROUPS.contains(words[0])
                ? Optional.of(words[0] + ":x:" + words[2] + ":")
                : Optional.empty();
    }

    /** The interface, and whether it has the default route. */
    private static String route(String line) {
        String[] words = line.split("\\s+");
        return words.length < 2 ? "" : words[0] + "\t" + (words[1].equals("00000000") ? words[1] : "FFFFFFFF");
    }

    /** Names of interfaces that hold a hardware address. */
    private static String interfaces(String text) {
        return INTERFACE.matcher(text).replaceAll("enx" + GONE);
    }
}
