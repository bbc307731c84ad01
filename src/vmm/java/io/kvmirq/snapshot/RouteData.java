/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kvm.RouteTable;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;

final class RouteData {
    private static final int ALL_BITS = -1;
    private static final long LAST_WORD = 0xffff_ffffL;

    private RouteData() {}

    /** Reads the routes, except those of devices, which create their own. */
    static List<Route> read(VmParts parts) {
        Set<Gsi> ofDevices = new HashSet<>();
        parts.devices.values().forEach(device -> ofDevices.addAll(device.state().gsis()));
        return parts.vm.routes().routes().stream()
                .filter(route -> !ofDevices.contains(route.gsi()))
                .toList();
    }

    /** Writes the routes in one commit. Other GSIs keep their routes if they have an irqfd that is not a part. */
    static void write(VmParts parts, List<Route> routes) {
        RouteTable table = parts.vm.routes();
        Set<Gsi> written = new HashSet<>();
        routes.forEach(route -> written.add(route.gsi()));
        table.change(edit -> {
            table.routes().stream()
                    .map(Route::gsi)
                    .filter(gsi -> written.contains(gsi) || table.irqfds(gsi) == parts.irqfdsOf(gsi))
                    .forEach(edit::remove);
            for (Route route : routes) {
                if (route instanceof Route.Pin pin) {
                    edit.add(pin);
                } else if (route instanceof Route.Msi msi) {
                    edit.replace(msi.gsi(), msi.message());
                } else if (route instanceof Route.Other other) {
                    edit.replace(other);
                }
            }
            return edit;
        });
    }

    // The document

    static Map<String, Object> tree(Route route) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("gsi", route.gsi().number());
        if (route instanceof Route.Pin pin) {
            tree.put("chip", pin.chip().name());
            tree.put("pin", pin.pin());
        } else if (route instanceof Route.Msi msi) {
            tree.put("address", Node.word(msi.message().address()));
            tree.put("data", Node.word(Integer.toUnsignedLong(msi.message().data())));
            msi.message().deviceId().ifPresent(id -> tree.put("device", Integer.toUnsignedLong(id)));
        } else if (route instanceof Route.Other other) {
            tree.put("type", other.type());
            tree.put("flags", Integer.toUnsignedLong(other.flags()));
            tree.put(
                    "words", other.words().stream().map(Integer::toUnsignedLong).toList());
        }
        return tree;
    }

    static Gsi gsi(Node node) {
        return new Gsi(node.integer(0, Gsi.MAX));
    }

    static List<Route> all(Node node, boolean arm) {
        List<Route> routes = node.all().stream().map(entry -> route(entry, arm)).toList();
        requireTable(node, routes);
        return routes;
    }

    private static Route route(Node node, boolean arm) {
        Gsi gsi = gsi(node.at("gsi"));
        if (node.find("chip").isPresent()) {
            Route.Chip chip = node.at("chip").one(Route.Chip.class);
            int pin = node.at("pin").integer(0, Integer.MAX_VALUE);
            if (chip == Route.Chip.VGIC != arm) {
                throw node.at("chip").flaw("a chip of " + (arm ? "arm64" : "x86"));
            }
            return node.make(() -> new Route.Pin(gsi, chip, pin));
        }
        if (node.find("type").isPresent()) {
            int flags = (int) node.at("flags").number(0, LAST_WORD);
            List<Integer> words = node.at("words").all().stream()
                    .map(word -> (int) word.number(0, LAST_WORD))
                    .toList();
            int type = node.at("type").integer(0, Integer.MAX_VALUE);
            return node.make(() -> new Route.Other(gsi, type, flags, words));
        }
        long data = node.at("data").word();
        if (data >>> Integer.SIZE != 0) {
            throw node.at("data").flaw("hex of 32 bits");
        }
        OptionalInt device = node.find("device")
                .map(id -> OptionalInt.of((int) id.number(0, LAST_WORD)))
                .orElse(OptionalInt.empty());
        return new Route.Msi(gsi, new MsiMessage(node.at("address").word(), (int) data, device));
    }

    /** Requires that each GSI has one message, or pins of different chips. */
    private static void requireTable(Node node, List<Route> routes) {
        Map<Gsi, Integer> taken = new LinkedHashMap<>();
        for (Route route : routes) {
            int chip = route instanceof Route.Pin pin ? 1 << pin.chip().id() : ALL_BITS;
            int before = Objects.requireNonNullElse(taken.get(route.gsi()), 0);
            if ((chip & before) != 0) {
                throw node.flaw("one message of " + route.gsi() + ", or pins of different chips");
            }
            taken.put(route.gsi(), before | chip);
        }
        if (routes.size() > RouteTable.CAPACITY) {
            throw node.flaw("at most " + RouteTable.CAPACITY + " routes");
        }
    }
}
