/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.Sight;
import io.kvmirq.path.Known;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The types of a running kernel or of one of its modules, as its BTF describes them: where a member of a structure
 * lies, and the parameters of a function. A module's BTF continues the types and strings of the kernel's. Immutable.
 *
 * <p>Source: include/uapi/linux/btf.h, {@code btf_parse_hdr()} and {@code btf_check_all_metas()} in kernel/bpf/btf.c.
 */
public final class Btf {
    /** The kinds of types; two types may share one name, such as AMD's and Intel's irte. */
    public enum Kind {
        /** A {@code struct}. */
        STRUCT(4),
        /** A {@code union}. */
        UNION(5),
        /** An {@code enum} of 32 bits. */
        ENUM(6),
        /** A {@code typedef}. */
        TYPEDEF(8),
        /** A function. */
        FUNC(12);

        private final int number;

        Kind(int number) {
            this.number = number;
        }
    }

    /**
     * A member's place.
     *
     * @param bit where it begins in its structure, in bits from 0
     * @param bits its width in bits: that of a bit-field, or of its type
     * @param pointer whether it is a pointer
     */
    public record Member(long bit, long bits, boolean pointer) {
        /** Where it begins, in bytes from 0. A bit-field begins within this byte. */
        public long offset() {
            return bit / Byte.SIZE;
        }

        /** Whether it is one or more whole bytes. */
        public boolean isWhole() {
            return bit % Byte.SIZE == 0 && bits % Byte.SIZE == 0;
        }
    }

    /**
     * A function's parameter. It has no name here: a function that two files declare may name it in two ways.
     *
     * @param type the name of its type without pointers, such as {@code eventfd_ctx}; empty if that has none
     * @param pointer whether it is a pointer
     */
    public record Parameter(String type, boolean pointer) {}

    /** The directory of the kernel's files. */
    private static final String FILES = "sys/kernel/btf/";

    /** Debian's kernel 7.2 for x86-64 has 6 MB. */
    private static final int MOST_BYTES = 1 << 26;

    private static final int MAGIC = 0xeb9f;
    private static final int HEADER = 24;
    private static final int TYPE = 12;
    /** The limit of nested types; a kernel has fewer. */
    private static final int DEEPEST_TYPE = 64;
    /** Members that one search looks at; {@code task_struct}, with all that it holds, has fewer than a thousand. */
    private static final int MOST_MEMBERS = 4096;
    /** The largest element of an array, in bytes. */
    private static final long LARGEST_ELEMENT = 1L << 27;

    private static final int LONGEST_NAME = 512;
    private static final int INT = 1;
    private static final int PTR = 2;
    private static final int ARRAY = 3;
    private static final int ENUM = Kind.ENUM.number;
    private static final int TYPEDEF = Kind.TYPEDEF.number;
    private static final int VOLATILE = 9;
    private static final int RESTRICT = 11;
    private static final int FUNC_PROTO = 13;
    private static final int FLOAT = 16;
    private static final int TYPE_TAG = 18;
    private static final int ENUM64 = 19;
    /** The bytes of each kind after its first 12, and for each of its members; -1 for no kind. By number. */
    private static final int[] FIXED = {-1, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0};

    private static final int[] EACH = {0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12};

    private final @Nullable Btf base;
    private final ByteBuffer bytes;
    private final int firstId;
    private final long firstString;
    private final int strings;
    private final int stringsEnd;
    /** The offset of each type. The first one has the id {@link #firstId}. */
    private final int[] types;
    /** The types by name, of each kind that was asked for. */
    private final Map<Kind, Map<String, List<Integer>>> names = new ConcurrentHashMap<>();

    private Btf(@Nullable Btf base, ByteBuffer bytes) {
        this.base = base;
        this.bytes = bytes;
        firstId = base == null ? 1 : base.firstId + base.types.length;
        firstString = base == null ? 0 : base.firstString + base.stringsEnd - base.strings;
        require(bytes.limit() >= HEADER, "has %d bytes, expected a header of %d", bytes.limit(), HEADER);
        int magic = Short.toUnsignedInt(bytes.getShort(0));
        require(magic == MAGIC, "begins with 0x%x, expected 0x%x in this machine's byte order", magic, MAGIC);
        require(bytes.get(2) == 1, "has version %d, expected 1", bytes.get(2));
        long header = unsigned(4);
        require(header >= HEADER && header <= bytes.limit(), "has a header of %d bytes", header);
        long typesAt = header + unsigned(8);
        long typesEnd = typesAt + unsigned(12);
        long stringsAt = header + unsigned(16);
        long end = stringsAt + unsigned(20);
        require(typesEnd <= bytes.limit(), "ends within its types, at byte %d of %d", bytes.limit(), typesEnd);
        require(end <= bytes.limit(), "ends within its strings, at byte %d of %d", bytes.limit(), end);
        strings = (int) stringsAt;
        stringsEnd = (int) end;
        require(end > stringsAt || base != null, "has no strings");
        require(end == stringsAt || bytes.get(stringsEnd - 1) == 0, "ends in an unterminated string");
        types = types((int) typesAt, (int) typesEnd);
    }

    private int[] types(int from, int end) {
        int[] places = new int[(end - from) / TYPE];
        int count = 0;
        long at = from;
        while (at < end) {
            require(end - at >= TYPE, "ends within type %d", firstId + count);
            int place = (int) at;
            int kind = kindAt(place);
            require(
                    kind < FIXED.length && FIXED[kind] >= 0,
                    "has kind %d in type %d, expected 1 to 19",
                    kind,
                    firstId + count);
            at += TYPE + FIXED[kind] + (long) EACH[kind] * membersAt(place);
            require(at <= end, "ends within type %d", firstId + count);
            places[count] = place;
            count++;
        }
        return Arrays.copyOf(places, count);
    }

    /**
     * The types of the kernel.
     *
     * @param content of {@code /sys/kernel/btf/vmlinux}
     * @return them, or how the content is damaged
     */
    public static Known<Btf> parse(byte[] content) {
        return read("BTF", null, content);
    }

    /**
     * The types of a module.
     *
     * @param kernel the types of the kernel that runs
     * @param content of {@code /sys/kernel/btf/MODULE}
     * @return them, with those of the kernel, or how the content is damaged
     */
    public static Known<Btf> parse(Btf kernel, byte[] content) {
        return read("BTF", kernel, content);
    }

    /**
     * The types of the kernel that runs and of one of its modules. A module that is built in has no file: the kernel's
     * types are those that it has.
     *
     * @param files of the host
     * @param module such as {@code kvm}; with an underscore where the module has a dash
     */
    public static Known<Btf> read(HostFiles files, String module) {
        return read(files).then(kernel -> kernel.with(files, module));
    }

    /** The types of the kernel that runs. */
    public static Known<Btf> read(HostFiles files) {
        return file(files, "vmlinux", null);
    }

    /** These types of a kernel, with those of one of its modules. As {@link #read(HostFiles, String)}. */
    public Known<Btf> with(HostFiles files, String module) {
        return files.reading(FILES + module) == HostFiles.Reading.ABSENT
                ? new Known.Observed<>(this)
                : file(files, module, this);
    }

    private static Known<Btf> file(HostFiles files, String name, @Nullable Btf base) {
        String path = "/" + FILES + name;
        Optional<byte[]> content = files.bytes(FILES + name, MOST_BYTES + 1);
        if (content.isEmpty()) {
            return Sight.read(files).missing(files, FILES + name, "use a kernel with CONFIG_DEBUG_INFO_BTF");
        }
        if (content.get().length > MOST_BYTES) {
            return new Known.Unknown<>(
                    path + " has more than " + MOST_BYTES + " bytes", "report it with the kernel's release");
        }
        return read(path, base, content.get());
    }

    private static Known<Btf> read(String source, @Nullable Btf base, byte[] content) {
        try {
            return new Known.Observed<>(new Btf(base, ByteBuffer.wrap(content).order(ByteOrder.nativeOrder())));
        } catch (Damaged e) {
            return new Known.Unknown<>(source + " " + e.getMessage(), "read it on the host that it describes");
        }
    }

    /** How many types there are, those of the kernel included. */
    public int count() {
        return firstId - 1 + types.length;
    }

    /** Whether these are the types of a module; false for the kernel's, which include those of drivers that are built in. */
    public boolean isOfModule() {
        return base != null;
    }

    /** The size of a structure or union in bytes. */
    public Known<Long> size(Kind kind, String name) {
        return one(kind, name, "", id -> Optional.of(Integer.toUnsignedLong(word(id, 8))));
    }

    /**
     * The place of a member.
     *
     * @param kind of the type that holds it
     * @param name of that type, such as {@code kvm_kernel_irqfd}
     * @param path its name, or several with dots between for a member of a member, such as {@code wait.func}. Members of
     *     anonymous structures and unions are named as if they stood outside
     * @return it, or why it is not known: no such type or member, or two types of this name that differ in it
     */
    public Known<Member> member(Kind kind, String name, String path) {
        String[] names = path.split("\\.", -1);
        return one(kind, name, " with " + path, id -> member(id, names));
    }

    /**
     * The parameters of a function, in order.
     *
     * @param name of the function. One that the compiler inlined everywhere is unknown
     */
    public Known<List<Parameter>> parameters(String name) {
        return one(Kind.FUNC, name, "", id -> parameters(word(id, 8)));
    }

    /** The names of an enum's values. */
    public Known<Map<Integer, String>> names(String name) {
        // A declaration has no values.
        return one(Kind.ENUM, name, "", id -> Optional.of(names(id)).filter(all -> !all.isEmpty()));
    }

    private Map<Integer, String> names(int id) {
        Btf home = home(id);
        int at = home.types[id - home.firstId];
        Map<Integer, String> names = new HashMap<>();
        for (int i = 0; i < home.membersAt(at); i++) {
            int value = at + TYPE + i * EACH[ENUM];
            names.put(home.bytes.getInt(value + 4), home.string(home.bytes.getInt(value)));
        }
        return names;
    }

    private interface Answer<T> {
        Optional<T> read(int id);
    }

    /** The result, if all types of a kind and name that have one agree. */
    private <T> Known<T> one(Kind kind, String name, String what, Answer<T> answer) {
        Set<T> answers = new HashSet<>();
        String type = (kind.name().toLowerCase(Locale.ROOT) + " " + name).replace("func ", "function ");
        try {
            for (int id : ids(kind, name)) {
                answer.read(id).ifPresent(answers::add);
            }
        } catch (Damaged e) {
            return new Known.Unknown<>("BTF " + e.getMessage(), "read it on the host that it describes");
        }
        if (answers.size() == 1) {
            return new Known.Observed<>(answers.iterator().next());
        }
        return answers.isEmpty()
                ? new Known.Unknown<>("this kernel has no " + type + what, "use a kernel that has it")
                : new Known.Unknown<>("this kernel has different types named " + type + what, "look up another member");
    }

    private List<Integer> ids(Kind kind, String name) {
        List<Integer> ids = base == null ? new ArrayList<>() : base.ids(kind, name);
        ids.addAll(names.computeIfAbsent(kind, this::names).getOrDefault(name, List.of()));
        return ids;
    }

    private Map<String, List<Integer>> names(Kind kind) {
        Map<String, List<Integer>> found = new HashMap<>();
        for (int i = 0; i < types.length; i++) {
            if (kindAt(types[i]) == kind.number) {
                found.computeIfAbsent(string(bytes.getInt(types[i])), same -> new ArrayList<>())
                        .add(firstId + i);
            }
        }
        return found;
    }

    private Optional<Member> member(int owner, String[] path) {
        long bit = 0;
        int type = owner;
        Found found = null;
        int[] left = {MOST_MEMBERS};
        for (String name : path) {
            found = find(type, name.getBytes(StandardCharsets.ISO_8859_1), left, 0);
            if (found == null) {
                return Optional.empty();
            }
            bit += found.bit;
            type = found.type;
        }
        if (found == null) {
            return Optional.empty();
        }
        int plain = plain(type);
        long bits = found.bits == 0 ? size(plain, 0) * Byte.SIZE : found.bits;
        return Optional.of(new Member(bit, bits, kind(plain) == PTR));
    }

    /** A member. Its bits are 0 if it is no bit-field. */
    private record Found(long bit, long bits, int type) {}

    private @Nullable Found find(int owner, byte[] name, int[] left, int depth) {
        require(depth < DEEPEST_TYPE, "has types that contain themselves");
        int type = plain(owner);
        int kind = kind(type);
        if (kind != Kind.STRUCT.number && kind != Kind.UNION.number) {
            return null;
        }
        Btf home = home(type);
        int at = home.types[type - home.firstId];
        boolean bitFields = home.bytes.getInt(at + 4) < 0;
        for (int i = 0; i < home.membersAt(at); i++) {
            left[0]--;
            require(left[0] > 0, "has a type with more than %d members", MOST_MEMBERS);
            int member = at + TYPE + i * TYPE;
            int place = home.bytes.getInt(member + 8);
            long bit = bitFields ? place & 0xffffff : Integer.toUnsignedLong(place);
            long bits = bitFields ? place >>> 24 : 0;
            int memberType = home.bytes.getInt(member + 4);
            int nameAt = home.bytes.getInt(member);
            if (nameAt != 0 && home.isNamed(nameAt, name)) {
                return new Found(bit, bits, memberType);
            }
            Found inner = nameAt == 0 ? find(memberType, name, left, depth + 1) : null;
            if (inner != null) {
                return new Found(bit + inner.bit, inner.bits, inner.type);
            }
        }
        return null;
    }

    private Optional<List<Parameter>> parameters(int prototype) {
        if (kind(prototype) != FUNC_PROTO) {
            return Optional.empty();
        }
        Btf home = home(prototype);
        int at = home.types[prototype - home.firstId];
        List<Parameter> parameters = new ArrayList<>();
        for (int i = 0; i < home.membersAt(at); i++) {
            int parameter = at + TYPE + i * 8;
            int type = plain(home.bytes.getInt(parameter + 4));
            boolean pointer = kind(type) == PTR;
            int depth = 0;
            while (kind(type) == PTR) {
                require(depth < DEEPEST_TYPE, "has types that point to themselves");
                depth++;
                type = plain(word(type, 8));
            }
            String name = type == 0 ? "" : home(type).string(word(type, 0));
            parameters.add(new Parameter(name, pointer));
        }
        return Optional.of(List.copyOf(parameters));
    }

    /** The type behind typedefs and qualifiers. 0 is void. */
    private int plain(int id) {
        int type = id;
        for (int i = 0; i < DEEPEST_TYPE; i++) {
            int kind = kind(type);
            if (kind != TYPEDEF && (kind < VOLATILE || kind > RESTRICT) && kind != TYPE_TAG) {
                return type;
            }
            type = word(type, 8);
        }
        throw new Damaged("has types that name themselves");
    }

    /** The size of a type behind typedefs, in bytes. */
    private long size(int type, int depth) {
        require(depth < DEEPEST_TYPE, "has arrays that contain themselves");
        int kind = kind(type);
        if (kind == PTR) {
            return Long.BYTES;
        }
        if (kind == ARRAY) {
            long element = size(plain(word(type, 12)), depth + 1);
            require(element <= LARGEST_ELEMENT, "has an array of elements of %d bytes", element);
            return Integer.toUnsignedLong(word(type, 20)) * element;
        }
        boolean hasSize = kind == INT || kind >= Kind.STRUCT.number && kind <= ENUM || kind == FLOAT || kind == ENUM64;
        return hasSize ? Integer.toUnsignedLong(word(type, 8)) : 0;
    }

    private Btf home(int id) {
        require(id > 0 && id <= count(), "refers to type %d of %d", id, count());
        return base != null && id < firstId ? base.home(id) : this;
    }

    private int kind(int id) {
        if (id == 0) {
            return 0;
        }
        Btf home = home(id);
        return home.kindAt(home.types[id - home.firstId]);
    }

    /** A word of a type: 0 its name, 8 its size or type, 12 on what follows. */
    private int word(int id, int offset) {
        Btf home = home(id);
        return home.bytes.getInt(home.types[id - home.firstId] + offset);
    }

    private int kindAt(int place) {
        return bytes.getInt(place + 4) >>> 24 & 0x1f;
    }

    private int membersAt(int place) {
        return bytes.getInt(place + 4) & 0xffff;
    }

    private boolean isNamed(int offset, byte[] name) {
        long from = Integer.toUnsignedLong(offset) - firstString;
        if (from < 0) {
            return base != null && base.isNamed(offset, name);
        }
        long at = strings + from;
        if (at + name.length >= stringsEnd || bytes.get((int) at + name.length) != 0) {
            return false;
        }
        for (int i = 0; i < name.length; i++) {
            if (bytes.get((int) at + i) != name[i]) {
                return false;
            }
        }
        return true;
    }

    private String string(int offset) {
        long from = Integer.toUnsignedLong(offset) - firstString;
        if (from < 0) {
            return base == null ? "" : base.string(offset);
        }
        StringBuilder text = new StringBuilder();
        long at = strings + from;
        while (at < stringsEnd && bytes.get((int) at) != 0 && text.length() < LONGEST_NAME) {
            text.append((char) (bytes.get((int) at) & 0xff));
            at++;
        }
        return text.toString();
    }

    private long unsigned(int offset) {
        return Integer.toUnsignedLong(bytes.getInt(offset));
    }

    /** The content is not BTF of this machine. */
    private static final class Damaged extends RuntimeException {
        private static final long serialVersionUID = 1;

        Damaged(String message) {
            super(message, null, false, false);
        }
    }

    private static void require(boolean condition, String format, Object... values) {
        if (!condition) {
            throw new Damaged(String.format(Locale.ROOT, format, values));
        }
    }
}
