/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * The work of KVM's workers: injecting interrupts that are not a single message, and removing irqfds whose eventfd was
 * released. Work is done immediately, or held back so that a test sees the state before it. Source: virt/kvm/eventfd.c,
 * {@code irqfd_inject()} and {@code irqfd_cleanup_wq}.
 */
public final class Work {
    private final Set<EventWaiter> injections = new LinkedHashSet<>();
    private final Set<EventWaiter> shutDowns = new LinkedHashSet<>();
    private boolean held;

    public void hold() {
        held = true;
    }

    /** Does the held-back work. From now on, work is done immediately. */
    public void run() {
        held = false;
        List.copyOf(injections).forEach(this::finishInjection);
        finishShutDowns();
    }

    /** Injects, or queues the injection. Requests before the worker runs are merged into one. */
    public void inject(EventWaiter irqfd) {
        if (held) {
            injections.add(irqfd);
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

    /** Flushes the queued injection of one irqfd. */
    public void finishInjection(EventWaiter irqfd) {
        if (injections.remove(irqfd)) {
            irqfd.inject();
        }
    }

    /** Flushes the queued removals of irqfds on the whole host. */
    public void finishShutDowns() {
        List.copyOf(shutDowns).forEach(EventWaiter::shutDown);
        shutDowns.clear();
    }
}
