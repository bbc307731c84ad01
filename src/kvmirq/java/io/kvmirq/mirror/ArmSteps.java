/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.EventFdId;
import io.kvmirq.arch.gic.VlpiKernel;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The arm64 steps that change which LPIs are mapped to vLPIs. KVM maps one only when it connects producer and consumer.
 */
record ArmSteps(State state, MirrorHost.Arm64 host) {
    private ItsMappings.@Nullable Mapping mapping(EventFdEnds ends) {
        return state.arm.mapping(ItsMappings.message(state.routes(ends)));
    }

    /** Called before an irqfd's routes change. On an old kernel, the old route's LPI stays mapped to a vLPI. */
    EventFdEnds reroute(EventFdEnds ends) {
        if (!ArmRules.isConnected(host, ends)) {
            return ends;
        }
        if (host.kernel() == VlpiKernel.BY_HOST_IRQ) {
            state.arm.endHostIrq(ends.event());
        }
        return ends.obstructed(Optional.of(ArmRules.LOST));
    }

    /** Changes a guest event's LPI. */
    void map(long its, long key, ItsMappings.Mapping now) {
        long doorbell = ItsMappings.doorbell(its);
        ItsMappings.Mapping before = state.arm.mapping(doorbell, key);
        EventFdId owner = before == null ? null : state.arm.owner(before.lpi());
        state.arm.map(doorbell, key, now);
        state.aimedAt(key).forEach(event -> {
            EventFdEnds met = state.at(event);
            boolean vlpi = state.arm.sent(event) != null;
            state.predict(met.isPaired() && !vlpi ? met.obstructed(Optional.of(ArmRules.unmapped(met))) : met);
        });
        if (before != null && owner != null) {
            predictOthers(before.lpi(), owner, null);
        }
    }

    /** Handles a connect or disconnect of producer and consumer, or a replaced irqfd. */
    EventFdEnds meet(EventFdEnds before, EventFdEnds now) {
        boolean same = before.consumer().equals(now.consumer());
        if (ArmRules.isConnected(host, before) && !(now.isPaired() && same)) {
            part(before);
        }
        if (now.producer().isEmpty()) {
            ItsMappings.Mapping sent = state.arm.sent(now.event());
            state.arm.endHostIrq(now.event());
            if (sent != null) {
                predictOthers(sent.lpi(), null, now.event());
            }
        }
        if (!now.isPaired()) {
            return now.obstructed(Optional.empty());
        }
        return before.isPaired() && same ? now : now.obstructed(join(now));
    }

    /** Unmaps a vLPI at a disconnect. Before 6.16, KVM unmaps the current route's vLPI, even another interrupt's. */
    private void part(EventFdEnds ends) {
        if (host.kernel() == VlpiKernel.BY_HOST_IRQ) {
            state.arm.endHostIrq(ends.event());
            return;
        }
        ItsMappings.Mapping present = mapping(ends);
        if (present != null) {
            EventFdId owner = state.arm.owner(present.lpi());
            state.arm.endVlpi(present.lpi());
            predictOthers(present.lpi(), owner, ends.event());
        }
    }

    private Optional<Posting> join(EventFdEnds ends) {
        Optional<Posting> why = ArmRules.obstacle(host, state.arm, state.routes(ends));
        ItsMappings.Mapping mapping = mapping(ends);
        if (why.isEmpty() && mapping != null) {
            EventFdId owner = state.arm.owner(mapping.lpi());
            state.arm.makeVlpi(mapping, ends.event());
            predictOthers(mapping.lpi(), owner, ends.event());
        }
        return why;
    }

    /** Repeats the predictions of other host interrupts whose event has this LPI, because its owner changed. */
    private void predictOthers(int lpi, @Nullable EventFdId owner, @Nullable EventFdId self) {
        Stream.concat(
                        Stream.ofNullable(owner),
                        state.arm.events(lpi).stream().flatMap(key -> state.aimedAt(key).stream()))
                .filter(other -> !other.equals(self))
                .distinct()
                .toList()
                .forEach(other -> state.predict(state.at(other)));
    }
}
