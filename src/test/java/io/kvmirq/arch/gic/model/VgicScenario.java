/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.explorer.Scenario;
import io.kvmirq.explorer.Space;
import java.util.function.Function;

/** Who acts. The thread of vCPU 0 does a few things of enter, serve, exit and block, then runs on. */
public enum VgicScenario implements Scenario<VgicVariant> {
    LATE(
            "the guest ends a level whose line is high; the maintenance interrupt is late; an edge comes",
            variant -> late(variant).inService().anything(1, false).edge(VgicSpace.EDGE)),
    LATE_AND_SLEEP(
            "the guest ends a level whose line is high; the maintenance interrupt is late; the guest may sleep",
            variant -> late(variant).inService().anything(5, true)),
    TWO_SOURCES(
            "two vCPUs send one SGI",
            variant -> plain(variant, 2).anything(3, true).sender(1).sender(2)),
    ONE_REGISTER(
            "the same on one list register",
            variant -> plain(variant, 1).anything(3, true).sender(1).sender(2)),
    OVERFLOW(
            "an edge is in the only list register, and another one comes",
            variant -> plain(variant, 1).queued().anything(5, true).edge(VgicSpace.OTHER_EDGE)),
    SLEEP(
            "an edge and an SGI come while the guest runs, exits or sleeps",
            variant -> plain(variant, 2).anything(4, true).edge(VgicSpace.EDGE).sender(1)),
    TOGGLE(
            "a line rises, falls and rises while the guest serves it or sleeps",
            variant -> plain(variant, 2).anything(5, true).toggling()),
    MOVE(
            "the guest ends a level whose line is high while it is routed to vCPU 1, which sleeps",
            variant ->
                    plain(variant, 2).inService().anything(2, false).rerouted().sleeper()),
    WRONG_VCPU(
            "the maintenance interrupt is so late that vCPU 1 may be on the CPU",
            variant -> late(variant).inService().swapped()),
    WRONG_VCPU_ONCE(
            "vCPU 1 may be on the CPU when the maintenance interrupt comes, which is raised once while MISR is not 0",
            variant -> new VgicSpace(variant, 2, true, true).inService().swapped());

    @SuppressWarnings("ImmutableEnumChecker") // No function of these has a state.
    private final Story<VgicVariant> story;

    VgicScenario(String text, Function<VgicVariant, Space> space) {
        this.story = new Story<>(text, space);
    }

    private static VgicSpace plain(VgicVariant variant, int registers) {
        return new VgicSpace(variant, registers, false, false);
    }

    private static VgicSpace late(VgicVariant variant) {
        return new VgicSpace(variant, 2, true, false);
    }

    @Override
    public Story<VgicVariant> story() {
        return story;
    }
}
