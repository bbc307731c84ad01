/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * What KVM leaves to its workers: injecting what is not a single message, and taking irqfds down whose eventfd is gone.
 * It is done at once, unless it is held back to see what happens before a worker gets to it. Source: virt/kvm/eventfd.c,
 * {@code irqfd_inject()} and {@code irqfd_cleanup_wq}.
 */
final class Work {
    private final Set<FakeIrqfd> injections = new LinkedHashSet<>();
    private final Set<FakeIrqfd> shutDowns = new LinkedHashSet<>();
    private boolean held;

    void hold() {
        held = true;
    }

    /** Does what was held back, and from now on everything at once. */
    void run() {
        held = false;
        List.copyOf(injections).forEach(this::finishInjection);
        finishShutDowns();
    }

    /** However often it is asked for before a worker comes, it injects once. */
    void inject(FakeIrqfd irqfd) {
        if (held) {
            injections.add(irqfd);
        } else {
            irqfd.inject();
        }
    }

    void shutDown(FakeIrqfd irqfd) {
        if (held) {
            shutDowns.add(irqfd);
        } else {
            irqfd.shutDown();
        }
    }

    /** Waits for the worker that injects for one irqfd. */
    void finishInjection(FakeIrqfd irqfd) {
        if (injections.remove(irqfd)) {
            irqfd.inject();
        }
    }

    /** Waits for the workers that take irqfds down, on the whole host. */
    void finishShutDowns() {
        List.copyOf(shutDowns).forEach(FakeIrqfd::shutDown);
        shutDowns.clear();
    }
}
