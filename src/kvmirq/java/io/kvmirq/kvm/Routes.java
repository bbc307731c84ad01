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
 * The routes of each GSI: one message, pins of different chips, or one route of another type. Messages are not stored
 * as {@link Route}s, because a VM may have thousands. Not thread-safe.
 */
final class Routes {
    /** One more than the highest GSI. */
    static final int ALL = Gsi.MAX + 1;

    /** The message of each GSI. GSIs beyond the end have none. */
    private @Nullable MsiMessage[] messages = new MsiMessage[0];

    /** The routes of each GSI that are not messages, up to the last GSI that has one. */
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

    /** The last GSI with a pin, plus one. */
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

    /** @return whether the GSI had a route */
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

    /** The fields of an event: VM, table size, and numbers of added, removed and replaced GSIs. */
    Object[] changes(Routes before, long vm) {
        long[] changes = new long[3];
        for (int gsi = sameBelow(before); gsi < ALL; gsi++) {
            if (!of(gsi).equals(before.of(gsi))) {
                changes[!before.has(gsi) ? 0 : !has(gsi) ? 1 : 2]++;
            }
        }
        return new Object[] {vm, (long) size, changes[0], changes[1], changes[2]};
    }

    /** The first GSI whose routes differ from those of another table; {@link #ALL} if none does. */
    int sameBelow(Routes other) {
        return Math.min(messagesSameBelow(other), pinsSameBelow(other));
    }

    private int messagesSameBelow(Routes other) {
        @Nullable MsiMessage[] longer = messages.length < other.messages.length ? other.messages : messages;
        int shorter = Math.min(messages.length, other.messages.length);
        int gsi = Arrays.mismatch(messages, other.messages);
        while (gsi >= shorter && gsi < longer.length && longer[gsi] == null) {
            gsi++;
        }
        return gsi < 0 || gsi == longer.length ? ALL : gsi;
    }

    private int pinsSameBelow(Routes other) {
        int shorter = Math.min(pins.size(), other.pins.size());
        int gsi = 0;
        while (gsi < shorter && Objects.equals(pins.get(gsi), other.pins.get(gsi))) {
            gsi++;
        }
        return gsi == pins.size() && gsi == other.pins.size() ? ALL : gsi;
    }

    /** @param encoded the table that the records encode now; records of GSIs below the first difference stay */
    void encode(RouteRecords records, Routes encoded) {
        int first = encoded.size == 0 ? 0 : sameBelow(encoded);
        records.begin(size, first);
        int gsis = Math.max(messages.length, pins.size());
        for (int gsi = first; gsi < gsis; gsi++) {
            MsiMessage message = message(gsi);
            if (message != null) {
                records.add(gsi, message);
            }
            if (gsi < pins.size()) {
                pins(gsi).forEach(records::add);
            }
        }
    }
}
