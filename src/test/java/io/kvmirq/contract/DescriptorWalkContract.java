/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.contract.DescriptorWalk.Inhibit;
import io.kvmirq.contract.DescriptorWalk.Sender;
import io.kvmirq.contract.DescriptorWalk.Step;
import io.kvmirq.contract.VcpuPhasesContract.Place;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.Search;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The posted-interrupt descriptor of a vCPU in the memory of a kernel with APICv, beside what the mirror predicts: a walk
 * through places of the vCPU, senders and inhibits. In its last tenth, APIC virtualization is inhibited for good. With an
 * assignment, the lab's module posts in place of a VT-d unit.
 */
@Tag("contract")
@Tag(RealKvm.TAG)
class DescriptorWalkContract {
    private static final Path ENABLED = Path.of("/sys/module/kvm_intel/parameters/enable_apicv");
    private static final int STEPS = Integer.getInteger("kvmirq.differential.seeds", 100);
    private static final long SEED = 88;

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
        long[] fields = new long[2];
        try {
            Search.run(isAssigned ? "with an assignment" : "stock", SEED, 1, random -> {
                try (DescriptorWalk walk = new DescriptorWalk(isAssigned)) {
                    for (int at = 0; random.step(STEPS); at++) {
                        boolean isLate = random.keep(at < STEPS - STEPS / 10 ? 0 : 1) != 0;
                        Step step = Step.random(random, isAssigned, isLate);
                        random.note(step.toString());
                        assertThat(walk.take(step)).as("%s", step).isEmpty();
                    }
                    walk.end();
                    fields[0] = walk.fields();
                    fields[1] = walk.unknown();
                }
            });
            System.out.println("lab-descriptors: " + (isAssigned ? "with an assignment" : "stock") + ", seed " + SEED
                    + ": " + STEPS + " steps, " + fields[0] + " fields compared, " + fields[1]
                    + " not predicted, 0 differ");
            assertThat(fields[1]).isLessThan(fields[0] / 10);
            assertThat(fields[0]).isGreaterThan(10L * STEPS);
        } finally {
            VcpuPhasesContract.restore(throttle);
        }
    }
}
