/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import io.kvmirq.NotPromised;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A device interrupt's path into a guest, with the evidence for each link, and the claims about its posting. Immutable.
 * Texts can contain names from files, so escape unprintable characters before output.
 *
 * @param subject the path's subject. The path of a guest or its helper has only the VMM's link
 * @param interrupt the interrupt, or all of a device's, empty for a path that begins at a guest's VMM
 * @param guest the guest that gets the interrupt, empty if not known
 * @param links the links in {@link Hop} order, at most one per hop. The list can end at a broken link
 * @param claims the claims in {@link Claim.Question} order, empty if posting was not examined
 * @param values values in addition to the links, such as a posted interrupt's IRTE, at most one per hop
 * @param remarks unusual facts that do not break a link, one sentence each
 */
public record InterruptPath(
        Flaw.Subject subject,
        Optional<Interrupt> interrupt,
        Optional<Guest> guest,
        List<Link> links,
        List<Claim> claims,
        List<HopValue<?>> values,
        List<String> remarks) {
    public InterruptPath {
        Objects.requireNonNull(subject, "subject is null");
        Objects.requireNonNull(interrupt, "interrupt is null");
        Objects.requireNonNull(guest, "guest is null");
        links = List.copyOf(Objects.requireNonNull(links, "links is null"));
        claims = List.copyOf(Objects.requireNonNull(claims, "claims is null"));
        values = List.copyOf(Objects.requireNonNull(values, "values is null"));
        remarks = List.copyOf(Objects.requireNonNull(remarks, "remarks is null"));
    }

    /**
     * The guest that gets the interrupt.
     *
     * @param name the name of the guest or its process, as read from files
     * @param process the guest's process id
     */
    public record Guest(String name, int process) {
        public Guest {
            Objects.requireNonNull(name, "name is null");
        }

        /** The name and the process, such as {@code web (process 4711)}. */
        @Override
        public String toString() {
            return name + " (process " + process + ")";
        }
    }

    /** The path of an interrupt, or of all of a device's. */
    public static InterruptPath of(
            Interrupt interrupt, Optional<Guest> guest, List<Link> links, List<Claim> claims, List<String> remarks) {
        return new InterruptPath(
                interrupt.isAll() ? Flaw.Subject.DEVICE : Flaw.Subject.VECTOR,
                Optional.of(interrupt),
                guest,
                links,
                claims,
                List.of(),
                remarks);
    }

    /** The path of a guest or its helper, with one link. */
    public static InterruptPath of(Flaw.Subject subject, Guest guest, Link vmm) {
        return new InterruptPath(
                subject, Optional.empty(), Optional.of(guest), List.of(vmm), List.of(), List.of(), List.of());
    }

    /** The device's name, such as {@code 0000:3b:00.0}. Empty for a path that begins at a guest's VMM. */
    public String device() {
        return interrupt.map(irq -> irq.device().toString()).orElse("");
    }

    /** The interrupt's name, such as {@code MSI-X 3}. Empty for a path that begins at a guest's VMM. */
    public String name() {
        return interrupt.map(Interrupt::name).orElse("");
    }

    /** Returns a copy of the path with other links, claims and remarks. */
    public InterruptPath with(List<Link> links, List<Claim> claims, List<String> remarks) {
        return new InterruptPath(subject, interrupt, guest, links, claims, values, remarks);
    }

    /** Returns a copy of the path with other {@link #values}. */
    @NotPromised
    public InterruptPath with(List<HopValue<?>> values) {
        return new InterruptPath(subject, interrupt, guest, links, claims, values, remarks);
    }

    /** A hop's link. Empty if the path ends before this hop, or the hop was not examined. */
    public Optional<Link> link(Hop<?> hop) {
        Objects.requireNonNull(hop, "hop is null");
        return links.stream().filter(link -> link.hop() == hop).findFirst();
    }

    /**
     * A hop's value, such as {@code known(Hop.GSI)} for the GSI, or the reason why it is not known. Hops of type {@link
     * Void} have no value. The result's class, such as {@link Known.Observed}, shows whether the value was set up,
     * observed, inferred or predicted.
     */
    public <T> Known<T> known(Hop<T> hop) {
        Objects.requireNonNull(hop, "hop is null");
        for (HopValue<?> value : values) {
            if (value.hop() == hop) {
                return value.value().map(hop.type()::cast);
            }
        }
        if (hop == Hop.POSTING) {
            Optional<Claim> form = claim(Claim.Question.FORM);
            return form.flatMap(Claim::holds)
                    .map(posts -> form.flatMap(Claim::evidence)
                            .orElseThrow()
                            .known(hop.type().cast(posts)))
                    .orElseGet(() -> new Known.Unknown<>(
                            form.map(Claim::text).orElse("the path does not show whether hardware posts")));
        }
        Optional<Link> link = link(hop);
        List<T> all = link.map(reached -> reached.numbers(hop)).orElse(List.of());
        if (all.size() != 1 || link.flatMap(Link::evidence).isEmpty()) {
            return new Known.Unknown<>(link.map(Link::text).orElse("the path does not reach its " + hop.label()));
        }
        return link.flatMap(Link::evidence).orElseThrow().known(all.get(0));
    }

    /** The claim that answers a question. Empty if the question was not examined. */
    public Optional<Claim> claim(Claim.Question question) {
        Objects.requireNonNull(question, "question is null");
        return claims.stream().filter(claim -> claim.question() == question).findFirst();
    }

    /** The first broken link. Empty if no link is broken. */
    public Optional<Link> firstBroken() {
        return first(Link.State.BROKEN);
    }

    /** The first link whose state is {@link Link.State#DOUBTFUL}. Empty if no link is doubtful. */
    public Optional<Link> firstDoubtful() {
        return first(Link.State.DOUBTFUL);
    }

    /**
     * Whether a link is {@link Link.State#IDLE}: the path ends there because the interrupt is unused, which is not a
     * failure.
     */
    public boolean isIdle() {
        return first(Link.State.IDLE).isPresent();
    }

    private Optional<Link> first(Link.State state) {
        // A stream would be slow, because lists of thousands of paths check each path for several states.
        for (Link link : links) {
            if (link.state() == state) {
                return Optional.of(link);
            }
        }
        return Optional.empty();
    }

    /**
     * The hop at which the interrupt fails, which is the first broken link's hop, or {@link Hop#POSTING} if no link is
     * broken and {@link #unposted} is not empty. Empty if the interrupt does not fail.
     */
    public Optional<Hop<?>> fails() {
        return firstBroken().<Hop<?>>map(Link::hop).or(() -> unposted().map(claim -> Hop.POSTING));
    }

    /**
     * The claim that explains why an interrupt is not posted on a host that could post it: the VM prevents it, or the
     * IRTE or ITS does not post. Empty if a link is broken, or the interrupt is not used.
     */
    public Optional<Claim> unposted() {
        return firstBroken().isPresent() || isIdle()
                ? Optional.empty()
                : claims.stream()
                        .filter(claim ->
                                claim.question() == Claim.Question.ELIGIBLE || claim.question() == Claim.Question.FORM)
                        .filter(claim -> !claim.never() && !claim.holds().orElse(true))
                        .findFirst();
    }

    /** Whether no VM on this host can have the interrupt posted, which is not a failure. */
    public boolean isNeverPosted() {
        return firstBroken().isEmpty() && ineligible().filter(Claim::never).isPresent();
    }

    private Optional<Claim> ineligible() {
        return claim(Claim.Question.ELIGIBLE).filter(claim -> !claim.holds().orElse(true));
    }

    /** Whether no file shows any of the path's links, except the device itself. */
    public boolean isUnseen() {
        return links.stream()
                .filter(link -> link.hop() != Hop.DEVICE)
                .allMatch(link ->
                        link.state() == Link.State.NOT_SHOWN && link.value().isEmpty());
    }

    /**
     * Whether hardware posts the interrupt, according to its IRTE or the ITS. False if a link is broken, or if the host
     * or the VM cannot post it. Empty if the files do not show this.
     */
    public Optional<Boolean> posted() {
        boolean cannot = firstBroken().isPresent() || ineligible().isPresent();
        return claim(Claim.Question.FORM)
                .flatMap(Claim::holds)
                .or(() -> cannot ? Optional.of(false) : Optional.empty());
    }

    /** The evidence that hardware posts the interrupt or does not. Empty if {@link #posted} is. */
    public Optional<Evidence> postedEvidence() {
        Optional<Claim> form =
                claim(Claim.Question.FORM).filter(claim -> claim.holds().isPresent());
        return form.isPresent()
                ? form.flatMap(Claim::evidence)
                : firstBroken().isPresent()
                        ? firstBroken().flatMap(Link::evidence)
                        : ineligible().flatMap(Claim::evidence);
    }

    /** The reason why the interrupt is not posted, without a full stop. Empty if {@link #posted} is true or empty. */
    public Optional<String> whyNot() {
        if (posted().orElse(true)) {
            return Optional.empty();
        }
        return firstBroken()
                .map(Link::text)
                .or(() -> ineligible().map(Claim::text))
                .or(() -> claim(Claim.Question.FORM).map(Claim::text));
    }

    /** The device, then a line for each link, claim, value and remark. */
    @Override
    public String toString() {
        return Stream.of(
                        Stream.of(device() + "  " + name()
                                + guest.map(name -> "  → " + name).orElse("")),
                        Stream.of(links, claims).flatMap(List::stream).map(part -> "  " + part),
                        values.stream().map(value -> "  " + value),
                        remarks.stream().map(remark -> "  note: " + remark))
                .flatMap(lines -> lines)
                .collect(Collectors.joining("\n", "", "\n"));
    }
}
