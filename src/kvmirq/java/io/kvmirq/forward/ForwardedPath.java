/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import io.kvmirq.mirror.EntryUpdate;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedField;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.mirror.Producer;
import io.kvmirq.mirror.Snapshot;
import io.kvmirq.mirror.VcpuStage;
import io.kvmirq.path.Known;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * The path of a forwarded interrupt at one moment: host irq → device → guest irq. Each fact has its source: a file of
 * the host, the set-up by this process, the mirror's prediction, or the reason why it is unknown. Immutable.
 *
 * @param hostIrq the Linux interrupt that serves the device's vector
 * @param device the device and its vector, or its line. After {@link ForwardedIrq#close} all else is unknown
 * @param event the eventfd that joins the two ends
 * @param gsi the guest's end
 * @param vector the guest's vector (x86)
 * @param vcpu the vCPU to which hardware posts the interrupt, or KVM delivers it
 * @param mechanism the mechanism that delivers the interrupt
 * @param masked whether the interrupt is masked
 * @param posting whether hardware delivers the interrupt
 * @param entry the form of the remapping entry; empty if none is predicted
 * @param entryFields the fields of the entry, each predicted or unknown
 * @param stage the place of the vCPU in its schedule
 * @param vcpuFields the fields of the vCPU's posted-interrupt descriptor, or of its AVIC entry: {@link
 *     Snapshot#vcpuFields}
 * @param update x86: the last write of the entry by KVM, which {@code posting} and {@code entry} follow; empty if the two
 *     ends do not meet, or the host posts nothing
 * @param sampled the oldest time at which a LAPIC that decides about the message was read. Empty unless the message has
 *     a logical destination, and all these LAPICs are known
 */
public record ForwardedPath(
        Known<HostIrq> hostIrq,
        Producer device,
        Known<EventFdId> event,
        Known<Gsi> gsi,
        Known<InterruptVector> vector,
        Known<VcpuId> vcpu,
        Known<Mechanism> mechanism,
        boolean masked,
        Posting posting,
        Optional<String> entry,
        List<PredictedField> entryFields,
        Known<VcpuStage> stage,
        List<PredictedField> vcpuFields,
        @NotPromised Optional<EntryUpdate> update,
        Optional<Instant> sampled) {
    /** Delivery modes 0 and 1 of a message's data, fixed and lowest priority, have a vector. */
    private static final int MODES_WITHOUT_VECTOR = 6 << 8;

    private static final String CLOSED = "the interrupt is closed, and is not forwarded any more";
    private static final int VECTOR = 0xff;
    private static final int LOGICAL = 1 << 2;

    /** Copies the lists. */
    @NotPromised
    public ForwardedPath {
        Objects.requireNonNull(hostIrq, "hostIrq is null");
        Objects.requireNonNull(device, "device is null");
        Objects.requireNonNull(event, "event is null");
        Objects.requireNonNull(gsi, "gsi is null");
        Objects.requireNonNull(vector, "vector is null");
        Objects.requireNonNull(vcpu, "vcpu is null");
        Objects.requireNonNull(mechanism, "mechanism is null");
        Objects.requireNonNull(posting, "posting is null");
        Objects.requireNonNull(entry, "entry is null");
        Objects.requireNonNull(entryFields, "entryFields is null");
        Objects.requireNonNull(stage, "stage is null");
        Objects.requireNonNull(vcpuFields, "vcpuFields is null");
        Objects.requireNonNull(update, "update is null");
        Objects.requireNonNull(sampled, "sampled is null");
        entryFields = List.copyOf(entryFields);
        vcpuFields = List.copyOf(vcpuFields);
    }

    /** The set-up of an interrupt, from which its path is computed. */
    record Ends(
            Producer device,
            EventFdId event,
            Optional<Gsi> gsi,
            Optional<MsiMessage> message,
            Mechanism mechanism,
            boolean masked,
            boolean x86) {
        private boolean isLogical() {
            return x86 && message.filter(one -> (one.address() & LOGICAL) != 0).isPresent();
        }

        private Known<InterruptVector> vector() {
            if (message.isEmpty()) {
                return new Known.Unknown<>("a line has a pin, and the guest's interrupt controller gives it a vector");
            }
            if (!x86) {
                return new Known.Unknown<>("the guest's ITS gives the event an LPI");
            }
            int data = message.get().data();
            return (data & MODES_WITHOUT_VECTOR) == 0
                    ? new Known.SetUp<>(new InterruptVector(data & VECTOR))
                    : new Known.Unknown<>("the delivery mode of the message has no vector");
        }
    }

    static ForwardedPath of(Known<HostIrq> hostIrq, Ends ends, Snapshot now) {
        Optional<PredictedIrq> known = now.of(ends.event);
        Optional<VcpuId> listed = known.flatMap(PredictedIrq::vcpu);
        Optional<PredictedIrte> entry = known.flatMap(PredictedIrq::irte);
        Posting posting =
                known.map(PredictedIrq::posting).orElseGet(() -> new Posting.Unknown("it is not forwarded any more"));
        Optional<VcpuId> destination = known.flatMap(PredictedIrq::destination);
        Optional<VcpuId> vcpu = posting instanceof Posting.Posted
                ? listed
                : destination.filter(to -> posting instanceof Posting.NotPosted || listed.equals(destination));
        return new ForwardedPath(
                hostIrq,
                ends.device,
                new Known.SetUp<>(ends.event),
                ends.gsi
                        .<Known<Gsi>>map(Known.SetUp::new)
                        .orElseGet(() -> new Known.Unknown<>("this process injects the interrupt, without a GSI")),
                ends.vector(),
                predicted(vcpu, posting.text()),
                new Known.SetUp<>(ends.mechanism),
                ends.masked,
                posting,
                entry.map(PredictedIrte::form),
                entry.map(PredictedIrte::fields).orElse(List.of()),
                predicted(
                        vcpu.flatMap(now::stage),
                        vcpu.isPresent() ? "no event said how the vCPU is scheduled" : "no vCPU is known"),
                listed.map(now::vcpuFields).orElse(List.of()),
                known.flatMap(PredictedIrq::update),
                ends.isLogical() && !(posting instanceof Posting.Unknown) ? now.lapicsTaken() : Optional.empty());
    }

    /** The path of a closed interrupt. Its GSI and the number of its eventfd may be those of another interrupt by now. */
    static ForwardedPath closed(Producer device) {
        return new ForwardedPath(
                new Known.Unknown<>(CLOSED),
                device,
                new Known.Unknown<>(CLOSED),
                new Known.Unknown<>(CLOSED),
                new Known.Unknown<>(CLOSED),
                new Known.Unknown<>(CLOSED),
                new Known.Unknown<>(CLOSED),
                false,
                new Posting.Unknown(CLOSED),
                Optional.empty(),
                List.of(),
                new Known.Unknown<>(CLOSED),
                List.of(),
                Optional.empty(),
                Optional.empty());
    }

    private static <T> Known<T> predicted(Optional<T> value, String otherwise) {
        return value.<Known<T>>map(Known.Predicted::new).orElseGet(() -> new Known.Unknown<>(otherwise));
    }

    /** One line of text for each fact. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        if (event.known().isEmpty()) {
            return text.append(device).append(": ").append(CLOSED).append('\n').toString();
        }
        line(text, "host irq", hostIrq);
        line(text, "device", device + " (set up)");
        line(text, "eventfd", event);
        line(text, "gsi", gsi);
        line(text, "vector", vector);
        line(
                text,
                "vcpu",
                vcpu.known()
                        .filter(to -> posting instanceof Posting.NotPosted)
                        .<Object>map(to -> to + ", through KVM (predicted)")
                        .orElse(vcpu));
        mechanism
                .known()
                .ifPresent(one -> line(text, "mechanism", one.label() + (masked ? ", masked" : "") + " (set up)"));
        line(text, "posting", posting.text() + " (predicted)");
        update.ifPresent(one -> line(text, "", "KVM looked for the vCPU when " + one.last()));
        update.flatMap(EntryUpdate::next)
                .ifPresent(next -> line(text, "", "after a mask and an unmask: " + next.text()));
        sampled.ifPresent(taken -> line(text, "LAPICs", "read at " + taken));
        entry.ifPresent(form -> line(text, "entry", form + " (predicted)"));
        entryFields.forEach(field -> line(text, "", field));
        line(text, "schedule", stage);
        vcpuFields.forEach(field -> line(text, "", field));
        return text.toString();
    }

    private static void line(StringBuilder text, String name, Object value) {
        text.append(String.format("%-10s", name))
                .append(Objects.toString(value))
                .append('\n');
    }
}
