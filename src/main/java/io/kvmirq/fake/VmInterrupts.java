/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The interrupt side of a VM that is the same on every architecture: its table of routes and what is registered. Where
 * a route ends is the architecture's. Source: virt/kvm/irqchip.c, virt/kvm/eventfd.c.
 */
abstract class VmInterrupts {
    static final int SOURCE_USERSPACE = 0;
    static final int SOURCE_RESAMPLE = 1;

    private final FakeKernel kernel;
    private final Set<FakeIrqfd> irqfds = new LinkedHashSet<>();
    private final List<FakeIoEventFd> ioEventFds = new ArrayList<>();
    private FakeRoutes routes = FakeRoutes.none();
    private boolean closed;

    VmInterrupts(FakeKernel kernel) {
        this.kernel = kernel;
    }

    final FakeKernel kernel() {
        return kernel;
    }

    final void note(Rule rule) {
        kernel.note(rule);
    }

    // What an architecture decides

    /** @return the rule that refuses any irqfd; empty for none */
    abstract Optional<Rule> refusesIrqfd(boolean resample);

    /** @return the rule that refuses any table of routes; empty for none */
    abstract Optional<Rule> refusesRoutes();

    /** What reads a table that is allowed here. */
    abstract FakeRoutes.Reader routesReader();

    /** Drives what a GSI is routed to. */
    abstract void drive(int gsi, int source, boolean level);

    /**
     * Drives what an irqfd is routed to without a worker, if that can be done: up, and nobody drives it down.
     *
     * @return whether it was
     */
    abstract boolean driveAtOnce(FakeIrqfd irqfd);

    /** The table of routes is another. */
    void routesChanged() {}

    /** A GSI is resampled now, or no longer. */
    void resamplersChanged() {}

    // Routes

    final FakeRoutes routes() {
        return routes;
    }

    final void setRoutes(FakeRoutes next) {
        routes = next;
        routesChanged();
    }

    // Registrations

    final List<FakeIrqfd> resampling(int gsi) {
        return irqfds.stream()
                .filter(irqfd -> irqfd.gsi() == gsi && irqfd.resample().isPresent())
                .toList();
    }

    final void add(FakeIrqfd irqfd) {
        if (irqfd.resample().isPresent() && resampling(irqfd.gsi()).isEmpty()) {
            resamplersChanged();
        }
        irqfds.add(irqfd);
        irqfd.event().attach(irqfd);
    }

    final void forget(FakeIrqfd irqfd) {
        irqfds.remove(irqfd);
        if (irqfd.resample().isPresent()) {
            resamplerGone(irqfd.gsi());
        }
    }

    /** The last resampling irqfd of a GSI lowers its line, and so does one that was refused late. */
    final void resamplerGone(int gsi) {
        if (resampling(gsi).isEmpty()) {
            note(Rule.RESAMPLE_LAST_LOWERS);
            resamplersChanged();
            drive(gsi, SOURCE_RESAMPLE, false);
        }
    }

    final void deassign(EventFile event, int gsi) {
        note(Rule.IRQFD_DEASSIGN);
        event.irqfds().stream()
                .filter(irqfd -> irqfd.isOf(this) && irqfd.gsi() == gsi)
                .forEach(FakeIrqfd::shutDown);
        kernel.work().finishShutDowns();
    }

    final List<FakeIoEventFd> ioEventFds() {
        return ioEventFds;
    }

    /** The ioeventfd that takes a guest's write. */
    final Optional<FakeIoEventFd> ioEventFd(FakeIoEventFd.Bus bus, long address, int length, long data) {
        return ioEventFds.stream()
                .filter(one -> one.takes(bus, address, length, data))
                .findFirst();
    }

    final boolean isClosed() {
        return closed;
    }

    /** No descriptor of the VM is left: irqfds go at once, vCPUs notwithstanding. */
    final void close() {
        if (!irqfds.isEmpty()) {
            note(Rule.IRQFD_GONE_WITH_VM);
            List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
        }
        kernel.work().finishShutDowns();
        closed = true;
    }
}
