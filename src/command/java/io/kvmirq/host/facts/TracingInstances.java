/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The tracing instances that kvmirq makes in tracefs. A name contains the process id, the start time of the process,
 * and its PID namespace: {@code kvmirq-4711-123456-4026531836}. A second one of a process, which records the threads of
 * vCPUs, ends with {@code -vcpus}, and that of its probes with {@code -probes}. The probes have underscores in place of
 * dashes. So instances and probes of killed processes can be distinguished from those in use.
 *
 * <p>Source: {@code do_task_stat()} in fs/proc/array.c, {@code ns_get_name()} in fs/nsfs.c.
 */
public final class TracingInstances {
    private static final String INSTANCES = "sys/kernel/tracing/instances";
    private static final String PROBES = "sys/kernel/tracing/events/kvmirq";
    private static final String PREFIX = "kvmirq-";

    /** Compiled only where there are such instances: short commands load this class. */
    private static final class Patterns {
        static final Pattern NAME = Pattern.compile(
                "kvmirq-([1-9]\\d{0,9})-(\\d{1,19})-([1-9]\\d{0,19})(?:-(?:vcpus|probes|host-irq|wakeup|delivered))?");
        static final Pattern NAMESPACE = Pattern.compile("pid:\\[([1-9]\\d{0,19})]");
    }

    /** The field in /proc/PID/stat, counted from the end of the name, which may contain any character. */
    private TracingInstances() {}

    /** Whether a name is that of an instance of kvmirq. */
    public static boolean isOurs(String name) {
        return Patterns.NAME.matcher(name).matches();
    }

    /** The instances and probes that killed processes left: their directories. Not known if this user may not read tracefs. */
    static Known<List<String>> left(HostFiles tree) {
        List<String> names = tree.list(INSTANCES);
        if (names.isEmpty() && tree.reading("sys/kernel/tracing") == HostFiles.Reading.DENIED) {
            return Sight.read(tree).refused("sys/kernel/tracing");
        }
        List<String> left = new ArrayList<>();
        for (String name : names) {
            if (name.startsWith(PREFIX) && isLeft(tree, name)) {
                left.add("/" + INSTANCES + "/" + name);
            }
        }
        for (String probe : tree.list(PROBES)) {
            if (isLeft(tree, probe.replace('_', '-'))) {
                left.add("/" + PROBES + "/" + probe);
            }
        }
        return new Known.Observed<>(left);
    }

    /** Whether the process of an instance of this machine is gone. */
    public static boolean isLeft(String name) {
        return isLeft(here(), name);
    }

    private static HostFiles here() {
        return HostFiles.at(Path.of("/"));
    }

    /** False for a process of another namespace, whose processes are not visible. */
    private static boolean isLeft(HostFiles tree, String name) {
        Matcher parts = Patterns.NAME.matcher(name);
        if (!parts.matches() || !namespace(tree).equals(Optional.of(parts.group(3)))) {
            return false;
        }
        String process = "proc/" + parts.group(1);
        Optional<String> stat = tree.text(process + "/stat");
        // It may have ended while it was read: the next run looks again.
        return stat.isPresent()
                ? startTime(stat.get())
                        .filter(start -> !start.equals(parts.group(2)))
                        .isPresent()
                : tree.reading(process) == HostFiles.Reading.ABSENT;
    }

    /** The name of an instance of this process. Empty if /proc does not show its parts. */
    public static Optional<String> ownName() {
        HostFiles tree = here();
        String stat = tree.text("proc/self/stat").orElse("");
        int end = stat.indexOf(' ');
        return end < 0
                ? Optional.empty()
                : startTime(stat).flatMap(start -> namespace(tree)
                        .map(namespace -> PREFIX + stat.substring(0, end) + "-" + start + "-" + namespace));
    }

    /** The start time of a process, in ticks since the boot. */
    private static Optional<String> startTime(String stat) {
        return ThreadStat.parse(stat).map(ThreadStat::began).map(String::valueOf);
    }

    private static Optional<String> namespace(HostFiles tree) {
        Matcher link = Patterns.NAMESPACE.matcher(tree.link("proc/self/ns/pid").orElse(""));
        return link.matches() ? Optional.of(link.group(1)) : Optional.empty();
    }
}
