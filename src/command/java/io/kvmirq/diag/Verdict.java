/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/**
 * The verdict about interrupts: exit code, last line and JSON follow it. Immutable.
 *
 * @param broken the first hop that is broken, or at which a watch counted a loss; {@link Hop#POSTING} if no hop is and
 *     an interrupt is not posted that the host could post
 * @param counted whether only counts of a watch show that, because most interrupts pass
 * @param doubtful the first hop in doubt
 */
public record Verdict(Optional<Hop> broken, boolean counted, Optional<Hop> doubtful) {
    /**
     * The verdict of the flaws of all chains.
     *
     * @param others links beside the chains, such as those of VMMs
     * @param stages the stages that a watch counted
     */
    public static Verdict of(List<InterruptPath> chains, List<Link> others, List<Stages> stages) {
        Optional<Hop> broken =
                first(chains.stream().flatMap(chain -> chain.fails().stream()), hops(others, Link.State.BROKEN));
        Optional<Hop> all = first(broken.stream(), stages.stream().flatMap(one -> one.at().stream()));
        Optional<Hop> doubtful = first(
                chains.stream().flatMap(chain -> chain.firstDoubtful().stream()).map(Link::hop),
                hops(others, Link.State.DOUBTFUL));
        return new Verdict(all, !all.equals(broken), doubtful);
    }

    private static Optional<Hop> first(Stream<Hop> some, Stream<Hop> others) {
        return Stream.concat(some, others).min(Comparator.naturalOrder());
    }

    private static Stream<Hop> hops(List<Link> links, Link.State state) {
        return links.stream().filter(link -> link.state() == state).map(Link::hop);
    }

    /** The grade in {@code doctor}: a host that posts less than it could works. */
    public Finding.Status grade() {
        return broken.filter(hop -> hop != Hop.POSTING).isPresent()
                ? Finding.Status.FAIL
                : broken.or(() -> doubtful).isPresent() ? Finding.Status.WARN : Finding.Status.PASS;
    }

    /** Whether the host handles an interrupt that it could post, and no link is broken. */
    public boolean isUnposted() {
        return broken.filter(Hop.POSTING::equals).isPresent();
    }

    /**
     * The exit code. Empty without a flaw.
     *
     * @param strict whether a hop in doubt decides if none is broken
     */
    public OptionalInt exitCode(boolean strict) {
        return broken.isPresent()
                ? OptionalInt.of(exitCode(broken.get()))
                : strict && doubtful.isPresent() ? OptionalInt.of(doubtCode(doubtful.get())) : OptionalInt.empty();
    }

    /** The exit code if this is the first broken hop of a path; 0 for a guest vector, which cannot break. */
    public static int exitCode(Hop hop) {
        return switch (hop) {
            case HOST_IRQ -> 10;
            case DEVICE_VECTOR -> 11;
            case EVENTFD -> 12;
            case IRQFD -> 13;
            case GSI -> 14;
            case GUEST_VECTOR -> 0;
            case VCPU -> 16;
            case POSTING -> 17;
            case DEVICE -> 18;
            case VMM -> 19;
        };
    }

    /** The exit code with {@code --strict} if no hop is broken and this is the first one in doubt. */
    public static int doubtCode(Hop hop) {
        return exitCode(hop) + 20;
    }
}
