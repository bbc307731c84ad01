/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.DeviceName;
import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.mirror.DeliveryPath;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Producer;
import io.kvmirq.recording.tapes.TapeLine;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The steps of a VMM on its tape: events of the mirror, each with its call. A mirror folds the events of one VM and predicts
 * posting. The log names the call that made or ended a link, also of links that ended. For one thread.
 */
final class TapedLog {
    /** An id that no eventfd has. */
    static final EventFdId NO_EVENTFD = new EventFdId(0);

    /**
     * A step.
     *
     * @param since the call since which its subject has had an irqfd, an eventfd or routes; {@code at} if it had none before
     * @param call the request or function, such as {@code KVM_IRQFD}
     * @param vm the file of the VM; empty for a step of a device, which concerns every VM
     * @param had whether its subject has had an irqfd, an eventfd or routes, now or before
     */
    record Step(long at, long since, String call, String vm, Event event, boolean had) {
        /** The eventfd that the vector of a device signals after this step, or that the irqfd listens to. */
        Optional<EventFdId> eventfd() {
            return event instanceof Event.ProducerAdded added
                    ? Optional.of(added.event())
                    : event instanceof Event.ConsumerAdded irqfd ? Optional.of(irqfd.event()) : Optional.empty();
        }

        /** The routes of the GSI after a step that set them. */
        List<Route> routes() {
            return ((Event.RoutesCommitted) event).changed().values().iterator().next();
        }

        /** The GSI of an irqfd, after a step that made or ended the irqfd. */
        Gsi gsi() {
            return event instanceof Event.ConsumerAdded added ? added.gsi() : ((Event.ConsumerRemoved) event).gsi();
        }
    }

    private record Target(String vm, Gsi gsi) {}

    private record Mask(EventFdId event) {}

    private record Irqfd(String vm, EventFdId event) {}

    private final List<Step> steps = new ArrayList<>();
    /** The last step of each {@link Irqfd}, vector ({@link Producer}), {@link Target} or {@link Mask}. */
    private final Map<Object, Step> last = new HashMap<>();

    private final List<String> eventfds = new ArrayList<>();
    private final Map<String, EventFdId> ids = new HashMap<>();

    EventFdId id(String file) {
        return ids.computeIfAbsent(file, first -> {
            eventfds.add(first);
            return new EventFdId(eventfds.size());
        });
    }

    String file(EventFdId event) {
        return eventfds.get((int) event.number() - 1);
    }

    void add(TapeLine.Call call, String name, String vm, Event event) {
        @Nullable Object subject = subject(vm, event);
        Optional<Step> before = subject == null ? Optional.empty() : Optional.ofNullable(last.get(subject));
        Optional<Step> standing = before.filter(step -> stands(step.event()) && stands(event));
        long since = standing.map(Step::since).orElse(call.number());
        boolean had = stands(event) || before.filter(Step::had).isPresent();
        Step step = new Step(call.number(), since, name, vm, event, had);
        steps.add(step);
        if (subject != null) {
            last.put(subject, step);
        }
    }

    private static boolean stands(Event event) {
        return event instanceof Event.RoutesCommitted committed
                ? committed.changed().values().stream().noneMatch(List::isEmpty)
                : event instanceof Event.ConsumerAdded || event instanceof Event.ProducerAdded;
    }

    private static @Nullable Object subject(String vm, Event event) {
        if (event instanceof Event.ConsumerAdded added) {
            return new Irqfd(vm, added.event());
        } else if (event instanceof Event.ConsumerRemoved removed) {
            return new Irqfd(vm, removed.event());
        } else if (event instanceof Event.ProducerAdded added) {
            return added.producer();
        } else if (event instanceof Event.ProducerRemoved removed) {
            return removed.producer();
        } else if (event instanceof Event.DeliveryChanged changed) {
            return new Mask(changed.event());
        }
        return event instanceof Event.RoutesCommitted routes
                ? new Target(vm, routes.changed().keySet().iterator().next())
                : null;
    }

    /** The first irqfd of an eventfd that is assigned; without one, the step that ended an irqfd last. */
    Optional<Step> irqfd(EventFdId event) {
        return irqfds(event).stream().findFirst().or(() -> last.values().stream()
                .filter(step -> step.event() instanceof Event.ConsumerRemoved removed
                        && removed.event().equals(event))
                .max(Comparator.comparingLong(Step::at)));
    }

    /** The irqfd of an eventfd and a VM, if it is assigned to a GSI. */
    Optional<Step> irqfd(String vm, EventFdId event, Gsi gsi) {
        return Optional.ofNullable(last.get(new Irqfd(vm, event)))
                .filter(step -> stands(step.event()) && step.gsi().equals(gsi));
    }

    /** The irqfds of an eventfd that are assigned, one for each VM, in the order of their calls. */
    List<Step> irqfds(EventFdId event) {
        return irqfds(step -> step.eventfd().equals(Optional.of(event)));
    }

    /** The irqfds of a VM that are assigned, in the order of their calls. */
    List<Step> irqfds(String vm) {
        return irqfds(step -> step.vm().equals(vm));
    }

    private List<Step> irqfds(Predicate<Step> wanted) {
        return last.values().stream()
                .filter(step -> step.event() instanceof Event.ConsumerAdded && wanted.test(step))
                .sorted(Comparator.comparingLong(Step::at))
                .toList();
    }

    /** The last step about a vector. */
    Optional<Step> vector(Producer vector) {
        return Optional.ofNullable(last.get(vector));
    }

    /** The last step about each vector of a device, by kind and number. */
    List<Step> vectors(DeviceName device) {
        return last.keySet().stream()
                .filter(Producer.class::isInstance)
                .map(Producer.class::cast)
                .filter(vector -> vector.device().equals(device))
                .sorted(Comparator.comparing(Producer::kind).thenComparingInt(Producer::number))
                .map(last::get)
                .toList();
    }

    /** The call that masked the interrupt of an eventfd through VFIO. */
    Optional<Step> mask(EventFdId event) {
        return Optional.ofNullable(last.get(new Mask(event)))
                .filter(step -> ((Event.DeliveryChanged) step.event()).delivery() == DeliveryPath.MASKED);
    }

    /** The last step that changed the routes of a GSI. */
    Optional<Step> target(String vm, Gsi gsi) {
        return Optional.ofNullable(last.get(new Target(vm, gsi)));
    }

    /** The vCPUs of a VM, by id. */
    List<VcpuId> vcpus(String vm) {
        return events(vm, Event.VcpuAdded.class)
                .map(Event.VcpuAdded::vcpu)
                .distinct()
                .sorted(Comparator.comparingInt(VcpuId::number))
                .toList();
    }

    /** The events of a VM of one type, in the order of their calls. */
    <T extends Event> Stream<T> events(String vm, Class<T> type) {
        return steps.stream()
                .filter(step -> step.vm().equals(vm) && type.isInstance(step.event()))
                .map(step -> type.cast(step.event()));
    }

    /** The mirror of a VM, on a host. */
    Mirror mirror(String vm, MirrorHost host) {
        Mirror mirror = Mirror.of(host);
        mirror.apply(steps.stream()
                .filter(step -> step.vm().equals(vm) || step.vm().isEmpty())
                .map(Step::event)
                .toList());
        return mirror;
    }
}
