/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import java.util.Optional;

/**
 * One link of a {@link Chain}. Immutable. Texts may hold names from files: whoever prints them makes them printable.
 *
 * @param hop its place in the chain
 * @param state whether interrupts pass it
 * @param evidence how that is known; empty if it is not shown
 * @param value what is there, in a word or two, such as {@code 27}, {@code MSI-X 3} or {@code gsi 24}; empty if it is
 *     not shown
 * @param text one sentence without a full stop
 * @param remedy what mends a broken link, or what would show one that is not shown. Empty for a whole link
 */
public record Link(
        Hop hop,
        State state,
        Optional<Evidence> evidence,
        Optional<String> value,
        String text,
        Optional<String> remedy) {
    /** Whether interrupts pass a link. */
    public enum State {
        /** As far as it is seen, they do. */
        WHOLE("whole"),
        /** They do not. */
        BROKEN("broken"),
        /** Nothing that was read shows it. */
        NOT_SHOWN("not shown");

        private final String label;

        State(String label) {
            this.label = label;
        }

        /** Its name in output. */
        public String label() {
            return label;
        }
    }

    /** A link that interrupts pass. */
    public static Link whole(Hop hop, Evidence evidence, String value, String text) {
        return new Link(hop, State.WHOLE, Optional.of(evidence), Optional.of(value), text, Optional.empty());
    }

    /** A link that interrupts do not pass. */
    public static Link broken(Hop hop, Evidence evidence, String text, String remedy) {
        return new Link(hop, State.BROKEN, Optional.of(evidence), Optional.empty(), text, Optional.of(remedy));
    }

    /**
     * A link that nothing shows.
     *
     * @param remedy what would show it
     */
    public static Link notShown(Hop hop, String text, String remedy) {
        return new Link(hop, State.NOT_SHOWN, Optional.empty(), Optional.empty(), text, Optional.of(remedy));
    }
}
