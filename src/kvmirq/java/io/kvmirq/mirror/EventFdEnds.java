/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.VcpuId;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The producers and the consumer of one eventfd.
 *
 * @param producer the message that is registered with irqbypass
 * @param others lines, and messages that irqbypass refused, in the order of their events
 * @param direct whether the line has direct EOI
 * @param delivery the interrupt's delivery path
 * @param obstacle arm64: the reason, from an earlier step, why KVM mapped no vLPI
 * @param written x86: the last write of the entry, empty while producer and consumer are not connected
 * @param irq the prediction, empty while nothing is predicted yet
 * @param rest the predictions for {@code others}, except for the interrupt of {@code irq}
 * @param aim the destination on which the prediction depends, see {@link Prediction}
 */
record EventFdEnds(
        EventFdId event,
        Optional<Producer> producer,
        List<Producer> others,
        Optional<Consumer> consumer,
        boolean direct,
        DeliveryPath delivery,
        Optional<Posting> obstacle,
        Optional<Written> written,
        Optional<PredictedIrq> irq,
        List<PredictedIrq> rest,
        long aim) {
    static EventFdEnds none(EventFdId event) {
        return new EventFdEnds(
                event,
                Optional.empty(),
                List.of(),
                Optional.empty(),
                false,
                DeliveryPath.KERNEL,
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                List.of(),
                Prediction.ANY);
    }

    boolean isEmpty() {
        return producer.isEmpty() && others.isEmpty() && consumer.isEmpty() && !direct;
    }

    /** Whether irqbypass connects producer and consumer. */
    boolean isPaired() {
        return producer.isPresent() && consumer.isPresent() && delivery != DeliveryPath.CLOSED;
    }

    boolean has(Producer wanted) {
        return producer.filter(wanted::equals).isPresent() || others.contains(wanted);
    }

    /** Whether the interrupt is or may be posted to this vCPU. An entry whose list is unknown still names its vCPU. */
    boolean mayPostTo(VcpuId vcpu) {
        Known<VcpuId> posts = irq.map(PredictedIrq::vcpu).orElse(Known.none());
        return posts instanceof Known.Unknown
                ? written.flatMap(last -> last.decision().target())
                        .map(to -> to.vcpu().equals(vcpu))
                        .orElse(true)
                : posts.known().equals(Optional.of(vcpu));
    }

    EventFdEnds with(Producer added) {
        if (producer.isEmpty() && added.kind().isMessage()) {
            return with(Optional.of(added), others, consumer, direct);
        }
        List<Producer> more = new ArrayList<>(others);
        more.add(added);
        return with(producer, List.copyOf(more), consumer, direct);
    }

    /** A copy without a producer. A removed line has no direct EOI. */
    EventFdEnds without(Producer removed) {
        if (producer.filter(removed::equals).isPresent()) {
            return with(Optional.empty(), others, consumer, direct);
        }
        return with(
                producer,
                others.stream().filter(other -> !other.equals(removed)).toList(),
                consumer,
                direct && removed.kind().isMessage());
    }

    EventFdEnds with(Optional<Consumer> other) {
        return with(producer, others, other, direct);
    }

    EventFdEnds with(boolean directEoi) {
        return with(producer, others, consumer, directEoi);
    }

    EventFdEnds with(DeliveryPath changed) {
        DeliveryPath next = delivery == DeliveryPath.CLOSED ? delivery : changed;
        return new EventFdEnds(event, producer, others, consumer, direct, next, obstacle, written, irq, rest, aim);
    }

    EventFdEnds obstructed(Optional<Posting> why) {
        return new EventFdEnds(event, producer, others, consumer, direct, delivery, why, written, irq, rest, aim);
    }

    EventFdEnds written(Optional<Written> last) {
        return new EventFdEnds(event, producer, others, consumer, direct, delivery, obstacle, last, irq, rest, aim);
    }

    private EventFdEnds with(
            Optional<Producer> first, List<Producer> more, Optional<Consumer> guest, boolean directEoi) {
        return new EventFdEnds(event, first, more, guest, directEoi, delivery, obstacle, written, irq, rest, aim);
    }

    EventFdEnds predicted(PredictedIrq main, List<PredictedIrq> further, long aimed) {
        return new EventFdEnds(
                event,
                producer,
                others,
                consumer,
                direct,
                delivery,
                obstacle,
                written,
                Optional.of(main),
                further,
                aimed);
    }
}
