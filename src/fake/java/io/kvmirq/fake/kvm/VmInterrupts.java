/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.arch.intx.model.PinSources;
import io.kvmirq.arch.intx.model.Resampler;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.MessageHostIrq;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A VM's interrupt state that is common to all architectures: routes, irqfds and ioeventfds. Subclasses implement the
 * targets of GSI routes. Source: virt/kvm/irqchip.c, virt/kvm/eventfd.c.
 */
public abstract class VmInterrupts implements FakeRoutes.Entries {
    private final KernelOfFile host;
    private final Set<FakeIrqfd> irqfds = new LinkedHashSet<>();
    private final List<FakeIoEventFd> ioEventFds = new ArrayList<>();
    /** The resamplers, keyed by GSI. Each has an irqfd. */
    private final Map<Integer, Resampler> resamplers = new HashMap<>();

    private FakeRoutes routes = new FakeRoutes();
    private boolean closed;

    protected VmInterrupts(KernelOfFile host) {
        this.host = host;
    }

    public final KernelOfFile host() {
        return host;
    }

    public final void note(Answer rule) {
        host.note(rule);
    }

    // Decisions of the architecture

    /** @return the rule that refuses every irqfd of this VM; empty if there is none */
    protected abstract Optional<Answer> refusesIrqfd(boolean resample);

    /** @return the rule that refuses every route table of this VM; empty if there is none */
    protected abstract Optional<Answer> refusesRoutes();

    protected abstract void drive(int gsi, int source, boolean level);

    /** Raises an irqfd's target without a worker. Returns false if a worker is needed. Lowers no line. */
    protected abstract boolean driveAtOnce(FakeIrqfd irqfd);

    /** Whether the architecture forwards interrupts by the ABI of 2014. If not, KVM-VFIO returns 0 without effect. */
    protected boolean forwards() {
        return false;
    }

    /** Maps a host interrupt to a GSI, so that the guest's EOI ends the host interrupt. */
    protected Optional<Answer> forward(HostLine line, int gsi) {
        return Optional.empty();
    }

    /** Ends the mapping that {@link #forward} made, also of an active interrupt. */
    protected void unforward(HostLine line, int gsi) {}

    protected void routesChanged() {}

    /** Called when a GSI gets its first resampling irqfd or loses its last one. */
    protected void resamplersChanged() {}

    /** Whether device interrupts can bypass the eventfd of an irqfd ({@code kvm_arch_has_irq_bypass()}). */
    protected boolean hasBypass() {
        return false;
    }

    /** Connects an irqfd to a device's interrupt ({@code kvm_arch_irq_bypass_add_producer()}); false on failure. */
    protected boolean connected(FakeIrqfd irqfd, MessageHostIrq producer) {
        return true;
    }

    /** Called after the route of a connected irqfd changed ({@code kvm_arch_update_irqfd_routing()}). */
    protected void rerouted(FakeIrqfd irqfd, MessageHostIrq producer) {}

    /** Called when an irqfd's producer is disconnected ({@code kvm_arch_irq_bypass_del_producer()}). */
    protected void disconnected(FakeIrqfd irqfd, MessageHostIrq producer) {}

    /** Called when a file is added to KVM-VFIO ({@code kvm_arch_start_assignment()}). */
    protected void assigned() {}

    /** Called when a file is removed from KVM-VFIO ({@code kvm_arch_end_assignment()}). */
    protected void unassigned() {}

    /** Called after the last descriptor of the VM was closed. */
    protected void closed() {}

    // Routes

    protected final FakeRoutes routes() {
        return routes;
    }

    public final void setRoutes(FakeRoutes next) {
        routes = next;
        for (FakeIrqfd irqfd : irqfds) {
            if (irqfd.route(next.message(irqfd.gsi()))) {
                irqfd.producer().ifPresent(producer -> rerouted(irqfd, producer));
            }
        }
        routesChanged();
    }

    // Registrations

    protected final boolean isResampledGsi(int gsi) {
        return resamplers.containsKey(gsi);
    }

    protected final Resampler resampler(int gsi) {
        return resamplers.computeIfAbsent(gsi, of -> new Resampler(high -> drive(of, PinSources.RESAMPLE, high)));
    }

    final void add(FakeIrqfd irqfd) {
        irqfds.add(irqfd);
        irqfd.route(routes.message(irqfd.gsi()));
        irqfd.event().add(irqfd);
        if (hasBypass()) {
            irqfd.event().bypass().add(irqfd);
        }
    }

    /** Adds an irqfd with a resamplefd to the resampler of its GSI. */
    final void joinResampler(FakeIrqfd irqfd) {
        if (irqfd.resample().isPresent()) {
            if (!isResampledGsi(irqfd.gsi())) {
                resamplersChanged();
            }
            resampler(irqfd.gsi()).add(irqfd);
        }
    }

    /** Removes an irqfd from its resampler. The last one deasserts the line, even if it was refused as busy. */
    final void leaveResampler(FakeIrqfd irqfd) {
        if (irqfd.resample().isPresent() && resampler(irqfd.gsi()).remove(irqfd)) {
            note(IrqfdAnswer.RESAMPLE_LAST_LOWERS);
            resamplers.remove(irqfd.gsi());
            resamplersChanged();
        }
    }

    final void forget(FakeIrqfd irqfd) {
        irqfds.remove(irqfd);
        leaveResampler(irqfd);
    }

    final Optional<Answer> refusesBusy(EventFile event) {
        if (host.build().irqfdHostWide()) {
            return event.waiters().isEmpty() ? Optional.empty() : Optional.of(IrqfdAnswer.IRQFD_BUSY_HOST);
        }
        return irqfdsOn(event).findFirst().map(busy -> IrqfdAnswer.IRQFD_BUSY_VM);
    }

    /** A snapshot of this VM's irqfds on an eventfd. */
    private Stream<FakeIrqfd> irqfdsOn(EventFile event) {
        return event.waiters().stream()
                .filter(FakeIrqfd.class::isInstance)
                .map(FakeIrqfd.class::cast)
                .filter(irqfd -> irqfd.isOf(this));
    }

    final void deassign(EventFile event, int gsi) {
        note(IrqfdAnswer.IRQFD_DEASSIGN);
        irqfdsOn(event).filter(irqfd -> irqfd.gsi() == gsi).forEach(FakeIrqfd::shutDown);
        host.work().finishShutDowns();
    }

    final List<FakeIoEventFd> ioEventFds() {
        return ioEventFds;
    }

    /** Signals the ioeventfd that matches a guest's write. Returns false if none matches. */
    public final boolean signals(FakeIoEventFd.Bus bus, long address, int length, long data) {
        FakeIoEventFd taker = find(bus, address, length, data);
        if (taker != null) {
            note(IrqfdAnswer.IOEVENTFD_TAKES);
            taker.event().signalFirst(1);
        }
        return taker != null;
    }

    private @Nullable FakeIoEventFd find(FakeIoEventFd.Bus bus, long address, int length, long data) {
        long written = data & -1L >>> Long.SIZE - Byte.SIZE * length;
        for (FakeIoEventFd ioEventFd : ioEventFds) {
            if (ioEventFd.takes(bus, address, length, written)) {
                return ioEventFd;
            }
        }
        return null;
    }

    public final boolean isClosed() {
        return closed;
    }

    /** Removes all irqfds at the close of the VM's last descriptor, even if vCPUs are still open. */
    final void close() {
        if (!irqfds.isEmpty()) {
            note(IrqfdAnswer.IRQFD_GONE_WITH_VM);
            List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
        }
        host.work().finishShutDowns();
        closed = true;
        closed();
    }
}
