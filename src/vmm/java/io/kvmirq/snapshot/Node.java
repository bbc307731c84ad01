/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** A value in a document, and its path, such as {@code state.vcpus[0].id}. Empty for the document. */
record Node(String path, Object value) {
    private static final String HEX = "0x";

    SnapshotException flaw(String expected) {
        return new SnapshotException(sentence(expected));
    }

    private String sentence(String expected) {
        return (path.isEmpty() ? "the document" : path) + " of the snapshot is invalid: expected " + expected;
    }

    private Map<?, ?> map() {
        if (value instanceof Map<?, ?> map) {
            return map;
        }
        throw flaw("an object");
    }

    private String inside(String name) {
        return path.isEmpty() ? name : path + "." + name;
    }

    Node at(String name) {
        return find(name)
                .orElseThrow(() ->
                        new SnapshotException(inside(name) + " of the snapshot is missing; " + Document.GIVE_TEXT));
    }

    Optional<Node> find(String name) {
        return Optional.ofNullable(map().get(name)).map(found -> new Node(inside(name), found));
    }

    void requireOnly(String... names) {
        for (Object name : map().keySet()) {
            if (!List.of(names).contains(name)) {
                throw flaw("no field named " + Foreign.quoted(String.valueOf(name)));
            }
        }
    }

    List<Node> all(String name) {
        return at(name).all();
    }

    List<Node> all() {
        if (!(value instanceof List<?> list)) {
            throw flaw("an array");
        }
        List<Node> nodes = new ArrayList<>();
        for (Object element : list) {
            nodes.add(new Node(path + "[" + nodes.size() + "]", element));
        }
        return nodes;
    }

    String text() {
        if (value instanceof String text) {
            return text;
        }
        throw flaw("a text");
    }

    boolean flag() {
        if (value instanceof Boolean flag) {
            return flag;
        }
        throw flaw("true or false");
    }

    long number(long min, long max) {
        if (value instanceof Long number && number >= min && number <= max) {
            return number;
        }
        throw flaw("an integer, " + min + " to " + max);
    }

    int integer(int min, int max) {
        return (int) number(min, max);
    }

    /** The value as a 64-bit number. */
    long word() {
        String text = text();
        try {
            if (text.startsWith(HEX)) {
                return Long.parseUnsignedLong(text, HEX.length(), text.length(), 16);
            }
        } catch (NumberFormatException e) {
            throw new SnapshotException(sentence("hex of 64 bits"), e);
        }
        throw flaw("hex of 64 bits, such as 0x1f");
    }

    static String word(long value) {
        return HEX + Long.toHexString(value);
    }

    byte[] bytes() {
        return make(() -> ofHex(text()));
    }

    static byte[] ofHex(String hex) {
        return HexFormat.of().parseHex(hex);
    }

    static String bytes(byte[] value) {
        return HexFormat.of().formatHex(value);
    }

    <E extends Enum<E>> E one(Class<E> type) {
        String text = text();
        return Stream.of(type.getEnumConstants())
                .filter(constant -> constant.name().equals(text))
                .findFirst()
                .orElseThrow(
                        () -> flaw("one of " + List.of(type.getEnumConstants()) + ", got " + Foreign.quoted(text)));
    }

    /** The object that {@code make} creates from this value. An IllegalArgumentException means a wrong value. */
    <T> T make(Supplier<T> make) {
        try {
            return make.get();
        } catch (IllegalArgumentException e) {
            throw new SnapshotException(path + " of the snapshot is invalid: " + e.getMessage(), e);
        }
    }
}
