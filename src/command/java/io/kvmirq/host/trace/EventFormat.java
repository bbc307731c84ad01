/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The form of an event, as the event's {@code format} file describes it: offset and size of each field, and the names of
 * flags. Immutable.
 *
 * <p>Source: {@code f_show()} in kernel/trace/trace_events.c.
 */
public final class EventFormat {
    /** The type of the event, which all formats have at the same place. */
    private static final String TYPE = "common_type";

    private static final int MOST_CHARACTERS = 1 << 16;
    private static final Pattern NAME = Pattern.compile("(?m)^name: (\\w{1,100})$");
    private static final Pattern ID = Pattern.compile("(?m)^ID: (\\d{1,5})$");
    private static final Pattern FIELD =
            Pattern.compile("(?m)^\tfield:[^;\n]{0,200}?(\\w{1,100})(?:\\[[^\\];\n]{0,50}])?;"
                    + "\toffset:(\\d{1,5});\tsize:(\\d{1,5});\tsigned:([01]);");
    private static final Pattern FLAGS = Pattern.compile("__print_flags\\(REC->(\\w{1,100})");
    private static final Pattern FLAG = Pattern.compile("\\{ ?([^{}\",]{1,100}), ?\"(\\w{1,100})\" ?}");
    private static final Pattern NUMBER = Pattern.compile("(?:0x([0-9a-f]{1,15})|(\\d{1,15}))(?:UL)?");
    private static final Pattern SHIFT = Pattern.compile(".*<< \\(*(\\d{1,2})\\)*");
    private static final int HEX = 16;

    private record Field(int offset, int size, boolean isSigned) {}

    private record Flag(long bits, String name) {}

    private final String name;
    private final int id;
    private final Map<String, Field> fields;
    private final Field type;
    private final Map<String, List<Flag>> flags;

    private EventFormat(String name, int id, Map<String, Field> fields, Field type, Map<String, List<Flag>> flags) {
        this.name = name;
        this.id = id;
        this.fields = fields;
        this.type = type;
        this.flags = flags;
    }

    /** Reads a {@code format} file. Empty if it has another form. */
    public static Optional<EventFormat> parse(String text) {
        Matcher name = NAME.matcher(text);
        Matcher id = ID.matcher(text);
        if (text.length() > MOST_CHARACTERS || !name.find() || !id.find()) {
            return Optional.empty();
        }
        Map<String, Field> fields = fields(text);
        return Optional.ofNullable(fields.get(TYPE))
                .map(type -> new EventFormat(name.group(1), Integer.parseInt(id.group(1)), fields, type, flags(text)));
    }

    /** The fields in the text of a format file, by their names. */
    private static Map<String, Field> fields(String text) {
        Map<String, Field> fields = new HashMap<>();
        Matcher field = FIELD.matcher(text);
        while (field.find()) {
            fields.put(
                    field.group(1),
                    new Field(
                            Integer.parseInt(field.group(2)),
                            Integer.parseInt(field.group(3)),
                            field.group(4).equals("1")));
        }
        return fields;
    }

    private static Map<String, List<Flag>> flags(String text) {
        Map<String, List<Flag>> all = new HashMap<>();
        Matcher list = FLAGS.matcher(text);
        while (list.find()) {
            List<Flag> flags = new ArrayList<>();
            Matcher flag = FLAG.matcher(text);
            for (int at = list.end(); flag.find(at) && (flags.isEmpty() || flag.start() - at <= 2); at = flag.end()) {
                flags.add(new Flag(bits(flag.group(1).strip(), flags.size()), flag.group(2)));
            }
            all.putIfAbsent(list.group(1), flags);
        }
        return all;
    }

    /** A constant of an enum is a shift of the flag's position: such lists have the order of their enum. */
    private static long bits(String value, int position) {
        Matcher number = NUMBER.matcher(value);
        if (number.matches()) {
            return number.group(1) != null ? Long.parseLong(number.group(1), HEX) : Long.parseLong(number.group(2));
        }
        Matcher shift = SHIFT.matcher(value);
        return 1L << (shift.matches() ? Integer.parseInt(shift.group(1)) : position);
    }

    /** The event's name, such as {@code kvm_set_irq}. */
    public String name() {
        return name;
    }

    /** The number that marks this event in the record of this kernel. */
    public int id() {
        return id;
    }

    public boolean has(String field) {
        return fields.containsKey(field);
    }

    /**
     * A field of an event. Empty if the event has no such number.
     *
     * @param at where the event begins in the record
     * @param length of the event, in bytes
     */
    OptionalLong number(ByteBuffer record, int at, int length, String name) {
        Field field = fields.get(name);
        return field == null ? OptionalLong.empty() : number(record, at, length, field);
    }

    /** The number that marks the event; -1 if it is too short. */
    int type(ByteBuffer record, int at, int length) {
        return (int) number(record, at, length, type).orElse(-1);
    }

    private static OptionalLong number(ByteBuffer record, int at, int length, Field field) {
        if (field.offset + field.size > length) {
            return OptionalLong.empty();
        }
        int place = at + field.offset;
        return switch (field.size) {
            case Byte.BYTES -> OptionalLong.of(field.isSigned ? record.get(place) : record.get(place) & 0xff);
            case Short.BYTES ->
                OptionalLong.of(field.isSigned ? record.getShort(place) : record.getShort(place) & 0xffff);
            case Integer.BYTES ->
                OptionalLong.of(field.isSigned ? record.getInt(place) : record.getInt(place) & 0xffff_ffffL);
            case Long.BYTES -> OptionalLong.of(record.getLong(place));
            default -> OptionalLong.empty();
        };
    }

    /** The names of the flags of a field that are set, in the order of the kernel. Bits without a name are left out. */
    Set<String> names(String field, long value) {
        Set<String> names = new LinkedHashSet<>();
        for (Flag flag : flags.getOrDefault(field, List.of())) {
            if (flag.bits != 0 && (value & flag.bits) == flag.bits) {
                names.add(flag.name);
            }
        }
        return names;
    }

    boolean namesFlags(String field) {
        return flags.containsKey(field);
    }
}
