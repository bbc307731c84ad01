/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import java.util.List;

/** The searches of posting on VT-d and VMX, without and with store buffers. */
public final class PostedRaces {
    public static final Verdicts<PostedVariant, PostedScenario> VERDICTS =
            new Verdicts<>(List.of(Memory.values()), PostedVariant.TODAY, PostedScenario.class, """
            ON_ONLY               LL LL LL LL .. LL LL LL LL LL LL LL LL ..
            PIR_ONLY              .. hh hh .. hh hh hh .. hh hh .. .. .. ..
            PIR_OR_ON             .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            ON_SN_STORE           .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            ON_SN_STORE_AS_QUOTED LL LL LL LL LL LL LL LL LL LL LL LL LL ..
            CHECK_THEN_CLEAR      LL LL LL LL .. LL LL LL LL LL .. LL LL ..
            UP_TO_6_16            .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            TODAY                 .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            WITH_BARRIERS         .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            PLAIN_PIR             .. LL LL .. LL LL LL .. LL LL .. LL .. .L
            ON_BEFORE_PIR         .. LL LL .. LL LL LL .. LL LL .. .. .. LL
            HARVEST_FIRST         .. LL LL LL LL LL LL .. LL LL LL LL LL ..
            PLAIN_PUT             .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            PLAIN_ON              .. LL LL .. hh LL LL .. LL LL .. .. .. ..
            PLAIN_CLEAR_ON        .. .L .L .L .L .L .L .. .L .L .L .. .. ..
            PLAIN_CLEAR_SN        .L .L .L .L LL .L LL .L .L .L .. .L .L ..
            NO_MODE_BARRIER       .. .h .h .. .h .h .h .. .h .h .. .. .. ..
            PLAIN_SLEEP           .. .. .. .. .L .. .. .. .. .. .. .. .. ..
            """);

    private PostedRaces() {}
}
