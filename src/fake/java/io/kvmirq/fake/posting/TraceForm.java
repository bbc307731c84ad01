/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import io.kvmirq.arch.apic.InhibitReason;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The format of a tracepoint's event, with the fields in the order of Linux 6.18. Immutable.
 *
 * <p>Source: include/trace/events/sched.h, include/trace/events/kvm.h and arch/x86/kvm/trace.h.
 */
public final class TraceForm {
    private static final Map<String, Integer> SIZES = Map.of("char", 1, "bool", 1, "int", 4, "u32", 4, "long", 8);
    private static final String COMMON =
            "short common_type, bool common_flags, bool common_preempt_count, int common_pid, ";
    private static final String COMM = "char %s_comm[16], int %s_pid, int %s_prio";

    private record Field(String type, int offset, int size) {}

    private final String name;
    private final int id;
    private final String print;
    private final Map<String, Field> fields = new LinkedHashMap<>();
    private int length;

    private TraceForm(int id, String name, String list, String print) {
        this.id = id;
        this.name = name;
        this.print = print;
        for (String field : (COMMON + list).split(", ")) {
            String[] words = field.split("[ \\[\\]]");
            int size = words[0].equals("short") ? Short.BYTES : Objects.requireNonNull(SIZES.get(words[0]));
            length += Math.floorMod(-length, size);
            int count = words.length > 2 ? Integer.parseInt(words[2]) : 1;
            fields.put(words[1], new Field(field, length, size * count));
            length += size * count;
        }
        length += Math.floorMod(-length, Integer.BYTES);
    }

    /** The formats by name. {@code namesInhibits}: the kernel prints names of APICv inhibit reasons. */
    static Map<String, TraceForm> all(boolean namesInhibits) {
        String reasons = Stream.of(InhibitReason.values())
                .map(reason -> "{ ((((1UL))) << (APICV_INHIBIT_REASON_" + reason + ")), \"" + reason + "\" }")
                .collect(Collectors.joining(", "));
        return Stream.of(
                        new TraceForm(
                                372,
                                "sched_switch",
                                COMM.replace("%s", "prev") + ", long prev_state, " + COMM.replace("%s", "next"),
                                "\"%d ==> %d %s\", REC->prev_pid, REC->next_pid, __print_flags(REC->prev_state & 0xff,"
                                        + " \"|\", { 0x00000001, \"S\" }, { 0x00000002, \"D\" })"),
                        new TraceForm(32, "kvm_entry", "u32 vcpu_id, long rip", "\"%u\", REC->vcpu_id"),
                        new TraceForm(37, "kvm_fpu", "u32 load", "\"%u\", REC->load"),
                        new TraceForm(42, "kvm_userspace_exit", "u32 reason, int errno", "\"%d\", REC->errno"),
                        new TraceForm(41, "kvm_vcpu_wakeup", "long ns, bool waited, bool valid", "\"%lld\", REC->ns"),
                        new TraceForm(
                                103,
                                "kvm_exit",
                                "int exit_reason, long guest_rip, u32 isa",
                                "\"%d\", REC->exit_reason"),
                        new TraceForm(
                                63,
                                "kvm_apicv_inhibit_changed",
                                "int reason, bool set, long inhibits",
                                "\"0x%lx\", "
                                        + (namesInhibits
                                                ? "__print_flags(REC->inhibits, \"|\", " + reasons + ")"
                                                : "REC->inhibits")),
                        new TraceForm(
                                75,
                                "kvm_pi_irte_update",
                                "u32 host_irq, int vcpu_id, u32 gsi, u32 gvec, bool set",
                                "\"%u\", REC->host_irq"),
                        new TraceForm(59, "kvm_avic_ga_log", "u32 vmid, u32 vcpuid", "\"%u\", REC->vmid"))
                .collect(Collectors.toMap(form -> form.name, form -> form));
    }

    public String text() {
        StringBuilder text = new StringBuilder("name: " + name + "\nID: " + id + "\nformat:\n");
        fields.forEach((field, of) -> text.append("\tfield:" + of.type + ";\toffset:" + of.offset + ";\tsize:" + of.size
                + ";\tsigned:" + (of.type.startsWith("int") || of.type.startsWith("long") ? 1 : 0) + ";\n"));
        return text + "\nprint fmt: " + print + "\n";
    }

    public byte[] bytes(Tracepoints.Passed event) {
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.nativeOrder());
        put(bytes, "common_type", id);
        put(bytes, "common_pid", event.tid());
        event.fields().forEach((field, value) -> put(bytes, field, value));
        return bytes.array();
    }

    private void put(ByteBuffer bytes, String name, long value) {
        Field field = Objects.requireNonNull(fields.get(name));
        switch (field.size) {
            case Byte.BYTES -> bytes.put(field.offset, (byte) value);
            case Short.BYTES -> bytes.putShort(field.offset, (short) value);
            case Integer.BYTES -> bytes.putInt(field.offset, (int) value);
            default -> bytes.putLong(field.offset, value);
        }
    }
}
