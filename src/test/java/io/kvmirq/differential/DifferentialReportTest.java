/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.testing.Machine;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;

/** A fake whose calls fail stands for the real kernel. */
class DifferentialReportTest {
    private static List<String> search(int sequences, Predicate<String> fails) {
        Faults faults = new Faults().failIf(fails, Errno.EIO);
        FakeKernel real = new FakeKernel(Machine.profile());
        try (Differential differential = new Differential(
                faults.over(real.backend()).libc(), () -> new FakeKernel(Machine.profile()), List.of())) {
            return DifferentialReport.run(differential, 0, sequences);
        }
    }

    @Test
    void plantedDifferenceIsFoundInFewSteps() {
        Set<String> made = new HashSet<>();
        List<String> found = search(100, call -> {
            if (call.equals("open")) {
                made.clear();
            }
            made.add(call);
            return call.equals("KVM_IRQFD") && made.containsAll(Set.of("KVM_IOEVENTFD", "KVM_SET_GSI_ROUTING"));
        });
        assertThat(found).hasSize(5).allSatisfy(test -> assertThat(test)
                .containsPattern("seed \\d+, ([1-9]|1[0-2]) of \\d+ steps: ")
                .contains("    void found() {\n        agree(\n                call(OPEN, 1000, 0),")
                .contains("call(IOEVENTFD, ", "call(ROUTING, ", "call(IRQFD, "));
    }

    @Test
    void searchThatMakesNoVcpuFails() {
        assertThatThrownBy(() -> search(0, call -> false)).hasMessageContaining("0 vCPUs in 0 sequences");
    }
}
