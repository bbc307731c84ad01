/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The routes of each GSI: one message, or pins of different chips. A VM may have thousands of messages, so a message is
 * not stored as a {@link Route}. Not thread-safe.
 */
final class Routes {
    /** By GSI, up to the last that has one. */
    private final List<@Nullable MsiMessage> messages;
    /** By GSI. */
    private final Map<Integer, List<Route>> pins;

    private int size;

    Routes() {
        messages = new ArrayList<>();
        pins = new TreeMap<>();
    }

    private Routes(Routes other) {
        messages = new ArrayList<>(other.messages);
        pins = new TreeMap<>(other.pins);
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
        return pins.keySet().stream().mapToInt(gsi -> gsi + 1).max().orElse(0);
    }

    private @Nullable MsiMessage message(int gsi) {
        return gsi < messages.size() ? messages.get(gsi) : null;
    }

    boolean has(int gsi) {
        return message(gsi) != null || pins.containsKey(gsi);
    }

    List<Route> of(int gsi) {
        MsiMessage message = message(gsi);
        return message == null ? pins.getOrDefault(gsi, List.of()) : List.of(new Route.Msi(new Gsi(gsi), message));
    }

    void put(Route route) {
        int gsi = route.gsi().number();
        if (route instanceof Route.Msi msi) {
            while (messages.size() <= gsi) {
                messages.add(null);
            }
            messages.set(gsi, msi.message());
        } else {
            pins.merge(gsi, List.of(route), (there, one) -> Stream.concat(there.stream(), one.stream())
                    .toList());
        }
        size++;
    }

    /** @return whether the GSI had any */
    boolean remove(int gsi) {
        if (message(gsi) != null) {
            messages.set(gsi, null);
            size--;
            while (!messages.isEmpty() && messages.get(messages.size() - 1) == null) {
                messages.remove(messages.size() - 1);
            }
            return true;
        }
        List<Route> removed = pins.remove(gsi);
        size -= removed == null ? 0 : removed.size();
        return removed != null;
    }

    boolean isSame(Routes other) {
        return messages.equals(other.messages) && pins.equals(other.pins);
    }

    /** All, by GSI. */
    void encode(RouteRecords records) {
        records.begin(size);
        int gsis = Math.max(messages.size(), gsisOfPins());
        for (int gsi = 0; gsi < gsis; gsi++) {
            MsiMessage message = message(gsi);
            if (message != null) {
                records.add(gsi, message);
            }
            for (Route pin : pins.getOrDefault(gsi, List.of())) {
                records.add((Route.Pin) pin);
            }
        }
    }
}
