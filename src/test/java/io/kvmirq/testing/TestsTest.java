/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TestsTest {
    private static final List<String> ALL =
            List.of("io.kvmirq.kvm.IrqfdTest", "io.kvmirq.contract.IrqfdContract", "io.kvmirq.testing.TestsTest");

    @ParameterizedTest
    @CsvSource({
        "IrqfdTest, io.kvmirq.kvm.IrqfdTest",
        "io.kvmirq.kvm.IrqfdTest, io.kvmirq.kvm.IrqfdTest",
        "Irqfd*, io.kvmirq.kvm.IrqfdTest io.kvmirq.contract.IrqfdContract",
        "io.kvmirq.contract, io.kvmirq.contract.IrqfdContract",
        "io.kvmirq.contract.*Contract, io.kvmirq.contract.IrqfdContract",
        "TestsTest.nameSelects*, io.kvmirq.testing.TestsTest.nameSelects*",
        "io.kvmirq.testing.TestsTest#noNameSelectsAll, io.kvmirq.testing.TestsTest.noNameSelectsAll"
    })
    void nameSelectsClassesAndMethods(String name, String selected) {
        assertThat(Tests.select(List.of(name), ALL).stream().map(Tests.Selected::name))
                .containsExactly(selected.split(" ", -1));
    }

    @Test
    void noNameSelectsAll() {
        assertThat(Tests.select(List.of(), ALL).stream().map(Tests.Selected::name))
                .isEqualTo(ALL);
    }

    @Test
    void unknownNameSelectsNothing() {
        assertThat(Tests.select(List.of("Irqfd", "io.kvm", "TestsTest.none", "X.y"), ALL))
                .isEmpty();
    }
}
