/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.backend.HostFiles;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Checks of the control groups of a VMM's threads and the groups above: whether they are frozen or out of CPU time. For
 * one use by one thread.
 *
 * <p>Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1 in Linux.
 */
final class ControlGroups {
    /** Per cent. */
    private static final int MOST_PRESSED = 33;

    private static final Pattern FULL = Pattern.compile("(?m)^full avg10=(\\d{1,3})\\.");

    /** A thread whose group has used up its quota counts as waiting ({@code PSI_CPU_FULL}). */
    private static final Pattern QUIET = Pattern.compile("(?m)^some avg10=0\\.00 avg60=0\\.00 ");

    /** A group has all of them, or none. */
    private static final List<String> PRESSURES = List.of("/cpu.pressure", "/memory.pressure", "/io.pressure");

    private final HostFiles files;
    private final Flaws looks;
    /** The groups whose quota was checked. */
    private final Set<String> quotas = new HashSet<>();

    private List<String> ofVcpus = List.of();
    private boolean frozen;

    ControlGroups(HostFiles files, Flaws looks) {
        this.files = files;
        this.looks = looks;
    }

    boolean isFrozen() {
        return frozen;
    }

    /**
     * Flaws at all of them.
     *
     * @param ofProcess the {@code cgroup} of the process
     * @param vcpus that of the thread of each vCPU
     */
    void of(Optional<String> ofProcess, List<String> vcpus) {
        ofVcpus = vcpus;
        vcpus.stream().distinct().forEach(text -> of(text, true));
        ofProcess.filter(text -> !vcpus.contains(text)).ifPresent(text -> of(text, vcpus.isEmpty()));
    }

    /**
     * Lines of hierarchy, controllers and path. A name with a line end makes lines of another form, which are left out.
     *
     * @param vcpus whether vCPUs may be in it: an interrupt needs only them, not threads such as those of libvirt's
     *     group {@code emulator}
     */
    private void of(String text, boolean vcpus) {
        for (String line : text.split("\n", -1)) {
            if (!isGroup(line)) {
                continue;
            }
            String[] parts = line.split(":", 3);
            List<String> controllers = List.of(parts[1].split(","));
            if (parts[0].equals("0") && parts[1].isEmpty()) {
                boolean unified = files.reading("sys/fs/cgroup/unified") != HostFiles.Reading.ABSENT;
                group(unified ? "sys/fs/cgroup/unified" : "sys/fs/cgroup", parts[2], true, true, vcpus);
            } else if (controllers.contains("freezer") || controllers.contains("cpu")) {
                group("sys/fs/cgroup/" + parts[1], parts[2], controllers.contains("freezer"), false, vcpus);
            }
        }
    }

    /** Whether a text is that of the file {@code cgroup} of a thread. */
    static boolean hasGroup(String text) {
        return text.lines().anyMatch(ControlGroups::isGroup);
    }

    private static boolean isGroup(String line) {
        return line.matches("\\d{1,4}:[^:]*:/.*");
    }

    private void group(String root, String group, boolean freezes, boolean second, boolean vcpus) {
        List<String> names = new ArrayList<>(List.of(group.substring(1).split("/")));
        if (names.contains("..")) {
            looks.unseen(
                    "the control group of the process, which is in another namespace",
                    "look on the host, not in a container");
            return;
        }
        String freeze = second ? "cgroup.freeze" : "freezer.state";
        if (freezes && !group.equals("/")) {
            looks.text(root + group + "/" + freeze, text -> text.matches(second ? "[01]" : "THAWED|FROZEN|FREEZING"));
        }
        String directory = root;
        for (String name : names) {
            if (name.isEmpty()) {
                continue;
            }
            directory += "/" + name;
            String own = directory.substring(root.length());
            Optional<String> state = files.text(directory + "/" + freeze);
            if (freezes
                    && !frozen
                    && state.filter(one -> one.equals("1") || one.startsWith("FR"))
                            .isPresent()) {
                frozen(
                        directory + "/" + freeze,
                        own,
                        "echo " + (second ? "0" : "THAWED") + " > /" + directory + "/" + freeze);
            }
            if (quotas.add(directory)) {
                throttled(directory, own, second, vcpus);
                pressed(directory, own, vcpus);
            }
        }
        String above = directory + (second ? "/cgroup.events" : "/freezer.parent_freezing");
        if (freezes
                && !directory.equals(root)
                && !frozen
                && looks.text(above, text -> text.matches(second ? "(?s).*frozen [01].*" : "[01]"))
                        .filter(text -> text.endsWith("1") || text.contains("frozen 1"))
                        .isPresent()) {
            frozen(above, group, "thaw the group above it");
        }
    }

    private void frozen(String file, String group, String remedy) {
        frozen = true;
        looks.broken(
                file, "the control group " + group + " is frozen: none of its threads runs", Remedy.command(remedy));
    }

    /** The average of ten seconds, which is more than one look. */
    private void pressed(String directory, String group, boolean vcpus) {
        for (String kind : List.of("cpu", "memory")) {
            boolean cpu = kind.equals("cpu");
            String file = directory + "/" + kind + ".pressure";
            boolean measured = PRESSURES.stream()
                    .anyMatch(one -> files.text(directory + one).isPresent());
            Matcher full = FULL.matcher(looks.text(file, measured, text -> text.startsWith("some avg10="))
                    .orElse(""));
            if (full.find() && Integer.parseInt(full.group(1)) >= MOST_PRESSED) {
                looks.doubt(
                        file,
                        "all threads of the control group " + group + " that had something to do waited for "
                                + (cpu ? "a CPU, " : "memory, ") + full.group(1) + " % of the last 10 seconds"
                                + (vcpus ? "" : "; no vCPU is in it"),
                        Remedy.command(
                                cpu
                                        ? "give the guest CPUs of its own, or raise /" + directory + "/cpu.weight"
                                        : "free memory of the host, or raise /" + directory
                                                + "/memory.max and memory.high"));
            }
        }
    }

    /** The number of CPUs whose time the quota allows, rounded down. */
    private long cpus(String directory, String quota, boolean second) {
        String[] words = quota.split(" ");
        String period = second && words.length > 1
                ? words[1]
                : files.text(directory + "/cpu.cfs_period_us").orElse("100000");
        return period.matches("[1-9]\\d{0,8}") ? Long.parseLong(words[0]) / Long.parseLong(period) : 0;
    }

    /** False for a quota of all CPUs, and if no thread waited lately, because the counts are then outdated. */
    private boolean binds(String directory, long cpus) {
        int online = CpuList.parse(files.text("sys/devices/system/cpu/online").orElse(""))
                .map(BitSet::cardinality)
                .orElse(Integer.MAX_VALUE);
        return cpus < online
                && !QUIET.matcher(files.text(directory + "/cpu.pressure").orElse(""))
                        .find();
    }

    /** Whether the vCPUs in a group, or in one below it, fit into its quota: then only other threads can use it up. */
    private boolean fits(String group, long cpus) {
        long inside = ofVcpus.stream()
                .filter(text -> text.lines().anyMatch(line -> (line + "/").contains(":" + group + "/")))
                .count();
        return inside > 0 && cpus >= inside;
    }

    private void throttled(String directory, String group, boolean second, boolean vcpus) {
        String limit = directory + (second ? "/cpu.max" : "/cpu.cfs_quota_us");
        boolean limited =
                files.text(directory + (second ? "/cpu.weight" : "/cpu.shares")).isPresent();
        String quota = looks.text(limit, limited, text -> !text.isEmpty()).orElse("max");
        if (!quota.matches("[1-9]\\d{0,17}( .*)?")) {
            if (!quota.matches("max( \\d{1,18})?|-1")) {
                looks.absent(limit);
            }
            return;
        }
        long cpus = cpus(directory, quota, second);
        if (!binds(directory, cpus)) {
            return;
        }
        String file = directory + "/cpu.stat";
        OptionalLong periods = files.number(file, "nr_periods ");
        OptionalLong throttled = files.number(file, "nr_throttled ");
        if (periods.isEmpty() || throttled.isEmpty()) {
            looks.absent(file);
            return;
        }
        String text = "the control group " + group + " has used its quota of CPU time up in " + throttled.getAsLong()
                + " of " + periods.getAsLong() + " periods: its threads waited then"
                + (vcpus ? "" : "; no vCPU is in it");
        Remedy remedy = Remedy.command("raise /" + limit);
        if (vcpus
                && !fits(group, cpus)
                && throttled.getAsLong() * 2 >= periods.getAsLong()
                && throttled.getAsLong() > 0) {
            looks.broken(file, text, remedy);
        } else if (throttled.getAsLong() * 20 >= periods.getAsLong() && throttled.getAsLong() > 0) {
            looks.doubt(file, text, remedy);
        }
    }
}
