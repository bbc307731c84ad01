/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import java.util.Optional;

/**
 * The prediction of a host's rules for one interrupt. An event that concerns {@code aim}, the message's address,
 * changes it.
 */
record Verdict(
        Posting posting,
        Optional<VcpuId> vcpu,
        Optional<PredictedIrte> irte,
        Optional<PredictedListRegister> listRegister,
        long aim) {
    /** The message names several vCPUs, or there is none: every change of the vCPUs may change the verdict. */
    static final long ANY = -1;
    /** The message has a logical destination: as {@link #ANY}, and so may the ids that the guest gives LAPICs. */
    static final long LOGICAL = -2;

    Verdict with(Posting other) {
        return new Verdict(other, vcpu, irte, listRegister, aim);
    }

    static Verdict of(Posting posting) {
        return of(posting, ANY);
    }

    static Verdict of(Posting posting, long aim) {
        return new Verdict(posting, Optional.empty(), Optional.empty(), Optional.empty(), aim);
    }
}
