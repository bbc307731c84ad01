/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import java.util.Optional;
import java.util.function.Function;

/**
 * A fact of a host, or the reason why it cannot be read. Immutable.
 *
 * @param <T> the type of its value
 */
public sealed interface Fact<T> {
    /** The files show it. */
    record Known<T>(T value) implements Fact<T> {}

    /**
     * No file shows it.
     *
     * @param why one sentence without a full stop, such as {@code "/proc/cmdline cannot be read"}
     * @param remedy the step that makes it readable, such as {@code "run as root"}
     * @param <T> the type of the value
     */
    record Unknown<T>(String why, String remedy) implements Fact<T> {}

    /** The value. Empty if it is not known. */
    default Optional<T> known() {
        return this instanceof Known<T> fact ? Optional.of(fact.value()) : Optional.empty();
    }

    /** The fact that follows from this one. */
    default <R> Fact<R> map(Function<? super T, ? extends R> next) {
        return then(next.andThen(Known::new));
    }

    /** The fact that is derived from this one, if this one is known. */
    default <R> Fact<R> then(Function<? super T, ? extends Fact<R>> next) {
        if (this instanceof Known<T> fact) {
            return next.apply(fact.value());
        }
        Unknown<T> unknown = (Unknown<T>) this;
        return new Unknown<>(unknown.why(), unknown.remedy());
    }
}
