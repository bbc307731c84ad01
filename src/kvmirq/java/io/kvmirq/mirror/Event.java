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
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A step of the control plane that succeeded. Immutable. An event that changes nothing is ignored, so tear-down may
 * report steps twice.
 *
 * <p>A mask that takes the irqfd away and keeps the route is {@link ConsumerRemoved} with {@link DeliveryChanged}; the
 * unmask is {@link ConsumerAdded} with another one.
 */
@NotPromised
public sealed interface Event {
    /** The interrupt controllers that KVM emulates. */
    enum Irqchip {
        /** x86: PIC, IOAPIC and LAPICs. */
        FULL,
        /** x86: LAPICs only (KVM_CAP_SPLIT_IRQCHIP). */
        SPLIT,
        /** arm64: a VGIC. */
        VGIC
    }

    /** The VM has an irqchip. {@link ConsumerAdded} implies this: KVM refuses an irqfd without one. */
    record IrqchipCreated(Irqchip kind) implements Event {
        public IrqchipCreated {
            Objects.requireNonNull(kind, "kind is null");
        }
    }

    /** x86: the VM uses 32-bit APIC ids from now on (KVM_X2APIC_API_USE_32BIT_IDS). */
    record ApicIdsWidened() implements Event {}

    /**
     * x86: destination 255 is no broadcast in x2APIC mode from now on (KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK). It names
     * vCPU 255, if there is one: the guest is taken to be in x2APIC mode then.
     */
    record BroadcastQuirkDisabled() implements Event {}

    /** A vCPU exists; on x86 its id is also its APIC id. */
    record VcpuAdded(VcpuId vcpu) implements Event {
        public VcpuAdded {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /** A vCPU is gone. */
    record VcpuRemoved(VcpuId vcpu) implements Event {
        public VcpuRemoved {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * The routing table changed.
     *
     * @param changed the GSIs whose routes changed, each with all routes that it has now. No routes: the GSI has none
     *     any more. GSIs that keep their routes may be left out, so that the fold costs what changed
     */
    record RoutesCommitted(Map<Gsi, List<Route>> changed) implements Event {
        /** Copies the map. */
        public RoutesCommitted {
            changed = changed.entrySet().stream()
                    .collect(Collectors.toUnmodifiableMap(Map.Entry::getKey, entry -> List.copyOf(entry.getValue())));
        }

        /** The GSIs of these routes changed; these are all routes that those GSIs have now. */
        public static RoutesCommitted of(Route... routes) {
            Objects.requireNonNull(routes, "routes is null");
            return new RoutesCommitted(Stream.of(routes).collect(Collectors.groupingBy(Route::gsi)));
        }

        /** A GSI has no route any more. */
        public static RoutesCommitted without(Gsi gsi) {
            Objects.requireNonNull(gsi, "gsi is null");
            return new RoutesCommitted(Map.of(gsi, List.of()));
        }
    }

    /**
     * An irqfd listens to an eventfd. A second irqfd of the VM on the same eventfd replaces the first in the mirror:
     * the kernel refuses it while the first exists.
     *
     * @param resample the eventfd that the guest's EOI signals, for a level-triggered interrupt
     */
    record ConsumerAdded(EventFdId event, Gsi gsi, Optional<EventFdId> resample) implements Event {
        public ConsumerAdded {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(gsi, "gsi is null");
            Objects.requireNonNull(resample, "resample is null");
        }

        /** An irqfd of an edge. */
        public ConsumerAdded(EventFdId event, Gsi gsi) {
            this(event, gsi, Optional.empty());
        }
    }

    /**
     * Consecutive messages of a device are forwarded, each by an eventfd of its own to a GSI of its own: for each the
     * same as {@link RoutesCommitted}, {@link ProducerAdded} and, if it is not masked, {@link ConsumerAdded} and {@link
     * Released}.
     *
     * @param first the number of the first
     * @param messages by place, as {@code events} and {@code gsis}
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
        /** Copies the lists. */
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

        /** The steps of one. */
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

    /** An irqfd is gone. */
    record ConsumerRemoved(EventFdId event, Gsi gsi) implements Event {
        public ConsumerRemoved {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(gsi, "gsi is null");
        }
    }

    /**
     * VFIO signals an eventfd for an interrupt of a device. The first message on an eventfd is its producer. The kernel
     * refuses another message on the same eventfd for bypass, also after the first is gone, until it is added again.
     */
    record ProducerAdded(EventFdId event, Producer producer) implements Event {
        public ProducerAdded {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(producer, "producer is null");
        }
    }

    /**
     * VFIO no longer signals an eventfd for an interrupt of a device. An interrupt that gets another eventfd is removed
     * and added.
     */
    record ProducerRemoved(EventFdId event, Producer producer) implements Event {
        public ProducerRemoved {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(producer, "producer is null");
        }
    }

    /**
     * The delivery of a device's interrupt changed, from {@link DeliveryPath#KERNEL} at first. Nothing follows {@link
     * DeliveryPath#CLOSED}. {@code event} is the eventfd that VFIO signals.
     */
    record DeliveryChanged(EventFdId event, DeliveryPath delivery) implements Event {
        public DeliveryChanged {
            Objects.requireNonNull(event, "event is null");
            Objects.requireNonNull(delivery, "delivery is null");
        }
    }

    /** A device entered or left a domain of VFIO; at first it is in one. {@code unmanaged} counts on AMD only. */
    record DomainChanged(DeviceName device, boolean unmanaged) implements Event {
        public DomainChanged {
            Objects.requireNonNull(device, "device is null");
        }
    }

    /**
     * x86: all reasons that inhibit APIC virtualization now. On AMD the mirror predicts the state after each vCPU's
     * next entry.
     */
    record Inhibited(Set<InhibitReason> reasons) implements Event {
        /** Copies the set. */
        public Inhibited {
            reasons = reasons.isEmpty() ? Set.of() : Set.copyOf(EnumSet.copyOf(reasons));
        }
    }

    /**
     * This process runs a vCPU, and the mirror reads its phase from now on. Its schedule may come from other events, too:
     * what they say holds until the phase changes. It does not say that the vCPU exists: see {@link VcpuAdded}.
     */
    record VcpuWatched(VcpuId vcpu, VcpuPhase phase) implements Event {
        public VcpuWatched {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(phase, "phase is null");
        }
    }

    /**
     * The thread of a vCPU is in KVM_RUN: the vCPU is loaded, preempted or asleep. The mirror does not predict the fields
     * that follow its schedule until an event says which.
     */
    record VcpuEntered(VcpuId vcpu) implements Event {
        public VcpuEntered {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * The thread of a vCPU is in user space, and it is not known how KVM stopped the vCPU. PID.SN, PID.NV and PID.NDST are
     * not predicted.
     */
    record VcpuOutside(VcpuId vcpu) implements Event {
        public VcpuOutside {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * A vCPU is loaded on a CPU of the host. Without this event, the next three and {@link VcpuWatched} the mirror does
     * not predict the fields that follow the vCPU's schedule: IsRun, Destination, PID.SN, PID.NV and PID.NDST.
     *
     * @param cpu the physical APIC id of the CPU, {@code apicid} in {@code /proc/cpuinfo}
     */
    record VcpuLoaded(VcpuId vcpu, int cpu) implements Event {
        public VcpuLoaded {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * The host took the CPU away from a vCPU. It does not change a vCPU that sleeps: one that is woken is as it was
     * until it is loaded.
     */
    record VcpuPreempted(VcpuId vcpu) implements Event {
        public VcpuPreempted {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /** {@code KVM_RUN} of a vCPU returned, and its thread is in user space. */
    record VcpuLeft(VcpuId vcpu) implements Event {
        public VcpuLeft {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * A vCPU sleeps until an interrupt wakes it. On Intel, the prediction holds if its guest has interrupts enabled; KVM
     * keeps the descriptor of another sleeper as {@link VcpuLeft} says.
     */
    record VcpuBlocked(VcpuId vcpu) implements Event {
        public VcpuBlocked {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * The schedule of a vCPU is not known from now on, since its observer missed a step. The fields that follow it are not
     * predicted until one of the four events before.
     */
    record VcpuUnseen(VcpuId vcpu) implements Event {
        public VcpuUnseen {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /**
     * x86: the ids that the guest has given the LAPIC of a vCPU. A logical message is predicted when they are known of all
     * vCPUs. The mirror takes them from the vCPUs that it watches; a VMM that runs its vCPUs in another way reads
     * KVM_GET_LAPIC and the {@code apic_base} of {@code struct kvm_run}.
     */
    record LapicSampled(VcpuId vcpu, LapicSample sample) implements Event {
        public LapicSampled {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(sample, "sample is null");
        }
    }

    /** arm64: the VM has an ITS. */
    record ItsAdded(long its) implements Event {}

    /**
     * arm64: a guest maps an event of a device to an LPI, or moves it to another vCPU. A VMM learns this only if it
     * reads the tables of the ITS.
     *
     * @param lpi 8192 or more
     * @param vcpu the vCPU of the LPI's collection
     */
    record EventMapped(long its, int device, int event, int lpi, VcpuId vcpu) implements Event {
        public EventMapped {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }
    }

    /** arm64: a guest's event of a device has no LPI. */
    record EventUnmapped(long its, int device, int event) implements Event {}

    /**
     * A message of a device is held back from the guest. Its interrupt was ended with a message that waited, or was masked,
     * rerouted, moved or ended while it may have been a pending vLPI; or the pending bit of a guest has it, which {@code
     * GuestMsix} and {@code GuestMsi} keep and restore. A message that comes to an interrupt that is masked already has no
     * event, because the device signals the eventfd itself.
     */
    record Held(Producer producer, HeldMessage message) implements Event {
        public Held {
            Objects.requireNonNull(producer, "producer is null");
            Objects.requireNonNull(message, "message is null");
        }
    }

    /**
     * The message that was held back goes on to the guest, or to the owner of the eventfd. Or it is no more, because the
     * device was reset, or its interrupt was forwarded anew and lets messages through.
     */
    record Released(Producer producer) implements Event {
        public Released {
            Objects.requireNonNull(producer, "producer is null");
        }
    }

    /** The line of a device has direct EOI from now on. */
    record LineForwarded(EventFdId event) implements Event {
        public LineForwarded {
            Objects.requireNonNull(event, "event is null");
        }
    }

    /** The line of a device is masked automatically again. */
    record LineUnforwarded(EventFdId event) implements Event {
        public LineUnforwarded {
            Objects.requireNonNull(event, "event is null");
        }
    }
}
