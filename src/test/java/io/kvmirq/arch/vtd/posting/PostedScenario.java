/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.explorer.Scenario;
import io.kvmirq.explorer.Space;
import java.util.function.Function;

/** Who acts. The vCPU's thread does any three things of enter, exit, sync, preempt, load and block, then runs on. */
public enum PostedScenario implements Scenario<PostedVariant> {
    DEVICE(
            "a device posts to a loaded vCPU",
            variant -> one(variant).bypassed().loaded().device()),
    DEVICE_AND_SOFTWARE(
            "a device posts, software requests",
            variant -> one(variant).bypassed().device().software()),
    ONE_VECTOR(
            "the same, both request one vector",
            variant -> one(variant).bypassed().oneVector().device().software()),
    TWO_DEVICES(
            "two devices post",
            variant -> one(variant).bypassed().device().device().operations(4)),
    TWO_OF_SOFTWARE(
            "software requests twice at once, no device is bypassed",
            variant -> one(variant).software().software()),
    TWO_PROCESSORS(
            "a device posts, software requests, the vCPU is on either of two processors",
            variant -> new PostedVmSpace(variant, 2).bypassed().device().software()),
    START_OF_BYPASS(
            "the VM's first device is bypassed and posts, software requests",
            variant -> one(variant).startsBypass().software()),
    TWO_VCPUS(
            "devices post to a vCPU and to one that sleeps on the same processor",
            variant -> PostedVmSpace.withSleeper(variant).device().deviceOfSleeper()),
    MASKED(
            "a device posts, software requests, the guest may halt with interrupts off until an NMI comes",
            variant -> one(variant).bypassed().device().software().masked()),
    IN_TWO_ACCESSES(
            "a device posts to a loaded vCPU as the live descriptor does, first PIR, then ON; software requests",
            variant -> one(variant).bypassed().loaded().liveDevice().software().operations(2)),
    YIELD(
            "devices post to a loaded vCPU, which comes back from preemption only when another vCPU yields to it",
            variant -> one(variant).bypassed().loaded().device().device().yieldedTo()),
    FAST_PATH(
            "a device posts to a loaded vCPU, whose guest also sends itself interrupts on the fast path",
            variant -> one(variant).bypassed().loaded().device().sendsToItself()),
    THROUGH_THE_UNIT(
            "a device's entry posts to a vCPU that sleeps, then to another; it requests meanwhile and afterwards",
            variant -> PostedVmSpace.withSleeper(variant).loaded().rerouted().operations(1)),
    DATA("a sender writes data and requests, twice", DataSpace::new);

    @SuppressWarnings("ImmutableEnumChecker") // No function of these has a state.
    private final Story<PostedVariant> story;

    PostedScenario(String text, Function<PostedVariant, Space> space) {
        this.story = new Story<>(text, space);
    }

    private static PostedVmSpace one(PostedVariant variant) {
        return new PostedVmSpace(variant, 1);
    }

    @Override
    public Story<PostedVariant> story() {
        return story;
    }
}
