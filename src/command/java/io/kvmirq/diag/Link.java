/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * One link of a {@link Chain}. Immutable. Texts may contain names from files: a printer must make them printable.
 *
 * @param hop its place in the chain
 * @param state whether interrupts pass it
 * @param evidence the evidence for the state; empty if it is not shown
 * @param value the value in a word or two, such as {@code 27}, {@code MSI-X 3} or {@code gsi 24}; empty if it is not
 *     shown
 * @param text one sentence without a full stop
 * @param remedies remedies for a broken or doubtful link, or tools that show one that is not shown. Empty for a whole
 *     link
 * @param numbers the numbers of the host irqs, GSIs or vCPUs that the value names; empty for another value
 * @param flaws the stable names of the flaws that make it broken or doubtful, such as {@code device.bus-master-off}
 */
public record Link(
        Hop hop,
        State state,
        Optional<Evidence> evidence,
        Optional<String> value,
        String text,
        List<Remedy> remedies,
        List<Long> numbers,
        List<String> flaws) {
    public Link(
            Hop hop,
            State state,
            Optional<Evidence> evidence,
            Optional<String> value,
            String text,
            List<Remedy> remedies) {
        this(hop, state, evidence, value, text, remedies, List.of(), List.of());
    }

    public Link {
        numbers = List.copyOf(numbers);
        flaws = List.copyOf(flaws);
        if (hop.exitCode() == 0 && (state == State.BROKEN || state == State.DOUBTFUL)) {
            throw new IllegalArgumentException(
                    "a " + hop.label() + " is whole or not shown, and no exit code says more");
        }
    }

    /** The texts of the remedies, in one. */
    public Optional<String> remedy() {
        return Remedy.text(remedies);
    }

    /** Whether interrupts pass a link. */
    public enum State {
        /** Interrupts pass the link, as far as files show it. */
        WHOLE("whole"),
        /** They do not. */
        BROKEN("broken"),
        /** Evidence is contradictory, and proves nothing alone. */
        DOUBTFUL("doubtful"),
        /** The interrupt is not used, so none is expected. */
        IDLE("not used"),
        /** No read file shows it, or a file that would show a flaw was not read. */
        NOT_SHOWN("not shown");

        private final String label;

        State(String label) {
            this.label = label;
        }

        public String label() {
            return label;
        }
    }

    /** A link that interrupts pass, whose value is a prefix and numbers, such as {@code gsi 24, 25}. */
    public static Link whole(
            Hop hop, Evidence evidence, String prefix, Collection<? extends Number> numbers, String text) {
        String value = prefix + numbers.stream().map(String::valueOf).collect(Collectors.joining(", "));
        return whole(hop, evidence, value, text)
                .numbered(numbers.stream().map(Number::longValue).toList());
    }

    /** The same link, whose value names these numbers. */
    public Link numbered(List<Long> named) {
        return new Link(hop, state, evidence, value, text, remedies, named, flaws);
    }

    /** A link that interrupts pass. */
    public static Link whole(Hop hop, Evidence evidence, String value, String text) {
        return new Link(hop, State.WHOLE, Optional.of(evidence), Optional.of(value), text, List.of());
    }

    /** A link that interrupts do not pass. */
    public static Link broken(Hop hop, Evidence evidence, String text, String remedy) {
        return broken(hop, evidence, text, List.of(Remedy.look(remedy)));
    }

    /** A link that interrupts do not pass, with the effect and the risk of its remedy. */
    public static Link broken(Hop hop, Evidence evidence, String text, List<Remedy> remedies) {
        return new Link(hop, State.BROKEN, Optional.of(evidence), Optional.empty(), text, remedies);
    }

    /**
     * A link that nothing shows.
     *
     * @param remedy what would show it
     */
    public static Link notShown(Hop hop, String text, String remedy) {
        return notShown(hop, text, List.of(Remedy.look(remedy)));
    }

    /** A link that nothing shows, with several tools that would show it. */
    public static Link notShown(Hop hop, String text, List<Remedy> remedies) {
        return new Link(hop, State.NOT_SHOWN, Optional.empty(), Optional.empty(), text, remedies);
    }

    /** The same link without the advice to watch. */
    public Link afterWatch() {
        return new Link(hop, state, evidence, value, text, Remedy.afterWatch(remedies), numbers, flaws);
    }
}
