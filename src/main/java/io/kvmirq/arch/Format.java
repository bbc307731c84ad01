/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * A structure of the hardware: its kind, its words, its fields, and what its manual forbids. Decoding and encoding are
 * exact inverses on any bits, reserved ones included.
 *
 * <p>A structure is bits 0 to n, least significant first. As <em>words</em> it is what tools print: of 32 or 64 bits
 * each, the one at the lowest address first. As <em>bits</em> it is the same in words of 64 bits, in which a {@link
 * BitField} finds its place; three words of 32 bits are two of those, and what is past the end is 0. Immutable.
 */
public final class Format {
    private static final String IGNORED = "derived_";

    private final String kind;
    private final String title;
    private final int wordBits;
    private final List<String> wordNames;
    private final int wordCount;
    private final List<Field> fields;
    private final Map<String, Integer> places = new HashMap<>();
    private final List<Rule> rules;
    private final List<Rule> remarks;
    private final Predicate<long[]> looked;
    private final String fault;
    private final boolean decodeOnly;

    Format(FormatBuilder builder) {
        kind = builder.kind;
        title = builder.title;
        wordBits = builder.wordBits;
        wordCount = builder.wordCount;
        wordNames = List.of(builder.wordNames);
        fields = List.copyOf(builder.fields);
        for (int i = 0; i < fields.size(); i++) {
            places.put(fields.get(i).name(), i);
        }
        rules = List.copyOf(builder.rules);
        remarks = List.copyOf(builder.remarks);
        looked = builder.looked;
        fault = builder.fault;
        decodeOnly = !Arrays.equals(storedBits(), allBits());
    }

    /** What the fields that make the structure hold of it. */
    private long[] storedBits() {
        long[] stored = new long[longs()];
        for (Field field : fields) {
            if (field.isStored()) {
                field.parts().forEach(part -> stored[part.word()] |= part.mask());
            }
        }
        return stored;
    }

    private long[] allBits() {
        long[] words = new long[wordCount];
        Arrays.fill(words, -1L >>> (Long.SIZE - wordBits));
        return bits(words);
    }

    /**
     * @param kind the name by which a user asks for it
     * @param title what it is, in a few words
     * @param wordBits 32 or 64
     * @param wordCount how many words
     */
    public static FormatBuilder builder(String kind, String title, int wordBits, int wordCount) {
        return new FormatBuilder(kind, title, wordBits, wordCount);
    }

    public String kind() {
        return kind;
    }

    public String title() {
        return title;
    }

    /** 32 or 64. */
    public int wordBits() {
        return wordBits;
    }

    public int wordCount() {
        return wordCount;
    }

    /** In the order of printing. */
    public List<Field> fields() {
        return fields;
    }

    /** The field of that name, if there is one. */
    public Optional<Field> field(String name) {
        return Optional.ofNullable(places.get(name)).map(fields::get);
    }

    /** Whether the fields do not hold all of it, so that it cannot be made from them. */
    public boolean isDecodeOnly() {
        return decodeOnly;
    }

    /** Where a field is, as the manual writes it: {@code 63:38}, or {@code data 7:0} where its words have names. */
    public String position(Field field) {
        StringBuilder text = new StringBuilder();
        String before = "";
        for (int i = field.parts().size() - 1; i >= 0; i--) {
            BitField part = field.parts().get(i);
            boolean named = !wordNames.isEmpty();
            String word = named ? wordNames.get(part.low() / wordBits) + " " : "";
            int low = named ? part.low() % wordBits : part.low();
            int high = low + part.width() - 1;
            text.append(text.isEmpty() ? "" : ", ").append(word.equals(before) ? "" : word);
            text.append(high == low ? "" + low : high + ":" + low);
            before = word;
        }
        return text.toString();
    }

    private int longs() {
        return (wordBits * wordCount + Long.SIZE - 1) / Long.SIZE;
    }

    /**
     * The structure in words of 64 bits.
     *
     * @param words as many as {@link #wordCount()}, lowest address first
     * @throws IllegalArgumentException if there are more or fewer, or one is wider than {@link #wordBits()}
     */
    public long[] bits(long... words) {
        if (words.length != wordCount) {
            throw new IllegalArgumentException(kind + " is " + wordsText() + ", not " + words.length);
        }
        if (wordBits == Long.SIZE) {
            return words.clone();
        }
        long[] bits = new long[longs()];
        for (int i = 0; i < words.length; i++) {
            if (words[i] >>> wordBits != 0) {
                throw new IllegalArgumentException("word " + (i + 1) + " of " + kind + " is 0x"
                        + Long.toHexString(words[i]) + ": expected " + wordBits + " bits");
            }
            int low = i * wordBits;
            bits[low / Long.SIZE] |= words[i] << low;
        }
        return bits;
    }

    /** The reverse of {@link #bits}. */
    public long[] words(long... bits) {
        if (wordBits == Long.SIZE) {
            return bits.clone();
        }
        long[] words = new long[wordCount];
        for (int i = 0; i < wordCount; i++) {
            int low = i * wordBits;
            words[i] = bits[low / Long.SIZE] >>> low & (1L << wordBits) - 1;
        }
        return words;
    }

    /** The names of the words, lowest address first, where they have any. */
    public List<String> wordNames() {
        return wordNames;
    }

    /** The kind and the words in hex. */
    public String text(long... words) {
        return Arrays.stream(words)
                .mapToObj(word -> " 0x" + Long.toHexString(word))
                .collect(Collectors.joining("", kind, ""));
    }

    /** What it is made of, such as {@code 2 words of 64 bits}, with the words' names if they have any. */
    public String wordsText() {
        return wordCount + (wordCount == 1 ? " word" : " words") + " of " + wordBits + " bits"
                + (wordNames.isEmpty() ? "" : " (" + String.join(", ", wordNames) + ")");
    }

    /** The values of {@link #fields()}, in their order. */
    public long[] values(long... bits) {
        long[] values = new long[fields.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = fields.get(i).value(bits);
        }
        return values;
    }

    /** What the manual forbids and is so, reserved fields first; empty where the hardware does not look. */
    public List<Violation> violations(long... bits) {
        List<Violation> found = new ArrayList<>();
        if (!looked.test(bits)) {
            return found;
        }
        for (Field field : fields) {
            if (field.isReserved() && field.value(bits) != 0) {
                found.add(new Violation(
                        field.name(),
                        (field.width() == 1
                                        ? "reserved bit " + position(field) + " is "
                                        : "reserved bits " + position(field) + " are ")
                                + "0x" + Long.toHexString(field.value(bits))
                                + " and not 0" + fault));
            }
        }
        for (Rule rule : rules) {
            rule.check(bits).ifPresent(found::add);
        }
        return found;
    }

    /** What is allowed and still worth a word. */
    public List<Violation> remarks(long... bits) {
        return remarks.stream().flatMap(rule -> rule.check(bits).stream()).toList();
    }

    /**
     * The structure of these values.
     *
     * @param values by field name; what follows from others may be left out, and is ignored where its name begins with
     *     {@code derived_}
     * @return its bits
     * @throws IllegalArgumentException if a field is unknown or missing, does not fit or contradicts another
     */
    public long[] encode(Map<String, Long> values) {
        requireEncodable();
        long[] all = new long[fields.size()];
        boolean[] given = new boolean[fields.size()];
        values.forEach((name, value) -> {
            Integer place = places.get(name);
            if (place == null || fields.get(place).role() == Field.Role.SHOWN) {
                throw new IllegalArgumentException(
                        "field '" + name + "' is not one of " + kind + ": expected " + names());
            }
            all[place] = value;
            given[place] = true;
        });
        for (int i = 0; i < all.length; i++) {
            Field field = fields.get(i);
            if (!given[i] && field.role() == Field.Role.NAMED) {
                throw new IllegalArgumentException(
                        "field '" + field.name() + "' of " + kind + " is missing: expected " + names());
            }
            if (!given[i]) {
                all[i] = field.ordinary();
            }
        }
        long[] bits = encode(all);
        for (int i = 0; i < all.length; i++) {
            if (given[i] && !fields.get(i).name().startsWith(IGNORED)) {
                agree(fields.get(i), all[i], bits);
            }
        }
        return bits;
    }

    private static void agree(Field field, long given, long[] bits) {
        long made = field.value(bits);
        if (made != given) {
            throw new IllegalArgumentException("field '" + field.name() + "' 0x" + Long.toHexString(given)
                    + " contradicts others, which make it 0x" + Long.toHexString(made));
        }
    }

    private void requireEncodable() {
        if (decodeOnly) {
            throw new IllegalArgumentException(
                    kind + " cannot be encoded: its fields are computed and leave bits out; give its words");
        }
    }

    private String names() {
        return fields.stream()
                .filter(field -> field.role() == Field.Role.NAMED)
                .map(Field::name)
                .collect(Collectors.joining(", "));
    }

    /**
     * The structure of the values of {@link #fields()}, in their order; the reverse of {@link #values}.
     *
     * @throws IllegalArgumentException if one does not fit or contradicts another, or for a decode-only format
     */
    public long[] encode(long... values) {
        requireEncodable();
        long[] bits = new long[longs()];
        for (int i = 0; i < values.length; i++) {
            if (fields.get(i).isStored()) {
                fields.get(i).put(bits, values[i]);
            }
        }
        for (int i = 0; i < values.length; i++) {
            if (fields.get(i).isStored()) {
                agree(fields.get(i), values[i], bits);
            }
        }
        return bits;
    }
}
