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
 * The interrupt state of a VM that is common to all architectures: routes, irqfds and ioeventfds. Subclasses implement
 * the targets of routes. Source: virt/kvm/irqchip.c, virt/kvm/eventfd.c.
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

    // Decisions of the architecture

    /** @return the rule that refuses every irqfd; empty for none */
    protected abstract Optional<KernelRule> refusesIrqfd(boolean resample);

    /** @return the rule that refuses every route table; empty for none */
    protected abstract Optional<KernelRule> refusesRoutes();

    /** Drives the targets of a GSI. */
    protected abstract void drive(int gsi, int source, boolean level);

    /**
     * Raises the target of an irqfd without a worker, if possible. Does not lower it again.
     *
     * @return whether the target was raised
     */
    protected abstract boolean driveAtOnce(FakeIrqfd irqfd);

    /** Called after the route table was replaced. */
    protected void routesChanged() {}

    /** Called when a GSI gets its first resampling irqfd or loses its last. */
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

    /** Lowers the line of a GSI if no resampling irqfd is left, also after a first one was refused as busy. */
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

    /** A snapshot of this VM's irqfds on an eventfd. */
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

    /** The ioeventfd that matches a guest's write. */
    public final Optional<FakeIoEventFd> ioEventFd(FakeIoEventFd.Bus bus, long address, int length, long data) {
        return ioEventFds.stream()
                .filter(one -> one.takes(bus, address, length, data))
                .findFirst();
    }

    protected final boolean isClosed() {
        return closed;
    }

    /** Called at the close of the VM's last descriptor: removes all irqfds, even if vCPUs are still open. */
    final void close() {
        if (!irqfds.isEmpty()) {
            note(KernelRule.IRQFD_GONE_WITH_VM);
            List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
        }
        host.work().finishShutDowns();
        closed = true;
    }
}
