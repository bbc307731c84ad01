/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import java.util.List;

/** The searches of VFIO's INTx, with every store seen at once. */
public final class IntxRaces {
    public static final Verdicts<IntxVariant, IntxScenario> VERDICTS =
            new Verdicts<>(List.of(Memory.SEQUENTIAL), IntxVariant.OURS, IntxScenario.class, """
                SIGNAL_FIRST      L L L L L . . . . . . L . . L L . . . . .
                NO_SECOND_SIGNAL  L L L . . . . . . . L . . . . . . . . . .
                NO_LOOK           L L L . . . . . . . L . . . . . . . . . .
                RESAMPLE_FIRST    L L L L . . . . . . L . . . . L L L . . .
                RESAMPLE_LOST     L L L L L . . . . . L . . . . L L L . . .
                CHOSEN_OUTSIDE    . . . . . . . . . . L . . . . . . . . . .
                CHOSEN_INSIDE     . . . . . . . . . . . . . . . . . . . . .
                POSTED_2017       . . . . . L . . L . L . . . . . . . . . .
                NO_DEACTIVATION   . . . . . . . L L L L . . . . . . L . . .
                LEFT_ACTIVE       . . . . . . L . . . . . . L . . . . . L .
                FOLLOWED_AT_CLOSE . . . . . . . . . . . . . L . . . . . . .
                CLOSED_FIRST      . . . . . . . . . . . . L . . . . . . . .
                CHOSEN_UNLOCKED   . . . . . . . . . . L . . L . . . . . . .
                NO_WAIT           . . . . . . . . . . . . . . L . L . . . .
                WAITS_FOR_ALL     . . . . . . . . . . . . . . . . . . L . .
                DIRECT_SHARED     . . . . . L . . . . . . . . . . . . . . .
                EXCLUSIVE         . . . . . . . . . . . . . . . . . . . . L
                LINUX_7_1         . . . L . . . . . . . . . . . . . . . . .
                OURS              . . . . . . . . . . . . . . . . . . . . .
                """);

    private IntxRaces() {}
}
