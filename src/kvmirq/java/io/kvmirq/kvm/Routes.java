/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The routes of each GSI: one message, or pins of different chips. A VM may have thousands of messages, so a message is
 * not stored as a {@link Route}. Not thread-safe.
 */
final class Routes {
    /** By GSI; beyond the end there are none. */
    private @Nullable MsiMessage[] messages = new MsiMessage[0];

    /** By GSI, up to the last that has one. */
    private final List<@Nullable List<Route>> pins;

    private int size;

    Routes() {
        pins = new ArrayList<>();
    }

    private Routes(Routes other) {
        messages = other.messages.clone();
        pins = new ArrayList<>(other.pins);
        size = other.size;
    }

    Routes copy() {
        return new Routes(this);
    }

    int size() {
        return size;
    }

    /** One more than the last GSI that has a pin. */
    int gsisOfPins() {
        return pins.size();
    }

    private @Nullable MsiMessage message(int gsi) {
        return gsi < messages.length ? messages[gsi] : null;
    }

    private List<Route> pins(int gsi) {
        List<Route> there = gsi < pins.size() ? pins.get(gsi) : null;
        return there == null ? List.of() : there;
    }

    boolean has(int gsi) {
        return message(gsi) != null || !pins(gsi).isEmpty();
    }

    List<Route> of(int gsi) {
        MsiMessage message = message(gsi);
        return message == null ? pins(gsi) : List.of(new Route.Msi(new Gsi(gsi), message));
    }

    void put(Route route) {
        if (route instanceof Route.Msi msi) {
            put(msi.gsi().number(), msi.message());
        } else {
            int gsi = route.gsi().number();
            while (pins.size() <= gsi) {
                pins.add(null);
            }
            pins.set(gsi, Stream.concat(pins(gsi).stream(), Stream.of(route)).toList());
            size++;
        }
    }

    void put(int gsi, MsiMessage message) {
        if (gsi >= messages.length) {
            messages = Arrays.copyOf(messages, Math.max(gsi + 1, 2 * messages.length));
        }
        messages[gsi] = message;
        size++;
    }

    /** @return whether the GSI had any */
    boolean remove(int gsi) {
        int removed = message(gsi) == null ? pins(gsi).size() : 1;
        if (gsi < messages.length) {
            messages[gsi] = null;
        }
        if (gsi < pins.size()) {
            pins.set(gsi, null);
        }
        while (!pins.isEmpty() && pins.get(pins.size() - 1) == null) {
            pins.remove(pins.size() - 1);
        }
        size -= removed;
        return removed > 0;
    }

    boolean isSame(Routes other) {
        boolean same = size == other.size && pins.equals(other.pins);
        for (int gsi = 0; same && gsi < messages.length; gsi++) {
            same = Objects.equals(messages[gsi], other.message(gsi));
        }
        return same;
    }

    void encode(RouteRecords records) {
        records.begin(size);
        int gsis = Math.max(messages.length, pins.size());
        for (int gsi = 0; gsi < gsis; gsi++) {
            MsiMessage message = message(gsi);
            if (message != null) {
                records.add(gsi, message);
            }
            if (gsi < pins.size()) {
                pins(gsi).forEach(pin -> records.add((Route.Pin) pin));
            }
        }
    }
}
