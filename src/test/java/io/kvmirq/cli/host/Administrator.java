/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.diag.sources.CpuList;
import io.kvmirq.host.facts.RecordedHost;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Runs the commands that a remedy names on a tree. It takes for granted of the kernel and the firmware:
 *
 * <ul>
 *   <li>A group that is thawed shows it in {@code cgroup.events} of all groups below it, unless another is frozen above;
 *       so do v1's {@code freezer.state}, and its threads leave the state D.
 *   <li>{@code power/control} of {@code on} wakes a function: {@code power_state}, {@code runtime_status} and PMCSR.
 *   <li>An irq goes to the first online CPU that is asked for; so do the thread of its handler and the IOMMU's entry.
 *   <li>{@code kill -CONT} continues the threads that a signal stopped, not those that a tracer stopped.
 *   <li>A thread that gets other CPUs runs on the first of them, and runs ten times as long as it waited.
 *   <li>A limit that is lifted ends the pressure of the group; virtual functions have VF Enable and VF MSE.
 *   <li>A boot has the new command line, and no screen of the firmware without {@code sysfb_init}.
 * </ul>
 */
record Administrator(RecordedHost host) {
    private static final Pattern COMMAND = Pattern.compile("echo (?<text>\\S+) > '?/(?<file>[^\\s;,')]+)"
            + "|setpci -s (?<device>\\S+) COMMAND=(?<bits>[0-9a-f]+):(?<mask>[0-9a-f]+)"
            + "|kill -CONT (?<stopped>\\d+)"
            + "|taskset -a?cp (?<cpus>[\\d,-]+) (?<pinned>\\d+)"
            + "|(?<order>renice 0|chrt -o -p 0|chrt -f -p 99) (?<ordered>\\d+)"
            + "|prlimit --nofile=(?<files>\\d+) --pid (?<limited>\\d+)"
            + "|^remove (?<option>[\\w.=-]+(?:,[\\w.=-]+)*)(?: from (?<list>[\\w.-]+=\\S*[^\\s,]))?"
            + "|^add (?<added>[\\w.=-]+)");
    private static final String CMDLINE = "proc/cmdline";
    private static final int STATE = 1;
    private static final int PRIORITY = 16;
    private static final int NICE = 17;
    private static final int CPU = 37;
    private static final int REAL_TIME = 38;
    private static final int POLICY = 39;
    private static final int PM = 1;
    private static final int SR_IOV = 0x10;

    static boolean knows(String text) {
        return COMMAND.matcher(text).find();
    }

    /** Runs all commands of a text. The answer is the error of the first that fails. */
    Optional<String> run(String text) {
        return COMMAND.matcher(text)
                .results()
                .flatMap(result -> run(result).stream())
                .findFirst();
    }

    private Optional<String> run(MatchResult found) {
        Matcher command = COMMAND.matcher(found.group());
        command.find();
        if (command.group("file") != null) {
            return write(command.group("file"), command.group("text"));
        }
        if (command.group("device") != null) {
            String config = "sys/bus/pci/devices/" + command.group("device") + "/config";
            byte[] bytes = host.tree().bytes(config, 4096).orElse(new byte[0]);
            int mask = Integer.parseInt(command.group("mask"), 16);
            bytes[4] = (byte) (bytes[4] & ~mask | Integer.parseInt(command.group("bits"), 16) & mask);
            host.putBytes(config, bytes);
        } else if (command.group("stopped") != null) {
            String process = "proc/" + command.group("stopped");
            Stream.concat(Stream.of(process), tasks(process)).forEach(thread -> {
                edit(thread + "/status", text -> text.replaceFirst("State:\tT.*", "State:\tS (sleeping)"));
                stat(thread, STATE, state -> state.equals("T") ? "S" : state);
            });
        } else if (command.group("pinned") != null) {
            return pin(command.group().contains("-acp"), command.group("pinned"), command.group("cpus"));
        } else if (command.group("ordered") != null) {
            boolean first = command.group("order").contains("99");
            return thread(command.group("ordered"), thread -> {
                stat(thread, PRIORITY, text -> first ? "-100" : "20");
                stat(thread, NICE, text -> "0");
                stat(thread, REAL_TIME, text -> first ? "99" : "0");
                stat(thread, POLICY, text -> first ? "1" : "0");
            });
        } else if (command.group("limited") != null) {
            edit(
                    "proc/" + command.group("limited") + "/limits",
                    text -> text.replaceFirst(
                            "(Max open files +)\\d+( +)\\d+",
                            "$1" + command.group("files") + "$2" + command.group("files")));
        } else {
            return boot(command.group("option"), command.group("list"), command.group("added"));
        }
        return Optional.empty();
    }

    private Stream<String> tasks(String process) {
        return host.tree().list(process + "/task").stream().map(task -> process + "/task/" + task);
    }

    private void edit(String file, UnaryOperator<String> change) {
        host.tree().text(file).ifPresent(text -> host.put(file, change.apply(text) + "\n"));
    }

    private void stat(String thread, int field, UnaryOperator<String> change) {
        edit(thread + "/stat", text -> {
            int end = text.lastIndexOf(')') + 1;
            String[] words = text.substring(end).split(" ");
            words[field] = change.apply(words[field]);
            return text.substring(0, end) + String.join(" ", words);
        });
    }

    private Optional<String> thread(String id, Consumer<String> change) {
        List<String> all = Stream.concat(
                        Stream.of("proc/" + id),
                        host.tree().list("proc").stream().map(process -> "proc/" + process + "/task/" + id))
                .filter(text -> !host.tree().list(text).isEmpty())
                .toList();
        all.forEach(change);
        return all.isEmpty() ? Optional.of("no thread " + id) : Optional.empty();
    }

    private BitSet online() {
        return CpuList.parse(host.tree().text("sys/devices/system/cpu/online").orElse(""))
                .orElseGet(BitSet::new);
    }

    private Optional<String> pin(boolean all, String id, String cpus) {
        BitSet allowed = CpuList.parse(cpus).orElseGet(BitSet::new);
        allowed.and(online());
        if (allowed.isEmpty()) {
            return Optional.of("taskset: " + cpus + " are offline");
        }
        Consumer<String> move = thread -> {
            edit(
                    thread + "/status",
                    text -> text.contains("Cpus_allowed_list:")
                            ? text.replaceFirst("Cpus_allowed_list:.*", "Cpus_allowed_list:\t" + cpus)
                            : text + "\nCpus_allowed_list:\t" + cpus);
            stat(thread, CPU, text -> String.valueOf(allowed.nextSetBit(0)));
            edit(thread + "/schedstat", text -> {
                String[] words = text.split(" ");
                words[0] = words[1] + "0";
                return String.join(" ", words);
            });
        };
        if (all) {
            tasks("proc/" + id).forEach(move);
        }
        return thread(id, move);
    }

    private Optional<String> boot(String option, String list, String added) {
        List<String> words = Arrays.asList(host.tree().text(CMDLINE).orElse("").split(" "));
        if (option != null && !words.contains(list == null ? option : list)) {
            return Optional.of("the command line has no word " + (list == null ? option : list));
        }
        Stream<String> left = list == null
                ? words.stream().filter(word -> !word.equals(option))
                : words.stream().map(word -> word.equals(list) ? without(list, option) : word);
        host.put(CMDLINE, left.collect(Collectors.joining(" ")) + (added == null ? "" : " " + added) + "\n");
        if (String.valueOf(added).contains("sysfb_init")) {
            host.put("proc/fb", "");
        }
        return Optional.empty();
    }

    private static String without(String list, String option) {
        return list.replaceFirst("(?<=[=,])" + Pattern.quote(option) + "(,|$)", "")
                .replaceFirst(",$", "");
    }

    private Optional<String> write(String file, String text) {
        String directory = file.substring(0, file.lastIndexOf('/'));
        String name = file.substring(file.lastIndexOf('/') + 1);
        boolean exists = host.tree().text(file).isPresent() || name.equals("control") || name.startsWith("memory.");
        if (!exists && host.tree().list(directory).isEmpty()) {
            return Optional.of("no file " + file);
        }
        host.put(file, text + "\n");
        switch (name) {
            case "cgroup.freeze", "freezer.state" -> thaw(directory);
            case "control" -> wake(directory.substring(0, directory.lastIndexOf('/')));
            case "smp_affinity_list" -> move(directory, text);
            case "sriov_numvfs" -> control(directory + "/config", SR_IOV, 8, text.equals("0") ? 0 : 9);
            case "cpu.max", "cpu.weight", "cpu.idle", "memory.high", "memory.max" ->
                host.put(directory + "/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
            default -> {}
        }
        return Optional.empty();
    }

    private void thaw(String group) {
        host.tree().list(group).stream()
                .filter(name -> !host.tree().list(group + "/" + name).isEmpty())
                .forEach(name -> thaw(group + "/" + name));
        boolean frozen = Stream.iterate(
                        group, text -> text.contains("/"), text -> text.substring(0, text.lastIndexOf('/')))
                .anyMatch(text -> host.tree()
                        .text(text + "/cgroup.freeze")
                        .filter("1"::equals)
                        .isPresent());
        edit(group + "/cgroup.events", text -> text.replaceFirst("frozen \\d", "frozen " + (frozen ? 1 : 0)));
        edit(group + "/freezer.state", text -> "THAWED");
        if (host.tree().text(group + "/freezer.state").isPresent()) {
            edit("proc/100/status", text -> text.replaceFirst("State:\tD.*", "State:\tS (sleeping)"));
        }
    }

    private void wake(String function) {
        host.put(function + "/power_state", "D0\n").put(function + "/power/runtime_status", "active\n");
        control(function + "/config", PM, 4, 0);
    }

    /** Sets the low byte of a register of a capability: below 0x100 the two bits of a power state, else all. */
    private void control(String file, int id, int offset, int value) {
        byte[] bytes = host.tree().bytes(file, 4096).orElse(new byte[0]);
        if (bytes.length > 0x100 && id == SR_IOV) {
            int at = bytes[0x100] == SR_IOV ? 0x100 : 0x140;
            bytes[at + offset] = (byte) value;
        }
        for (int at = bytes.length > 0x40 ? bytes[0x34] & 0xfc : 0; at > 0 && id == PM; at = bytes[at + 1] & 0xfc) {
            bytes[at + offset] = (byte) (bytes[at] == PM ? bytes[at + offset] & ~3 : bytes[at + offset]);
        }
        host.putBytes(file, bytes);
    }

    private void move(String irq, String cpus) {
        BitSet allowed = CpuList.parse(cpus).orElseGet(BitSet::new);
        allowed.and(online());
        int cpu = allowed.nextSetBit(0);
        host.put(irq + "/effective_affinity_list", cpu + "\n");
        host.tree().list("proc").stream()
                .map(process -> "proc/" + process)
                .filter(process ->
                        host.tree().text(process + "/stat").orElse("").contains("(irq/" + irq.substring(9)))
                .forEach(process -> stat(process, CPU, text -> String.valueOf(cpu)));
        edit(
                "sys/kernel/debug/iommu/intel/ir_translation_struct",
                text -> text.replaceFirst(
                        "(?m)^(?<id> 19 +\\S+ )\\w{8}(?<vector> \\w+ +\\w+\t)\\w{8}",
                        "${id}00000001${vector}00000001"));
        edit(
                "sys/kernel/debug/iommu/amd/irqtbl",
                text -> text.replaceFirst("(IRT\\[0003\\] \\w+ )\\w+", "$1" + "0000000000000001"));
    }
}
