/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Decides whether an irqfd's guest LPI is mapped to a vLPI of GICv4. A device's MSI signals the irqfd's eventfd. Not
 * thread-safe: KVM holds locks during each step. A method throws IllegalStateException if the irqfd is registered
 * twice, or changed while it is not registered.
 *
 * <p>Source: {@code kvm_vgic_v4_set_forwarding()} and {@code kvm_vgic_v4_unset_forwarding()} in
 * arch/arm64/kvm/vgic/vgic-v4.c; {@code kvm_arch_irqfd_route_changed()} and {@code kvm_arch_update_irqfd_routing()} in
 * arch/arm64/kvm/arm.c.
 */
public final class VlpiMapping {
    /** The outcome of a change of the route or the registration. */
    public enum Outcome {
        /** The mapping to a vLPI is consistent with the route. */
        CLEAN,
        /** The previous route's LPI is still mapped to this vLPI. The kernel warns when the guest discards this LPI. */
        LEFT_BEHIND,
        /** The kernel warns that the LPI of the present route is not mapped to this host interrupt's vLPI. */
        WARNS
    }

    /** An MSI's route; {@code its} is empty if no ITS has the address, {@code device} if the VMM set no device id. */
    public record Route(Optional<EmulatedIts> its, OptionalInt device, int event) {}

    private static final Route NOWHERE = new Route(Optional.empty(), OptionalInt.empty(), 0);

    private final VlpiKernel kernel;
    private final boolean gicv4;
    private final Lpis lpis;
    private final List<Vpe> vpes;
    private final int hostIrq;
    private Optional<Route> route = Optional.empty();

    /** {@code gicv4}: whether KVM uses GICv4. {@code vpes}: the vPEs of the vCPUs, by index; LPI 8192 is vLPI 0. */
    public VlpiMapping(VlpiKernel kernel, boolean gicv4, Lpis lpis, List<Vpe> vpes, int hostIrq) {
        this.kernel = kernel;
        this.gicv4 = gicv4;
        this.lpis = lpis;
        this.vpes = List.copyOf(vpes);
        this.hostIrq = hostIrq;
    }

    /** Connects the irqfd with the device's interrupt. Returns the reason if KVM does not map the LPI to a vLPI. */
    public Optional<VlpiObstacle> register(Route to) {
        if (route.isPresent()) {
            throw new IllegalStateException(
                    "host interrupt " + hostIrq + " is registered: unregister it before it is registered again");
        }
        route = Optional.of(to);
        Optional<VlpiObstacle> refused = refusal(to);
        if (refused.isEmpty()) {
            lpis.makeVlpi(lpi(to).orElseThrow(), new Vlpi(hostIrq, vpes));
        }
        return refused;
    }

    private Optional<VlpiObstacle> refusal(Route to) {
        if (!gicv4) {
            return Optional.of(VlpiObstacle.NO_GICV4);
        }
        if (to.device().isEmpty()) {
            return Optional.of(VlpiObstacle.NO_DEVICE_ID);
        }
        if (to.its().isEmpty()) {
            return Optional.of(VlpiObstacle.NO_ITS);
        }
        OptionalInt lpi = lpi(to);
        if (lpi.isEmpty()) {
            return Optional.of(VlpiObstacle.UNMAPPED);
        }
        boolean taken = lpis.hostIrq(lpi.getAsInt()).isPresent();
        return taken && kernel == VlpiKernel.BY_HOST_IRQ ? Optional.of(VlpiObstacle.TAKEN) : Optional.empty();
    }

    private static OptionalInt lpi(Route of) {
        return of.its().isPresent() && of.device().isPresent()
                ? of.its().get().lpi(of.device().getAsInt(), of.event())
                : OptionalInt.empty();
    }

    /** Changes the irqfd's route. To map the new LPI's vLPI, register the irqfd or the device's eventfd again. */
    public Outcome changeRoute(Route to) {
        Route from = registered();
        if (from.equals(to)) {
            return Outcome.CLEAN;
        }
        if (kernel == VlpiKernel.BY_HOST_IRQ) {
            endVlpi();
        }
        route = Optional.of(to);
        return leftBehind();
    }

    /** Disconnects the irqfd from the device's interrupt, and unmaps the vLPI of the present route's LPI. */
    public Outcome unregister() {
        Route from = registered();
        boolean warns = false;
        if (kernel == VlpiKernel.BY_HOST_IRQ) {
            endVlpi();
        } else {
            OptionalInt lpi = gicv4 ? lpi(from) : OptionalInt.empty();
            warns = lpi.isPresent() && !isVlpi();
            // Ends the vLPI even if it is another host interrupt's.
            lpi.ifPresent(lpis::endVlpi);
        }
        route = Optional.empty();
        return warns ? Outcome.WARNS : leftBehind();
    }

    private void endVlpi() {
        lpis.vlpiOf(hostIrq).ifPresent(lpis::endVlpi);
    }

    private Outcome leftBehind() {
        return lpis.vlpiOf(hostIrq).isPresent() ? Outcome.LEFT_BEHIND : Outcome.CLEAN;
    }

    private Route registered() {
        return route.orElseThrow(() -> new IllegalStateException(
                "host interrupt " + hostIrq + " is not registered: register its irqfd first"));
    }

    /** Whether the LPI of the present route is mapped to this host interrupt's vLPI. */
    public boolean isVlpi() {
        Route now = route.orElse(NOWHERE);
        OptionalInt lpi = now.its().isPresent() && now.device().isPresent()
                ? now.its().get().lpiOfEvent(now.device().getAsInt(), now.event())
                : OptionalInt.empty();
        return lpi.isPresent() && lpis.hostIrq(lpi.getAsInt()).equals(OptionalInt.of(hostIrq));
    }
}
