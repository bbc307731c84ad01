/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.sources.CpuList;
import io.kvmirq.host.KernelChange;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Flaw.Subject;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import java.util.BitSet;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Rules for the control groups of a VMM's threads and for the groups above: whether they are frozen or out of CPU time.
 * For one use by one thread.
 *
 * <p>Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1 in Linux.
 */
final class ControlGroups {
    /** Per cent. */
    private static final int MOST_PRESSED = 33;

    private static final int MANY_TIMES = 1000;
    /** The default is 100. */
    private static final int LITTLE_WEIGHT = 10;

    private static final Pattern FULL = Pattern.compile("(?s)some avg10=.*?(?:\nfull avg10=(\\d{1,3})\\..*)?");

    /** A thread whose group has used up its quota counts as waiting ({@code PSI_CPU_FULL}). */
    private static final Pattern QUIET = Pattern.compile("(?m)^some avg10=0\\.00 avg60=0\\.00 ");

    /** A group has all of them, or none. */
    private static final List<String> PRESSURES = List.of("cpu", "memory", "io");

    private static final String EFFECTIVE = "/cpuset.cpus.effective";

    private final HostFacts host;
    private final HostFiles files;
    private final Flaws flaws;
    /** The groups whose quota was checked. */
    private final Set<String> quotas = new HashSet<>();

    private final String tenant;

    ControlGroups(HostFacts host, Flaws flaws, String tenant) {
        this.tenant = tenant;
        this.host = host;
        this.files = host.files();
        this.flaws = flaws;
    }

    /** The periods of a quota, and those in which a thread waited. */
    private record Throttled(long periods, long waited) {}

    /**
     * A control group.
     *
     * @param leaf the group of the thread
     * @param last whether it is that one, and no group above
     * @param vcpus whether vCPUs may be in it, or in one below it
     * @param tenant a process in it that is no VMM, in words; empty for a VMM
     */
    record Group(
            Fact.Facts facts,
            String root,
            String directory,
            String leaf,
            boolean second,
            boolean last,
            boolean vcpus,
            String tenant)
            implements Fact.Subject {
        @Override
        public String name(String word) {
            return switch (word) {
                case "group" -> directory;
                case "own" -> files().text(leaf + EFFECTIVE).isPresent() ? leaf : directory;
                case "freeze" -> second ? "cgroup.freeze" : "freezer.state";
                case "above" -> second ? "cgroup.events" : "freezer.parent_freezing";
                case "quota" -> second ? "cpu.max" : "cpu.cfs_quota_us";
                default -> throw new IllegalArgumentException(word);
            };
        }

        String called() {
            return directory.substring(root.length());
        }

        /** Whether the kernel is asked to freeze it, and a thread of it does not stand still yet. */
        boolean isFreezing() {
            String asked = FREEZE.in(this);
            return asked.equals("FREEZING")
                    || asked.equals("1") && text("cgroup.events").orElse("").contains("frozen 0");
        }

        String others() {
            return !tenant.isEmpty() ? "; " + tenant + " is in it" : vcpus ? "" : "; no vCPU is in it";
        }

        private Optional<String> text(String name) {
            return files().text(directory + "/" + name);
        }

        boolean isMeasured() {
            return PRESSURES.stream().anyMatch(kind -> text(kind + ".pressure").isPresent());
        }

        /** The number of CPUs whose time the quota allows, rounded down; all if it has none. */
        long cpus() {
            String[] words = QUOTA.of(this).known().orElse("max").split(" ");
            String period = second && words.length > 1
                    ? words[1]
                    : text("cpu.cfs_period_us").orElse("100000");
            return words[0].matches("max|-1")
                    ? Long.MAX_VALUE
                    : period.matches("[1-9]\\d{0,8}") ? Long.parseLong(words[0]) / Long.parseLong(period) : 0;
        }

        String noQuota() {
            return second ? "max" : "-1";
        }

        /** The limits of memory that can be raised, as another remedy. */
        String limits() {
            String files = Stream.of("memory.max", "memory.high")
                    .filter(name -> !text(name).orElse("max").equals("max"))
                    .map(name -> "/" + directory + "/" + name)
                    .collect(Collectors.joining(" and "));
            return files.isEmpty() ? "; its group has no memory limit to raise" : ", or raise " + files;
        }

        /** False for a quota of all CPUs, and if no thread waited lately, because the counts are then outdated. */
        boolean isBound() {
            int online = CpuList.parse(files().text(VmThread.ONLINE).orElse(""))
                    .map(BitSet::cardinality)
                    .orElse(Integer.MAX_VALUE);
            return cpus() < online
                    && !QUIET.matcher(text("cpu.pressure").orElse("")).find();
        }

        /** Whether threads waited between two looks at the host. */
        boolean waitsNow() {
            return host().hasChanged(
                            "cgroup.throttled " + path(STAT.file()),
                            STAT.in(this).waited());
        }

        /** Whether threads waited in a share of the periods. */
        boolean waited(int share) {
            Throttled now = STAT.in(this);
            return now.waited() * share >= now.periods() && now.waited() > 0;
        }
    }

    // spotless:off: a table
    private static final Fact<Group, String> FREEZE = Fact.text("{group}/{freeze}", group -> group.last,
        Fact.form(text -> text.matches("[01]|THAWED|FROZEN|FREEZING")));
    private static final Fact<Group, String> ABOVE = Fact.text("{group}/{above}", group -> group.last,
        Fact.form(text -> text.matches("(?s).*frozen [01].*|[01]")));
    private static final Fact<Group, Integer> CPU = pressure("cpu");
    private static final Fact<Group, Integer> MEMORY = pressure("memory");
    private static final Fact<Group, String> QUOTA = Fact.text("{group}/{quota}",
        group -> group.text(group.second ? "cpu.weight" : "cpu.shares").isPresent(),
        Fact.form(text -> text.matches("[1-9]\\d{0,17}( .*)?|max( \\d{1,18})?|-1")));
    private static final Fact<Group, Integer> WEIGHT = Fact.text("{group}/cpu.weight", group -> group.text("cpu.idle").isPresent(),
        text -> Optional.of(text).filter(digits -> digits.matches("\\d{1,5}")).map(Integer::valueOf));
    private static final Fact<Group, String> IDLE =
        Fact.text("{group}/cpu.idle", group ->
        group.text("cpu.weight").isPresent() && group.host().has(KernelChange.CPU_IDLE).orElse(false), Fact.form(text -> text.matches("[01]")));
    private static final Fact<Group, Long> HIGH = memory("high", "(\\d{1,18})|max");
    private static final Fact<Group, Long> USED = memory("current", "(\\d{1,18})");
    /** The number of times that threads were slowed because the group had more memory than memory.high. */
    private static final Fact<Group, Long> SLOWED = memory("events", "(?s).*\\bhigh (\\d{1,18})\\b.*");
    private static final Fact<Group, Long> KILLED = memory("events", "(?s).*\\boom_kill (\\d{1,18})\\b.*");
    private static final Fact<Group, Long> MOST_MEMORY = memory("max", "(\\d{1,18})|max");
    private static final Fact<Group, Long> TASKS = number("pids.current", "(\\d{1,18})", "pids.max");
    private static final Fact<Group, Long> MOST_TASKS = number("pids.max", "(\\d{1,18})|max", "pids.current");
    /** Cgroup v2 only: in v1, a CPU that goes offline is removed from the file that asked for it. */
    private static final Fact<Group, BitSet> WANTED = Fact.cpus("{group}/cpuset.cpus",
        group -> group.text("cpuset.cpus.effective").isPresent());
    /** The CPUs of the thread: a group above may have given all of its own to partitions below it. */
    private static final Fact<Group, BitSet> GIVEN = Fact.cpus("{own}/cpuset.cpus.effective",
        group -> group.text("cpuset.cpus").isPresent());
    private static final Fact<Group, String> PARTITION = Fact.text("{group}/cpuset.cpus.partition",
        group -> group.text("cpuset.cpus.effective").isPresent(),
        Fact.form(text -> text.matches("(member|root|isolated)( invalid.*)?")));
    private static final Fact<Group, Throttled> STAT = new Fact<>("{group}/cpu.stat", ControlGroups::throttled);


    private static final Table<Group> FROZEN = new Table<>(
        rule("cgroup.freezing", FREEZE, group -> group.isFreezing()).with(Group::called)
            .fill(group -> group.second ? "0" : "THAWED", group -> group.path(FREEZE.file())),
        rule("cgroup.frozen", FREEZE, group -> FREEZE.in(group).matches("1|FROZEN")).with(Group::called)
            .fill(group -> group.second ? "0" : "THAWED", group -> group.path(FREEZE.file())).otherwise(),
        rule("cgroup.frozen-above", ABOVE, group -> ABOVE.in(group).endsWith("1") || ABOVE.in(group).contains("frozen 1"))
            .with(Group::called).on("the last group", group -> group.last).otherwise());

    /** The pressure is the average of ten seconds, which is more than one look. */
    private static final Table<Group> TIME = new Table<>(
        rule("cgroup.throttled-now", STAT, group -> group.waited(3) && CPU.in(group) >= MOST_PRESSED).and(CPU)
            .with(Group::called, group -> STAT.in(group).waited(), group -> STAT.in(group).periods(), CPU::in, Group::others)
            .fill(Group::noQuota, group -> group.path(QUOTA.file())),
        rule("cgroup.throttled", STAT, group -> group.waited(20) || group.waitsNow())
            .with(Group::called, group -> STAT.in(group).waited(), group -> STAT.in(group).periods(), Group::others)
            .fill(Group::noQuota, group -> group.path(QUOTA.file())).counting(group -> STAT.in(group).waited()).otherwise(),
        rule("cgroup.idle", IDLE, group -> IDLE.in(group).equals("1")).with(Group::called, Group::others)
            .fill(group -> group.path(IDLE.file())),
        rule("cgroup.light", WEIGHT, group -> WEIGHT.in(group) <= LITTLE_WEIGHT).with(Group::called, WEIGHT::in, Group::others)
            .otherwise().fill(group -> group.path(WEIGHT.file())),
        // Threads that wait for their quota count, too.
        rule("cgroup.cpu-pressure", CPU, group -> CPU.in(group) >= MOST_PRESSED && !STAT.is(group, value -> group.waited(3)))
            .with(Group::called, group -> "a CPU", CPU::in, Group::others).fill(group -> group.directory),
        rule("cgroup.memory-high", SLOWED, group -> SLOWED.in(group) >= MANY_TIMES && USED.in(group) >= HIGH.in(group) / 50 * 49)
            .and(HIGH).and(USED).with(Group::called, SLOWED::in, Group::others).fill(group -> group.path(HIGH.file())),
        rule("cgroup.memory-max", KILLED, group -> KILLED.in(group) > 0 && USED.in(group) >= MOST_MEMORY.in(group) / 50 * 49)
            .and(MOST_MEMORY).and(USED).with(Group::called, KILLED::in, Group::others)
            .fill(group -> group.path(MOST_MEMORY.file())),
        rule("cgroup.threads", TASKS, group -> TASKS.in(group) >= MOST_TASKS.in(group)).and(MOST_TASKS)
            .with(Group::called, TASKS::in, Group::others).fill(group -> group.path(MOST_TASKS.file())),
        rule("cgroup.cpus-taken", WANTED, group -> !WANTED.in(group).isEmpty() && !GIVEN.in(group).isEmpty() && !WANTED.in(group).intersects(GIVEN.in(group)))
            .and(GIVEN).with(Group::called, group -> CpuList.list(WANTED.in(group)), group -> CpuList.list(GIVEN.in(group)),
            Group::others),
        rule("cgroup.partition-invalid", PARTITION, group -> PARTITION.in(group).contains(" invalid"))
            .with(Group::called, PARTITION::in, Group::others),
        rule("cgroup.memory-pressure", MEMORY, group -> MEMORY.in(group) >= MOST_PRESSED)
            .with(Group::called, group -> "memory", MEMORY::in, Group::others).fill(Group::limits));
    // spotless:on

    /** The rules of a control group. */
    static final List<Table<Group>> TABLES = List.of(FROZEN, TIME);

    /** A number in a file of the memory controller. */
    private static Fact<Group, Long> memory(String name, String form) {
        return number("memory." + name, form, "memory.high", "memory.current", "memory.events");
    }

    /** A number in a file of a controller, which has all of its files or none. {@code max} is the largest. */
    private static Fact<Group, Long> number(String file, String form, String... others) {
        Pattern number = Pattern.compile(form);
        return Fact.text(
                "{group}/" + file,
                group -> Stream.of(others).anyMatch(other -> group.text(other).isPresent()),
                text -> Optional.of(number.matcher(text.strip()))
                        .filter(Matcher::matches)
                        .map(found -> found.group(1) == null ? Long.MAX_VALUE : Long.parseLong(found.group(1))));
    }

    /** The share of the last ten seconds in which all threads waited, in per cent. */
    private static Fact<Group, Integer> pressure(String kind) {
        return Fact.text("{group}/" + kind + ".pressure", Group::isMeasured, text -> {
            Matcher full = FULL.matcher(text);
            return full.matches()
                    ? Optional.of(full.group(1) == null ? 0 : Integer.parseInt(full.group(1)))
                    : Optional.empty();
        });
    }

    private static Known<Throttled> throttled(Group group) {
        String file = group.path("{group}/cpu.stat");
        OptionalLong periods = group.files().number(file, "nr_periods ");
        OptionalLong waited = group.files().number(file, "nr_throttled ");
        return QUOTA.of(group)
                .then(quota -> !group.isBound()
                        ? Known.none()
                        : periods.isEmpty() || waited.isEmpty()
                                ? Fact.missing(group.files(), file)
                                : new Known.Observed<>(new Throttled(periods.getAsLong(), waited.getAsLong())));
    }

    /** The remedies for a process whose file {@code cgroup} names a frozen group; none if no group is frozen. */
    static List<Remedy> thaw(HostFacts host, String text) {
        ControlGroups groups = new ControlGroups(host, new Flaws(), "");
        groups.read(text, false);
        return groups.flaws
                .broken()
                .filter(flaw -> flaw.rule().startsWith("cgroup.frozen"))
                .flatMap(flaw -> flaw.remedies().stream())
                .toList();
    }

    boolean isFrozen() {
        return flaws.has("cgroup.frozen") || flaws.has("cgroup.frozen-above");
    }

    /**
     * Looks at all of them.
     *
     * @param ofProcess the {@code cgroup} of the process
     * @param vcpus that of the thread of each vCPU. An interrupt needs only them, not threads such as those of
     *     libvirt's group {@code emulator}
     */
    void read(Optional<String> ofProcess, List<String> vcpus) {
        vcpus.stream().distinct().forEach(text -> read(text, true));
        ofProcess.filter(text -> !vcpus.contains(text)).ifPresent(text -> read(text, vcpus.isEmpty()));
    }

    /** Lines of hierarchy, controllers and path. A name with a line end makes lines of another form, which are left out. */
    private void read(String text, boolean vcpus) {
        for (String line : text.split("\n", -1)) {
            if (!isGroup(line)) {
                continue;
            }
            String[] parts = line.split(":", 3);
            List<String> controllers = List.of(parts[1].split(","));
            if (parts[0].equals("0") && parts[1].isEmpty()) {
                boolean unified = files.reading("sys/fs/cgroup/unified") != HostFiles.Reading.ABSENT;
                read(unified ? "sys/fs/cgroup/unified" : "sys/fs/cgroup", parts[2], true, true, vcpus);
            } else if (controllers.contains("freezer") || controllers.contains("cpu")) {
                read("sys/fs/cgroup/" + parts[1], parts[2], controllers.contains("freezer"), false, vcpus);
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

    private void read(String root, String group, boolean freezes, boolean second, boolean vcpus) {
        List<String> names = List.of(group.substring(1).split("/"));
        if (names.contains("..")) {
            flaws.unseen(new Known.Unknown<>(
                    Known.Reason.HIDDEN,
                    "the control group of the process, which is in another namespace",
                    "look on the host, not in a container"));
            return;
        }
        String directory = root;
        String leaf = root + group;
        List<String> path = names.stream().filter(name -> !name.isEmpty()).toList();
        for (int i = 0; i < path.size(); i++) {
            directory += "/" + path.get(i);
            Group part =
                    new Group(new Fact.Facts(host), root, directory, leaf, second, i == path.size() - 1, vcpus, tenant);
            if (freezes && !isFrozen()) {
                flaws.apply(part, tenant.isEmpty() ? FROZEN : FROZEN.about(Subject.HELPER));
            }
            if (quotas.add(directory)) {
                flaws.requireSeen(part, QUOTA);
                flaws.apply(part, tenant.isEmpty() ? TIME : TIME.about(Subject.HELPER));
            }
        }
    }
}
