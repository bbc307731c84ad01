/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.kvm.Irqfd;
import java.util.Optional;

/**
 * The guest's half of a forwarded message: an irqfd, or a relay in this process. A message that moved to a relay keeps its
 * irqfd, masked, and with it its GSI.
 *
 * @param routed whether the route goes with the message
 */
record GuestHalf(Optional<Irqfd> irqfd, Optional<RelayedEdge> relay, boolean routed) implements AutoCloseable {
    static GuestHalf inKernel(Irqfd irqfd, boolean routed) {
        return new GuestHalf(Optional.of(irqfd), Optional.empty(), routed);
    }

    static GuestHalf inUserspace(RelayedEdge relay) {
        return new GuestHalf(Optional.empty(), Optional.of(relay), false);
    }

    GuestHalf relayedBy(RelayedEdge other) {
        return new GuestHalf(irqfd, Optional.of(other), routed);
    }

    boolean isRelayed() {
        return relay.isPresent();
    }

    Optional<Gsi> gsi() {
        return irqfd.map(Irqfd::gsi);
    }

    void mask() {
        if (relay.isPresent()) {
            relay.get().mask();
        } else {
            irqfd.ifPresent(Irqfd::mask);
        }
    }

    void unmask() {
        if (relay.isPresent()) {
            relay.get().unmask();
        } else {
            irqfd.ifPresent(Irqfd::unmask);
        }
    }

    @Override
    public void close() {
        relay.ifPresent(RelayedEdge::close);
        irqfd.ifPresent(Irqfd::close);
    }
}
