/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * One link of an {@link InterruptPath}. Immutable. Its texts can contain names from files, so escape them before
 * output.
 *
 * @param hop the hop on the path
 * @param state whether the link passes interrupts
 * @param evidence the evidence for the state, empty if the state is not shown
 * @param value the hop's number or name in a word or two, such as {@code 27}, {@code MSI-X 3} or {@code gsi 24}, empty
 *     if not shown
 * @param text the state as one sentence without a full stop
 * @param remedies remedies for a broken or doubtful link, or tools that would show a link that is not shown. Empty if
 *     interrupts pass
 * @param numbers the hop's values, of the type of {@code hop}: several if the source does not show which one applies,
 *     empty if not known
 * @param unseen the reasons why sources that would show a flaw were not read
 * @param flaws the flaws behind the state first, then past delays, which do not affect it
 */
public record Link(
        Hop<?> hop,
        State state,
        Optional<Evidence> evidence,
        Optional<String> value,
        String text,
        List<Remedy> remedies,
        List<?> numbers,
        List<Known.Reason> unseen,
        List<Flaw> flaws) {
    public Link {
        Objects.requireNonNull(hop, "hop is null");
        Objects.requireNonNull(state, "state is null");
        Objects.requireNonNull(evidence, "evidence is null");
        Objects.requireNonNull(value, "value is null");
        Objects.requireNonNull(text, "text is null");
        remedies = List.copyOf(Objects.requireNonNull(remedies, "remedies is null"));
        numbers = List.copyOf(Objects.requireNonNull(numbers, "numbers is null"));
        unseen = List.copyOf(Objects.requireNonNull(unseen, "unseen is null"));
        flaws = List.copyOf(Objects.requireNonNull(flaws, "flaws is null"));
        for (Object number : numbers) {
            if (!hop.type().isInstance(number)) {
                throw new IllegalArgumentException(
                        "the " + hop + " has values of " + hop.type().getSimpleName() + ", not " + number);
            }
        }
        if (hop == Hop.GUEST_VECTOR && (state == State.BROKEN || state == State.DOUBTFUL)) {
            throw new IllegalArgumentException("a guest vector is whole or not shown, and no exit code says more");
        }
    }

    /** Whether interrupts pass a link. */
    public enum State {
        /** Interrupts pass the link, as far as is known. */
        WHOLE("ok"),
        /** Interrupts do not pass the link. */
        BROKEN("broken"),
        /** The evidence is contradictory, or too weak to prove whether interrupts pass. */
        DOUBTFUL("doubtful"),
        /** The interrupt is not used, so no interrupt is expected. */
        IDLE("not used"),
        /** No file shows the state, or a file that would show a flaw was not read. */
        NOT_SHOWN("not shown");

        private final String label;

        State(String label) {
            this.label = label;
        }

        /** The state in words. */
        public String label() {
            return label;
        }
    }

    /** A link that interrupts pass. */
    public static Link whole(Hop<?> hop, Evidence evidence, String value, String text) {
        return of(
                hop,
                State.WHOLE,
                evidence,
                Optional.of(Objects.requireNonNull(value, "value is null")),
                text,
                List.of());
    }

    /**
     * A link that interrupts pass, with the numbers of host irqs, GSIs or vCPUs. If one is out of range, the numbers
     * are printed but not stored as values.
     *
     * @throws IllegalArgumentException if {@code hop} has other values
     */
    public static Link whole(Hop<?> hop, Evidence evidence, Collection<? extends Number> numbers, String text) {
        Objects.requireNonNull(hop, "hop is null");
        String value = Objects.requireNonNull(numbers, "numbers is null").stream()
                .map(String::valueOf)
                .collect(Collectors.joining(", "));
        int max = hop == Hop.HOST_IRQ ? Integer.MAX_VALUE : Gsi.MAX;
        boolean valid = numbers.stream().mapToLong(Number::longValue).allMatch(number -> number >= 0 && number <= max);
        List<Integer> known = valid ? numbers.stream().map(Number::intValue).toList() : List.of();
        if (hop == Hop.GSI) {
            return whole(hop, evidence, "gsi " + value, text)
                    .with(Hop.GSI, known.stream().map(Gsi::new).toList());
        }
        if (hop == Hop.VCPU) {
            return whole(hop, evidence, "vcpu " + value, text)
                    .with(Hop.VCPU, known.stream().map(VcpuId::new).toList());
        }
        return whole(hop, evidence, value, text)
                .with(Hop.HOST_IRQ, known.stream().map(HostIrq::new).toList());
    }

    /** A link whose state no file shows. {@code tool} names a tool that shows it. */
    public static Link notShown(Hop<?> hop, String text, String tool) {
        return notShown(hop, text, List.of(Remedy.look(Objects.requireNonNull(tool, "tool is null"))));
    }

    /** A link whose state no file shows. {@code remedies} name the tools that would show it. */
    public static Link notShown(Hop<?> hop, String text, List<Remedy> remedies) {
        return new Link(
                hop,
                State.NOT_SHOWN,
                Optional.empty(),
                Optional.empty(),
                text,
                remedies,
                List.of(),
                List.of(),
                List.of());
    }

    /** A link whose state is not shown, for the given reason. */
    @NotPromised
    public static Link notShown(Hop<?> hop, Known.Unknown<?> why) {
        Objects.requireNonNull(why, "why is null");
        return notShown(hop, why.why(), why.remedy()).unseen(List.of(why.reason()));
    }

    /** A link with evidence for its state, without numbers and flaws. */
    public static Link of(
            Hop<?> hop, State state, Evidence evidence, Optional<String> value, String text, List<Remedy> remedies) {
        return new Link(
                hop,
                state,
                Optional.of(Objects.requireNonNull(evidence, "evidence is null")),
                value,
                text,
                remedies,
                List.of(),
                List.of(),
                List.of());
    }

    /** Whether the link is broken or doubtful. */
    public boolean isFlawed() {
        return state == State.BROKEN || state == State.DOUBTFUL;
    }

    /**
     * Returns a copy of the link with its hop's values.
     *
     * @throws IllegalArgumentException if the link has another hop
     */
    public <T> Link with(Hop<T> step, List<T> values) {
        if (Objects.requireNonNull(step, "step is null") != hop) {
            throw new IllegalArgumentException("the link is of the " + hop + ", not of the " + step);
        }
        Objects.requireNonNull(values, "values is null");
        return new Link(hop, state, evidence, value, text, remedies, values, unseen, flaws);
    }

    /** Returns a copy of the link with the same value and flaws, in another state. */
    public Link as(State state, Evidence evidence, String text, List<Remedy> remedies) {
        Objects.requireNonNull(evidence, "evidence is null");
        return new Link(hop, state, Optional.of(evidence), value, text, remedies, numbers, unseen, flaws);
    }

    /** Returns a copy of the link with other flaws. */
    public Link flawed(List<Flaw> flaws) {
        return new Link(hop, state, evidence, value, text, remedies, numbers, unseen, flaws);
    }

    /** Returns a copy of the link with other reasons why some sources were not read. */
    @NotPromised
    public Link unseen(List<Known.Reason> reasons) {
        Objects.requireNonNull(reasons, "reasons is null");
        return new Link(hop, state, evidence, value, text, remedies, numbers, reasons, flaws);
    }

    /** Returns a copy of the link with other remedies. */
    public Link with(List<Remedy> remedies) {
        return new Link(hop, state, evidence, value, text, remedies, numbers, unseen, flaws);
    }

    /** The hop's values. Empty if the link is another hop's. */
    public <T> List<T> numbers(Hop<T> step) {
        Objects.requireNonNull(step, "step is null");
        return step == hop ? numbers.stream().map(step.type()::cast).toList() : List.of();
    }

    /** The hop, state, value, text and evidence in one line. */
    @Override
    public String toString() {
        return String.format("%-14s %-10s ", hop.label(), state.label())
                + value.filter(named -> !named.equals(text))
                        .map(named -> named + ": ")
                        .orElse("")
                + text
                + evidence.map(known -> " [" + known + "]").orElse("");
    }
}
