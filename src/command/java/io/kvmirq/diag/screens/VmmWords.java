/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.diag.sources.OtherNames;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Removes names from VMM command lines. The options that affect the path of interrupts are kept; a name of a guest
 * becomes another one.
 */
final class VmmWords {
    /** The options of a VMM that affect the path of interrupts; each has a value in the next word. */
    private static final Set<String> OPTIONS =
            Set.of("-machine", "-M", "-accel", "-global", "-object", "-device", "-cpu", "-smp");

    private static final Pattern NAME = Pattern.compile("(--?name|--?id|-n)(=.*)?");
    private static final Pattern SWITCH = Pattern.compile("-M|-{1,2}[a-z][-a-z0-9]{0,40}");
    private static final String ADDRESS = "([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]";
    /** Parts of such values. A word that a user may choose, such as an id, is not among them. */
    private static final Pattern PART = Pattern.compile("(type=)?(q35|pc[-.0-9a-z]*|virt[-.0-9]*|microvm|isapc|none)"
            + "|(accel|kernel[-_]irqchip|pit|pic|gic-version|its)=[-a-z0-9:]{0,12}|(vfio-pci\\.)?x-[-a-z]{1,40}=(on|off|true|false|yes|no|y|n)"
            + "|host=" + ADDRESS + "|sysfsdev=/sys/[-a-z0-9/:.]*/" + ADDRESS
            + "|driver=[-a-z0-9_.]{1,40}|property=[-a-z_]{1,40}|value=(discard|delay|merge|slew|on|off|true|false|yes|no|y|n)"
            + "|kvm-pit\\.lost_tick_policy=(discard|delay)|vfio-pci|(virtio|vhost-user|vhost-vsock)-[a-z-]{1,24}|kvm|host|max|sev-guest|sev-snp-guest|tdx-guest"
            + "|(X86CPU|cpu|[a-z0-9]{1,12}-(x86_64|i386)-cpu)\\.hv[-_][-a-z_]{1,40}=(on|off)"
            + "|[-+]?(hv[-_][-a-z_]{1,40}|avic|apic|x2apic|svm)(=(on|off))?"
            + "|((cpus|sockets|cores|threads|maxcpus)=)?\\d{1,4}");
    /** The same in JSON. */
    private static final Pattern FIELD = Pattern.compile("\"(driver|qom-type)\":\"[-a-z0-9_.]{1,40}\"|\"host\":\""
            + ADDRESS + "\"|\"sysfsdev\":\"/sys/[-a-z0-9/:.]*/" + ADDRESS
            + "\"|\"x-[-a-z]{1,40}\":(true|false|\"o(n|ff)\")");

    private static final Pattern VMM = Pattern.compile("qemu(-kvm|-system-(x86|x86_64|i386|aarch64))?|kvm|kvmtool|lkvm"
            + "|cloud-hyperviso(r)?|crosvm|firecracker|java|openvmm");

    private final OtherNames names;
    private final SortedMap<String, String> guests = new TreeMap<>();

    VmmWords(OtherNames names) {
        this.names = names;
    }

    /** The name of a program that an analysis knows. */
    static String program(String name) {
        return VMM.matcher(name).matches() ? name : name.startsWith("qemu") ? "qemu" : Redaction.GONE;
    }

    /** A command line without names, whose words end with a zero. */
    String redacted(String text) {
        String[] words = text.split("\0", -1);
        for (int i = 0; i < words.length; i++) {
            // QEMU takes two dashes for one.
            String before = i == 0 ? "" : words[i - 1].replaceFirst("^--", "-");
            Matcher name = NAME.matcher(words[i]);
            if (i == 0) {
                words[0] = program(words[0].substring(words[0].lastIndexOf('/') + 1));
            } else if (OPTIONS.contains(before)) {
                words[i] = words[i].startsWith("{") ? fields(words[i]) : parts(words[i]);
            } else if (NAME.matcher(words[i - 1]).matches() && !words[i - 1].contains("=")) {
                words[i] = names.name(OtherNames.GUEST, guests, words[i]);
            } else if (name.matches() && name.group(2) != null) {
                words[i] = name.group(1) + "=" + names.name(OtherNames.GUEST, guests, name.group(2));
            } else if (!SWITCH.matcher(words[i]).matches() && !words[i].isEmpty()) {
                words[i] = Redaction.GONE;
            }
        }
        return String.join("\0", words);
    }

    private static String parts(String value) {
        List<String> parts = new ArrayList<>();
        for (String part : value.split(",", -1)) {
            parts.add(PART.matcher(part).matches() ? part : Redaction.GONE);
        }
        return String.join(",", parts);
    }

    private static String fields(String json) {
        return FIELD.matcher(json.replaceAll("\\s", ""))
                .results()
                .map(MatchResult::group)
                .collect(Collectors.joining(",", "{", "}"));
    }
}
