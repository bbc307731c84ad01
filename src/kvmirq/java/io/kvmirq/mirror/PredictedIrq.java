/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.NotPromised;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * The prediction for one interrupt. Immutable.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="mirror"}
 *
 * @param event the eventfd that the producer signals and that triggers the consumer
 * @param producer the device's interrupt that signals the eventfd; empty if no event reported a producer
 * @param consumer the guest's interrupt that the eventfd raises; empty if no irqfd is assigned to the eventfd
 * @param routes the routes of the irqfd's GSI
 * @param posting whether hardware delivers the interrupt
 * @param vcpu the vCPU to which hardware posts the interrupt, or would post it if AVIC were not inhibited. On AMD, KVM
 *     keeps the interrupt only in the list (ir_list) of this vCPU
 * @param destination x86: the vCPU to which KVM delivers the interrupt while hardware does not post it. Empty if the
 *     MSI message does not name exactly one vCPU, no irqfd exists, or LAPIC ids are unknown
 * @param irte the remapping entry of the device's message; empty for a line, on a host without interrupt remapping, and
 *     on an unknown host
 * @param listRegister arm64: the interrupt's list register; empty if hardware delivers it, or the INTID is unknown
 * @param handler VFIO's handler of the line. Empty for messages, and for a platform interrupt without a resample
 *     eventfd, because this interrupt may be edge-triggered
 * @param update x86: the last update of the entry {@code irte}; empty until irqbypass joins producer and consumer
 */
public record PredictedIrq(
        EventFdId event,
        Optional<Producer> producer,
        Optional<Consumer> consumer,
        List<Route> routes,
        Posting posting,
        Optional<VcpuId> vcpu,
        @NotPromised Optional<VcpuId> destination,
        @NotPromised Optional<PredictedIrte> irte,
        Optional<PredictedListRegister> listRegister,
        Optional<LineHandler> handler,
        @NotPromised Optional<EntryUpdate> update) {
    @NotPromised
    public PredictedIrq {
        Objects.requireNonNull(event, "event is null");
        Objects.requireNonNull(producer, "producer is null");
        Objects.requireNonNull(consumer, "consumer is null");
        Objects.requireNonNull(routes, "routes is null");
        Objects.requireNonNull(posting, "posting is null");
        Objects.requireNonNull(vcpu, "vcpu is null");
        Objects.requireNonNull(destination, "destination is null");
        Objects.requireNonNull(irte, "irte is null");
        Objects.requireNonNull(listRegister, "listRegister is null");
        Objects.requireNonNull(handler, "handler is null");
        Objects.requireNonNull(update, "update is null");
    }

    PredictedIrq with(PredictedIrte entry) {
        return new PredictedIrq(
                event,
                producer,
                consumer,
                routes,
                posting,
                vcpu,
                destination,
                Optional.of(entry),
                listRegister,
                handler,
                update);
    }

    /** The GSI of the irqfd; empty if no irqfd is assigned. */
    public Optional<Gsi> gsi() {
        return consumer.map(Consumer::gsi);
    }
}
