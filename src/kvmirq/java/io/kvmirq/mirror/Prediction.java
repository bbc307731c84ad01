/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import io.kvmirq.path.Known;

/**
 * A prediction by a host's rules for one interrupt. It may change with events about the destination {@code aim}, the
 * message's address.
 */
record Prediction(
        Posting posting,
        Known<VcpuId> vcpu,
        Known<PredictedIrte> irte,
        Known<PredictedListRegister> listRegister,
        Known<EntryUpdate> update,
        long aim) {
    /** The message addresses several vCPUs, or there is none: any change of the vCPUs may change the verdict. */
    static final long ANY = -1;
    /** The message has a logical destination: changes of vCPUs, and of their LAPIC ids, may change the verdict. */
    static final long LOGICAL = -2;

    Prediction with(Posting other) {
        return new Prediction(other, vcpu, irte, listRegister, Known.none(), aim);
    }

    /** The prediction for an interrupt that neither kernel nor hardware delivers. */
    static Prediction none(Posting posting) {
        return new Prediction(posting, Known.none(), Known.none(), Known.none(), Known.none(), ANY);
    }

    /**
     * The prediction on an unknown host.
     *
     * @param message whether the interrupt is a message
     * @param joined whether irqbypass joins its two ends
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

    /** A GSI may have the route that it got with the irqchip, which no event reports. */
    static <T> Known<T> unrouted() {
        return new Known.Unknown<>("no event reported the routes of its GSI");
    }

    /** The part that only an interrupt has whose posting is known to differ from {@code posting}. */
    static <T> Known<T> without(Posting posting) {
        return posting instanceof Posting.Unknown unknown ? new Known.Unknown<>(unknown.reason()) : Known.none();
    }
}
