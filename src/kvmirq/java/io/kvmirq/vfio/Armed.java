/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.IrqKind;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A device's armed interrupts, all of one kind (such as MSI-X). The kernel signals their eventfds, which stay open
 * while the interrupts are armed. Closing this object or the device disarms them. Thread-safe.
 *
 * <p>If the kernel fails to set eventfds, it also detaches the former eventfds of these interrupts. The method that
 * requested the change attaches them again and throws {@link VectorsDisturbedException}.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="armed"}
 */
public abstract sealed class Armed implements AutoCloseable permits ArmedVectors, ArmedIrq {
    static final int TRIGGER = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;

    private final Interrupts irqs;
    private final int index;
    private final @Nullable Fd[] files;
    private boolean closed;
    /** Whether a failed change disarmed all interrupts without a call of {@link #close}. */
    private boolean lost;

    Armed(Interrupts irqs, int index) {
        this.irqs = irqs;
        this.index = index;
        this.files = new Fd[irqs.info(index).count()];
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
        return files.length == 1 ? label : label + " " + first + (count == 1 ? "" : "-" + (first + count - 1));
    }

    final void requireOpen() {
        if (lost) {
            throw new IllegalStateException(this + " is disarmed: arm it again");
        }
        if (closed) {
            throw new ClosedHandleException(toString());
        }
    }

    /** The kind of the armed interrupts, such as {@link IrqKind#MSIX}. */
    public final IrqKind kind() {
        return info().kind();
    }

    /** Whether the interrupts are disarmed. */
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

    private @Nullable Fd[] held(int first, @Nullable EventFd[] events, Undo undo) {
        @Nullable Fd[] held = new Fd[events.length];
        undo.add(() -> Arrays.stream(held).forEach(irqs.calls()::letGo));
        for (int i = 0; i < held.length; i++) {
            EventFd event = events[i];
            if (event != null) {
                held[i] = irqs.calls().hold(event);
            }
        }
        requireDistinct(first, numbers(held));
        return held;
    }

    /** Rejects a shared eventfd, because irqbypass joins only one interrupt per eventfd, and just logs a refusal. */
    private void requireDistinct(int first, int[] next) {
        int[] sorted = next.clone();
        Arrays.sort(sorted);
        for (int i = 1; i < sorted.length; i++) {
            if (sorted[i] == sorted[i - 1] && sorted[i] != DeviceCalls.NO_EVENTFD) {
                throw notDistinct(sorted[i], first + last(next, sorted[i]));
            }
        }
        for (int i = 0; i < files.length; i++) {
            boolean changes = i >= first && i < first + next.length;
            if (!changes && files[i] != null) {
                int number = irqs.calls().numberOf(files[i]);
                if (Arrays.binarySearch(sorted, number) >= 0) {
                    throw notDistinct(number, Math.max(i, first + last(next, number)));
                }
            }
        }
    }

    private static int last(int[] numbers, int number) {
        return Arrays.stream(numbers).boxed().toList().lastIndexOf(number);
    }

    private IllegalArgumentException notDistinct(int number, int second) {
        return new IllegalArgumentException("eventfd " + number + " cannot be used for two interrupts of " + this
                + ", the second " + second + ": use one eventfd for each, or unwire the other one first");
    }

    private int[] numbers(@Nullable Fd[] held) {
        int[] numbers = new int[held.length];
        for (int i = 0; i < held.length; i++) {
            numbers[i] = irqs.calls().numberOf(held[i]);
        }
        return numbers;
    }

    final int[] numbers(int first, int count) {
        return numbers(Arrays.copyOfRange(files, first, first + count));
    }

    /** Enables the index with these eventfds, where null means none. If the call fails, nothing is enabled. */
    final void enable(int first, @Nullable EventFd... events) {
        synchronized (irqs) {
            try (Undo undo = new Undo()) {
                @Nullable Fd[] held = held(first, events, undo);
                undo.step(() -> irqs.begin(index, this), () -> irqs.end(index));
                int result = irqs.trigger(index, first, numbers(held));
                if (result < 0 && irqs.isAdopted()) {
                    throw new VectorsDisturbedException(
                            refused(result, TRIGGER, first, events.length),
                            "what another program armed of them may have no eventfd now",
                            List.of(),
                            List.of());
                }
                check(result, TRIGGER, first, events.length);
                store(first, held);
                undo.keep();
            }
        }
    }

    private void store(int first, @Nullable Fd... held) {
        for (int i = 0; i < held.length; i++) {
            irqs.calls().letGo(files[first + i]);
            files[first + i] = held[i];
        }
    }

    /** Replaces eventfds of an armed index, where null means none. The caller holds the lock. */
    final void change(int first, @Nullable EventFd... events) {
        requireOpen();
        try (Undo undo = new Undo()) {
            @Nullable Fd[] held = held(first, events, undo);
            int result = irqs.trigger(index, first, numbers(held));
            if (result != 0) {
                throw rearmed(first, events.length, refused(result, TRIGGER, first, events.length));
            }
            store(first, held);
            undo.keep();
        }
    }

    /**
     * Enables the index with {@code total} vectors, or on a refusal with the former ones. The caller holds the lock.
     */
    final void replaceAll(int first, EventFd[] events, int total, int before) {
        requireOpen();
        try (Undo undo = new Undo()) {
            @Nullable Fd[] held = held(first, events, undo);
            int[] all = numbers(0, total);
            System.arraycopy(numbers(held), 0, all, first, held.length);
            irqs.disable(index);
            int result = irqs.trigger(index, 0, all);
            if (result != 0) {
                throw enabledAgain(before, refused(result, TRIGGER, first, events.length));
            }
            store(first, held);
            undo.keep();
        }
    }

    /** Attaches a range's former eventfds again after a failed call, in one call or, if that fails, one by one. */
    private RuntimeException rearmed(int first, int count, RuntimeException cause) {
        List<Integer> interrupted = set(first, count);
        if (interrupted.isEmpty() || info().isNotice()) {
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
            irqs.trigger(index, i, DeviceCalls.NO_EVENTFD); // a line may still have its former eventfd
            store(i, new Fd[1]);
        }
        return disturbed(cause, interrupted, lost);
    }

    /** Enables the former vectors after a failed {@link #replaceAll}. If that fails too, disarms all. */
    private RuntimeException enabledAgain(int count, RuntimeException cause) {
        List<Integer> interrupted = set(0, count);
        if (irqs.trigger(index, 0, numbers(0, count)) == 0) {
            return disturbed(cause, interrupted, List.of());
        }
        close();
        lost = true;
        String all = "the former vectors were refused too, so " + this + " is disarmed";
        return new VectorsDisturbedException(cause, all, interrupted, interrupted);
    }

    private RuntimeException disturbed(RuntimeException cause, List<Integer> interrupted, List<Integer> lost) {
        if (interrupted.isEmpty()) {
            return cause;
        }
        String what = info().kind().label() + " " + interrupted + " of " + irqs + " had no eventfd for a moment"
                + (lost.isEmpty()
                        ? " and have their former ones again"
                        : ", of which " + lost + " could not be armed again: arm them");
        return new VectorsDisturbedException(cause, what, interrupted, lost);
    }

    /** The interrupts in a range that have an eventfd. */
    private List<Integer> set(int first, int count) {
        return IntStream.range(first, first + count)
                .filter(this::hasEvent)
                .boxed()
                .toList();
    }

    final boolean hasEvent(int number) {
        return files[number] != null;
    }

    /** Disarms all interrupts. After this call, no interrupt signals its eventfd. Idempotent, never fails. */
    @Override
    public final void close() {
        end(() -> irqs.disable(index));
    }

    /** Detaches the eventfds that this object attached, but not another program's. Never fails. */
    final void leave() {
        end(() -> {
            for (int i = 0; i < files.length; i++) {
                int first = i;
                while (i < files.length && hasEvent(i)) {
                    i++;
                }
                if (i > first) {
                    irqs.trigger(index, first, numbers(new Fd[i - first]));
                }
            }
        });
    }

    private void end(Runnable disarm) {
        synchronized (irqs) {
            if (closed) {
                return;
            }
            @Nullable Fd[] none = new Fd[files.length];
            disarming();
            disarm.run();
            store(0, none);
            irqs.end(index);
            closed = true;
        }
    }

    /** Removes kernel state that disabling the index does not remove, such as a mask or an unmask eventfd. */
    void disarming() {}

    @Override
    public final String toString() {
        return "armed " + info().kind().label() + " of " + irqs;
    }
}
