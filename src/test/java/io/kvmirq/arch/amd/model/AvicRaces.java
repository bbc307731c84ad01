/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import java.util.List;

/** The searches of posting on AMD, with every store seen at once. */
public final class AvicRaces {
    public static final Verdicts<AvicVariant, AvicScenario> VERDICTS =
            new Verdicts<>(List.of(Memory.SEQUENTIAL), AvicVariant.TODAY, AvicScenario.class, """
                EMBEDDED_NODE     L L L . . L h h L L L L
                WRAPPERS          L L L . . L h . L L L .
                REFUSE_SECOND_ADD L L L . . L h . L L L .
                TWO_LOCKS         L . L . . L h h L L L L
                NO_MEDIATOR       . . L . . L h . L L L L
                OUTSIDE_LOCK      L . L . . L . h L L L L
                NOTIFY_FIRST      . . . L . L h . L L L L
                CLEAR_LAST        . . . . L L h . L L L L
                UP_TO_6_16        L L L . . . h h L L L .
                TODAY             . . . . . L h . L L L L
                KICK_PREVIOUS     . . . . . L h . . . . .
                """);

    private AvicRaces() {}
}
