/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Undo;
import io.kvmirq.uapi.UapiVfio;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Interrupts of one kind that a device may raise, each with its eventfd, which it leases. Closing disarms all of them; so
 * does closing the device. Thread-safe.
 *
 * <p>A change that the kernel refuses detaches interrupts that had an eventfd; the change then gives them back what they
 * had, and says so with {@link VectorsDisturbedException}.
 */
public abstract sealed class Armed implements AutoCloseable permits ArmedVectors, ArmedIrq {
    static final int TRIGGER = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;

    private final Interrupts irqs;
    private final int index;
    private final Fd.@Nullable Lease[] leases;
    private boolean closed;

    Armed(Interrupts irqs, int index) {
        this.irqs = irqs;
        this.index = index;
        this.leases = new Fd.Lease[irqs.info(index).count()];
    }

    final Interrupts irqs() {
        return irqs;
    }

    final int index() {
        return index;
    }

    final IrqInfo info() {
        return irqs.info(index);
    }

    final String named(int first, int count) {
        String label = info().kind().label();
        return leases.length == 1 ? label : label + " " + first + (count == 1 ? "" : "–" + (first + count - 1));
    }

    final void requireOpen() {
        if (closed) {
            throw new IllegalStateException(this + " is disarmed: arm it again");
        }
    }

    /** The kind of interrupts. */
    public final IrqKind kind() {
        return info().kind();
    }

    /** Whether they are armed no more. */
    public final boolean isClosed() {
        synchronized (irqs) {
            return closed;
        }
    }

    final RuntimeException refused(int result, int action, int first, int count) {
        return irqs.refused(result, action, index, named(first, count));
    }

    /** @throws RuntimeException for a result other than 0 */
    final void check(int result, int action, int first, int count) {
        if (result != 0) {
            throw refused(result, action, first, count);
        }
    }

    // Changes

    private List<Optional<Fd.Lease>> leased(int first, List<Optional<EventFd>> events, Undo undo) {
        List<Optional<Fd.Lease>> leased = new ArrayList<>();
        for (Optional<EventFd> event : events) {
            leased.add(event.map(one -> undo.add(irqs.lease(one))));
        }
        requireDistinct(first, descriptors(leased));
        return leased;
    }

    /** KVM bypasses one interrupt for each eventfd, and only logs that it refuses another one. */
    private void requireDistinct(int first, List<Integer> next) {
        Set<Integer> seen = new HashSet<>();
        for (int i = 0; i < leases.length; i++) {
            boolean changes = i >= first && i < first + next.size();
            int number = changes ? next.get(i - first) : number(leases[i]);
            if (number != Interrupts.NO_EVENTFD && !seen.add(number)) {
                throw new IllegalArgumentException("eventfd " + number + " cannot be of two interrupts of " + this
                        + ", the second " + i + ": use one eventfd for each, or detach the other one first");
            }
        }
    }

    private static int number(Fd.@Nullable Lease lease) {
        return lease == null ? Interrupts.NO_EVENTFD : lease.number();
    }

    /** The descriptors of a range as it is. */
    final List<Integer> numbers(int first, int count) {
        return Arrays.stream(leases, first, first + count).map(Armed::number).toList();
    }

    /** Enables the index with these eventfds; nothing is enabled if it fails. */
    final void enable(int first, List<Optional<EventFd>> events) {
        synchronized (irqs) {
            try (Undo undo = new Undo()) {
                List<Optional<Fd.Lease>> leased = leased(first, events, undo);
                irqs.begin(index, this);
                undo.add(() -> irqs.end(index));
                int result = irqs.trigger(index, first, descriptors(leased));
                if (result < 0 && irqs.isAdopted()) {
                    throw new VectorsDisturbedException(
                            refused(result, TRIGGER, first, events.size()),
                            "what another program armed of them may have no eventfd now",
                            List.of(),
                            List.of());
                }
                check(result, TRIGGER, first, events.size());
                store(first, leased);
                undo.keep();
            }
        }
    }

    private static List<Integer> descriptors(List<Optional<Fd.Lease>> leased) {
        return leased.stream()
                .map(lease -> lease.map(Fd.Lease::number).orElse(Interrupts.NO_EVENTFD))
                .toList();
    }

    private void store(int first, List<Optional<Fd.Lease>> leased) {
        for (int i = 0; i < leased.size(); i++) {
            Fd.@Nullable Lease before = leases[first + i];
            leases[first + i] = leased.get(i).orElse(null);
            if (before != null) {
                before.close();
            }
        }
    }

    /** Gives interrupts of an armed index other eventfds, or none. The caller holds the lock. */
    final void change(int first, List<Optional<EventFd>> events) {
        requireOpen();
        try (Undo undo = new Undo()) {
            List<Optional<Fd.Lease>> leased = leased(first, events, undo);
            int result = irqs.trigger(index, first, descriptors(leased));
            if (result != 0) {
                throw rearmed(first, events.size(), refused(result, TRIGGER, first, events.size()));
            }
            store(first, leased);
            undo.keep();
        }
    }

    /**
     * Disables the index and enables it again with more. If the kernel refuses that, the index gets back what it had. The
     * caller holds the lock.
     *
     * @param total how many vectors it has then
     * @param before how many it has now
     */
    final void replaceAll(int first, List<EventFd> events, int total, int before) {
        requireOpen();
        try (Undo undo = new Undo()) {
            List<Optional<Fd.Lease>> leased =
                    leased(first, events.stream().map(Optional::of).toList(), undo);
            List<Integer> all = new ArrayList<>(numbers(0, total));
            for (int i = 0; i < leased.size(); i++) {
                all.set(first + i, descriptors(leased).get(i));
            }
            irqs.disable(index);
            int result = irqs.trigger(index, 0, all);
            if (result != 0) {
                throw enabledAgain(before, refused(result, TRIGGER, first, events.size()));
            }
            store(first, leased);
            undo.keep();
        }
    }

    /** Undoes what a refused call did to a range: all at once, or if that fails one by one. */
    private RuntimeException rearmed(int first, int count, RuntimeException cause) {
        List<Integer> interrupted = set(first, count);
        if (interrupted.isEmpty() || info().kind().isNotice()) {
            return cause; // a notice keeps its eventfd
        }
        List<Integer> lost = new ArrayList<>();
        if (irqs.trigger(index, first, numbers(first, count)) != 0) {
            for (int i : interrupted) {
                if (irqs.trigger(index, i, numbers(i, 1)) != 0) {
                    lost.add(i);
                }
            }
        }
        for (int i : lost) {
            irqs.trigger(index, i, List.of(Interrupts.NO_EVENTFD)); // a line may still have its former one
            store(i, List.of(Optional.empty()));
        }
        return new VectorsDisturbedException(
                cause,
                info().kind().label() + " " + interrupted + " of " + irqs + " had no eventfd for a moment"
                        + (lost.isEmpty()
                                ? " and have their former ones again"
                                : ", of which " + lost + " could not be armed again: arm them"),
                interrupted,
                lost);
    }

    /** Undoes a refused {@link #replaceAll}; if the kernel refuses that too, all are disarmed. */
    private RuntimeException enabledAgain(int count, RuntimeException cause) {
        List<Integer> interrupted = set(0, count);
        boolean lost = irqs.trigger(index, 0, numbers(0, count)) != 0;
        if (lost) {
            close();
            return new VectorsDisturbedException(
                    cause,
                    "the former vectors were refused too, so " + this + " is disarmed",
                    interrupted,
                    interrupted);
        }
        return interrupted.isEmpty()
                ? cause
                : new VectorsDisturbedException(
                        cause,
                        info().kind().label() + " " + interrupted + " of " + irqs
                                + " had no eventfd for a moment and have their former ones again",
                        interrupted,
                        List.of());
    }

    /** Those of a range that have an eventfd. */
    private List<Integer> set(int first, int count) {
        return IntStream.range(first, first + count)
                .filter(this::hasEvent)
                .boxed()
                .toList();
    }

    /** Whether an interrupt has an eventfd. */
    final boolean hasEvent(int number) {
        return leases[number] != null;
    }

    /** Disarms all of them: no signal comes later. Idempotent, never fails. */
    @Override
    public final void close() {
        end(() -> irqs.disable(index));
    }

    /**
     * Takes the eventfds that were given here, and leaves the rest to the program that enabled it. Idempotent, never
     * fails.
     */
    final void leave() {
        end(() -> {
            for (int i = 0; i < leases.length; i++) {
                int first = i;
                while (i < leases.length && hasEvent(i)) {
                    i++;
                }
                if (i > first) {
                    irqs.trigger(index, first, Collections.nCopies(i - first, Interrupts.NO_EVENTFD));
                }
            }
        });
    }

    private void end(Runnable disarm) {
        synchronized (irqs) {
            if (closed) {
                return;
            }
            closed = true;
            disarming();
            disarm.run();
            irqs.end(index);
            for (Fd.@Nullable Lease lease : leases) {
                if (lease != null) {
                    lease.close();
                }
            }
            Arrays.fill(leases, null);
        }
    }

    /** Takes from the kernel what outlives the disabling of the index. */
    void disarming() {}

    @Override
    public final String toString() {
        return "armed " + info().kind().label() + " of " + irqs;
    }
}
