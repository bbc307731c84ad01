/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.contract.VcpuPhasesContract.Runner;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A CPU goes offline and comes back while {@code explain --vcpus} reads its pages. In the lab, on two processors. */
@Tag("contract")
@Tag(RealKvm.TAG)
class VcpuHotplugContract {
    private static final Path ONLINE = Path.of("/sys/devices/system/cpu/cpu1/online");

    private static void online(boolean on) throws IOException {
        Files.writeString(ONLINE, on ? "1" : "0");
    }

    private static void runOnce(Runner runner, GuestMemory memory) throws InterruptedException {
        VcpuScreenContract.enter(runner, memory);
        runner.leave();
    }

    /** Each entry is counted once: before the CPU goes, on the other CPU, and after it has come back. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void everyEntryIsSeen(boolean goes) throws Exception {
        VcpuPhasesContract.leaveToVcpus();
        assumeTrue(Files.exists(ONLINE), "this kernel cannot take a CPU offline");
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (GuestMemory memory = vm.addMemory(0, 0x10000);
                    Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                memory.mapping().put(VcpuPhasesContract.START, VcpuPhasesContract.SPIN);
                Runner runner = new Runner(vcpu);
                // Files show the thread of a vCPU when it has run.
                runOnce(runner, memory);
                online(goes);
                Process explain = VcpuScreenContract.watch(runner);
                runOnce(runner, memory);
                online(false);
                runOnce(runner, memory);
                online(true);
                runner.pin();
                runOnce(runner, memory);
                assertThat(VcpuScreenContract.outOf(explain))
                        .contains("  phase     in user space  [", "  seen      KVM_RUN entered: 3, halts ended: 0  [")
                        .doesNotContain("did not fit");
                runner.end();
            }
        } finally {
            online(true);
        }
    }
}
