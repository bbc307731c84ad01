/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The verdict about interrupts: exit code, first and last line and JSON follow it. Immutable.
 *
 * @param broken the first hop that is broken, or at which a watch counted a loss; {@link Hop#POSTING} if no hop is and
 *     an interrupt is not posted that the host could post
 * @param counted whether only counts of a watch show that, because most interrupts pass
 * @param doubtful the first hop in doubt, of those that are worst
 * @param past whether only counts since boot put hops in doubt, and may be over
 */
public record Verdict(Optional<Hop<?>> broken, boolean counted, Optional<Hop<?>> doubtful, boolean past) {
    /**
     * The verdict of the flaws of all chains.
     *
     * @param others links beside the chains, such as those of VMMs
     * @param stages the stages that a watch counted
     */
    public static Verdict judge(List<InterruptPath> chains, List<Link> others, List<Stages> stages) {
        Optional<Hop<?>> broken =
                first(chains.stream().flatMap(chain -> chain.fails().stream()), hops(others, Link.State.BROKEN));
        Optional<Hop<?>> all = first(broken.stream(), stages.stream().flatMap(stage -> stage.at().stream()));
        List<Link> doubts = Stream.concat(
                        chains.stream().flatMap(chain -> Severity.doubt(chain).stream()),
                        others.stream().filter(link -> link.state() == Link.State.DOUBTFUL))
                .sorted(Comparator.comparing(Severity::of).thenComparing(Link::hop))
                .toList();
        Optional<Hop<?>> doubtful = doubts.stream().findFirst().map(Link::hop);
        boolean past = doubts.stream().allMatch(link -> Severity.of(link) == Severity.INFO);
        return new Verdict(all, !all.equals(broken), doubtful, past && doubtful.isPresent());
    }

    private static Optional<Hop<?>> first(Stream<Hop<?>> first, Stream<Hop<?>> others) {
        return Stream.concat(first, others).min(Comparator.naturalOrder());
    }

    private static Stream<Hop<?>> hops(List<Link> links, Link.State state) {
        return links.stream().filter(link -> link.state() == state).map(Link::hop);
    }

    /** The grade in {@code doctor}: a host that posts less than it could works, and a count since boot is not of now. */
    public Finding.Status grade() {
        return broken.filter(hop -> hop != Hop.POSTING).isPresent()
                ? Finding.Status.FAIL
                : broken.isPresent() || doubtful.isPresent() && !past ? Finding.Status.WARN : Finding.Status.PASS;
    }

    /** Whether a hop is broken or in doubt. */
    public boolean isFlawed() {
        return broken.or(() -> doubtful).isPresent();
    }

    /** The order of verdicts, the worst first: 0 for a broken hop, 1 for one in doubt or an interrupt not posted, else 2. */
    public int rank() {
        return switch (grade()) {
            case FAIL -> 0;
            case WARN -> 1;
            default -> 2;
        };
    }

    /** Whether the host handles an interrupt that it could post, and no link is broken. */
    public boolean isUnposted() {
        return broken.filter(Hop.POSTING::equals).isPresent();
    }
}
