/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.VectorFootprintTest.VECTORS;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Allocations;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The bytes that batches allocate for each vector; the stub of the kernel allocates some of them. */
class BatchCostTest {
    /** A prediction is made at the first look. */
    @Test
    void batchesAllocateLittleForEachVectorAndOnlyTheLookPredicts() {
        try (Kernel kernel = Kernel.over(VectorFootprintTest.kernel());
                Vm vm = Vm.create(kernel);
                VfioDevice device = VfioDevice.adopt(kernel, PciAddress.parse("0000:3b:00.0"), 1, Ownership.BORROWED)) {
            vm.x86().createIrqchip();
            MsiMessage[] before = messages(0);
            MsiMessage[] after = messages(1);
            List<Long> forward = new ArrayList<>();
            List<Long> reroute = new ArrayList<>();
            List<Long> single = new ArrayList<>();
            List<Long> look = new ArrayList<>();
            for (int round = 0; round < 5; round++) {
                try (Forwarding forwarding = Forwarding.create(vm, device)) {
                    forward.add(Allocations.of(() -> forwarding.forwardAll(device.msix(), i -> before[i])));
                    List<ForwardedIrq> all = forwarding.irqs();
                    reroute.add(Allocations.of(() -> forwarding.reroute(all, i -> after[i])));
                    single.add(Allocations.of(() -> all.get(VECTORS - 1).reroute(before[1])));
                    look.add(Allocations.of(() -> all.get(7).predicted()));
                }
            }
            assertThat(Collections.min(forward) / VECTORS)
                    .as("bytes to forward one")
                    .isLessThan(450);
            assertThat(Collections.min(reroute) / VECTORS)
                    .as("bytes to reroute one of all")
                    .isLessThan(700);
            assertThat(Collections.min(single))
                    .as("bytes to reroute one alone")
                    .isLessThan(5L * VECTORS * Integer.BYTES);
            assertThat(Collections.min(look) / VECTORS)
                    .as("bytes to predict one")
                    .isGreaterThan(500);
        }
    }

    private static MsiMessage[] messages(int from) {
        return IntStream.range(from, from + VECTORS)
                .mapToObj(VectorFootprintTest::message)
                .toArray(MsiMessage[]::new);
    }
}
