/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import io.kvmirq.NotPromised;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;

/**
 * A fact with its source, or the reason why it is not known. Immutable if its value is immutable.
 *
 * @param <T> the type of the value
 */
public sealed interface Known<T> {
    /** A fact with its value. */
    sealed interface Fact<T> extends Known<T> {
        /** The value. */
        T value();
    }

    /** The value, whatever its source. Empty if the fact is not known, or is {@link None}. */
    default Optional<T> known() {
        return this instanceof Fact<T> fact ? Optional.of(fact.value()) : Optional.empty();
    }

    /** A fact that this process set up. */
    record SetUp<T>(T value) implements Fact<T> {
        public SetUp {
            Objects.requireNonNull(value, "value is null");
        }

        @Override
        public String toString() {
            return value + " (set up)";
        }
    }

    /** A fact that host files show. */
    record Observed<T>(T value) implements Fact<T> {
        public Observed {
            Objects.requireNonNull(value, "value is null");
        }

        @Override
        public String toString() {
            return value + " (observed)";
        }
    }

    /** A fact that follows from files if the VMM and the guest behave as usual. */
    record Inferred<T>(T value) implements Fact<T> {
        public Inferred {
            Objects.requireNonNull(value, "value is null");
        }

        @Override
        public String toString() {
            return value + " (inferred)";
        }
    }

    /** A fact that follows from the set-up by the rules of the kernel and the hardware. */
    record Predicted<T>(T value) implements Fact<T> {
        public Predicted {
            Objects.requireNonNull(value, "value is null");
        }

        @Override
        public String toString() {
            return value + " (predicted)";
        }
    }

    /** A fact that has no value here, for example because this kernel lacks the file. */
    record None<T>() implements Known<T> {
        @Override
        public String toString() {
            return "none";
        }
    }

    /** Returns a {@link None}. */
    static <T> Known<T> none() {
        return new None<>();
    }

    /** The kind of reason why a fact is not known. A flaw needs a known fact. */
    enum Reason {
        /** The source does not have the fact, or shows it in another form. */
        NOT_SHOWN,
        /** The file that has the fact does not exist. */
        ABSENT,
        /**
         * The kernel refused the file with EPERM or EACCES, because of its mode, a missing capability or a security
         * module.
         */
        REFUSED,
        /** Kernel lockdown refuses the file, even to root. */
        LOCKED_DOWN,
        /** A process is not visible, because it belongs to another user or pid namespace. */
        HIDDEN,
        /** The kernel's memory changed while it was read. */
        TORN,
        /** The source was not read, because of an option or because reading it would change the host. */
        NOT_ASKED
    }

    /**
     * A fact that is not known.
     *
     * @param reason the kind of reason
     * @param why the reason as a sentence without a full stop, such as {@code /proc/cmdline cannot be read}
     * @param remedy the step that makes the fact known, such as {@code run as root}, or {@link #NONE}
     */
    record Unknown<T>(Reason reason, String why, String remedy) implements Known<T> {
        /** The remedy if no step makes the fact known. */
        public static final String NONE = "none";

        public Unknown {
            Objects.requireNonNull(reason, "reason is null");
            Objects.requireNonNull(why, "why is null");
            Objects.requireNonNull(remedy, "remedy is null");
        }

        /** Creates a fact that no source shows. */
        public Unknown(String why, String remedy) {
            this(Reason.NOT_SHOWN, why, remedy);
        }

        /** Creates an unknown fact without a remedy. */
        public Unknown(String why) {
            this(why, NONE);
        }

        /** Returns the same reason for a fact of another type. */
        @NotPromised
        public <R> Unknown<R> typed() {
            return new Unknown<>(reason, why, remedy);
        }

        @Override
        public String toString() {
            return "unknown: " + why;
        }
    }

    /** Applies {@code next} to the value, and keeps the source. {@code Unknown} and {@code None} are unchanged. */
    default <R> Known<R> map(Function<? super T, ? extends R> next) {
        Objects.requireNonNull(next, "next is null");
        if (this instanceof SetUp) {
            return then(next.andThen(SetUp::new));
        }
        if (this instanceof Inferred) {
            return then(next.andThen(Inferred::new));
        }
        return then(next.andThen(this instanceof Predicted ? Predicted::new : Observed::new));
    }

    /** Applies {@code next} to the value. The result has its own source. Unknown and none are unchanged. */
    default <R> Known<R> then(Function<? super T, ? extends Known<R>> next) {
        Objects.requireNonNull(next, "next is null");
        if (this instanceof Unknown<T> unknown) {
            return unknown.typed();
        }
        return this instanceof None ? none() : next.apply(known().orElseThrow());
    }
}
