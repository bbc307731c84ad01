/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * An irqfd whose eventfd a device's MSI also signals, on a host with GICv4: whether the guest's LPI is a vLPI, which
 * hardware delivers. Not thread-safe: KVM holds its locks for all of this. An irqfd that is registered twice, or
 * changed while it is not registered, is an IllegalStateException.
 *
 * <p>Source: {@code kvm_vgic_v4_set_forwarding()} and {@code kvm_vgic_v4_unset_forwarding()} in
 * arch/arm64/kvm/vgic/vgic-v4.c; {@code kvm_arch_irqfd_route_changed()} and {@code kvm_arch_update_irqfd_routing()} in
 * arch/arm64/kvm/arm.c.
 */
public final class VlpiMapping {
    /** The state that a step leaves behind. */
    public enum Outcome {
        /** Nothing. */
        CLEAN,
        /** The LPI of an old route is still this host interrupt's vLPI. The kernel warns when the guest discards it. */
        LEFT_BEHIND,
        /** The kernel warns: the LPI of the present route is no vLPI of this host interrupt. */
        WARNS
    }

    /** A message's route: no ITS if none is at its doorbell, no device if the VMM gave none. */
    public record Route(Optional<Its> its, OptionalInt device, int event) {}

    private static final Route NOWHERE = new Route(Optional.empty(), OptionalInt.empty(), 0);

    private final VlpiKernel kernel;
    private final boolean gicv4;
    private final Lpis lpis;
    private final List<Vpe> vpes;
    private final int hostIrq;
    private Optional<Route> route = Optional.empty();

    /** Not mapped yet. {@code gicv4}: whether KVM uses it. {@code vpes} are by vCPU index; LPI 8192 is vLPI 0. */
    public VlpiMapping(VlpiKernel kernel, boolean gicv4, Lpis lpis, List<Vpe> vpes, int hostIrq) {
        this.kernel = kernel;
        this.gicv4 = gicv4;
        this.lpis = lpis;
        this.vpes = List.copyOf(vpes);
        this.hostIrq = hostIrq;
    }

    /** The irqfd is registered and meets the device's interrupt. Returns why the LPI is no vLPI, if it is none. */
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

    /** The route changes, which makes no new vLPI: for that the irqfd or the device's eventfd is registered again. */
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

    /** The irqfd is unregistered: the LPI of its present route is no vLPI from then on. */
    public Outcome unregister() {
        Route from = registered();
        boolean warns = false;
        if (kernel == VlpiKernel.BY_HOST_IRQ) {
            endVlpi();
        } else {
            OptionalInt lpi = gicv4 ? lpi(from) : OptionalInt.empty();
            warns = lpi.isPresent() && !isVlpi();
            // It does not matter whose vLPI it is.
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

    /** Whether the LPI of the present route is a vLPI of this host interrupt. */
    public boolean isVlpi() {
        Route now = route.orElse(NOWHERE);
        OptionalInt lpi = now.its().isPresent() && now.device().isPresent()
                ? now.its().get().lpiOfEvent(now.device().getAsInt(), now.event())
                : OptionalInt.empty();
        return lpi.isPresent() && lpis.hostIrq(lpi.getAsInt()).equals(OptionalInt.of(hostIrq));
    }
}
