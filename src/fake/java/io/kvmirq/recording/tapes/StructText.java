/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Role;
import io.kvmirq.uapi.UapiTable.Struct;
import java.nio.ByteBuffer;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** The structure of an ioctl as text: words, each with a leading space. */
record StructText(int routeLimit) {
    private static final int MAX_RAW = 32;
    private static final Field CHIP = field("kvm_irqchip", Uapi.KvmIrqchip.CHIP_ID);
    private static final Map<Integer, String> MESSAGE_FLAGS =
            field("kvm_msi", Uapi.KvmMsi.FLAGS).names();

    private static Field field(String tag, int offset) {
        return UapiTable.struct(tag).fields().stream()
                .filter(field -> field.offset() == offset)
                .findFirst()
                .orElseThrow();
    }

    /** @param bytes the structure before or after {@code call} */
    String of(Struct struct, TapeLine.Call call, ByteBuffer bytes) {
        boolean sized = struct.field(Role.LENGTH).isPresent();
        if (bytes.limit() < struct.size() && !(sized && bytes.limit() > Integer.BYTES)) {
            return " (" + bytes.limit() + " bytes of struct " + struct.tag() + ", which has " + struct.size() + ")";
        }
        return switch (struct.tag()) {
            case "kvm_msi" -> " " + message(bytes, Uapi.KvmMsi.ADDRESS_LO, Uapi.KvmMsi.FLAGS, Uapi.KvmMsi.DEVID);
            case "kvm_irq_routing" -> routes(bytes);
            case "kvm_irqchip" -> " " + chip(bytes.getInt(Uapi.KvmIrqchip.CHIP_ID));
            case "kvm_device_attr" -> attribute(call, bytes);
            default -> fields(struct, call, bytes);
        };
    }

    /** The text of a structure of unknown layout. */
    static String raw(ByteBuffer bytes) {
        byte[] head = new byte[Math.min(bytes.limit(), MAX_RAW)];
        bytes.get(0, head);
        return " [" + HexFormat.of().formatHex(head) + (bytes.limit() > MAX_RAW ? "…" : "") + "]";
    }

    private static long unsigned(ByteBuffer bytes, int at) {
        return Integer.toUnsignedLong(bytes.getInt(at));
    }

    private static String chip(int number) {
        String name = CHIP.names().get(number);
        return name == null ? "chip " + number : name.toLowerCase(Locale.ROOT).replace('_', '-');
    }

    // Messages and routes

    /** @param low the offset of the address's low half; the high half and the data follow */
    private static String message(ByteBuffer bytes, int low, int flagsAt, int device) {
        long address = (long) bytes.getInt(low + 4) << 32 | unsigned(bytes, low);
        long flags = unsigned(bytes, flagsAt);
        String devid = (flags & Uapi.KVM_MSI_VALID_DEVID) == 0 ? "" : " devid=" + Names.hex(unsigned(bytes, device));
        return "msi " + Names.hex(address) + "/" + Names.hex(unsigned(bytes, low + 8))
                + Names.flags(flags, MESSAGE_FLAGS) + devid;
    }

    /** Lists routes of messages first, because the many routes of pins are seldom of interest. */
    private String routes(ByteBuffer bytes) {
        long claimed = unsigned(bytes, Uapi.KvmIrqRouting.NR);
        int held = (bytes.limit() - Uapi.KvmIrqRouting.SIZE) / Uapi.KvmIrqRoutingEntry.SIZE;
        long shown = Math.min(Math.min(claimed, held), routeLimit);
        StringJoiner entries = new StringJoiner(", ", shown == 0 ? "" : ": ", "");
        IntStream.range(0, (int) Math.min(claimed, held))
                .map(i -> Uapi.KvmIrqRouting.SIZE + i * Uapi.KvmIrqRoutingEntry.SIZE)
                .boxed()
                .sorted(Comparator.comparing(at -> !isMessage(bytes, at)))
                .limit(shown)
                .forEach(at -> entries.add(route(bytes, at)));
        String rest = shown == claimed ? "" : (shown == 0 ? "" : ",") + " … " + (claimed - shown) + " more";
        return " " + claimed + (claimed == 1 ? " route" : " routes")
                + Names.flags(
                        unsigned(bytes, Uapi.KvmIrqRouting.FLAGS),
                        field("kvm_irq_routing", Uapi.KvmIrqRouting.FLAGS).names())
                + entries + rest;
    }

    private static boolean isMessage(ByteBuffer bytes, int at) {
        return bytes.getInt(at + Uapi.KvmIrqRoutingEntry.TYPE) == Uapi.KVM_IRQ_ROUTING_MSI;
    }

    private static String route(ByteBuffer bytes, int at) {
        String gsi = Integer.toUnsignedString(bytes.getInt(at + Uapi.KvmIrqRoutingEntry.GSI)) + "→";
        int type = bytes.getInt(at + Uapi.KvmIrqRoutingEntry.TYPE);
        if (type == Uapi.KVM_IRQ_ROUTING_IRQCHIP) {
            return gsi + chip(bytes.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP)) + ":"
                    + bytes.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN)
                    + Names.flags(unsigned(bytes, at + Uapi.KvmIrqRoutingEntry.FLAGS), Map.of());
        }
        if (isMessage(bytes, at)) {
            return gsi
                    + message(
                            bytes,
                            at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO,
                            at + Uapi.KvmIrqRoutingEntry.FLAGS,
                            at + Uapi.KvmIrqRoutingEntry.U_MSI_DEVID);
        }
        return gsi + "type " + type;
    }

    /** The text of an attribute: for a KVM-VFIO device the file or interrupt, for another device the value. */
    private static String attribute(TapeLine.Call call, ByteBuffer bytes) {
        int group = bytes.getInt(Uapi.KvmDeviceAttr.GROUP);
        long attribute = bytes.getLong(Uapi.KvmDeviceAttr.ATTR);
        String flags = Names.flags(unsigned(bytes, Uapi.KvmDeviceAttr.FLAGS), Map.of());
        @Nullable ByteBuffer data = call.data().orElse(null);
        int length = Arguments.valueLength(Arguments.of(call.request(), call.on()), bytes, bytes.limit());
        if (FileKind.ofName(call.on()) != FileKind.KVM_VFIO || length == 0 || data == null || data.limit() < length) {
            return " group=" + group + " attr=" + Long.toUnsignedString(attribute) + flags + value(data);
        }
        String fd = " fd=" + call.names().getOrDefault("data", String.valueOf(data.getInt(0)));
        return group == Uapi.KVM_DEV_VFIO_FILE
                ? " VFIO_FILE " + verb(attribute, "ADD", "DEL") + flags + fd
                : " VFIO_DEVICE " + verb(attribute, "FORWARD_IRQ", "UNFORWARD_IRQ") + flags + fd
                        + " index=" + unsigned(data, Uapi.KvmArchForwardedIrq.INDEX)
                        + " subindex=" + unsigned(data, Uapi.KvmArchForwardedIrq.SUBINDEX)
                        + " gsi=" + unsigned(data, Uapi.KvmArchForwardedIrq.GSI);
    }

    /** The attributes 1 and 2 of both groups. */
    private static String verb(long attribute, String first, String second) {
        return attribute == 1 ? first : attribute == 2 ? second : "attr=" + Long.toUnsignedString(attribute);
    }

    private static String value(@Nullable ByteBuffer data) {
        return data == null || data.limit() < Integer.BYTES
                ? ""
                : " value=" + Names.hex(data.limit() == Integer.BYTES ? unsigned(data, 0) : data.getLong(0));
    }

    // By the table

    /** Fields as text: descriptors, then others by offset, then conditional ones, then the kernel's output. */
    private static String fields(Struct struct, TapeLine.Call call, ByteBuffer bytes) {
        StringBuilder text = new StringBuilder();
        struct.fields().stream()
                .sorted(Comparator.comparingInt(StructText::rank))
                .forEach(field -> append(text, field, call, bytes));
        return text.toString();
    }

    private static int rank(Field field) {
        return (field.when().at() >= 0 ? 2 : 0) + (field.role() == Role.FD ? 0 : 1);
    }

    private static void append(StringBuilder text, Field field, TapeLine.Call call, ByteBuffer bytes) {
        boolean shown = field.role() != Role.NEW_FD
                && field.role() != Role.LENGTH
                && Arguments.holds(field.when(), bytes, bytes.limit());
        ByteBuffer from = field.out() ? call.out().orElse(bytes) : bytes;
        for (int at = field.offset(); shown && at + field.size() <= from.limit(); at += field.each()) {
            text.append(word(field, call, from, at));
            shown = field.each() != 0;
        }
    }

    private static String word(Field field, TapeLine.Call call, ByteBuffer bytes, int at) {
        String path = " " + field.path() + "=";
        @Nullable String name = call.names().get(String.valueOf(at));
        if (field.role() == Role.ADDRESS) {
            return name == null ? "" : path + name;
        }
        if (field.size() > Long.BYTES) {
            return path + words(bytes, at, field.size());
        }
        long value =
                switch (field.size()) {
                    case 1 -> Byte.toUnsignedLong(bytes.get(at));
                    case 2 -> Short.toUnsignedLong(bytes.getShort(at));
                    case 4 -> unsigned(bytes, at);
                    default -> bytes.getLong(at);
                };
        return switch (field.role()) {
            case FD -> path + (name == null ? String.valueOf((int) value) : name);
            case GSI -> " gsi=" + value;
            case FLAGS -> Names.flags(value, field.names());
            case ONE_OF -> path + field.names().getOrDefault((int) value, String.valueOf(value));
            case COUNT -> path + value;
            default -> path + (value >= 0 && value < 10 ? String.valueOf(value) : Names.hex(value));
        };
    }

    /** An array of 64-bit words, without trailing zeros. */
    private static String words(ByteBuffer bytes, int at, int size) {
        int used = size / Long.BYTES;
        while (used > 1 && bytes.getLong(at + (used - 1) * Long.BYTES) == 0) {
            used--;
        }
        StringJoiner words = new StringJoiner(",");
        for (int i = 0; i < used; i++) {
            words.add(Names.hex(bytes.getLong(at + i * Long.BYTES)));
        }
        return words.toString();
    }
}
