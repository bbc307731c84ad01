/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.fake.posting.TracePages;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A trace as the kernel prints it, as the pages that the kernel would have for it. Lines of other forms are left out. */
public final class TextTrace {
    private static final Pattern LINE =
            Pattern.compile("(?m)^ *(.*)-(\\d+) +\\[(\\d+)] (\\S{5}) +(\\d+)\\.(\\d{6}): (\\w+): (.*)$");
    private static final Pattern FIELD =
            Pattern.compile("field:[^;]*?(\\w+)(?:\\[\\w*])?;\toffset:(\\d+);\tsize:(\\d+);");
    private static final Map<String, String> TEXTS = Map.ofEntries(
            Map.entry("irq_handler_entry", "irq=(?<irq>\\d+) name=.*"),
            Map.entry("irq_handler_exit", "irq=(?<irq>\\d+) ret=.*"),
            Map.entry("kvm_msi_set_irq", "dst (?<hexdst>\\w+) vec (?<data>\\d+) \\(Fixed\\|physical\\|edge\\)"),
            Map.entry("kvm_set_irq", "gsi (?<gsi>\\d+) level (?<level>\\d) source (?<source>\\d+)"),
            Map.entry("kvm_apic_accept_irq", "apicid (?<hexapicid>\\w+) vec (?<vec>\\d+) .*"),
            Map.entry("kvm_apicv_accept_irq", "apicid (?<hexapicid>\\w+) vec (?<vec>\\d+) .*"),
            Map.entry(
                    "kvm_pi_irte_update",
                    "(VT-d )?PI is (?<set>enabled and being updated|disabled) for irq (?<irq>\\d+), vcpu (?<vcpu>\\d+), gsi:"
                            + " 0x(?<hexgsi>\\w+), gvec: 0x(?<hexgvec>\\w+)(, pi_desc_addr: 0x(?<hexaddress>\\w+))?"),
            Map.entry("kvm_avic_ga_log", "vmid=(?<vmid>\\d+), vcpuid=(?<vcpuid>\\d+)"),
            Map.entry("vgic_update_irq_pending", "VCPU: (?<vcpu>\\d+), IRQ (?<irq>\\d+), level: (?<level>\\d)"),
            Map.entry(
                    "sched_switch",
                    "prev_comm=.* prev_pid=(?<prev>\\d+) prev_prio=.* prev_state=(?<state>\\S+) ==> next_comm=.*"
                            + " next_pid=(?<next>\\d+) next_prio=.*"),
            Map.entry("kvm_fpu", "(?<fpu>load|unload)"),
            Map.entry("kvm_userspace_exit", "reason .*"),
            Map.entry("kvm_vcpu_wakeup", "(wait|poll) .*"),
            Map.entry("kvm_exit", "vcpu \\d+ reason (?<reason>\\w+) .*"),
            Map.entry("kvm_apicv_inhibit_changed", "(set|cleared) reason=\\d+, inhibits=0x(?<hexinhibits>\\w+).*"));

    /** The fields that have other names in the text. */
    private static final Map<String, String> NAMES = Map.of(
            "irq",
            "host_irq",
            "vcpu",
            "vcpu_id",
            "prev",
            "prev_pid",
            "next",
            "next_pid",
            "address",
            "pi_desc_addr",
            "source",
            "irq_source_id");

    private static final List<String> GROUPS = List.of(
            "irq",
            "hexdst",
            "data",
            "gsi",
            "level",
            "source",
            "hexapicid",
            "vec",
            "set",
            "vcpu",
            "hexgsi",
            "hexgvec",
            "hexaddress",
            "vmid",
            "vcpuid",
            "prev",
            "state",
            "next",
            "fpu",
            "reason",
            "hexinhibits");

    private static final List<String> STATES = List.of("S", "D", "T", "t", "X", "Z", "P", "I");
    private static final int PREEMPTED = 1 << STATES.size();

    private record Field(int offset, int size) {}

    private record Form(int id, int length, Map<String, Field> fields) {}

    private final Map<String, Form> forms = new HashMap<>();

    /** @param formats the {@code format} files of a machine, one after another */
    TextTrace(String formats) {
        for (String file : formats.split("(?m)^(?=name: )")) {
            Map<String, Field> fields = new HashMap<>();
            int length = 0;
            Matcher field = FIELD.matcher(file);
            while (field.find()) {
                Field parsed = new Field(Integer.parseInt(field.group(2)), Integer.parseInt(field.group(3)));
                fields.put(field.group(1), parsed);
                length = Math.max(length, parsed.offset + parsed.size);
            }
            forms.put(word(file, "name: (\\w+)"), new Form(Integer.parseInt(word(file, "ID: (\\d+)")), length, fields));
        }
    }

    private static String word(String text, String pattern) {
        Matcher word = Pattern.compile(pattern).matcher(text);
        if (!word.find()) {
            throw new AssertionError(pattern + " is not in " + text);
        }
        return word.group(1);
    }

    /** The names of the threads, by their numbers. */
    public static Map<Integer, String> tasks(String text) {
        Map<Integer, String> tasks = new HashMap<>();
        Matcher line = LINE.matcher(text);
        while (line.find()) {
            tasks.put(Integer.parseInt(line.group(2)), line.group(1));
        }
        return tasks;
    }

    /**
     * The pages of a trace, by CPU.
     *
     * @param lost whether events before the first of each CPU are lost
     */
    Map<Integer, List<ByteBuffer>> pages(String text, boolean lost) {
        Map<Integer, TracePages> cpus = new TreeMap<>();
        Matcher line = LINE.matcher(text);
        while (line.find()) {
            Form form = forms.get(line.group(7));
            Matcher event = Pattern.compile(TEXTS.get(line.group(7))).matcher(line.group(8));
            if (form == null || !event.matches()) {
                throw new AssertionError("not an event of this kernel: " + line.group());
            }
            long nanos = Long.parseLong(line.group(5) + line.group(6)) * 1000;
            cpus.computeIfAbsent(Integer.parseInt(line.group(3)), cpu -> {
                        TracePages pages = new TracePages();
                        if (lost) {
                            pages.miss();
                        }
                        return pages;
                    })
                    .add(nanos, bytes(form, line, event));
        }
        Map<Integer, List<ByteBuffer>> pages = new TreeMap<>();
        cpus.forEach((cpu, own) -> pages.put(cpu, own.pages()));
        return pages;
    }

    private static byte[] bytes(Form form, Matcher line, Matcher event) {
        ByteBuffer bytes = ByteBuffer.allocate(form.length).order(ByteOrder.nativeOrder());
        put(bytes, form, "common_type", form.id);
        put(bytes, form, "common_flags", "hH".indexOf(line.group(4).charAt(2)) >= 0 ? 8 : 0);
        put(bytes, form, "common_pid", Integer.parseInt(line.group(2)));
        for (String group : GROUPS) {
            if (event.pattern().pattern().contains("(?<" + group + ">") && event.group(group) != null) {
                put(bytes, form, group, event.group(group));
            }
        }
        return bytes.array();
    }

    private static void put(ByteBuffer bytes, Form form, String group, String value) {
        switch (group) {
            case "set" -> put(bytes, form, "set", value.equals("disabled") ? 0 : 1);
            case "fpu" -> put(bytes, form, "load", value.equals("load") ? 1 : 0);
            case "state" -> put(bytes, form, "prev_state", state(value));
            case "reason" -> {
                put(bytes, form, "isa", value.startsWith("HLT") ? 1 : 2);
                // Exit reasons of VMX, also with a pending MTF exit, and of SVM.
                Map<String, Long> reasons = Map.of("HLT", 12L, "HLT_MTF", 1L << 28 | 12, "hlt", 120L);
                put(bytes, form, "exit_reason", reasons.getOrDefault(value, 1L));
            }
            case "hexdst" -> put(bytes, form, "address", 0xfee00000L | Long.parseLong(value, 16) << 12);
            default -> {
                String name = group.replace("hex", "");
                String field = form.fields.containsKey(name) ? name : NAMES.get(name);
                put(bytes, form, field, Long.parseLong(value, group.startsWith("hex") ? 16 : 10));
            }
        }
    }

    private static long state(String word) {
        long state = word.endsWith("+") ? PREEMPTED : 0;
        for (String flag : word.replace("+", "").split("\\|")) {
            state |= flag.equals("R") ? 0 : 1L << STATES.indexOf(flag);
        }
        return state;
    }

    private static void put(ByteBuffer bytes, Form form, String name, long value) {
        Field field = form.fields.get(name);
        for (int i = 0; field != null && i < field.size; i++) {
            int place = bytes.order() == ByteOrder.LITTLE_ENDIAN ? i : field.size - 1 - i;
            bytes.put(field.offset + place, (byte) (value >>> i * Byte.SIZE));
        }
    }
}
