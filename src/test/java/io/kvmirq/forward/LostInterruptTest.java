/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.forward.LostSearch.Figures;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** No interrupt is lost while it is held back, sent elsewhere, ended and taken over; and the orders that lose some. */
@Tag("search")
class LostInterruptTest {
    /** {@code make lost} sends a million. */
    private static final int MESSAGES = 2_000;

    static List<String> profiles() {
        return LostSearch.PROFILES;
    }

    static Stream<ForwardingByLibrary.Kind> kinds() {
        return ForwardingByLibrary.Kind.all();
    }

    static Stream<Arguments> alike() {
        return LostSearch.ALIKE.entrySet().stream().map(pair -> Arguments.of(pair.getKey(), pair.getValue()));
    }

    private static void noneLost(Figures figures) {
        assertThat(figures.fired).isPositive();
        assertThat(figures.arrived).isPositive();
        assertThat(figures.lost).as(figures.toString()).isZero();
        assertThat(figures.flaws).isEmpty();
        assertThat(figures.named).isEmpty();
        assertThat(figures.lostByLedger).isZero();
        assertThat(figures.strays).as(figures.toString()).isZero();
        assertThat(figures.whileMasked).as(figures.toString()).isZero();
    }

    private static void noneLostOrTwice(ForwardingByLibrary.Kind kind, Figures figures) {
        noneLost(figures);
        assertThat(kind.mayComeTwice() || figures.twice == 0)
                .as(figures.toString())
                .isTrue();
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void libraryLosesNone(ForwardingByLibrary.Kind kind) {
        noneLostOrTwice(kind, LostSearch.run(kind.profile(), kind.maker(), 0, MESSAGES));
    }

    @ParameterizedTest
    @MethodSource("kinds")
    void libraryLosesNoneInAnyWindow(ForwardingByLibrary.Kind kind) {
        noneLostOrTwice(kind, LostSearch.windows(kind.profile(), kind.maker()));
    }

    /** A profile that is not searched answers as the one that is: the same sequences have the same outcome. */
    @ParameterizedTest
    @MethodSource("alike")
    void profilesThatAnswerAlikeAreSearchedOnce(String profile, String searched) {
        ForwardingByLibrary.Triggers triggers = ForwardingByLibrary.Triggers.OURS;
        assertThat(LostSearch.run(profile, triggers, 0, MESSAGES / 10))
                .hasToString(
                        LostSearch.run(searched, triggers, 0, MESSAGES / 10).toString());
    }

    /** The control: the same steps by hand lose none, so that it is the one step of a naive order that loses some. */
    @ParameterizedTest
    @MethodSource("profiles")
    void rightOrderByHandLosesNone(String profile) {
        noneLost(LostSearch.windows(profile, ForwardingByHand::new));
        noneLost(LostSearch.run(profile, ForwardingByHand::new, 0, MESSAGES));
    }

    @ParameterizedTest
    @EnumSource
    void naiveOrderLosesSomeInSomeWindow(NaiveOrder order) {
        Figures figures = LostSearch.windows("6.12", order);
        assertThat(figures.lost > 0).as(order + ": " + figures).isEqualTo(order.loses());
        int known = figures.named.size() + figures.keptBack.size();
        int ofRightOrder =
                LostSearch.windows("6.12", ForwardingByHand::new).keptBack.size();
        assertThat(known > ofRightOrder)
                .as("the ledger names a loss of " + order)
                .isEqualTo(order.loses());
    }
}
