/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import java.util.List;

/** The searches of a VGIC, with every store seen at once. */
public final class VgicRaces {
    public static final Verdicts<VgicVariant, VgicScenario> VERDICTS =
            new Verdicts<>(List.of(Memory.SEQUENTIAL), VgicVariant.OURS, VgicScenario.class, """
                AS_POSTED        L L . . . . . . . L
                LOOKS_ALWAYS     h L . . . . . . . L
                SET_TWICE        . . . . . . . . . L
                COLLAPSED        . . L L . . . . . L
                CLEARED_UNLOCKED . . L L L L L . . L
                OURS             . . . . . . . . . L
                AT_EXIT          . . . . . . . . . .
                """);

    private VgicRaces() {}
}
