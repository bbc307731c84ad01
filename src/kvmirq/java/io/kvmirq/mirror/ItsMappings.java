/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The known mappings of a guest's ITSs, and which LPIs are mapped to vLPIs. Guarded by the mirror's lock. */
final class ItsMappings {
    /** Mappings by the ITS's doorbell address, then by {@link #key}. */
    private final Map<Long, Map<Long, Mapping>> itses = new HashMap<>();
    /** The {@link #key}s of the events that are mapped to each LPI. */
    private final Map<Integer, Set<Long>> events = new HashMap<>();
    /** The eventfd of the host interrupt for which KVM mapped each LPI to a vLPI. */
    private final Map<Integer, EventFdId> vlpis = new HashMap<>();
    /**
     * The mapping to which hardware sends the message of each eventfd's host interrupt. Before Linux 6.16, a changed
     * route does not change this mapping.
     */
    private final Map<EventFdId, Mapping> sent = new HashMap<>();

    /** A guest event's LPI; 0 if it has none. */
    record Mapping(int lpi, VcpuId vcpu) {
        static final Mapping NONE = new Mapping(0, new VcpuId(0));
    }

    static long key(int device, int event) {
        return (long) device << Integer.SIZE | Integer.toUnsignedLong(event);
    }

    static long doorbell(long its) {
        return MsiMessage.toIts(its, 0, 0).address();
    }

    /** A GSI's message, or null unless its routes are exactly one message. */
    static @Nullable MsiMessage message(List<Route> routes) {
        return routes.size() == 1 && routes.get(0) instanceof Route.Msi msi ? msi.message() : null;
    }

    /** Whether ITSs are known and none of them has this doorbell. */
    boolean lacksIts(long doorbell) {
        return !itses.isEmpty() && !itses.containsKey(doorbell);
    }

    /** A guest event's mapping, or null if no event of the mirror contained it. */
    @Nullable
    Mapping mapping(long doorbell, long key) {
        Map<Long, Mapping> mappings = itses.get(doorbell);
        return mappings == null ? null : mappings.get(key);
    }

    /** A message's mapping, or null if no event contained it. */
    @Nullable
    Mapping mapping(@Nullable MsiMessage message) {
        return message == null || message.deviceId().isEmpty()
                ? null
                : mapping(message.address(), key(message.deviceId().getAsInt(), message.data()));
    }

    /** The eventfd whose host interrupt is mapped to this LPI's vLPI, or null. */
    @Nullable
    EventFdId owner(int lpi) {
        return vlpis.get(lpi);
    }

    /** The mapping that hardware uses for a host interrupt's message, or null if the message goes to no vLPI. */
    @Nullable
    Mapping sent(EventFdId event) {
        return sent.get(event);
    }

    void addIts(long doorbell) {
        itses.putIfAbsent(doorbell, new HashMap<>());
    }

    /** Maps a guest event to an LPI, and unmaps its former vLPI unless only the vCPU differs. */
    void map(long doorbell, long key, Mapping now) {
        Mapping before =
                itses.computeIfAbsent(doorbell, absent -> new HashMap<>()).put(key, now);
        events.computeIfAbsent(now.lpi(), lpi -> new HashSet<>()).add(key);
        if (before == null) {
            return;
        }
        if (before.lpi() != now.lpi()) {
            events(before.lpi()).remove(key);
            endVlpi(before.lpi());
            return;
        }
        EventFdId owner = owner(now.lpi());
        if (owner != null && before.equals(sent(owner))) {
            makeVlpi(now, owner);
        }
    }

    /** The keys of the events that are mapped to this LPI. */
    Set<Long> events(int lpi) {
        return events.getOrDefault(lpi, Set.of());
    }

    void makeVlpi(Mapping mapping, EventFdId event) {
        endVlpi(mapping.lpi());
        vlpis.put(mapping.lpi(), event);
        sent.put(event, mapping);
    }

    /** Unmaps a vLPI, so that hardware no longer sends messages to this LPI. */
    void endVlpi(int lpi) {
        EventFdId owner = vlpis.remove(lpi);
        Mapping target = owner == null ? null : sent(owner);
        if (target != null && target.lpi() == lpi) {
            sent.remove(owner);
        }
    }

    void endHostIrq(EventFdId event) {
        Mapping target = sent(event);
        if (target != null) {
            endVlpi(target.lpi());
        }
    }
}
