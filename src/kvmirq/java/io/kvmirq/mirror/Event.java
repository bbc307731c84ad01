/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.DeviceName;
import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.gic.InterruptId;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A change that a VMM has made to interrupts, vCPUs or devices. Report only changes that succeeded. The mirror ignores
 * an event that changes nothing, so a VMM may report a change twice at tear-down. Immutable.
 *
 * <p>If a VMM masks an interrupt by deassigning its irqfd and keeps the route, report {@link ConsumerRemoved} and
 * {@link DeliveryChanged}. At the unmask, report {@link ConsumerAdded} and {@link DeliveryChanged}.
 */
@NotPromised
public sealed interface Event {
    /** The interrupt controllers that KVM emulates. */
    enum Irqchip {
        /** x86: KVM emulates the PIC, IOAPIC and LAPICs. */
        FULL,
        /** x86: KVM emulates only the LAPICs (KVM_CAP_SPLIT_IRQCHIP). */
        SPLIT,
        /** arm64: KVM emulates a VGIC. */
        VGIC
    }

    /** The VM has an in-kernel irqchip. {@link ConsumerAdded} implies this, because an irqfd needs an irqchip. */
    record IrqchipCreated(Irqchip kind) implements Event {
        public IrqchipCreated {
            Objects.requireNonNull(kind, "kind is null");
        }
    }

    /** x86: the VM now uses 32-bit APIC ids (KVM_X2APIC_API_USE_32BIT_IDS). */
    record ApicIdsWidened() implements Event {}

    /**
     * x86: destination 255 means vCPU 255 in x2APIC mode, not all vCPUs (KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK). If
     * vCPU 255 exists, the mirror assumes that the guest is in x2APIC mode.
     */
    record BroadcastQuirkDisabled() implements Event {}

    /**
     * This process created the VM, and reports each of its vCPUs with {@link VcpuAdded}. Before this event or the first
     * vCPU, the mirror cannot predict to which vCPU KVM posts a message.
     */
    record VmCreated() implements Event {}

    /** A vCPU was created. On x86, its id is also its APIC id. */
    record VcpuAdded(VcpuId vcpu) implements Event {
        public VcpuAdded {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /** A vCPU was removed from the VM. */
    record VcpuRemoved(VcpuId vcpu) implements Event {
        public VcpuRemoved {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * The VM's GSI routing table changed.
     *
     * @param changed the GSIs whose routes changed, each with all its current routes, or an empty list if it has none.
     *     Omit other GSIs, because each one costs time
     */
    record RoutesCommitted(Map<Gsi, List<Route>> changed) implements Event {
        /** Creates the event with a copy of {@code changed}. */
        public RoutesCommitted {
            changed = changed.entrySet().stream()
                    .collect(Collectors.toUnmodifiableMap(Map.Entry::getKey, entry -> List.copyOf(entry.getValue())));
        }

        /** The event for the GSIs in {@code routes}, which must contain all of their current routes. */
        public static RoutesCommitted of(Route... routes) {
            Objects.requireNonNull(routes, "routes is null");
            return new RoutesCommitted(Stream.of(routes).collect(Collectors.groupingBy(Route::gsi)));
        }

        /** The event for a GSI whose routes are all removed. */
        public static RoutesCommitted without(Gsi gsi) {
            Objects.requireNonNull(gsi, "gsi is null");
            return new RoutesCommitted(Map.of(gsi, List.of()));
        }
    }

    /**
     * An irqfd was assigned to an eventfd. A second irqfd on this eventfd replaces the first in the mirror, because the
     * kernel accepts it only after the first has ended.
     *
     * @param resample the eventfd that KVM signals at the guest's EOI, for a level-triggered interrupt
     */
    record ConsumerAdded(EventFdId event, Gsi gsi, Optional<EventFdId> resample) implements Event {
        public ConsumerAdded {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(gsi, "gsi is null");
            Objects.requireNonNull(resample, "resample is null");
        }

        /** Creates the event for an edge-triggered irqfd, which has no resample eventfd. */
        public ConsumerAdded(EventFdId event, Gsi gsi) {
            this(event, gsi, Optional.empty());
        }
    }

    /**
     * A device's consecutive MSI or MSI-X vectors are forwarded, each with its own eventfd and GSI. For each vector
     * this replaces {@link RoutesCommitted}, {@link ProducerAdded} and, unless the vectors are masked, {@link
     * ConsumerAdded} and {@link Released}.
     *
     * @param first the number of the first forwarded vector
     * @param messages each vector's MSI message. {@code events} and {@code gsis} have as many elements
     */
    record MessagesForwarded(
            DeviceName device,
            Producer.Kind kind,
            int first,
            List<EventFdId> events,
            List<Gsi> gsis,
            List<MsiMessage> messages,
            boolean masked)
            implements Event {
        /** Creates the event with copies of the lists. */
        public MessagesForwarded {
            Objects.requireNonNull(device, "device is null");
            Objects.requireNonNull(kind, "kind is null");
            Objects.requireNonNull(events, "events is null");
            Objects.requireNonNull(gsis, "gsis is null");
            Objects.requireNonNull(messages, "messages is null");
            events = List.copyOf(events);
            gsis = List.copyOf(gsis);
            messages = List.copyOf(messages);
        }

        /** The events that this replaces for message {@code i}. */
        List<Event> of(int i) {
            EventFdId event = events.get(i);
            Gsi gsi = gsis.get(i);
            Event routed = RoutesCommitted.of(new Route.Msi(gsi, messages.get(i)));
            Producer producer = new Producer(device, kind, first + i);
            Event produced = new ProducerAdded(event, producer);
            return masked
                    ? List.of(routed, produced, new DeliveryChanged(event, DeliveryPath.MASKED))
                    : List.of(routed, new ConsumerAdded(event, gsi), produced, new Released(producer));
        }
    }

    /** An irqfd was deassigned. */
    record ConsumerRemoved(EventFdId event, Gsi gsi) implements Event {
        public ConsumerRemoved {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(gsi, "gsi is null");
        }
    }

    /**
     * VFIO signals an eventfd for a device interrupt. The first MSI or MSI-X vector that signals an eventfd is its
     * irqbypass producer. The kernel refuses a second producer, which must be wired to the eventfd again after the
     * first is removed.
     */
    record ProducerAdded(EventFdId event, Producer producer) implements Event {
        public ProducerAdded {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(producer, "producer is null");
        }
    }

    /**
     * VFIO no longer signals an eventfd for a device interrupt. If the interrupt gets another eventfd, report this and
     * then {@link ProducerAdded}.
     */
    record ProducerRemoved(EventFdId event, Producer producer) implements Event {
        public ProducerRemoved {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(producer, "producer is null");
        }
    }

    /**
     * A forwarding now delivers a device interrupt through another path. The first path is {@link DeliveryPath#KERNEL},
     * the last {@link DeliveryPath#CLOSED}. {@code event} is the eventfd that VFIO signals.
     */
    record DeliveryChanged(EventFdId event, DeliveryPath delivery) implements Event {
        public DeliveryChanged {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(delivery, "delivery is null");
        }
    }

    /** A device left VFIO's IOMMU domain (type UNMANAGED) or re-entered it. Only AMD predictions use this event. */
    record DomainChanged(DeviceName device, boolean unmanaged) implements Event {
        public DomainChanged {
            Objects.requireNonNull(device, "device is null");
        }
    }

    /**
     * x86: APIC virtualization is now inhibited for these reasons. An AMD vCPU applies them at its next guest entry.
     * Until {@link GuestEntered} reports this entry, it is unknown whether interrupts are posted to the vCPU. Up to
     * Linux 6.16, the form of an IRTE that KVM wrote between {@code Inhibited} and {@code GuestEntered} is unknown
     * until KVM writes it again.
     */
    record Inhibited(Set<InhibitReason> reasons) implements Event {
        /** Creates the event with a copy of the set. */
        public Inhibited {
            reasons = reasons.isEmpty() ? Set.of() : Set.copyOf(EnumSet.copyOf(reasons));
        }
    }

    /**
     * This process runs a vCPU, whose phase the mirror reads from now on. If another event reports the vCPU's schedule,
     * the mirror uses the event until the phase changes. Report {@link VcpuAdded} separately.
     */
    record VcpuWatched(VcpuId vcpu, VcpuPhase phase) implements Event {
        public VcpuWatched {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(phase, "phase is null");
        }
    }

    /**
     * A vCPU thread is in KVM_RUN, where the vCPU may be loaded, preempted or asleep. Until another event reports
     * which, the mirror does not predict fields that depend on the schedule, such as IsRun.
     */
    record VcpuEntered(VcpuId vcpu) implements Event {
        public VcpuEntered {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * x86: a vCPU has entered its guest since the last {@link Inhibited} event, so it now applies that event's reasons.
     * Report this after {@link VcpuLoaded}. Not needed after {@link VcpuWatched}.
     */
    record GuestEntered(VcpuId vcpu) implements Event {
        public GuestEntered {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * A vCPU thread is in user space, but the state in which KVM left the vCPU's descriptor is unknown, so PID.SN,
     * PID.NV and PID.NDST are not predicted.
     */
    record VcpuOutside(VcpuId vcpu) implements Event {
        public VcpuOutside {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * A vCPU is loaded on a host CPU. Until this event or {@link VcpuPreempted}, {@link VcpuLeft}, {@link VcpuBlocked}
     * or {@link VcpuWatched} is reported, the mirror does not predict the fields that depend on the schedule: IsRun,
     * Destination, PID.SN, PID.NV and PID.NDST.
     */
    record VcpuLoaded(VcpuId vcpu, HostApicId cpu) implements Event {
        public VcpuLoaded {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(cpu, "cpu is null");
        }
    }

    /**
     * The host preempted a vCPU. If the vCPU sleeps, this changes nothing, because its predicted fields keep their
     * values until it is loaded, even after a wake-up.
     */
    record VcpuPreempted(VcpuId vcpu) implements Event {
        public VcpuPreempted {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /** A vCPU's {@code KVM_RUN} returned to user space. */
    record VcpuLeft(VcpuId vcpu) implements Event {
        public VcpuLeft {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * A vCPU sleeps until an interrupt wakes it. On Intel, the predicted descriptor is right only if the guest has
     * interrupts enabled. Otherwise KVM leaves the descriptor as after {@link VcpuLeft}.
     */
    record VcpuBlocked(VcpuId vcpu) implements Event {
        public VcpuBlocked {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * A vCPU's schedule is unknown from now on, because the tracer that reports it missed a change. The fields that
     * depend on it are not predicted until the next {@link VcpuLoaded}, {@link VcpuPreempted}, {@link VcpuLeft} or
     * {@link VcpuBlocked}.
     */
    record VcpuUnseen(VcpuId vcpu) implements Event {
        public VcpuUnseen {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * x86: the ids in a vCPU's LAPIC, as the guest wrote them. The mirror uses them until the next event about this
     * LAPIC. The mirror predicts a message with a logical destination only if all vCPUs' LAPIC ids are known when KVM
     * writes the remapping entry. It samples the vCPUs that this process runs itself. For others, the VMM reads
     * KVM_GET_LAPIC and {@code apic_base} in {@code struct kvm_run}.
     */
    record LapicSampled(VcpuId vcpu, LapicSample sample) implements Event {
        public LapicSampled {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(sample, "sample is null");
        }
    }

    /** x86: a vCPU's LAPIC ids are unknown from now on, because the guest or the VMM can change them. */
    record LapicUnseen(VcpuId vcpu) implements Event {
        public LapicUnseen {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /** arm64: the VM has an ITS. */
    record ItsAdded(long its) implements Event {}

    /**
     * arm64: a guest mapped a device's ITS event to an LPI, or moved it to another vCPU. A VMM finds the LPI and the
     * vCPU only in the ITS tables.
     *
     * @param lpi the guest's LPI, {@value InterruptId#FIRST_LPI} or more
     * @param vcpu the vCPU that gets the LPI, as the LPI's collection selects it
     */
    record EventMapped(long its, int device, int event, int lpi, VcpuId vcpu) implements Event {
        public EventMapped {
            if (lpi < InterruptId.FIRST_LPI) {
                throw new IllegalArgumentException(
                        "LPI " + lpi + " is out of range: expected " + InterruptId.FIRST_LPI + " or more");
            }
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /** arm64: a device's ITS event is not mapped to an LPI. */
    record EventUnmapped(long its, int device, int event) implements Event {}

    /**
     * A device message is held back from the guest. This happens if its forwarding ended while it was pending, if its
     * interrupt was masked, rerouted, moved or ended while it may have been a pending vLPI, or if it is in a guest's
     * pending bit, which {@code GuestMsix} and {@code GuestMsi} keep and restore. No event reports a message that
     * arrives while its interrupt is masked, because the device signals the eventfd directly.
     */
    record Held(Producer producer, HeldMessage message) implements Event {
        public Held {
            Objects.requireNonNull(producer, "producer is null");
            Objects.requireNonNull(message, "message is null");
        }
    }

    /**
     * A message that {@link Held} reported is no longer held back. It went to the guest or to the eventfd's owner, a
     * device reset dropped it, or its interrupt was forwarded again unmasked.
     */
    record Released(Producer producer) implements Event {
        public Released {
            Objects.requireNonNull(producer, "producer is null");
        }
    }

    /** A device's line now has direct EOI, so VFIO does not mask it, and the guest's EOI ends the host interrupt. */
    record LineForwarded(EventFdId event) implements Event {
        public LineForwarded {
            Objects.requireNonNull(event, "event is null");
        }
    }

    /** A line's direct EOI ended, so VFIO masks the line at each interrupt again. */
    record LineUnforwarded(EventFdId event) implements Event {
        public LineUnforwarded {
            Objects.requireNonNull(event, "event is null");
        }
    }
}
