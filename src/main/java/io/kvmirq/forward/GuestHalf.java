/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.kvm.Irqfd;
import java.util.Optional;

/**
 * The guest's half of a forwarded message: an irqfd, or a relay in this process. Of the two, one is there.
 *
 * @param gsi the GSI, which stays routed while the message is relayed; empty if there never was one
 * @param routed whether the route goes with the message
 */
record GuestHalf(Optional<Irqfd> irqfd, Optional<RelayedEdge> relay, Optional<Gsi> gsi, boolean routed)
        implements AutoCloseable {
    static GuestHalf inKernel(Irqfd irqfd, boolean routed) {
        return new GuestHalf(Optional.of(irqfd), Optional.empty(), Optional.of(irqfd.gsi()), routed);
    }

    static GuestHalf inUserspace(RelayedEdge relay) {
        return new GuestHalf(Optional.empty(), Optional.of(relay), Optional.empty(), false);
    }

    /** The same GSI, with a relay in place of the irqfd. */
    GuestHalf movedTo(RelayedEdge other) {
        return new GuestHalf(Optional.empty(), Optional.of(other), gsi, routed);
    }

    void mask() {
        irqfd.ifPresent(Irqfd::mask);
        relay.ifPresent(RelayedEdge::mask);
    }

    void unmask() {
        irqfd.ifPresent(Irqfd::unmask);
        relay.ifPresent(RelayedEdge::unmask);
    }

    @Override
    public void close() {
        irqfd.ifPresent(Irqfd::close);
        relay.ifPresent(RelayedEdge::close);
    }
}
