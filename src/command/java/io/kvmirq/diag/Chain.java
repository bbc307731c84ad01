/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * The path of one interrupt of a device into a guest, with the evidence for each link, and the claims about its
 * posting. Immutable. Texts may contain names from files: a printer must make them printable.
 *
 * @param device the device, such as {@code 0000:3b:00.0}
 * @param interrupt the interrupt, such as {@code MSI-X 3} or {@code INTx}; {@code all interrupts} if the device has none
 *     to tell apart
 * @param guest the guest, by name and number of its process; empty if it is not known
 * @param links in the order of {@link Hop}, each hop at most once. Links after a broken one may be missing
 * @param claims in the order of {@link Claim.Question}; empty if posting is not the question
 * @param remarks what is unusual and breaks nothing, a sentence each
 */
public record Chain(
        String device,
        String interrupt,
        Optional<String> guest,
        List<Link> links,
        List<Claim> claims,
        List<String> remarks) {
    public Optional<Link> link(Hop hop) {
        return links.stream().filter(link -> link.hop() == hop).findFirst();
    }

    /** The answer to a question, if it was asked. */
    public Optional<Claim> claim(Claim.Question question) {
        return claims.stream().filter(claim -> claim.question() == question).findFirst();
    }

    public Optional<Link> firstBroken() {
        return first(Link.State.BROKEN);
    }

    public Optional<Link> firstDoubtful() {
        return first(Link.State.DOUBTFUL);
    }

    /** Whether the interrupt is not used, so that its path ends early without a failure. */
    public boolean isIdle() {
        return first(Link.State.IDLE).isPresent();
    }

    private Optional<Link> first(Link.State state) {
        return links.stream().filter(link -> link.state() == state).findFirst();
    }

    /**
     * Where the chain first breaks: its first broken link, or else {@link Hop#POSTING} if it is {@link #unposted}. Empty
     * if no visible link is broken.
     */
    public Optional<Hop> fails() {
        return firstBroken().map(Link::hop).or(() -> unposted().map(claim -> Hop.POSTING));
    }

    /**
     * Why an interrupt is not posted that this host could post: its VM prevents it, or its entry is remapped. Empty if a
     * link is broken, or the interrupt is not used.
     */
    public Optional<Claim> unposted() {
        return claims.stream()
                .filter(claim -> claim.question() == Claim.Question.ELIGIBLE || claim.question() == Claim.Question.FORM)
                .filter(claim -> firstBroken().isEmpty() && !isIdle())
                .filter(claim -> !claim.never() && !claim.holds().orElse(true))
                .findFirst();
    }

    /** Whether this host can post the interrupt to no VM, which is not a failure. */
    public boolean isNeverPosted() {
        return firstBroken().isEmpty() && ineligible().filter(Claim::never).isPresent();
    }

    private Optional<Claim> ineligible() {
        return claim(Claim.Question.ELIGIBLE).filter(claim -> !claim.holds().orElse(true));
    }

    /** Whether no link is visible except that of the device itself. */
    public boolean isUnseen() {
        return links.stream()
                .filter(link -> link.hop() != Hop.DEVICE)
                .allMatch(link ->
                        link.state() == Link.State.NOT_SHOWN && link.value().isEmpty());
    }

    /** The chain that fails first; else the first that is in doubt; else the first that is used; else the first. */
    public static Chain firstToFail(List<Chain> chains) {
        return chains.stream()
                .filter(chain -> chain.fails().isPresent())
                .min(Comparator.comparing(chain -> chain.fails().orElseThrow()))
                .or(() -> chains.stream()
                        .filter(chain -> chain.firstDoubtful().isPresent())
                        .min(Comparator.comparing(
                                chain -> chain.firstDoubtful().orElseThrow().hop())))
                .or(() -> chains.stream().filter(chain -> !chain.isIdle()).findFirst())
                .orElse(chains.get(0));
    }

    /**
     * Whether hardware posts the interrupt: the form of its entry, or false if a link is broken or it is not eligible.
     * Empty if nothing shows it.
     */
    public Optional<Boolean> posted() {
        boolean cannot = firstBroken().isPresent() || ineligible().isPresent();
        return claim(Claim.Question.FORM)
                .flatMap(Claim::holds)
                .or(() -> cannot ? Optional.of(false) : Optional.empty());
    }

    /** The evidence for {@link #posted}. Empty if that is empty. */
    public Optional<Evidence> postedEvidence() {
        Optional<Claim> form =
                claim(Claim.Question.FORM).filter(claim -> claim.holds().isPresent());
        return form.isPresent()
                ? form.flatMap(Claim::evidence)
                : firstBroken().isPresent()
                        ? firstBroken().flatMap(Link::evidence)
                        : ineligible().flatMap(Claim::evidence);
    }

    /** The reason why it is not posted, if it is not: one sentence without a full stop. */
    public Optional<String> whyNot() {
        if (posted().orElse(true)) {
            return Optional.empty();
        }
        return firstBroken()
                .map(Link::text)
                .or(() -> ineligible().map(Claim::text))
                .or(() -> claim(Claim.Question.FORM).map(Claim::text));
    }
}
