/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The routes of each GSI: one message, or pins of different chips. A VM may have thousands of messages, so a message is
 * not stored as a {@link Route}. Not thread-safe.
 */
final class Routes {
    /** By GSI, each up to the last that has one. */
    private final List<@Nullable MsiMessage> messages;

    private final List<@Nullable List<Route>> pins;
    private int size;

    Routes() {
        messages = new ArrayList<>();
        pins = new ArrayList<>();
    }

    private Routes(Routes other) {
        messages = new ArrayList<>(other.messages);
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

    private static <T> @Nullable T at(List<@Nullable T> all, int gsi) {
        return gsi < all.size() ? all.get(gsi) : null;
    }

    private static <T> void set(List<@Nullable T> all, int gsi, T value) {
        while (all.size() <= gsi) {
            all.add(null);
        }
        all.set(gsi, value);
    }

    private static <T> void clear(List<@Nullable T> all, int gsi) {
        if (gsi < all.size()) {
            all.set(gsi, null);
        }
        while (!all.isEmpty() && all.get(all.size() - 1) == null) {
            all.remove(all.size() - 1);
        }
    }

    private List<Route> pins(int gsi) {
        return Objects.requireNonNullElse(at(pins, gsi), List.of());
    }

    boolean has(int gsi) {
        return at(messages, gsi) != null || at(pins, gsi) != null;
    }

    List<Route> of(int gsi) {
        MsiMessage message = at(messages, gsi);
        return message == null ? pins(gsi) : List.of(new Route.Msi(new Gsi(gsi), message));
    }

    void put(Route route) {
        if (route instanceof Route.Msi msi) {
            put(msi.gsi().number(), msi.message());
        } else {
            int gsi = route.gsi().number();
            set(pins, gsi, Stream.concat(pins(gsi).stream(), Stream.of(route)).toList());
            size++;
        }
    }

    void put(int gsi, MsiMessage message) {
        set(messages, gsi, message);
        size++;
    }

    /** @return whether the GSI had any */
    boolean remove(int gsi) {
        int removed = at(messages, gsi) == null ? pins(gsi).size() : 1;
        if (removed > 0) {
            clear(messages, gsi);
            clear(pins, gsi);
            size -= removed;
        }
        return removed > 0;
    }

    boolean isSame(Routes other) {
        return messages.equals(other.messages) && pins.equals(other.pins);
    }

    void encode(RouteRecords records) {
        records.begin(size);
        int gsis = Math.max(messages.size(), pins.size());
        for (int gsi = 0; gsi < gsis; gsi++) {
            MsiMessage message = at(messages, gsi);
            if (message != null) {
                records.add(gsi, message);
            }
            List<Route> chips = at(pins, gsi);
            if (chips != null) {
                chips.forEach(pin -> records.add((Route.Pin) pin));
            }
        }
    }
}
