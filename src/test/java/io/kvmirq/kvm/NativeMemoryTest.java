/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.RealKvm;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Calls that a VMM makes over and over use the same native memory again, which the JVM counts until a collection. */
@RealKvm(fullIrqchip = true)
class NativeMemoryTest {
    private static final VcpuId VCPU = new VcpuId(0);
    private static final InterruptVector VECTOR = new InterruptVector(0x31);
    private static final int ROUNDS = 1000;

    @ParameterizedTest
    @ValueSource(strings = {"jni", "jna", "jnr"})
    void reroutingAndLookingAtTheLapicAllocateNone(String backend) {
        try (Kernel kernel = Kernel.over(Backends.ofThisMachine().open(backend));
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            Gsi gsi = vm.routes().add(MsiMessage.to(VCPU, VECTOR));
            try (Vcpu vcpu = vm.createVcpu(VCPU)) {
                long before = Allocations.directBuffers();
                for (int i = 0; i < ROUNDS; i++) {
                    vm.routes().replace(gsi, MsiMessage.to(VCPU, new InterruptVector(0x40 + i % 2)));
                    vcpu.x86().isRequested(VECTOR);
                }
                assertThat(Allocations.directBuffers() - before).isLessThan(ROUNDS / 10);
            }
        }
    }
}
