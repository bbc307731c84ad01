/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.Errno;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A tracefs with probes, synthetic events, instances and hist triggers, which refuses as Linux 6.1 does: what a trigger uses
 * is busy, and a trigger whose variable another one reads stays.
 *
 * <p>Source: {@code trace_kprobe_release()}, {@code synth_event_delete()}, {@code hist_unreg_all()} and {@code
 * event_hist_trigger_parse()} in kernel/trace.
 */
public final class FakeTracefs implements TraceFiles {
    /** The process was killed. */
    static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    private static final Pattern TRIGGER = Pattern.compile("instances/([^/]+)/events/(.+)/trigger");
    private static final Pattern PROBE = Pattern.compile("[pr]:(kvmirq/\\w+) (?:\\w+:)?(\\w+) .*");
    private static final Pattern ONMATCH = Pattern.compile(".*:onmatch\\((\\w+)\\.(\\w+)\\)\\.trace\\((\\w+),.*");

    final Map<String, String> probes = new TreeMap<>();
    final Set<String> synthetic = new TreeSet<>();
    /** The triggers of each instance, by their events. */
    final Map<String, Map<String, List<String>>> instances = new TreeMap<>();
    /** The files at its top that depend on the configuration. */
    final Set<String> top = new TreeSet<>(Set.of("kprobe_events", "synthetic_events"));
    /** All that was written, in order. */
    final List<String> written = new ArrayList<>();
    /** The events whose histograms were read, in order. */
    final List<String> read = new ArrayList<>();
    /** Texts of files, by their ends. */
    final Map<String, String> texts = new HashMap<>(Map.of(
            "events/kvm/kvm_inj_virq/format",
            "\tfield:unsigned int vector;\toffset:8;\tsize:4;\n" + "\tfield:bool reinjected;\toffset:13;\tsize:1;\n"));

    final Set<String> functions = new TreeSet<>(Set.of(
            "vfio_msihandler",
            "vfio_intx_handler",
            "irqfd_wakeup",
            "kvm_arch_set_irq_inatomic",
            "irqfd_inject",
            "vgic_queue_irq_unlock",
            "kvm_set_irq"));

    /** The tracepoints of KVM. */
    final Set<String> kvm = new TreeSet<>(Set.of(
            "kvm_inj_virq",
            "kvm_set_irq",
            "kvm_apic_accept_irq",
            "kvm_eoi",
            "kvm_pic_set_irq",
            "kvm_ioapic_set_irq",
            "kvm_msi_set_irq"));

    private final Set<String> refused = new TreeSet<>();
    private int left = Integer.MAX_VALUE;
    private int refusedAt = Integer.MAX_VALUE;

    /** Probes of a process, with a histogram that this shows. */
    public Known<Probes> begin() {
        return Probes.set(
                this, "kvmirq-4711-123456-4026531836", new KvmBtf().types(), new KvmBtf().types(), Set.of(100));
    }

    /**
     * Shows a histogram as Linux 6.1 prints it.
     *
     * @param event the end of the event's name
     * @param keys of the trigger
     * @param rows the keys and the count of each row, and the greatest value of one with {@code onmax}
     */
    public FakeTracefs counts(String event, String keys, long[]... rows) {
        StringBuilder text = new StringBuilder("# event histogram\n#\n# trigger info: hist:keys=" + keys
                + ":vals=hitcount:sort=hitcount:size=2048 [active]\n#\n\n");
        String[] names = keys.split(",");
        for (long[] row : rows) {
            text.append("{ ");
            for (int i = 0; i < names.length; i++) {
                text.append(i == 0 ? "" : ", ");
                text.append(
                        names[i].endsWith(".log2")
                                ? String.format("%s: ~ 2^%-2d", names[i].replace(".log2", ""), row[i])
                                : String.format("%s: %10s", names[i], Long.toUnsignedString(row[i])));
            }
            text.append(String.format(" } hitcount: %10d\n", row[names.length]));
            if (row.length > names.length + 1) {
                text.append(String.format("\tmax: %10d  ns: %10d\n", row[names.length + 1], row[names.length + 1]));
            }
        }
        text.append("\nTotals:\n    Hits: 0\n    Entries: 0\n    Dropped: 0\n\n\n");
        texts.merge(event + "/hist", text.toString(), String::concat);
        return this;
    }

    /** Shows the content of files whose paths end so. */
    public FakeTracefs text(String end, String text) {
        texts.put(end, text);
        return this;
    }

    /** Whether nothing of a process is there. */
    public boolean isEmpty() {
        return probes.isEmpty() && synthetic.isEmpty() && instances.isEmpty();
    }

    /** Refuses the triggers of an event, as a kernel does that does not know them. */
    public FakeTracefs refuse(String event) {
        refused.add(event);
        return this;
    }

    /** Kills the process at an operation. */
    void killAt(int operation) {
        left = operation;
    }

    /** Refuses one operation with EPERM, counted from 0. */
    void refuseAt(int operation) {
        refusedAt = operation;
    }

    private void operation(String text) throws IOException {
        if (left == 0) {
            throw new Killed();
        }
        left--;
        written.add(text);
        refusedAt--;
        if (refusedAt == -1) {
            throw refusal(Errno.EPERM);
        }
    }

    private static IOException refusal(Errno errno) {
        return new IOException(errno.toString());
    }

    @Override
    public String read(String file) throws IOException {
        read.add(file.replaceFirst("/hist$", "").replaceFirst("^.*/", ""));
        for (Map.Entry<String, String> text : texts.entrySet()) {
            if (file.endsWith(text.getKey())) {
                return text.getValue();
            }
        }
        return "";
    }

    @Override
    public void write(String file, String line) throws IOException {
        operation(file + " " + line);
        Matcher trigger = TRIGGER.matcher(file);
        if (file.equals("kprobe_events")) {
            probe(line);
        } else if (file.equals("synthetic_events")) {
            synthetic(line);
        } else if (trigger.matches()) {
            trigger(trigger.group(1), trigger.group(2), line);
        } else {
            throw refusal(Errno.ENOENT);
        }
    }

    private void probe(String line) throws IOException {
        if (line.startsWith("-:")) {
            String name = line.substring(2);
            require(probes.containsKey(name), Errno.ENOENT);
            require(
                    instances.values().stream()
                            .allMatch(events -> of(events, name).isEmpty()),
                    Errno.EBUSY);
            probes.remove(name);
            return;
        }
        Matcher probe = PROBE.matcher(line);
        require(probe.matches(), Errno.EINVAL);
        require(functions.contains(probe.group(2)), Errno.ENOENT);
        // One name may have several functions.
        String before = probes.putIfAbsent(probe.group(1), line);
        require(before == null || !before.contains(probe.group(2) + " "), Errno.EEXIST);
    }

    private void synthetic(String line) throws IOException {
        if (!line.startsWith("!")) {
            require(synthetic.add(line.split(" ", 2)[0]), Errno.EEXIST);
            return;
        }
        String name = line.substring(1);
        require(synthetic.contains(name), Errno.ENOENT);
        for (Map<String, List<String>> events : instances.values()) {
            require(of(events, "synthetic/" + name).isEmpty(), Errno.EBUSY);
            for (List<String> triggers : events.values()) {
                require(triggers.stream().noneMatch(trigger -> trigger.contains(".trace(" + name + ",")), Errno.EBUSY);
            }
        }
        synthetic.remove(name);
    }

    private static List<String> of(Map<String, List<String>> events, String event) {
        return events.getOrDefault(event, List.of());
    }

    private void trigger(String instance, String event, String line) throws IOException {
        Map<String, List<String>> events = instances.get(instance);
        require(events != null && exists(event), Errno.ENOENT);
        require(!refused.contains(event), Errno.EINVAL);
        Matcher onmatch = ONMATCH.matcher(line);
        if (onmatch.matches()) {
            require(synthetic.contains(onmatch.group(3)), Errno.EINVAL);
            requireVariables(of(events, onmatch.group(1) + "/" + onmatch.group(2)), line);
        }
        List<String> triggers = events.computeIfAbsent(event, none -> new ArrayList<>());
        require(!triggers.contains(line), Errno.EEXIST);
        triggers.add(line);
    }

    /** Variables of its event, and those that another trigger of the match has. */
    private static void requireVariables(List<String> matched, String line) throws IOException {
        Matcher read = Pattern.compile("\\$(\\w+)").matcher(line);
        while (read.find()) {
            Pattern set = Pattern.compile("[:,]" + read.group(1) + "=");
            require(
                    set.matcher(line).find()
                            || matched.stream()
                                    .anyMatch(text -> set.matcher(text).find()),
                    Errno.EINVAL);
        }
    }

    private boolean exists(String event) {
        return event.startsWith("kvm/")
                || probes.containsKey(event)
                || synthetic.contains(event.substring(event.indexOf('/') + 1));
    }

    private static void require(boolean condition, Errno errno) throws IOException {
        if (!condition) {
            throw refusal(errno);
        }
    }

    @Override
    public void empty(String file) throws IOException {
        operation(file);
        Matcher trigger = TRIGGER.matcher(file);
        require(trigger.matches() && instances.containsKey(trigger.group(1)), Errno.ENOENT);
        Map<String, List<String>> events = instances.get(trigger.group(1));
        require(exists(trigger.group(2)), Errno.ENOENT);
        String matched = "onmatch(" + trigger.group(2).replace('/', '.') + ")";
        boolean isReferred = events.values().stream().flatMap(List::stream).anyMatch(text -> text.contains(matched));
        if (!isReferred) {
            events.remove(trigger.group(2));
        }
    }

    @Override
    public void create(String directory) throws IOException {
        operation("mkdir " + directory);
        require(instances.putIfAbsent(name(directory), new TreeMap<>()) == null, Errno.EEXIST);
    }

    @Override
    public void remove(String directory) throws IOException {
        operation("rmdir " + directory);
        require(instances.remove(name(directory)) != null, Errno.ENOENT);
    }

    private static String name(String directory) {
        return directory.substring(directory.indexOf('/') + 1);
    }

    @Override
    public List<String> list(String directory) {
        Matcher event = Pattern.compile("instances/([^/]+)/events/(\\w+/\\w+)/").matcher(directory);
        if (event.matches()) {
            return instances.containsKey(event.group(1)) && exists(event.group(2))
                    ? List.of("hist", "trigger")
                    : List.of();
        }
        return switch (directory) {
            case "" -> List.copyOf(top);
            case "instances" -> List.copyOf(instances.keySet());
            case "events/kvmirq" ->
                probes.isEmpty()
                        ? List.of()
                        : Stream.concat(
                                        Stream.of("enable", "filter"),
                                        probes.keySet().stream().map(FakeTracefs::name))
                                .toList();
            case "events/synthetic" -> List.copyOf(synthetic);
            case "events/kvm" -> List.copyOf(kvm);
            default -> List.of();
        };
    }
}
