/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.NotPromised;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * The prediction for one interrupt. Immutable. Each part is a {@link Known.Predicted}, a {@link Known.None} if the
 * interrupt has no such part, or a {@link Known.Unknown} that names the missing fact.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="mirror"}
 *
 * @param event the eventfd that the producer signals and that triggers the consumer
 * @param producer the device interrupt that signals the eventfd, empty if no event reported one
 * @param consumer the guest interrupt that the eventfd raises, empty if no irqfd is assigned to it
 * @param routes the routes of the irqfd's GSI
 * @param posting whether hardware delivers the interrupt
 * @param vcpu the vCPU to which hardware posts the interrupt, or would if AVIC were not inhibited. On AMD, this is the
 *     vCPU whose ir_list holds the interrupt. Unknown, for example, up to Linux 6.16 if KVM wrote the entry between a
 *     change of AVIC's inhibits and the vCPU's next guest entry
 * @param destination x86: the vCPU to which KVM delivers the interrupt while hardware does not post it. None if the MSI
 *     message does not target exactly one vCPU, or no irqfd exists. Unknown if the LAPIC ids are, and for a pin,
 *     because the guest's interrupt controller chooses the vCPU
 * @param irte the device message's remapping entry. None for a line, and on a host without interrupt remapping. Unknown
 *     if {@code posting} is
 * @param listRegister arm64: the interrupt's list register. None if hardware delivers the interrupt, unknown if only
 *     the guest knows the INTID
 * @param handler VFIO's handler for the line. None for messages, unknown for a platform interrupt without a resample
 *     eventfd, because it may be edge-triggered
 * @param update x86: the last update of the entry {@code irte}. None until irqbypass joins producer and consumer
 */
public record PredictedIrq(
        EventFdId event,
        Optional<Producer> producer,
        Optional<Consumer> consumer,
        List<Route> routes,
        Posting posting,
        Known<VcpuId> vcpu,
        @NotPromised Known<VcpuId> destination,
        @NotPromised Known<PredictedIrte> irte,
        Known<PredictedListRegister> listRegister,
        Known<LineHandler> handler,
        @NotPromised Known<EntryUpdate> update) {
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
                new Known.Predicted<>(entry),
                listRegister,
                handler,
                update);
    }

    /** The irqfd's GSI. Empty if no irqfd is assigned. */
    public Optional<Gsi> gsi() {
        return consumer.map(Consumer::gsi);
    }
}
