/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * An emulated device's interrupt vectors, each with an eventfd that the device may signal at any time. A vector gets an
 * irqfd and a route when the guest enables and unmasks it. Signals of a disabled or masked vector stay in the eventfd
 * and become one interrupt. Pass the vectors to {@link GuestMsix} or {@link GuestMsi}.
 *
 * <p>Other threads and processes may signal a vector's eventfd, and so may vhost after VHOST_SET_VRING_CALL. {@link
 * #signal} and {@link #event} are thread-safe, but other methods are not.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="function"}
 */
public final class EmulatedVectors implements AutoCloseable {
    private final Vm vm;
    private final List<EventFd> events;
    private final boolean ownsEvents;
    private final AtomicReference<@Nullable Object> user = new AtomicReference<>();
    private final Connected source = new Connected();
    private final @Nullable MaskableVector[] vectors;

    private EmulatedVectors(Vm vm, List<EventFd> events, boolean ownsEvents) {
        this.vm = vm;
        this.events = events;
        this.ownsEvents = ownsEvents;
        this.vectors = new MaskableVector[events.size()];
    }

    /**
     * Creates {@code count} vectors, each with a new eventfd.
     *
     * @param count the number of vectors, 1 to 2048
     * @throws io.kvmirq.KernelException EMFILE or ENFILE if no descriptor is free. No new eventfd stays open
     */
    public static EmulatedVectors create(Vm vm, int count) {
        Objects.requireNonNull(vm, "vm is null");
        requireCount(count);
        return new EmulatedVectors(vm, EventFd.createAll(vm.kernel(), count), true);
    }

    /**
     * Creates a vector for each of these eventfds, which the caller must close after {@link #close}.
     *
     * @throws IllegalArgumentException unless there are 1 to 2048 eventfds, all of this VM's {@code Kernel}
     * @throws io.kvmirq.kernel.ClosedHandleException if an eventfd is closed
     */
    public static EmulatedVectors create(Vm vm, List<EventFd> events) {
        Objects.requireNonNull(vm, "vm is null");
        requireCount(Objects.requireNonNull(events, "events is null").size());
        events.forEach(event -> requireOf(vm, event));
        return new EmulatedVectors(vm, List.copyOf(events), false);
    }

    /** Checks an eventfd before the guest opens its vector, or enables the doorbell's BAR. */
    static void requireOf(Vm vm, EventFd event) {
        if (Objects.requireNonNull(event, "event is null").fd().kernel() != vm.kernel()) {
            throw new IllegalArgumentException(
                    event + " belongs to another Kernel than " + vm + ": open both from the same Kernel");
        }
        if (event.fd().isClosed()) {
            throw new ClosedHandleException(event.toString());
        }
    }

    private static void requireCount(int count) {
        if (count < 1 || count > MsiMessage.MOST_VECTORS) {
            throw new IllegalArgumentException(count + " vectors: expected 1 to " + MsiMessage.MOST_VECTORS);
        }
    }

    /** The number of vectors. */
    public int count() {
        return events.size();
    }

    /**
     * Returns the eventfd that raises a vector, for use by another thread, process or device. Do not close the eventfd.
     *
     * @throws IndexOutOfBoundsException for a vector beyond {@link #count}
     */
    public EventFd event(int vector) {
        if (vector < 0 || vector >= count()) {
            throw new IndexOutOfBoundsException(
                    "vector " + vector + " of " + this + ": expected 0 to " + (count() - 1));
        }
        return events.get(vector);
    }

    /**
     * Raises a vector. Signals of a masked vector stay in its eventfd, and become one interrupt at the unmask.
     *
     * @throws IndexOutOfBoundsException for a vector beyond {@link #count}
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    public void signal(int vector) {
        event(vector).signal();
    }

    /** Reserves the vectors for one function, because two would take each other's interrupts. */
    void begin(Vm ofFunction, Object function) {
        if (ofFunction != vm) {
            throw new IllegalArgumentException(
                    this + " cannot be those of a function of " + ofFunction + ": create them with its VM");
        }
        if (!user.compareAndSet(null, function)) {
            throw new IllegalArgumentException(
                    this + " are those of " + user.get() + " already: give each function its own, or close that one");
        }
    }

    void end(Object function) {
        user.compareAndSet(function, null);
    }

    VectorSource source() {
        return source;
    }

    /** The vectors that the guest has opened, as its MSI or MSI-X drives them. */
    private final class Connected implements VectorSource {
        @Override
        public int count() {
            return events.size();
        }

        @Override
        public List<EventFd> events() {
            return events;
        }

        @Override
        public void signal(int vector) {
            events.get(vector).signal();
        }

        @Override
        public boolean isBusy() {
            return Arrays.stream(vectors).anyMatch(Objects::nonNull);
        }

        @Override
        public boolean keepsPending() {
            return true;
        }

        @Override
        public void connect(int from, int count, IntFunction<MsiMessage> messages) {
            List<MsiMessage> all =
                    IntStream.range(from, from + count).mapToObj(messages).toList();
            List<MaskableVector> made = MaskableVector.createMasked(vm, events.subList(from, from + count), all);
            for (int i = 0; i < count; i++) {
                vectors[from + i] = made.get(i);
            }
        }

        private MaskableVector connected(int vector) {
            MaskableVector connected = vectors[vector];
            if (connected == null) {
                throw new ClosedHandleException("vector " + vector + " of " + EmulatedVectors.this);
            }
            return connected;
        }

        private List<MaskableVector> vectors(BitSet which) {
            return which.stream().mapToObj(this::connected).toList();
        }

        @Override
        public void mask(BitSet which) {
            each(which, MaskableVector::mask, MaskableVector::unmask);
        }

        @Override
        public void unmask(BitSet which) {
            each(which, MaskableVector::unmask, MaskableVector::mask);
        }

        /** Runs a step for all vectors, or for none. */
        private void each(BitSet which, Consumer<MaskableVector> step, Consumer<MaskableVector> back) {
            try (Undo undo = new Undo()) {
                for (MaskableVector vector : vectors(which)) {
                    undo.step(() -> step.accept(vector), () -> back.accept(vector));
                }
                undo.keep();
            }
        }

        @Override
        public void reroute(BitSet which, List<MsiMessage> messages) {
            MaskableVector.rerouteAll(vectors(which), messages);
        }

        /** Returns none, because the eventfds keep interrupts pending. Skips vectors that were closed before. */
        @Override
        public BitSet disconnect(BitSet which) {
            BitSet connected = (BitSet) which.clone();
            which.stream().filter(vector -> vectors[vector] == null).forEach(connected::clear);
            MaskableVector.closeAll(vectors(connected));
            which.stream().forEach(vector -> vectors[vector] = null);
            return new BitSet();
        }

        @Override
        public Optional<MsiMessage> message(int vector) {
            return Optional.ofNullable(vectors[vector]).map(MaskableVector::message);
        }

        @Override
        public Optional<Gsi> gsi(int vector) {
            return Optional.ofNullable(vectors[vector]).map(MaskableVector::gsi);
        }

        @Override
        public boolean isPending(int vector) {
            MaskableVector connected = vectors[vector];
            return (connected == null || connected.isMasked())
                    && events.get(vector).awaitNanos(0);
        }

        /** Skips connected vectors, which the other kind disconnects and then forgets. */
        @Override
        public void forget() {
            for (int i = 0; i < count(); i++) {
                if (vectors[i] == null && !events.get(i).fd().isClosed()) {
                    events.get(i).drain();
                }
            }
        }

        @Override
        public Vm vm() {
            return vm;
        }
    }

    /** Removes irqfds and routes, and closes the eventfds that {@link #create} made. Idempotent, never fails. */
    @Override
    public void close() {
        BitSet all = new BitSet();
        all.set(0, count());
        source.disconnect(all);
        if (ownsEvents) {
            events.forEach(EventFd::close);
        }
    }

    @Override
    public String toString() {
        return count() + " vectors of " + vm;
    }
}
