/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * The format of a hardware structure: its name for {@code kvmirq decode}, its words, and its fields in printing order.
 * Encoding the decoded values of a structure returns the same bits, reserved bits included.
 *
 * <p>A structure has two representations. Its <em>words</em> have 32 or 64 bits each, as {@code kvmirq decode} reads
 * them, lowest address first. Its <em>bits</em> are the same content in 64-bit words, in which a {@link BitField}
 * counts positions. Three 32-bit words occupy two 64-bit words, whose remaining bits are 0. Immutable.
 */
public final class Format {
    /** A sentence that is printed if {@code when} matches the bits. */
    record Remark(Predicate<long[]> when, String text) {}

    /** The condition for a field that exists only if {@code selector} has this value. */
    record Selection(BitField selector, long value) {
        boolean selects(long[] bits) {
            return selector.of(bits[selector.word()]) == value;
        }
    }

    private static final String IGNORED = "derived_";
    private static final String RESERVED = "rsvd_";
    private static final int MOST_NAMED_WORDS = 4;

    private final String kind;
    private final String title;
    private final int wordBits;
    private final List<String> wordNames;
    private final int wordCount;
    private final List<Field> fields;
    private final Map<String, Integer> places = new HashMap<>();
    private final List<Remark> remarks;
    private final Predicate<long[]> looked;
    private final Map<String, Selection> selections;
    private final String fault;
    private final boolean decodeOnly;
    private final long[] reserved;
    /** The fields that can have a forbidden value. */
    private final List<Field> checked;

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
        remarks = List.copyOf(builder.remarks);
        looked = builder.looked;
        selections = Map.copyOf(builder.selections);
        fault = builder.fault;
        decodeOnly = !Arrays.equals(storedBits(), allBits());
        reserved = bitsOf(field -> field.description().isReserved());
        checked = fields.stream()
                .filter(field -> !field.description().checks().isEmpty())
                .toList();
    }

    /** The bits that encoding stores. */
    private long[] storedBits() {
        return bitsOf(Field::isStored);
    }

    private long[] bitsOf(Predicate<Field> which) {
        long[] words = new long[longs()];
        for (Field field : fields) {
            if (which.test(field)) {
                field.parts().forEach(part -> words[part.word()] |= part.mask());
            }
        }
        return words;
    }

    private long[] allBits() {
        long[] words = new long[wordCount];
        Arrays.fill(words, -1L >>> (Long.SIZE - wordBits));
        return bits(words);
    }

    /** Creates a builder. {@code kind} names the format in {@code kvmirq decode}, and {@code wordBits} is 32 or 64. */
    public static FormatBuilder builder(String kind, String title, int wordBits, int wordCount) {
        Objects.requireNonNull(kind, "kind is null");
        Objects.requireNonNull(title, "title is null");
        return new FormatBuilder(kind, title, wordBits, wordCount);
    }

    /** The format's name for {@code kvmirq decode}, such as {@code irte.vtd.posted}. */
    public String kind() {
        return kind;
    }

    /** A short human-readable name, such as "VT-d IRTE, posted". */
    public String title() {
        return title;
    }

    /** The word size in bits, 32 or 64. */
    public int wordBits() {
        return wordBits;
    }

    /** The number of words in the structure. */
    public int wordCount() {
        return wordCount;
    }

    /** The fields in printing order. */
    public List<Field> fields() {
        return fields;
    }

    /**
     * The fields that exist for these bits, in printing order. A field of {@link FormatBuilder#fieldsIf} exists only if
     * its selector has the required value.
     */
    public List<Field> fieldsOf(long... bits) {
        Objects.requireNonNull(bits, "bits is null");
        return fields.stream().filter(field -> isThere(field, bits)).toList();
    }

    private boolean isThere(Field field, long[] bits) {
        return Optional.ofNullable(selections.get(field.name()))
                .map(selection -> selection.selects(bits))
                .orElse(true);
    }

    /** Looks up a field by name. Empty if no field has this name. */
    public Optional<Field> field(String name) {
        Objects.requireNonNull(name, "name is null");
        return Optional.ofNullable(places.get(name)).map(fields::get);
    }

    /** Whether the structure cannot be encoded, because its fields do not cover all bits. */
    public boolean isDecodeOnly() {
        return decodeOnly;
    }

    /**
     * A field's bit range in the manual's notation, such as {@code 63:38}, or {@code data 7:0} if the words have names.
     */
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
     * Converts {@link #wordCount()} words of {@link #wordBits()} bits, lowest address first, to 64-bit words. Throws
     * IllegalArgumentException if the number of words is wrong or a word is too wide.
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

    /** Converts 64-bit words back to words of {@link #wordBits()} bits, the reverse of {@link #bits}. */
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

    /** The word names, lowest address first. Empty if the words have no names. */
    public List<String> wordNames() {
        return wordNames;
    }

    /** Returns the format's name for {@code kvmirq decode}, followed by the words in hex. */
    public String text(long... words) {
        Objects.requireNonNull(words, "words is null");
        return Arrays.stream(words)
                .mapToObj(word -> " 0x" + Long.toHexString(word))
                .collect(Collectors.joining("", kind, ""));
    }

    /**
     * The number and size of the words, such as {@code 2 words of 64 bits}. The names of up to 4 words follow in
     * parentheses.
     */
    public String wordsText() {
        return wordCount + (wordCount == 1 ? " word" : " words") + " of " + wordBits + " bits"
                + (wordNames.isEmpty() || wordCount > MOST_NAMED_WORDS
                        ? ""
                        : " (" + String.join(", ", wordNames) + ")");
    }

    /** The field values, in the order of {@link #fields()}. */
    public long[] values(long... bits) {
        Objects.requireNonNull(bits, "bits is null");
        long[] values = new long[fields.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = fields.get(i).value(bits);
        }
        return values;
    }

    /**
     * The violations of the manual's rules: reserved fields first, then each field's checks. The list is empty if
     * hardware does not read the structure, for example because it is not in use.
     */
    public List<Violation> violations(long... bits) {
        List<Violation> found = new ArrayList<>();
        if (!looked.test(bits)) {
            return found;
        }
        for (Field field : hasReservedBits(bits) ? fieldsOf(bits) : List.<Field>of()) {
            long value = field.value(bits);
            if (field.description().isReserved() && value != 0) {
                found.add(new Violation(
                        field.name(),
                        (field.width() == 1 ? "reserved bit " : "reserved bits ") + position(field)
                                + (field.width() == 1 ? " is 0x" : " are 0x") + Long.toHexString(value) + " and not 0"
                                + fault));
            }
        }
        for (Field field : checked) {
            if (isThere(field, bits)) {
                for (Description.Check check : field.description().checks()) {
                    check.fault(field.value(bits), bits)
                            .ifPresent(text -> found.add(new Violation(field.name(), text)));
                }
            }
        }
        return found;
    }

    /** Whether any reserved field is not 0. */
    public boolean hasReservedBits(long... bits) {
        for (int i = 0; i < reserved.length; i++) {
            if ((bits[i] & reserved[i]) != 0) {
                return true;
            }
        }
        return false;
    }

    /** Remarks on bits that the manual allows but whose effect is worth knowing. */
    public List<String> remarks(long... bits) {
        Objects.requireNonNull(bits, "bits is null");
        return remarks.stream()
                .filter(remark -> remark.when().test(bits))
                .map(Remark::text)
                .toList();
    }

    /**
     * Encodes a structure from named values.
     *
     * @param values the value of each field by name. A field that is derived or has a default may be omitted, as may
     *     the fields whose bits a given derived field covers. A field whose name begins with {@code derived_} is
     *     ignored. A field of {@link FormatBuilder#fieldsIf} may be given only if its selector has the required value
     * @return the structure in 64-bit words
     * @throws IllegalArgumentException if a field is unknown or missing, does not fit, or contradicts another field
     */
    public long[] encode(Map<String, Long> values) {
        requireEncodable();
        long[] all = new long[fields.size()];
        boolean[] given = new boolean[fields.size()];
        values.forEach((name, value) -> {
            Integer place = places.get(name);
            if (place == null || fields.get(place).description().role() == Field.Role.SHOWN) {
                throw new IllegalArgumentException(
                        "field " + Foreign.quoted(name) + " is not one of " + kind + ": expected " + names());
            }
            all[place] = value;
            given[place] = true;
        });
        long[] known = new long[longs()];
        for (int i = 0; i < all.length; i++) {
            if (given[i] && fields.get(i).isStored()) {
                fields.get(i).put(known, all[i]);
            }
        }
        long[] views = new long[longs()];
        long[] viewed = new long[longs()];
        for (int i = 0; i < all.length; i++) {
            if (given[i] && isView(fields.get(i)) && isThere(fields.get(i), known)) {
                fields.get(i).put(views, all[i]);
                fields.get(i).parts().forEach(part -> viewed[part.word()] |= part.mask());
            }
        }
        List<String> missing = new ArrayList<>();
        for (int i = 0; i < all.length; i++) {
            Field field = fields.get(i);
            if (given[i]) {
                continue;
            }
            if (field.parts().stream().allMatch(part -> (part.mask() & ~viewed[part.word()]) == 0)) {
                all[i] = field.value(views);
            } else if (isNeeded(field) && isThere(field, known)) {
                missing.add("'" + field.name() + "'");
            } else {
                all[i] = field.description().ordinary();
            }
        }
        for (int i = 0; i < all.length; i++) {
            if (given[i] && !isThere(fields.get(i), known) && isSelectorKnown(fields.get(i), given)) {
                throw new IllegalArgumentException(notThere(fields.get(i), all[i]));
            }
        }
        if (!missing.isEmpty()) {
            throw new IllegalArgumentException((missing.size() == 1 ? "field " : "fields ")
                    + String.join(", ", missing) + " of " + kind + (missing.size() == 1 ? " is" : " are")
                    + " missing: expected " + names());
        }
        long[] bits = encode(all);
        for (int i = 0; i < all.length; i++) {
            if (given[i] && !fields.get(i).name().startsWith(IGNORED)) {
                agree(fields.get(i), all[i], bits);
            }
        }
        return bits;
    }

    /** Whether the field shows the unchanged bits of other fields. */
    private static boolean isView(Field field) {
        return field.description().role() == Field.Role.DERIVED
                && !field.description().isComputed()
                && !field.name().startsWith(IGNORED);
    }

    /** Whether the field must be given if it exists, because it has neither a default nor another name. */
    private boolean isNeeded(Field field) {
        return field.description().role() == Field.Role.NAMED || isView(field) && selections.containsKey(field.name());
    }

    /** Whether the values determine if the field exists, because its selector is given or not required. */
    private boolean isSelectorKnown(Field field, boolean[] given) {
        int place = Objects.requireNonNull(places.get(
                Objects.requireNonNull(selections.get(field.name())).selector().name()));
        return given[place] || fields.get(place).description().role() != Field.Role.NAMED;
    }

    private String notThere(Field field, long given) {
        BitField selector = Objects.requireNonNull(selections.get(field.name())).selector();
        long value = Objects.requireNonNull(selections.get(field.name())).value();
        return "field '" + field.name() + "' 0x" + Long.toHexString(given) + " of " + kind + " contradicts '"
                + selector.name() + "' 0x" + Long.toHexString(1 - value) + ": bit" + (field.width() == 1 ? " " : "s ")
                + position(field) + " then belong" + (field.width() == 1 ? "s to " : " to ")
                + names(other -> selections.containsKey(other.name()) && overlap(field, other))
                + ", so leave " + field.name() + " out or give " + selector.name() + "=" + value;
    }

    private static boolean overlap(Field field, Field other) {
        return field != other
                && field.parts().stream().anyMatch(part -> other.parts().stream()
                        .anyMatch(its -> part.word() == its.word() && (part.mask() & its.mask()) != 0));
    }

    private void agree(Field field, long given, long[] bits) {
        long made = field.value(bits);
        if (made != given) {
            throw new IllegalArgumentException("field '" + field.name() + "' 0x" + Long.toHexString(given)
                    + " contradicts " + names(other -> other.isStored() && overlap(field, other))
                    + ", from which 0x" + Long.toHexString(made) + " follows");
        }
    }

    private void requireEncodable() {
        if (decodeOnly) {
            throw new IllegalArgumentException(
                    kind + " cannot be encoded: its fields are computed and leave bits out; give its words");
        }
    }

    /** The names of the required fields, followed by the optional ones. */
    private String names() {
        String needed = conditional(this::isNeeded);
        String optional = conditional(field -> !isNeeded(field)
                && !field.description().isReserved()
                && !field.name().startsWith(RESERVED)
                && (field.description().role() == Field.Role.DEFAULTED || isView(field)));
        return needed + (optional.isEmpty() ? "" : "; optional " + optional);
    }

    private String conditional(Predicate<Field> which) {
        return fields.stream()
                .filter(which)
                .map(field -> field.name() + condition(field))
                .collect(Collectors.joining(", "));
    }

    private String condition(Field field) {
        return Optional.ofNullable(selections.get(field.name()))
                .map(selection -> " (" + selection.selector().name() + "=" + selection.value() + ")")
                .orElse("");
    }

    private String names(Predicate<Field> which) {
        return fields.stream().filter(which).map(Field::name).collect(Collectors.joining(", "));
    }

    /**
     * Encodes a structure from the values of all its fields, as {@link #values} returns them. Throws
     * IllegalArgumentException if a value does not fit or contradicts another value, or if the format is decode-only.
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
