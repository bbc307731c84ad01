/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Search;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A fake whose calls fail stands for the real kernel. */
class DifferentialReportTest {
    private static Differential differential(Predicate<String> fails) {
        Faults faults = new Faults().failIf(fails, Errno.EIO);
        FakeKernel real = new FakeKernel(Machine.profile());
        return new Differential(faults.over(real.backend()).libc(), () -> new FakeKernel(Machine.profile()), List.of());
    }

    @BeforeEach
    void assumeAllRun() {
        Search.assumeAllRun();
    }

    @Test
    void plantedDifferenceIsFoundInFewSteps() {
        Set<String> made = new HashSet<>();
        Predicate<String> fails = call -> {
            if (call.equals("open")) {
                made.clear();
            }
            made.add(call);
            return call.equals("KVM_IRQFD") && made.containsAll(Set.of("KVM_IOEVENTFD", "KVM_SET_GSI_ROUTING"));
        };
        try (Differential differential = differential(fails)) {
            assertThatThrownBy(() -> Search.run("random calls", 0, 100, differential::run))
                    .hasMessageFindingMatch("seed \\d+, ([1-9]|1[0-2]) of \\d+ steps: ")
                    .hasMessageContaining("    void found() {\n        agree(\n                call(OPEN, 1000, 0),")
                    .hasMessageContainingAll("call(IOEVENTFD, ", "call(ROUTING, ", "call(IRQFD, ");
        }
    }

    @Test
    void searchThatMakesNoVcpuFails() {
        try (Differential differential = differential(call -> false)) {
            assertThatThrownBy(() -> DifferentialReport.run(differential, 0, 0))
                    .hasMessageContaining("0 vCPUs in 0 sequences");
        }
    }
}
