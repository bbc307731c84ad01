/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import io.kvmirq.path.Known;

/** A prediction for one interrupt by a host's rules. Events about {@code aim}, its destination, can change it. */
record Prediction(
        Posting posting,
        Known<VcpuId> vcpu,
        Known<PredictedIrte> irte,
        Known<PredictedListRegister> listRegister,
        Known<EntryUpdate> update,
        long aim) {
    /**
     * The message addresses several vCPUs, or there is no message, so any change of the vCPUs can change the
     * prediction.
     */
    static final long ANY = -1;
    /** The message has a logical destination, so changes of vCPUs or their LAPIC ids can change the prediction. */
    static final long LOGICAL = -2;

    Prediction with(Posting other) {
        return new Prediction(other, vcpu, irte, listRegister, Known.none(), aim);
    }

    /** The prediction for an interrupt that neither the kernel nor hardware delivers. */
    static Prediction none(Posting posting) {
        return new Prediction(posting, Known.none(), Known.none(), Known.none(), Known.none(), ANY);
    }

    /**
     * The prediction on an unknown host.
     *
     * @param message whether the interrupt is a message
     * @param joined whether irqbypass connects producer and consumer
     */
    static Prediction unknown(String reason, boolean message, boolean joined, Known<PredictedListRegister> list) {
        return new Prediction(
                new Posting.Unknown(reason),
                unknownIf(joined, reason),
                unknownIf(message, reason),
                list,
                unknownIf(joined, reason),
                ANY);
    }

    private static <T> Known<T> unknownIf(boolean may, String reason) {
        return may ? new Known.Unknown<>(reason) : Known.none();
    }

    /** Unknown, because a GSI may still have its route from the irqchip's creation, which no event reports. */
    static <T> Known<T> unrouted() {
        return new Known.Unknown<>("no event reported the routes of its GSI");
    }

    /** None, or unknown if {@code posting} is. */
    static <T> Known<T> without(Posting posting) {
        return posting instanceof Posting.Unknown unknown ? new Known.Unknown<>(unknown.reason()) : Known.none();
    }
}
