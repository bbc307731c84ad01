/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a guest's ITSs hold, as far as events said, and which LPIs are vLPIs. Immutable.
 *
 * @param itses by doorbell address, then by {@link #key}: the mappings
 * @param vlpis by LPI: the eventfd whose host interrupt it is a vLPI of
 */
record ArmVm(LongMap<LongMap<Mapping>> itses, LongMap<EventFdId> vlpis) {
    static final ArmVm EMPTY = new ArmVm(LongMap.empty(), LongMap.empty());

    /** The LPI of a guest's event; LPI 0 if the event has none. */
    record Mapping(int lpi, VcpuId vcpu) {
        static final Mapping NONE = new Mapping(0, new VcpuId(0));
    }

    /** The device id and the event id in one. */
    static long key(int device, int event) {
        return (long) device << Integer.SIZE | Integer.toUnsignedLong(event);
    }

    /** The address that devices write to. */
    static long doorbell(long its) {
        return MsiMessage.toIts(its, 0, 0).address();
    }

    /** The only message of a GSI; null if it has none. */
    static @Nullable MsiMessage message(List<Route> routes) {
        return routes.size() == 1 && routes.get(0) instanceof Route.Msi msi ? msi.message() : null;
    }

    /** The mapping of a message; null if no event told it. */
    @Nullable
    Mapping mapping(@Nullable MsiMessage message) {
        if (message == null || message.deviceId().isEmpty()) {
            return null;
        }
        LongMap<Mapping> its = itses.get(message.address());
        return its == null ? null : its.get(key(message.deviceId().getAsInt(), message.data()));
    }

    ArmVm withIts(long doorbell) {
        return itses.get(doorbell) == null ? new ArmVm(itses.with(doorbell, LongMap.empty()), vlpis) : this;
    }

    /** The guest's event has this LPI now. A vLPI that it had before ends, unless only the vCPU differs. */
    ArmVm with(long doorbell, long key, Mapping now) {
        LongMap<Mapping> its = itses.get(doorbell);
        LongMap<Mapping> known = its == null ? LongMap.empty() : its;
        Mapping before = known.get(key);
        LongMap<EventFdId> left = before != null && before.lpi() != now.lpi() ? vlpis.without(before.lpi()) : vlpis;
        return new ArmVm(itses.with(doorbell, known.with(key, now)), left);
    }

    boolean isVlpiOf(@Nullable Mapping mapping, EventFdId event) {
        return mapping != null && event.equals(vlpis.get(mapping.lpi()));
    }

    ArmVm withVlpi(int lpi, EventFdId event) {
        return new ArmVm(itses, vlpis.with(lpi, event));
    }

    ArmVm withoutVlpi(int lpi) {
        return new ArmVm(itses, vlpis.without(lpi));
    }
}
