/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.LongFunction;
import java.util.function.LongPredicate;
import java.util.function.LongUnaryOperator;
import java.util.stream.Stream;

/**
 * A field's label, meaning, role and rules. {@link #saying}, {@link #oneOf} and {@link #always} create a description,
 * and methods such as {@link #required} return a changed copy. Immutable.
 *
 * @param label the short name in the manual, such as FPD
 * @param meaning explains each value in words
 * @param role whether the field is decoded to a named value, and whether encoding requires it
 * @param ordinary the value that encoding stores for an omitted {@link Field.Role#DEFAULTED} field
 * @param isReserved whether the field is reserved, so that the manual requires the value 0
 * @param shift the number of low address bits that are always 0 and not stored
 * @param computed converts the field's bits to its value, such as a length code to a length
 * @param checks the manual's rules that forbid values of this field
 */
public record Description(
        String label,
        Meaning meaning,
        Field.Role role,
        long ordinary,
        boolean isReserved,
        int shift,
        LongUnaryOperator computed,
        List<Check> checks) {
    public Description {
        Objects.requireNonNull(label, "label is null");
        Objects.requireNonNull(meaning, "meaning is null");
        Objects.requireNonNull(role, "role is null");
        Objects.requireNonNull(computed, "computed is null");
        Objects.requireNonNull(checks, "checks is null");
    }

    /** A rule in the manual about one field. */
    @FunctionalInterface
    public interface Check {
        /** A sentence that describes the fault of {@code value}. Empty if the manual allows it. */
        Optional<String> fault(long value, long[] bits);
    }

    private static final LongUnaryOperator PLAIN = LongUnaryOperator.identity();

    /** The description of a field without a meaning. */
    static final Description NONE = always("", "");

    /** The description of reserved bits. */
    static final Description RESERVED =
            new Description("R", Meaning.always("reserved"), Field.Role.NAMED, 0, true, 0, PLAIN, List.of());

    /** Describes a field whose meaning depends on its value, or on other fields. */
    public static Description saying(String label, Meaning meaning) {
        Objects.requireNonNull(label, "label is null");
        Objects.requireNonNull(meaning, "meaning is null");
        return new Description(label, meaning, Field.Role.NAMED, 0, false, 0, PLAIN, List.of());
    }

    /** Describes a field in which value n means {@code texts[n]}. Larger values are printed as reserved. */
    public static Description oneOf(String label, String... texts) {
        Objects.requireNonNull(label, "label is null");
        Objects.requireNonNull(texts, "texts is null");
        return saying(label, Meaning.oneOf(texts));
    }

    /** Describes a field with the same meaning for every value. */
    public static Description always(String label, String text) {
        Objects.requireNonNull(label, "label is null");
        Objects.requireNonNull(text, "text is null");
        return saying(label, Meaning.always(text));
    }

    /** A copy for a field with a default {@code value}, which {@link Format#encode} stores if the field is omitted. */
    public Description ordinarily(long value) {
        return new Description(label, meaning, Field.Role.DEFAULTED, value, isReserved, shift, computed, checks);
    }

    /** Returns a copy for a field without a default, so that {@link Format#encode} throws if the field is omitted. */
    public Description required() {
        return inRole(Field.Role.NAMED);
    }

    /** Returns a copy for a field whose value follows from other fields. */
    public Description derived() {
        return inRole(Field.Role.DERIVED);
    }

    /** Returns a copy for a field that is only printed, and that {@link Format#encode} does not accept. */
    public Description shown() {
        return inRole(Field.Role.SHOWN);
    }

    private Description inRole(Field.Role other) {
        return new Description(label, meaning, other, ordinary, isReserved, shift, computed, checks);
    }

    /** Returns a copy for an address field whose low {@code bits} bits are 0 and not stored. */
    public Description shifted(int bits) {
        return new Description(label, meaning, role, ordinary, isReserved, bits, computed, checks);
    }

    /** Returns a copy whose value is computed from the bits, and so cannot be encoded. */
    public Description computed(LongUnaryOperator value) {
        Objects.requireNonNull(value, "value is null");
        return new Description(label, meaning, role, ordinary, isReserved, shift, value, checks);
    }

    boolean isComputed() {
        return computed != PLAIN;
    }

    /** Returns a copy with one more rule from the manual. The check can read other fields of the structure. */
    public Description checked(Check check) {
        Objects.requireNonNull(check, "check is null");
        return new Description(
                label,
                meaning,
                role,
                ordinary,
                isReserved,
                shift,
                computed,
                Stream.concat(checks.stream(), Stream.of(check)).toList());
    }

    /** Returns a copy that reports each {@code forbidden} value as a violation, described by {@code text}. */
    public Description forbidding(LongPredicate forbidden, LongFunction<String> text) {
        Objects.requireNonNull(forbidden, "forbidden is null");
        Objects.requireNonNull(text, "text is null");
        return checked((value, bits) -> forbidden.test(value) ? Optional.of(text.apply(value)) : Optional.empty());
    }

    /** Returns a copy that reports any value but {@code expected} as a violation with the cause {@code otherwise}. */
    public Description expecting(long expected, String otherwise) {
        Objects.requireNonNull(otherwise, "otherwise is null");
        return forbidding(
                value -> value != expected,
                value ->
                        "0x" + Long.toHexString(value) + " and not 0x" + Long.toHexString(expected) + ": " + otherwise);
    }
}
