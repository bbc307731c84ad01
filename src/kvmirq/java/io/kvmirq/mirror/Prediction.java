/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import java.util.Optional;

/**
 * The prediction of a host's rules for one interrupt. It may change with events about the destination {@code aim}, the
 * message's address.
 */
record Prediction(
        Posting posting,
        Optional<VcpuId> vcpu,
        Optional<PredictedIrte> irte,
        Optional<PredictedListRegister> listRegister,
        Optional<EntryUpdate> update,
        long aim) {
    /** The message addresses several vCPUs, or there is no vCPU: every change of the vCPUs may change the verdict. */
    static final long ANY = -1;
    /**
     * The message has a logical destination: changes of vCPUs, and of the ids in their LAPICs, may change the verdict.
     */
    static final long LOGICAL = -2;

    Prediction with(Posting other) {
        return new Prediction(other, vcpu, irte, listRegister, Optional.empty(), aim);
    }

    static Prediction of(Posting posting) {
        return of(posting, ANY);
    }

    static Prediction of(Posting posting, long aim) {
        return new Prediction(posting, Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty(), aim);
    }
}
