/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * What KVM leaves to its workers: injecting what is not a single message, and taking irqfds down whose eventfd is gone.
 * It is done at once, unless it is held back to see what happens before a worker gets to it. Source: virt/kvm/eventfd.c,
 * {@code irqfd_inject()} and {@code irqfd_cleanup_wq}.
 */
public final class Work {
    private final Set<EventWaiter> injections = new LinkedHashSet<>();
    private final Set<EventWaiter> shutDowns = new LinkedHashSet<>();
    private boolean held;

    public void hold() {
        held = true;
    }

    /** Does what was held back, and from now on everything at once. */
    public void run() {
        held = false;
        List.copyOf(injections).forEach(this::finishInjection);
        finishShutDowns();
    }

    /** However often it is asked for before a worker comes, it injects once. */
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

    /** Waits for the worker that injects for one irqfd. */
    public void finishInjection(EventWaiter irqfd) {
        if (injections.remove(irqfd)) {
            irqfd.inject();
        }
    }

    /** Waits for the workers that take irqfds down, on the whole host. */
    public void finishShutDowns() {
        List.copyOf(shutDowns).forEach(EventWaiter::shutDown);
        shutDowns.clear();
    }
}
