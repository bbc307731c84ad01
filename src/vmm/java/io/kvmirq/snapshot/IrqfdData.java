/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Gsi;
import io.kvmirq.Route;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** An irqfd, with the names of its eventfds. */
record IrqfdData(String event, Optional<String> resample, Gsi gsi, boolean masked) {
    /** The GSI's MSI route, which a vector needs. Empty for a level-triggered irqfd or a pin's route. */
    Optional<Route.Msi> message(List<Route> routes) {
        return routes.stream()
                .filter(route -> resample.isEmpty() && route.gsi().equals(gsi))
                .findFirst()
                .flatMap(route -> route instanceof Route.Msi msi ? Optional.of(msi) : Optional.empty());
    }

    Map<String, Object> tree() {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("event", event);
        resample.ifPresent(name -> tree.put("resample", name));
        tree.put("gsi", gsi.number());
        tree.put("masked", masked);
        return tree;
    }

    /** @param events the names of the eventfds */
    static IrqfdData parse(Node node, Set<String> events) {
        return new IrqfdData(
                event(node.at("event"), events),
                node.find("resample").map(name -> event(name, events)),
                RouteData.gsi(node.at("gsi")),
                node.at("masked").flag());
    }

    private static String event(Node name, Set<String> events) {
        if (!events.contains(name.text())) {
            throw name.flaw("the name of an eventfd");
        }
        return name.text();
    }
}
