/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import java.util.List;
import java.util.Optional;

/**
 * The facts about a device interrupt, its eventfd and its GSI that decide whether KVM posts it.
 *
 * @param producer whether a driver registers the interrupt as a producer, as VFIO and vhost-vDPA do for an enabled MSI
 *     or MSI-X vector
 * @param consumer whether an irqfd is assigned to the interrupt's eventfd
 * @param alone whether no other producer or consumer uses the eventfd
 * @param routes the GSI's routing entries
 * @param unmanagedDomain whether the device is in a VFIO domain (UNMANAGED), which matters only on AMD
 */
public record PostingIrq(
        boolean producer, boolean consumer, boolean alone, List<Route> routes, boolean unmanagedDomain) {
    public PostingIrq {
        routes = List.copyOf(routes);
    }

    /** The facts for a vector that VFIO has enabled, with an irqfd on a GSI that has these routes. */
    public static PostingIrq of(Route... routes) {
        return new PostingIrq(true, true, true, List.of(routes), true);
    }

    /** The message, if the GSI has exactly one route and it is an MSI route. */
    Optional<MsiMessage> message() {
        return routes.size() == 1 && routes.get(0) instanceof Route.Msi msi
                ? Optional.of(msi.message())
                : Optional.empty();
    }
}
