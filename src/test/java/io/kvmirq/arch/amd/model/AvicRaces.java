/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import java.util.List;

/** The searches of posting on AMD, with every store seen at once. */
public final class AvicRaces {
    public static final Verdicts<AvicVariant, AvicScenario> VERDICTS =
            new Verdicts<>(List.of(Memory.SEQUENTIAL), AvicVariant.TODAY, AvicScenario.class, """
                EMBEDDED_NODE     L L L . . . . h h L L L L
                WRAPPERS          L L L . . . . . . L L L .
                REFUSE_SECOND_ADD L L L . . . . . . L L L .
                TWO_LOCKS         L . L . . . . h h L L L L
                UP_TO_6_16        L L L . . . . h h L L L .
                FROM_6_17         . . . . . . . h . L L L L
                TODAY             . . . . . . . . . . . . .
                """);

    private AvicRaces() {}
}
