/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * A historic race: an order of steps, played on two sides, and what was found.
 *
 * @param name by which a user asks for it
 * @param summary what went wrong, in one sentence of at most 110 characters
 * @param theory lines of text before the table of steps
 * @param left the name of the left side, which mostly lacks the repair
 * @param right the name of the right side
 * @param columns the names of the values that both sides show after each step
 * @param parts makes the parts, in the order in which they are printed
 */
record Race(
        String name,
        String summary,
        String theory,
        String left,
        String right,
        String columns,
        Supplier<List<Part>> parts) {
    sealed interface Part {}

    record Text(String text) implements Part {}

    record End(String sentence) implements Part {}

    /** A row of the table that no step makes. */
    record Row(String what, String left, String right) implements Part {}

    /**
     * Steps that are played on both sides.
     *
     * @param actor who is named with the outcome
     */
    record Play<S extends Side>(String actor, S left, S right, List<Step<S>> steps) implements Part {}

    /**
     * The judgement of one form.
     *
     * @param word at most five letters
     * @param why one line or several
     */
    record Finding(boolean bad, String word, String what, String why) implements Part {
        /** No order loses an interrupt. */
        static Finding keeps(String what, String why) {
            return new Finding(false, "keeps", what, why);
        }

        /** An order loses an interrupt. */
        static Finding loses(String what, String why) {
            return new Finding(true, "loses", what, why);
        }
    }

    interface Side {
        /** The values under {@link Race#columns}, with the space after them. */
        String state();

        /** How it ends. Called once, after all steps. */
        Outcome outcome();
    }

    record Outcome(boolean lost, String text) {}

    /**
     * One step.
     *
     * @param repair whether the step is the repair, which the left side leaves out
     * @param action changes the side and returns the text to print beside its state
     */
    record Step<S extends Side>(String actor, String what, boolean repair, Function<S, String> action) {
        static <S extends Side> Step<S> of(String actor, String what, Function<S, String> action) {
            return new Step<>(actor, what, false, action);
        }

        /** A step that shows nothing but the state. */
        static <S extends Side> Step<S> silent(String actor, String what, Consumer<S> action) {
            return of(actor, what, side -> {
                action.accept(side);
                return "";
            });
        }

        String on(S side) {
            return action.apply(side);
        }
    }
}
