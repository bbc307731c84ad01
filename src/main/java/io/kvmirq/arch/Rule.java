/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Optional;
import java.util.function.LongFunction;
import java.util.function.Predicate;

/** Something a manual forbids, or that is worth a remark. */
@FunctionalInterface
public interface Rule {
    /** @param bits the whole structure, as {@link Format#bits} has it */
    Optional<Violation> check(long[] bits);

    /**
     * A rule of one field.
     *
     * @param text what is wrong with its value
     */
    static Rule of(BitField field, Predicate<long[]> broken, LongFunction<String> text) {
        return bits -> broken.test(bits)
                ? Optional.of(new Violation(field.name(), text.apply(field.of(bits[field.word()]))))
                : Optional.empty();
    }

    /**
     * The field is to be {@code expected}.
     *
     * @param otherwise what it means that it is not
     */
    static Rule is(BitField field, long expected, String otherwise) {
        return of(
                field,
                bits -> field.of(bits[field.word()]) != expected,
                value ->
                        "0x" + Long.toHexString(value) + " and not 0x" + Long.toHexString(expected) + ": " + otherwise);
    }
}
