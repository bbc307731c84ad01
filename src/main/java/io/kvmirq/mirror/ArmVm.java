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
 * @param vlpis by LPI: the eventfd whose host interrupt KVM takes it for a vLPI of
 * @param sent by eventfd: where hardware sends the message of its host interrupt. Before Linux 6.16 a change of the route
 *     leaves it as it was
 */
record ArmVm(LongMap<LongMap<Mapping>> itses, LongMap<EventFdId> vlpis, LongMap<Mapping> sent) {
    static final ArmVm EMPTY = new ArmVm(LongMap.empty(), LongMap.empty(), LongMap.empty());

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

    /** The eventfd whose host interrupt the LPI of a guest's event is a vLPI of; null if it is none. */
    @Nullable
    EventFdId owner(long doorbell, long key) {
        LongMap<Mapping> its = itses.get(doorbell);
        Mapping mapping = its == null ? null : its.get(key);
        return mapping == null ? null : vlpis.get(mapping.lpi());
    }

    ArmVm withIts(long doorbell) {
        return itses.get(doorbell) == null ? new ArmVm(itses.with(doorbell, LongMap.empty()), vlpis, sent) : this;
    }

    /** The guest's event has this LPI now. A vLPI that it had before ends, unless only the vCPU differs. */
    ArmVm with(long doorbell, long key, Mapping now) {
        LongMap<Mapping> its = itses.get(doorbell);
        LongMap<Mapping> known = its == null ? LongMap.empty() : its;
        Mapping before = known.get(key);
        ArmVm changed = new ArmVm(itses.with(doorbell, known.with(key, now)), vlpis, sent);
        if (before == null || before.lpi() != now.lpi()) {
            return before == null ? changed : changed.withoutVlpi(before.lpi());
        }
        EventFdId owner = vlpis.get(now.lpi());
        return owner != null && before.equals(sent.get(owner.number())) ? changed.withVlpi(now, owner) : changed;
    }

    ArmVm withVlpi(Mapping mapping, EventFdId event) {
        ArmVm free = withoutVlpi(mapping.lpi());
        return new ArmVm(itses, free.vlpis.with(mapping.lpi(), event), free.sent.with(event.number(), mapping));
    }

    /** Nothing is sent to the LPI any more. */
    ArmVm withoutVlpi(int lpi) {
        EventFdId owner = vlpis.get(lpi);
        if (owner == null) {
            return this;
        }
        Mapping target = sent.get(owner.number());
        boolean ends = target != null && target.lpi() == lpi;
        return new ArmVm(itses, vlpis.without(lpi), ends ? sent.without(owner.number()) : sent);
    }

    /** The host interrupt is gone. */
    ArmVm withoutHostIrq(EventFdId event) {
        Mapping target = sent.get(event.number());
        return target == null ? this : withoutVlpi(target.lpi());
    }
}
