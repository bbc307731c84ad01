/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * The files that processes have open, read once per command. A process may end while it is read: the files read until
 * then are kept.
 *
 * @param targets the targets of the descriptors of each process, by process and descriptor; without processes whose
 *     descriptors may not be read
 * @param ofVfio the processes that have a file below {@code /dev/vfio} open, by that file
 * @param unreadable how many processes do not show their descriptors to this user
 */
record OpenFiles(
        SortedMap<Integer, SortedMap<Integer, String>> targets, Map<String, List<Integer>> ofVfio, int unreadable) {
    private static final int MOST_DIGITS = 9;
    static final String VM = "anon_inode:kvm-vm";
    private static final String VFIO = "/dev/vfio/";

    static OpenFiles read(HostFiles tree) {
        TreeSet<Integer> pids = new TreeSet<>();
        for (String name : tree.list("proc")) {
            if (isNumber(name)) {
                pids.add(Integer.parseInt(name));
            }
        }
        SortedMap<Integer, SortedMap<Integer, String>> targets = new TreeMap<>();
        Map<String, List<Integer>> ofVfio = new HashMap<>();
        int unreadable = 0;
        for (int pid : pids) {
            String fds = "proc/" + pid + "/fd";
            SortedMap<Integer, String> own = read(tree, fds);
            // The first thread may have exited before the others.
            List<String> threads = own.isEmpty() ? tree.list("proc/" + pid + "/task") : List.of();
            for (int i = 0; threads.size() > 1 && own.isEmpty() && i < threads.size(); i++) {
                own = read(tree, "proc/" + pid + "/task/" + threads.get(i) + "/fd");
            }
            // Listing descriptors needs less than reading their links: proc_fd_access_allowed(). An exited process has
            // no task.
            boolean isHidden = !threads.isEmpty() && !tree.list(fds).isEmpty();
            if (own.isEmpty() && (isHidden || tree.reading(fds) == HostFiles.Reading.DENIED)) {
                unreadable++;
            } else if (!own.isEmpty()) {
                targets.put(pid, own);
            }
            for (String target : own.values()) {
                if (target.startsWith(VFIO)) {
                    List<Integer> holders = ofVfio.computeIfAbsent(target, same -> new ArrayList<>());
                    if (holders.isEmpty() || holders.get(holders.size() - 1) != pid) {
                        holders.add(pid);
                    }
                }
            }
        }
        return new OpenFiles(targets, ofVfio, unreadable);
    }

    private static SortedMap<Integer, String> read(HostFiles tree, String fds) {
        SortedMap<Integer, String> own = new TreeMap<>();
        for (String fd : tree.list(fds)) {
            String target = isNumber(fd) ? tree.link(fds + "/" + fd).orElse("") : "";
            if (!target.isEmpty()) {
                own.put(Integer.parseInt(fd), target);
            }
        }
        return own;
    }

    boolean hasVm() {
        for (SortedMap<Integer, String> own : targets.values()) {
            if (own.containsValue(VM)) {
                return true;
            }
        }
        return false;
    }

    /** The processes that have a file of a device, by its names in sysfs, or that of its group open. */
    TreeSet<Integer> holders(PciDevice device, List<String> files) {
        TreeSet<Integer> holders = new TreeSet<>();
        if (device.group().isPresent()) {
            holders.addAll(ofVfio.getOrDefault(VFIO + device.group().getAsInt(), List.of()));
        }
        for (String file : files) {
            holders.addAll(ofVfio.getOrDefault(VFIO + "devices/" + file, List.of()));
        }
        return holders;
    }

    /** Short commands start faster without patterns. */
    private static boolean isNumber(String name) {
        boolean digits = !name.isEmpty() && name.length() <= MOST_DIGITS;
        for (int i = 0; digits && i < name.length(); i++) {
            digits = name.charAt(i) >= '0' && name.charAt(i) <= '9';
        }
        return digits;
    }
}
