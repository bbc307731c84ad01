/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import java.util.List;

/** The searches of VFIO's INTx, with every store seen at once. */
public final class IntxRaces {
    public static final Verdicts<IntxVariant, IntxScenario> VERDICTS =
            new Verdicts<>(List.of(Memory.SEQUENTIAL), IntxVariant.OURS, IntxScenario.class, """
                POSTED_2017       . . . . . L . . L . L . . . . . . . . . .
                CHOSEN_UNLOCKED   . . . . . . . . . . L . . L . . . . . . .
                DIRECT_SHARED     . . . . . L . . . . . . . . . . . . . . .
                EXCLUSIVE         . . . . . . . . . . . . . . . . . . . . L
                LINUX_7_1         . . . L . . . . . . . . . . . . . . . . .
                OURS              . . . . . . . . . . . . . . . . . . . . .
                """);

    private IntxRaces() {}
}
