/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.JavaProcess;
import io.kvmirq.testing.RealKvm;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Calls for each interrupt or exit allocate nothing. */
@RealKvm(fullIrqchip = true)
class HotCallsTest {
    private static final VcpuId VCPU = new VcpuId(0);
    private static final int COUNTED = 1000;
    /** Until the second compiler has had its time on a busy machine. */
    private static final int ATTEMPTS = 500;

    @Test
    @Tag("newest")
    void linesAndMessages() {
        try (Kernel kernel = Kernel.open("jni");
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(VCPU)) {
                vcpu.x86().enableLapic();
                Gsi line = new Gsi(4);
                InterruptVector vector = new InterruptVector(0x31);
                MsiMessage message = MsiMessage.to(VCPU, vector);
                assertThat(Allocations.leastOf(() -> {
                            for (int i = 0; i < COUNTED; i++) {
                                vm.x86().setLine(line, i % 2 == 0);
                                vm.signal(message);
                            }
                        }))
                        .as("bytes of %d lines and messages", COUNTED)
                        .isZero();
                assertThat(vcpu.x86().isRequested(vector)).isTrue();
            }
        }
    }

    /** In a JVM with the second compiler, which most runs of tests are without: it removes what a run makes on its way. */
    @Test
    void exits() throws Exception {
        Process jvm = JavaProcess.start(List.of("-XX:TieredStopAtLevel=4"), HotCallsTest.class);
        String said = new String(jvm.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(said).as("bytes of %d exits", COUNTED).isEqualTo("0\n");
        assertThat(jvm.waitFor()).isZero();
    }

    public static void main(String[] arguments) {
        try (Kernel kernel = Kernel.open("jni");
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (AssembledGuest guest = new AssembledGuest(vm, "loop: out 0x82, al; in al, 0x44; jmp loop")) {
                long min = Long.MAX_VALUE;
                for (int i = 0; i < ATTEMPTS && min > 0; i++) {
                    min = Allocations.leastOf(() -> exits(guest.vcpu));
                }
                System.out.println(min);
            }
        }
    }

    private static void exits(Vcpu vcpu) {
        for (int i = 0; i < COUNTED; i++) {
            VcpuExit exit = vcpu.run();
            if (exit.isWrite()) {
                requireExit(exit.port() == 0x82 && exit.data() >= 0);
            } else {
                exit.answer(5);
                requireExit(exit.port() == 0x44);
            }
        }
    }

    private static void requireExit(boolean expected) {
        if (!expected) {
            throw new IllegalStateException("another exit");
        }
    }
}
