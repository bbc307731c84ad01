/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Kernels;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A vCPU that is closed while its guest runs. */
class VcpuCloseTest {
    @ParameterizedTest
    @EnumSource
    void runInFlightIsEnded(Kernels kernels) {
        Faults faults = new Faults();
        try (Kernel kernel = Kernel.over(faults.over(kernels.backend()));
                Vm vm = Vm.create(kernel);
                AssembledGuest guest = new AssembledGuest(vm, "out 0x80, al")) {
            Vcpu vcpu = guest.vcpu;
            faults.delay("KVM_RUN", 1, vcpu::close);
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
            assertThatThrownBy(vcpu::run)
                    .isInstanceOf(ClosedHandleException.class)
                    .hasMessageStartingWith(vcpu.toString());
        }
    }
}
