/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.events;

import static io.kvmirq.events.Events.Field.*;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jdk.jfr.AnnotationElement;
import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Enabled;
import jdk.jfr.Event;
import jdk.jfr.EventFactory;
import jdk.jfr.EventType;
import jdk.jfr.FlightRecorder;
import jdk.jfr.Name;
import jdk.jfr.Period;
import jdk.jfr.Timespan;
import jdk.jfr.ValueDescriptor;
import org.jspecify.annotations.Nullable;

/**
 * Records events for JDK Flight Recorder, whose module may be absent. A process's first event type initializes the
 * recorder, which takes up to 0.4 s, so {@link Recorder} is loaded only after a recording has started. Until then, each
 * method only reads a field. Thread-safe. No method throws or waits.
 */
public final class Events {
    private static final boolean PRESENT =
            ModuleLayer.boot().findModule("jdk.jfr").isPresent();

    private Events() {}

    /** An event field. {@code vm} and {@code eventfd} are descriptor numbers, {@code gsi} is -1 without an irqfd. */
    enum Field {
        VM("number of the VM's descriptor"),
        EVENTFD("number of the eventfd's descriptor"),
        GSI("the GSI that the eventfd raises; -1 for none"),
        DEVICE("host device"),
        INTERRUPT("device interrupt"),
        INTERRUPTS("number of interrupts in the refused call"),
        MECHANISM("irqfd, resample, userspace or direct EOI"),
        ERRNO("empty if no system call failed"),
        REASON("exit reason of the vCPU, or cause of the refusal"),
        ROUTES("number of routes after the change"),
        ADDED("number of GSIs that had no route before"),
        REMOVED("number of GSIs that have no route any more"),
        REPLACED("number of GSIs whose routes are others now"),
        SIGNALS("number of signals that became one interrupt"),
        VCPU("vCPU id"),
        VCPUS("number of paused vCPUs"),
        STOPPED("time until the last vCPU stopped"),
        COUNT("number of exits since the last event"),
        TEXT("the warning");

        final String description;

        Field(String description) {
            this.description = description;
        }

        boolean isText() {
            return List.of(DEVICE, INTERRUPT, MECHANISM, ERRNO, REASON, TEXT).contains(this);
        }
    }

    /** An event type. For example, {@code IRQFD_ASSIGNED} is the event {@code kvmirq.IrqfdAssigned}. */
    public enum Type {
        IRQFD_ASSIGNED("a new irqfd raises the GSI at each signal", VM, EVENTFD, GSI),
        IRQFD_MASKED("signals stay in the eventfd", VM, EVENTFD, GSI),
        IRQFD_UNMASKED("signals raise the GSI again", VM, EVENTFD, GSI),
        ROUTES_CHANGED("one KVM_SET_GSI_ROUTING, and its duration", VM, ROUTES, ADDED, REMOVED, REPLACED),
        FORWARDING_BEGUN("the guest gets a device interrupt", VM, DEVICE, INTERRUPT, EVENTFD, GSI, MECHANISM),
        FORWARDING_ENDED("the guest gets it no longer", VM, DEVICE, INTERRUPT, EVENTFD, GSI, MECHANISM),
        FORWARDING_REFUSED("forward failed and changed nothing", VM, DEVICE, INTERRUPTS, ERRNO, REASON),
        INTERRUPT_MOVED("another mechanism delivers it", VM, DEVICE, INTERRUPT, EVENTFD, GSI, MECHANISM),
        INTERRUPT_RELAYED("the event loop passed signals to the injector", EVENTFD, SIGNALS),
        /** Recorded for an interrupt that kvmirq itself causes. Other spurious interrupts are not visible to it. */
        SPURIOUS_INTERRUPT("kvmirq signals in case a vLPI was lost", VM, DEVICE, INTERRUPT, EVENTFD, GSI, MECHANISM),
        VCPU_CREATED("a vCPU", VM, VCPU),
        VCPU_EXITS("exits for one reason since the last event", VM, VCPU, REASON, COUNT),
        VCPU_KICKED("a thread ended the current or the next KVM_RUN", VM, VCPU),
        VCPUS_PAUSED("from the call of pause until the vCPUs may run again", VCPUS, STOPPED),
        MISTAKE("a warning that kvmirq logs", TEXT);

        final String description;

        @SuppressWarnings("ImmutableEnumChecker") // List.of
        final List<Field> fields;

        Type(String description, Field... fields) {
            this.description = description;
            this.fields = List.of(fields);
        }
    }

    /** Whether events of this type are being recorded. */
    public static boolean areOn(Type type) {
        return PRESENT && FlightRecorder.isInitialized() && Recorder.isEnabled(type);
    }

    public static void record(Type type, long first, long second) {
        if (areOn(type)) {
            Recorder.commit(Recorder.begin(type), first, second);
        }
    }

    public static void record(Type type, long first, long second, long third) {
        if (areOn(type)) {
            Recorder.commit(Recorder.begin(type), first, second, third);
        }
    }

    /** Begins an event that {@link #end} records. Null if the type is not recorded. */
    public static @Nullable Object begin(Type type) {
        return areOn(type) ? Recorder.begin(type) : null;
    }

    /** @param values the values of the type's fields, each a Long, or a String for a text field */
    public static void end(@Nullable Object begun, Object... values) {
        if (begun != null) {
            Recorder.commit(begun, values);
        }
    }

    /** The part that needs the module jdk.jfr. */
    static final class Recorder {
        /** Keeps the event type, because EventFactory.getEventType takes JVM-wide locks. */
        private record Known(EventFactory factory, EventType type) {}

        private static final Map<Type, Known> KNOWN =
                Stream.of(Type.values()).collect(Collectors.toMap(type -> type, Recorder::register));

        private Recorder() {}

        private static Known register(Type type) {
            String name = Stream.of(type.name().split("_"))
                    .map(word -> word.charAt(0) + word.substring(1).toLowerCase(Locale.ROOT))
                    .collect(Collectors.joining());
            List<AnnotationElement> annotations = List.of(
                    new AnnotationElement(Name.class, "kvmirq." + name),
                    new AnnotationElement(Category.class, new String[] {"kvmirq"}),
                    new AnnotationElement(Description.class, type.description),
                    new AnnotationElement(Period.class, "everyChunk"), // applies to types with a hook
                    new AnnotationElement(Enabled.class, false));
            EventFactory factory = EventFactory.create(
                    annotations, type.fields.stream().map(Recorder::field).toList());
            return new Known(factory, factory.getEventType());
        }

        private static ValueDescriptor field(Field field) {
            String name = field.name().toLowerCase(Locale.ROOT);
            AnnotationElement description = new AnnotationElement(Description.class, field.description);
            return new ValueDescriptor(
                    field.isText() ? String.class : long.class,
                    name,
                    field == STOPPED
                            ? List.of(description, new AnnotationElement(Timespan.class, Timespan.NANOSECONDS))
                            : List.of(description));
        }

        private static Known of(Type type) {
            return Objects.requireNonNull(KNOWN.get(type));
        }

        static boolean isEnabled(Type type) {
            return of(type).type().isEnabled();
        }

        static Event begin(Type type) {
            Event event = of(type).factory().newEvent();
            if (type == Type.ROUTES_CHANGED || type == Type.VCPUS_PAUSED) { // other types have no duration
                event.begin();
            }
            return event;
        }

        static void commit(Object begun, Object... values) {
            Event event = (Event) begun;
            for (int i = 0; i < values.length; i++) {
                event.set(i, values[i]);
            }
            event.commit();
        }

        /**
         * Calls {@code hook} at the start and end of each recording chunk, or at the period in the recording's
         * settings.
         */
        static void addHook(Type type, Runnable hook) {
            FlightRecorder.addPeriodicEvent(begin(type).getClass(), hook);
        }

        static void removeHook(Runnable hook) {
            FlightRecorder.removePeriodicEvent(hook);
        }
    }
}
