/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * What the host itself uses a PCI device for, and loses when another driver is bound to it.
 *
 * <p>Source: {@code /proc/self/mountinfo}, {@code /proc/net/route}, {@code /sys/dev/block} and {@code /sys/class/net} in
 * proc(5) and sysfs(5).
 */
final class DeviceUses {
    private static final String BLOCK = "sys/dev/block/";
    private static final String DEFAULT_ROUTE = "00000000";

    private final HostFiles tree;
    /** As it stands in the path of all that is behind the device. */
    private final String place;

    DeviceUses(HostFiles tree, PciAddress device) {
        this.tree = tree;
        this.place = "/" + device + "/";
    }

    /** One sentence for each use. */
    List<String> all() {
        List<String> uses = new ArrayList<>();
        tree.text("proc/self/mountinfo").stream().flatMap(String::lines).forEach(line -> mounted(line, uses));
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
                        + (routed.contains(name) ? " and has the default route" : ""));
            }
        }
        return uses;
    }

    /** Its third word is the number of the device, the fifth the place; a dash precedes type and source. */
    private void mounted(String line, List<String> uses) {
        String[] words = line.split(" ");
        int dash = List.of(words).indexOf("-");
        if (dash < 5 || words.length < dash + 3) {
            return;
        }
        String source = words[dash + 2];
        // A file system of several devices has a number of its own.
        String block = words[2].startsWith("0:") && source.startsWith("/dev/")
                ? "sys/class/block/" + source.substring(source.lastIndexOf('/') + 1)
                : BLOCK + words[2];
        if (isBehind(block, new HashSet<>())) {
            uses.add((words[4].equals("/") ? "the root file system" : "the file system at " + words[4]) + " is on it");
        }
    }

    /** A device of device-mapper or md is behind those that it is made of. */
    private boolean isBehind(String block, Set<String> seen) {
        return seen.add(block)
                && (isBehind(tree.link(block))
                        || tree.list(block + "/slaves").stream()
                                .anyMatch(name -> isBehind("sys/class/block/" + name, seen)));
    }

    private boolean isBehind(Optional<String> target) {
        return target.filter(path -> (path + "/").contains(place)).isPresent();
    }
}
