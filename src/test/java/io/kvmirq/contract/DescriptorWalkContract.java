/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.contract.DescriptorWalk.Inhibit;
import io.kvmirq.contract.DescriptorWalk.Sender;
import io.kvmirq.contract.DescriptorWalk.Step;
import io.kvmirq.contract.VcpuPhasesContract.Place;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The posted-interrupt descriptor of a vCPU in the memory of a kernel with APICv, beside what the mirror predicts: a walk
 * through places of the vCPU, senders and inhibits, with a seed. With an assignment, the lab's module posts in place of a VT-d
 * unit. A walk that differs is made short.
 */
@Tag("contract")
@Tag(RealKvm.TAG)
class DescriptorWalkContract {
    private static final Path ENABLED = Path.of("/sys/module/kvm_intel/parameters/enable_apicv");
    private static final int STEPS = Integer.getInteger("kvmirq.differential.seeds", 100);
    private static final long SEED = Long.getLong("kvmirq.test.live.seed", 88);
    private static final int MOST_DIFFERING = 5;
    private static final int MOST_REPLAYED = 64;

    /** In the last tenth of a walk, APIC virtualization is inhibited for good. */
    private static List<Step> steps(boolean isAssigned) {
        Random random = new Random(SEED);
        return IntStream.range(0, STEPS)
                .mapToObj(i -> Step.random(random, isAssigned, i >= STEPS - STEPS / 10))
                .toList();
    }

    private static boolean differs(DescriptorWalk walk, List<Step> steps) throws Exception {
        boolean differs = false;
        for (Step step : steps) {
            differs |= !walk.take(step).isEmpty();
        }
        return differs;
    }

    /** Few of the last steps, which still differ. Empty if no replay of the last steps does. */
    private static List<Step> shortened(DescriptorWalk walk, List<Step> steps) throws Exception {
        for (int last = 1; last <= Math.min(steps.size(), MOST_REPLAYED); last *= 2) {
            List<Step> fewer = new ArrayList<>(steps.subList(steps.size() - last, steps.size()));
            if (differs(walk, fewer)) {
                for (int i = fewer.size() - 2; i >= 0; i--) {
                    List<Step> without = new ArrayList<>(fewer);
                    without.remove(i);
                    fewer = differs(walk, without) ? without : fewer;
                }
                return fewer;
            }
        }
        return List.of();
    }

    private static void assumeUnit() throws IOException {
        assumeTrue(
                Files.exists(ENABLED) && Files.readString(ENABLED).startsWith("Y") && Files.exists(DescriptorWalk.UNIT),
                "needs kvm_intel with APICv, and the module that posts: LAB=apicv");
    }

    private static boolean isEnded(DescriptorWalk walk, int vector, Inhibit inhibit) throws Exception {
        assertThat(walk.take(new Step(Place.SPINNING, false, Sender.LEVEL, vector, inhibit)))
                .isEmpty();
        return walk.isEnded();
    }

    /** An IOAPIC that is programmed while APIC virtualization is inhibited waits for an EOI of which KVM does not hear. */
    @Test
    void endOfAnInhibitLeavesTheEoiExitBitmapAsItWas() throws Exception {
        assumeUnit();
        String throttle = VcpuPhasesContract.setAside();
        try (DescriptorWalk walk = new DescriptorWalk(false)) {
            assertThat(isEnded(walk, 0x40, Inhibit.NONE)).isTrue();
            assertThat(isEnded(walk, 0x40, Inhibit.AUTO_EOI)).isTrue();
            assertThat(isEnded(walk, 0x80, Inhibit.AUTO_EOI)).isTrue();
            assertThat(isEnded(walk, 0x80, Inhibit.NONE)).isFalse();
            assertThat(isEnded(walk, 0x80, Inhibit.NONE)).as("after a scan").isTrue();
            walk.end();
        } finally {
            VcpuPhasesContract.restore(throttle);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void descriptorIsAsPredicted(boolean isAssigned) throws Exception {
        assumeUnit();
        String throttle = VcpuPhasesContract.setAside();
        List<Step> steps = steps(isAssigned);
        List<String> differing = new ArrayList<>();
        try (DescriptorWalk walk = new DescriptorWalk(isAssigned)) {
            int first = -1;
            int taken = 0;
            while (taken < STEPS && differing.size() < MOST_DIFFERING) {
                for (String found : walk.take(steps.get(taken))) {
                    differing.add("step " + taken + ", " + found);
                    first = first < 0 ? taken : first;
                }
                taken++;
            }
            System.out.println("lab-descriptors: " + (isAssigned ? "with an assignment" : "stock") + ", seed " + SEED
                    + ": " + taken + " steps, " + walk.fields() + " fields compared, " + walk.unknown()
                    + " not predicted, " + differing.size() + " differ");
            if (first >= 0) {
                differing.add("shortened: " + shortened(walk, steps.subList(0, first + 1)));
            }
            walk.end();
            assertThat(differing).isEmpty();
            assertThat(walk.unknown()).isLessThan(walk.fields() / 10);
            assertThat(walk.fields()).isGreaterThan(10L * STEPS);
        } finally {
            VcpuPhasesContract.restore(throttle);
        }
    }
}
