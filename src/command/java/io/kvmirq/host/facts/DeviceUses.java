/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The host's own uses of a PCI device, which end when another driver is bound to it.
 *
 * <p>Source: {@code /proc/self/mountinfo}, {@code /proc/swaps}, {@code /proc/net/route}, {@code /sys/dev/block} and {@code /sys/class/net} in
 * proc(5) and sysfs(5).
 */
final class DeviceUses {
    private static final String BLOCK = "sys/dev/block/";
    private static final String CLASS = "sys/class/block/";
    private static final Pattern SUBSYSTEM = Pattern.compile("/devices/virtual/nvme-subsystem/([^/]+)/");
    private static final String PCI = "sys/bus/pci/devices";
    private static final String BRIDGE = "0x06";
    private static final String DEFAULT_ROUTE = "00000000";

    private final HostFiles tree;
    /** The device's name, as in the sysfs path of all that is behind it. */
    private final String place;

    DeviceUses(HostFiles tree, PciAddress device) {
        this.tree = tree;
        this.place = "/" + device + "/";
    }

    /** One sentence for each use. */
    List<String> all() {
        List<String> uses = new ArrayList<>();
        tree.text("proc/self/mountinfo").stream().flatMap(String::lines).forEach(line -> mounted(line, uses));
        tree.text("proc/swaps").stream().flatMap(String::lines).forEach(line -> swapped(line, uses));
        List<String> routed = tree.text("proc/net/route").stream()
                .flatMap(String::lines)
                .map(line -> line.split("\\s+"))
                .filter(words -> words.length > 1 && words[1].equals(DEFAULT_ROUTE))
                .map(words -> words[0])
                .toList();
        for (String name : tree.list("sys/class/net")) {
            boolean ours = isBehind(tree.link("sys/class/net/" + name));
            if (ours
                    && tree.text("sys/class/net/" + name + "/operstate")
                            .filter("up"::equals)
                            .isPresent()) {
                uses.add("the network interface " + name + " is up"
                        + (routed.contains(name) ? " and has the default route" : "")
                        + tree.linkName("sys/class/net/" + name + "/master")
                                .filter(routed::contains)
                                .map(bridge -> " and is the uplink of " + bridge + ", which has the default route")
                                .orElse(""));
            }
        }
        behind(uses);
        return uses;
    }

    /** The driver of a device such as the VMD made the bus of others: they go with it. */
    private void behind(List<String> uses) {
        List<String> behind = tree.list(PCI).stream()
                .filter(name -> isOnBus(name))
                .filter(name ->
                        !tree.text(PCI + "/" + name + "/class").orElse("").startsWith(BRIDGE))
                .sorted()
                .toList();
        if (!behind.isEmpty()) {
            uses.add(String.join(" and ", behind) + " on its bus");
        }
    }

    /** Whether another PCI function is on a bus below the device. */
    boolean isOnBus(String name) {
        return tree.link(PCI + "/" + name).filter(path -> path.contains(place)).isPresent();
    }

    /** The line's third word is the device number, the fifth the mount point; a dash precedes type and source. */
    private void mounted(String line, List<String> uses) {
        String[] words = line.split(" ");
        int dash = List.of(words).indexOf("-");
        if (dash < 5 || words.length < dash + 3) {
            return;
        }
        String source = words[dash + 2];
        // A file system on several devices has a number of its own.
        String block = words[2].startsWith("0:") && source.startsWith("/dev/")
                ? CLASS + source.substring(source.lastIndexOf('/') + 1)
                : BLOCK + words[2];
        if (isBehind(block)) {
            uses.add((words[4].equals("/") ? "the root file system" : "the file system at " + words[4]) + " is on it");
        }
    }

    /** The line's first word is the file; a swap file is on a file system. */
    private void swapped(String line, List<String> uses) {
        String file = line.split("\\s+")[0];
        if (file.startsWith("/dev/") && isBehind(CLASS + file.substring(file.lastIndexOf('/') + 1))) {
            uses.add("the swap space " + file + " is on it");
        }
    }

    /**
     * A device of device-mapper or md is behind its component devices, a partition behind its disk, and a name space of
     * an NVMe subsystem with several paths behind the controllers.
     */
    private boolean isBehind(String first) {
        Set<String> seen = new HashSet<>(Set.of(first));
        Deque<String> left = new ArrayDeque<>(seen);
        while (!left.isEmpty()) {
            String block = left.remove();
            Optional<String> place = tree.link(block);
            if (isBehind(place) || place.filter(this::isOnPathOf).isPresent()) {
                return true;
            }
            List<String> below = new ArrayList<>(slaves(block));
            place.ifPresent(path -> below.addAll(slaves(CLASS + disk(path))));
            below.stream().filter(seen::add).forEach(left::add);
        }
        return false;
    }

    private List<String> slaves(String block) {
        return tree.list(block + "/slaves").stream().map(name -> CLASS + name).toList();
    }

    /** The directory above: the disk, if this is a partition. */
    private static String disk(String place) {
        String above = place.substring(0, Math.max(place.lastIndexOf('/'), 0));
        return above.substring(above.lastIndexOf('/') + 1);
    }

    /** {@code nvme_init_subsystem()} links the controllers in the directory of the subsystem. */
    private boolean isOnPathOf(String place) {
        Matcher subsystem = SUBSYSTEM.matcher(place);
        if (!subsystem.find()) {
            return false;
        }
        String directory = "sys/devices/virtual/nvme-subsystem/" + subsystem.group(1);
        return tree.list(directory).stream().anyMatch(name -> isBehind(tree.link(directory + "/" + name)));
    }

    private boolean isBehind(Optional<String> target) {
        return target.filter(path -> (path + "/").contains(place)).isPresent();
    }
}
