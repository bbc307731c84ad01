/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.explorer.Scenario;
import io.kvmirq.explorer.Space;
import java.util.function.Function;

/** Who acts. Each vCPU's thread does a few things of enter, exit, preempt, load and block, then runs on. */
public enum AvicScenario implements Scenario<AvicVariant> {
    MOVE(
            "the guest moves the interrupt to vCPU 1 and has it masked meanwhile; the device requests after that",
            variant -> plain(variant).postedTo(0).update(1).maskedDevice().operations(1, 1)),
    MOVE_TO_SLEEPER(
            "the guest moves the interrupt to vCPU 1, which sleeps, and has it masked meanwhile; the device requests after that",
            variant -> plain(variant).postedTo(0).update(1).maskedDevice().operations(1, 0)),
    TWO_UPDATES(
            "two threads of KVM post one irqfd, to vCPU 0 and to vCPU 1; the device requests after that",
            variant -> plain(variant).update(0).update(1).maskedDevice().operations(1, 0)),
    BLOCK(
            "no move; the unit handles a request in steps, while vCPU 0 blocks or is preempted",
            variant -> plain(variant).postedTo(0).deviceInSteps().operations(2, 0)),
    TWO_VECTORS(
            "no move; the device requests, then requests another vector, while vCPU 0 takes the first",
            variant -> plain(variant).postedTo(0).deviceOfTwoVectors().operations(2, 0)),
    LOG(
            "no move; vCPU 1 sleeps and is in the GA log; it blocks again, and the device requests again",
            variant -> plain(variant).postedTo(1).logged().device().operations(0, 4)),
    BLOCK_CACHED(
            "no move; one request, and the unit has GALogIntr in its cache from before",
            variant ->
                    new AvicSpace(variant, true).postedTo(0).cached().device().operations(1, 0)),
    INHIBIT(
            "AVIC is inhibited; the irqfd is posted to vCPU 0; the device requests at any time",
            variant -> plain(variant).inhibit().update(0).device().operations(0, 0)),
    PERMIT(
            "the inhibit ends; the irqfd is posted to vCPU 0; the device requests at any time",
            variant -> plain(variant).permit().update(0).device().operations(0, 0)),
    MOVE_LIVE(
            "the guest moves the interrupt to vCPU 1 unmasked; the device requests at any time",
            variant -> plain(variant).postedTo(0).update(1).device().operations(1, 0)),
    MOVE_CACHED("the same; the unit has the entry in its cache, until the invalidation", variant -> new AvicSpace(
                    variant, true)
            .postedTo(0)
            .cached()
            .update(1)
            .device()
            .operations(1, 0)),
    MOVE_IN_STEPS(
            "the same; the unit handles the request in steps, for which the invalidation waits",
            variant -> new AvicSpace(variant, true)
                    .postedTo(0)
                    .update(1)
                    .deviceInSteps()
                    .operations(1, 0)),
    UNSET(
            "the irqfd is posted no more; the device requests at any time",
            variant -> plain(variant).postedTo(0).unset().device().operations(1, 0));

    @SuppressWarnings("ImmutableEnumChecker") // No function of these has a state.
    private final Story<AvicVariant> story;

    AvicScenario(String text, Function<AvicVariant, Space> space) {
        this.story = new Story<>(text, space);
    }

    private static AvicSpace plain(AvicVariant variant) {
        return new AvicSpace(variant, false);
    }

    @Override
    public Story<AvicVariant> story() {
        return story;
    }
}
