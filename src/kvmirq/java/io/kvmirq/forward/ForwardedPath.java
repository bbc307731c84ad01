/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.IrqKind;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.mirror.Producer;
import io.kvmirq.mirror.Snapshot;
import io.kvmirq.mirror.VcpuStage;
import io.kvmirq.path.Claim;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.GuestVector;
import io.kvmirq.path.HardwareFields;
import io.kvmirq.path.Hop;
import io.kvmirq.path.HopValue;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.ProcessId;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Builds an interrupt's path from this process's set-up and the mirror's predictions. Immutable.
 *
 * @param gsi the GSI, empty for a message that never had an irqfd
 * @param message the guest's message, empty for a line
 */
record ForwardedPath(
        Producer device,
        EventFdId event,
        Optional<Gsi> gsi,
        Optional<MsiMessage> message,
        Mechanism mechanism,
        boolean masked,
        boolean x86) {
    /** These data bits select a delivery mode without a vector. Fixed and lowest priority have one. */
    private static final int MODES_WITHOUT_VECTOR = 6 << 8;

    private static final int VECTOR = 0xff;
    private static final int LOGICAL = 1 << 2;
    private static final Evidence SET_UP = new Evidence(Evidence.Kind.SET_UP, "this process");
    private static final Evidence PREDICTED = Evidence.predicted("rules of kernel and hardware");

    /** @param unseen the reason why no host irq is known */
    InterruptPath of(Optional<HostIrq> hostIrq, String unseen, Snapshot now) {
        Optional<PredictedIrq> known = now.of(event);
        Posting posting =
                known.map(PredictedIrq::posting).orElseGet(() -> new Posting.Unknown("it is no longer forwarded"));
        Optional<VcpuId> vcpu = vcpu(known, posting);
        List<Link> links = List.of(
                hostIrq.map(irq -> Link.whole(
                                Hop.HOST_IRQ,
                                Evidence.observed("the host's files"),
                                List.of(irq.number()),
                                "handles the interrupt"))
                        .orElseGet(() -> unknown(Hop.HOST_IRQ, unseen)),
                Link.whole(Hop.DEVICE_VECTOR, SET_UP, device.toString(), masked ? "masked" : "signals the eventfd")
                        .with(Hop.DEVICE_VECTOR, List.of(interrupt(device))),
                Link.whole(Hop.EVENTFD, SET_UP, event.toString(), "joins device and guest")
                        .with(Hop.EVENTFD, List.of(event)),
                Link.whole(Hop.IRQFD, SET_UP, mechanism.label(), "delivers the interrupt")
                        .with(Hop.IRQFD, List.of(new ProcessId((int)
                                ProcessHandle.current().pid()))),
                gsi.map(target -> Link.whole(Hop.GSI, SET_UP, List.of(target.number()), "guest end of the path"))
                        .orElseGet(() -> unknown(Hop.GSI, "this process injects the interrupt without a GSI")),
                vector(),
                vcpu.map(to -> Link.whole(
                                Hop.VCPU,
                                PREDICTED,
                                List.of(to.number()),
                                posting instanceof Posting.NotPosted ? "through KVM" : "hardware posts to this vCPU"))
                        .orElseGet(() -> unknown(Hop.VCPU, posting.text())));
        return InterruptPath.of(interrupt(device), Optional.empty(), links, List.of(claim(posting)), List.of())
                .with(values(known, vcpu, posting, now));
    }

    /** A closed interrupt's path, which names only the device, because the GSI and the eventfd may be reused. */
    static InterruptPath closed(Producer device) {
        return InterruptPath.of(
                interrupt(device),
                Optional.empty(),
                List.of(),
                List.of(),
                List.of("the interrupt is closed and no longer forwarded"));
    }

    private static Interrupt interrupt(Producer producer) {
        IrqKind kind =
                switch (producer.kind()) {
                    case INTX -> IrqKind.INTX;
                    case MSI -> IrqKind.MSI;
                    case MSI_X -> IrqKind.MSIX;
                    case PLATFORM -> IrqKind.PLATFORM;
                };
        return Interrupt.of(producer.device(), kind, producer.number());
    }

    private static Link unknown(Hop<?> hop, String why) {
        return Link.notShown(hop, why, List.of());
    }

    /** The vCPU to which hardware or KVM delivers the interrupt. */
    private static Optional<VcpuId> vcpu(Optional<PredictedIrq> known, Posting posting) {
        Optional<VcpuId> listed = known.flatMap(irq -> irq.vcpu().known());
        Optional<VcpuId> destination = known.flatMap(irq -> irq.destination().known());
        return posting instanceof Posting.Posted
                ? listed
                : destination.filter(to -> posting instanceof Posting.NotPosted || listed.equals(destination));
    }

    private Link vector() {
        if (message.isEmpty()) {
            return unknown(Hop.GUEST_VECTOR, "the guest's interrupt controller assigns the line's vector");
        }
        if (!x86) {
            return unknown(Hop.GUEST_VECTOR, "the guest's ITS maps the event to an LPI");
        }
        int data = message.get().data();
        if ((data & MODES_WITHOUT_VECTOR) != 0) {
            return unknown(Hop.GUEST_VECTOR, "the message's delivery mode has no vector");
        }
        InterruptVector vector = new InterruptVector(data & VECTOR);
        return Link.whole(Hop.GUEST_VECTOR, SET_UP, vector.toString(), "in the message")
                .with(Hop.GUEST_VECTOR, List.of(new GuestVector(vector.number())));
    }

    private static Claim claim(Posting posting) {
        return posting instanceof Posting.Unknown
                ? Claim.unknown(Claim.Question.FORM, posting.text(), List.of())
                : Claim.of(Claim.Question.FORM, posting instanceof Posting.Posted, PREDICTED, posting.text());
    }

    /** The predicted remapping entry, its last update, and the vCPU's stage and descriptor. */
    private List<HopValue<?>> values(
            Optional<PredictedIrq> known, Optional<VcpuId> vcpu, Posting posting, Snapshot now) {
        List<HopValue<?>> values = new ArrayList<>();
        Optional<PredictedIrte> entry = known.flatMap(irq -> irq.irte().known());
        entry.ifPresent(irte -> values.add(predicted(Hop.IRTE, new HardwareFields(irte.form(), irte.fields()))));
        known.flatMap(irq -> irq.vcpu().then(now::vcpuStructure).known()).ifPresent(values::add);
        boolean isLogical =
                x86 && message.filter(msi -> (msi.address() & LOGICAL) != 0).isPresent();
        now.lapicsTaken()
                .filter(taken -> isLogical && !(posting instanceof Posting.Unknown))
                .ifPresent(taken -> values.add(new HopValue<>(Snapshot.LAPICS_TAKEN, new Known.Observed<>(taken))));
        vcpu.ifPresent(to -> values.add(new HopValue<>(
                Snapshot.SCHEDULE,
                now.stage(to)
                        .<Known<VcpuStage>>map(Known.Predicted::new)
                        .orElseGet(() -> new Known.Unknown<>("no event has shown how " + to + " is scheduled")))));
        known.flatMap(irq -> irq.update().known()).ifPresent(update -> values.add(predicted(Snapshot.UPDATE, update)));
        return values;
    }

    private static <T> HopValue<T> predicted(Hop<T> hop, T value) {
        return new HopValue<>(hop, new Known.Predicted<>(value));
    }
}
