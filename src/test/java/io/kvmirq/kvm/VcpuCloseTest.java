/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.VcpuId;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Kernels;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A vCPU that is closed while its guest runs. */
class VcpuCloseTest {
    private static final byte[] OUT_0X80 = {(byte) 0xe6, (byte) 0x80};
    private static final int START = 0x1000;

    @ParameterizedTest
    @EnumSource
    void runInFlightIsEnded(Kernels kernels) {
        Faults faults = new Faults();
        try (Kernel kernel = Kernel.over(faults.over(kernels.backend()));
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000)) {
            vm.x86().createIrqchip();
            memory.mapping().put(START, OUT_0X80);
            Vcpu vcpu = vm.createVcpu(new VcpuId(0));
            vcpu.x86().startAt(START, 0x8000);
            faults.delay("KVM_RUN", 1, vcpu::close);
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
            assertThatThrownBy(vcpu::run)
                    .isInstanceOf(ClosedHandleException.class)
                    .hasMessageStartingWith(vcpu.toString());
        }
    }
}
