/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.rules.KernelRule;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The interrupt side of a VM that is the same on every architecture: its table of routes and what is registered. Where
 * a route ends is the architecture's. Source: virt/kvm/irqchip.c, virt/kvm/eventfd.c.
 */
public abstract class VmInterrupts implements FakeRoutes.Entries {
    public static final int SOURCE_USERSPACE = 0;
    public static final int SOURCE_RESAMPLE = 1;

    private final Host host;
    private final Set<FakeIrqfd> irqfds = new LinkedHashSet<>();
    private final List<FakeIoEventFd> ioEventFds = new ArrayList<>();
    private FakeRoutes routes = new FakeRoutes();
    private boolean closed;

    protected VmInterrupts(Host host) {
        this.host = host;
    }

    public final Host host() {
        return host;
    }

    public final void note(KernelRule rule) {
        host.note(rule);
    }

    // What an architecture decides

    /** @return the rule that refuses any irqfd; empty for none */
    protected abstract Optional<KernelRule> refusesIrqfd(boolean resample);

    /** @return the rule that refuses any table of routes; empty for none */
    protected abstract Optional<KernelRule> refusesRoutes();

    /** Drives what a GSI is routed to. */
    protected abstract void drive(int gsi, int source, boolean level);

    /**
     * Raises what an irqfd is routed to without a worker, if that can be done, and does not lower it again.
     *
     * @return whether it was
     */
    protected abstract boolean driveAtOnce(FakeIrqfd irqfd);

    /** The table of routes is another. */
    protected void routesChanged() {}

    /** A GSI is resampled now, or no longer. */
    protected void resamplersChanged() {}

    // Routes

    protected final FakeRoutes routes() {
        return routes;
    }

    public final void setRoutes(FakeRoutes next) {
        routes = next;
        routesChanged();
    }

    // Registrations

    protected final List<FakeIrqfd> resampling(int gsi) {
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
            note(KernelRule.RESAMPLE_LAST_LOWERS);
            resamplersChanged();
            drive(gsi, SOURCE_RESAMPLE, false);
        }
    }

    /** @return the rule that refuses an irqfd on {@code event}; empty for none */
    final Optional<KernelRule> refusesBusy(EventFile event) {
        if (host.build().irqfdHostWide()) {
            return event.waiters().isEmpty() ? Optional.empty() : Optional.of(KernelRule.IRQFD_BUSY_HOST);
        }
        return irqfdsOn(event).findFirst().map(busy -> KernelRule.IRQFD_BUSY_VM);
    }

    /** Those of this VM, as they are now. */
    private Stream<FakeIrqfd> irqfdsOn(EventFile event) {
        return event.waiters().stream()
                .filter(FakeIrqfd.class::isInstance)
                .map(FakeIrqfd.class::cast)
                .filter(irqfd -> irqfd.isOf(this));
    }

    final void deassign(EventFile event, int gsi) {
        note(KernelRule.IRQFD_DEASSIGN);
        irqfdsOn(event).filter(irqfd -> irqfd.gsi() == gsi).forEach(FakeIrqfd::shutDown);
        host.work().finishShutDowns();
    }

    final List<FakeIoEventFd> ioEventFds() {
        return ioEventFds;
    }

    /** The ioeventfd that takes a guest's write. */
    public final Optional<FakeIoEventFd> ioEventFd(FakeIoEventFd.Bus bus, long address, int length, long data) {
        return ioEventFds.stream()
                .filter(one -> one.takes(bus, address, length, data))
                .findFirst();
    }

    protected final boolean isClosed() {
        return closed;
    }

    /** No descriptor of the VM is left: irqfds go at once, vCPUs notwithstanding. */
    final void close() {
        if (!irqfds.isEmpty()) {
            note(KernelRule.IRQFD_GONE_WITH_VM);
            List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
        }
        host.work().finishShutDowns();
        closed = true;
    }
}
