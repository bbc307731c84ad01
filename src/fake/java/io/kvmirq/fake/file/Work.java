/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * The work of KVM's workers, which inject interrupts that are not one message, and remove irqfds whose eventfd was
 * released. Work is done at once, or held back so that a test sees the state before it. This class also serves VFIO's
 * unmask eventfds. Source: virt/kvm/eventfd.c, {@code irqfd_inject()} and {@code irqfd_cleanup_wq};
 * drivers/vfio/virqfd.c.
 */
public final class Work {
    private final Set<EventWaiter> injections = new LinkedHashSet<>();
    private final Set<EventWaiter> shutDowns = new LinkedHashSet<>();
    private boolean held;
    /** The messages of held-back injections. */
    private final Map<EventWaiter, MessagePlace> messages = new HashMap<>();

    /** Rounds of signals among eventfds that signal each other, before a timer does the rest. */
    private static final int SIGNAL_ROUNDS = 16;

    private static final Duration TIMER_PAUSE = Duration.ofMillis(1);

    private final FakeTime time;
    private final Ledger ledger;
    private final Set<EventReader> signalled = new LinkedHashSet<>();
    /** The depth of nested device operations. */
    private int operations;

    public Work(FakeTime time, Ledger ledger) {
        this.time = time;
        this.ledger = ledger;
    }

    public void hold() {
        held = true;
    }

    /** Does the held-back work. After this call, work is done immediately. */
    public void run() {
        held = false;
        List.copyOf(injections).forEach(this::finishInjection);
        finishShutDowns();
    }

    /** Injects the irqfd's interrupt, or queues the injection. Queued injections of one irqfd are merged. */
    public void inject(EventWaiter irqfd) {
        if (held) {
            injections.add(irqfd);
            ledger.put(messages.computeIfAbsent(irqfd, this::place), 0);
        } else {
            irqfd.inject();
        }
    }

    void shutDown(EventWaiter irqfd) {
        if (held) {
            shutDowns.add(irqfd);
        } else {
            irqfd.shutDown();
        }
    }

    /** Does the queued injection of one irqfd now. */
    public void finishInjection(EventWaiter irqfd) {
        if (injections.remove(irqfd)) {
            ledger.pick(Objects.requireNonNull(messages.remove(irqfd)), 0);
            irqfd.inject();
            ledger.settle("its injection raised nothing");
        }
    }

    private MessagePlace place(EventWaiter irqfd) {
        return new MessagePlace(slot -> injections.contains(irqfd), slot -> !held, slot -> "a worker of KVM");
    }

    /** Begins a device operation. At {@link #end}, readers read the eventfds that were signalled. */
    public void begin() {
        operations++;
    }

    /**
     * Ends {@link #begin}. A reader may signal its own eventfd again, for example INTx whose trigger is also its unmask
     * eventfd. Linux then queues work forever; the fake stops after some rounds and continues by a timer.
     */
    public void end() {
        try {
            for (int round = 0; operations == 1 && round < SIGNAL_ROUNDS && !signalled.isEmpty(); round++) {
                take().forEach(EventReader::signalled);
            }
        } finally {
            operations--;
            if (operations == 0 && !signalled.isEmpty()) {
                List<EventReader> readers = take();
                time.after(TIMER_PAUSE, () -> readers.forEach(this::read));
            }
        }
    }

    private List<EventReader> take() {
        List<EventReader> readers = List.copyOf(signalled);
        signalled.clear();
        return readers;
    }

    /** Lets a reader read its eventfd now, or when the current device operation ends. */
    void read(EventReader reader) {
        signalled.add(reader);
        if (operations == 0) {
            begin();
            end();
        }
    }

    /** Does the queued removals of all irqfds on the host now. */
    public void finishShutDowns() {
        List.copyOf(shutDowns).forEach(EventWaiter::shutDown);
        shutDowns.clear();
    }
}
