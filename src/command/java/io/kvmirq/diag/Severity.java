/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.path.Flaw;
import io.kvmirq.path.Flaw.Span;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.Comparator;
import java.util.Locale;
import java.util.Optional;

/**
 * The severity of a flaw for monitoring, by its weight and span: {@code --nagios}, the status in {@code doctor}, the label
 * of {@code kvmirq_flaw} and the alerts follow it.
 *
 * <table>
 * <caption>The severities</caption>
 * <tr><th></th><th>now</th><th>ever</th><th>exit code of explain</th></tr>
 * <tr><td>broken</td><td>critical</td><td>critical</td><td>that of the hop</td></tr>
 * <tr><td>lossy</td><td>warning</td><td>info</td><td>0; with --strict 20 more than that of the hop</td></tr>
 * <tr><td>slow</td><td>warning</td><td>info</td><td>0; with --strict, now, 20 more than that of the hop</td></tr>
 * <tr><td>remark</td><td>info</td><td>info</td><td>0</td></tr>
 * </table>
 */
public enum Severity {
    CRITICAL,
    WARNING,
    /** Interrupts pass, or a count since boot tells of a loss that may be over. */
    INFO;

    /** The name in small letters. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** The worst flaw of a link, of which the first one counts. */
    public static Optional<Flaw> worst(Link link) {
        return link.flaws().stream().min(Comparator.comparing(Severity::of));
    }

    /** The link of a path in doubt that is worst, of which the first one counts. */
    public static Optional<Link> doubt(InterruptPath path) {
        return path.links().stream()
                .filter(link -> link.state() == Link.State.DOUBTFUL)
                .min(Comparator.comparing((Link link) -> of(link)).thenComparing(Link::hop));
    }

    private static Severity of(Flaw flaw) {
        return switch (flaw.weight()) {
            case BROKEN -> CRITICAL;
            case LOSSY, SLOW -> flaw.span() == Span.NOW ? WARNING : INFO;
            case REMARK -> INFO;
        };
    }

    /** The worst one of a link's flaws; by the state of a link that is broken or in doubt without a rule. */
    public static Severity of(Link link) {
        Severity without =
                switch (link.state()) {
                    case BROKEN -> CRITICAL;
                    case DOUBTFUL -> WARNING;
                    case WHOLE, IDLE, NOT_SHOWN -> INFO;
                };
        return link.state() == Link.State.BROKEN
                ? CRITICAL
                : worst(link).map(Severity::of).orElse(without);
    }
}
