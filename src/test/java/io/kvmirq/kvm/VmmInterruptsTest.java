/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.kvm.VcpuExit.Reason;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import org.junit.jupiter.api.AfterEach;

/** Interrupts that a VMM gives a vCPU itself: NMI, SMI, and those of its own interrupt controller. */
class VmmInterruptsTest {
    private static final InterruptVector VECTOR = new InterruptVector(0x40);
    private static final int NMI = 2;

    private final Undo parts = new Undo();
    private Vm vm;
    private Vcpu vcpu;

    private void open(Kernels kernels) {
        vm = parts.add(Vm.create(parts.add(kernels.open())));
    }

    /** A guest that takes interrupts: the handler of a vector reports it by an OUT to this port. */
    private void start(int... vectors) {
        AssembledGuest guest = parts.add(new AssembledGuest(vm, "sti; jmp $"));
        vcpu = guest.vcpu;
        for (int vector : vectors) {
            guest.handle(vector, "out %d, al; iret".formatted(vector));
        }
    }

    private VcpuExit runToPort(int port) {
        VcpuExit exit = vcpu.run();
        assertThat(exit).hasToString("IO of port 0x" + Integer.toHexString(port) + ", 1 × 1 bytes written");
        return exit;
    }

    @AfterEach
    void close() {
        parts.close();
    }

    @OnBothKernels
    void nmiReachesTheGuest(Kernels kernels) {
        open(kernels);
        vm.x86().createIrqchip();
        start(NMI);
        vcpu.x86().injectNmi();
        runToPort(NMI);
    }

    @OnBothKernels
    void interruptWaitsForItsWindow(Kernels kernels) {
        open(kernels);
        start(VECTOR.number());
        vcpu.x86().requestInterruptWindow(true);
        VcpuExit exit = vcpu.run();
        assertThat(exit.reason()).isEqualTo(Reason.INTERRUPT_WINDOW);
        assertThat(exit.isReadyForInterrupt()).isTrue();
        vcpu.x86().requestInterruptWindow(false);
        vcpu.x86().injectInterrupt(VECTOR);
        exit = runToPort(VECTOR.number());
        assertThat(exit.isReadyForInterrupt())
                .as("the handler has the flag off")
                .isFalse();
    }

    /** A kick ends the run before the guest, whose interrupt waits: a second one would replace it. */
    @OnBothKernels
    void guestIsNotReadyWhileAnInterruptWaits(Kernels kernels) {
        open(kernels);
        start(VECTOR.number());
        vcpu.x86().requestInterruptWindow(true);
        assertThat(vcpu.run().isReadyForInterrupt()).isTrue();
        vcpu.x86().injectInterrupt(VECTOR);
        vcpu.kick();
        VcpuExit exit = vcpu.run();
        assertThat(exit.reason()).isEqualTo(Reason.INTR);
        assertThat(exit.isReadyForInterrupt()).isFalse();
        runToPort(VECTOR.number());
    }

    @OnBothKernels
    void controllerInTheKernelRefusesTheVmmsInterrupt(Kernels kernels) {
        open(kernels);
        vm.x86().createIrqchip();
        start();
        assertThatThrownBy(() -> vcpu.x86().injectInterrupt(VECTOR))
                .isInstanceOfSatisfying(KernelException.class, refused -> assertThat(refused.errno())
                        .isEqualTo(Errno.ENXIO))
                .hasMessageEndingWith("ENXIO (the full in-kernel irqchip delivers interrupts, not the VMM:"
                        + " signal a message, a line or an irqfd instead)");
    }

    @OnBothKernels
    void smiNeedsAKernelWithItsMode(Kernels kernels) {
        open(kernels);
        vm.x86().createIrqchip();
        start();
        if (vm.capability(Uapi.KVM_CAP_X86_SMM) > 0) {
            assertThatCode(() -> vcpu.x86().injectSmi()).doesNotThrowAnyException();
        } else {
            assertThatThrownBy(() -> vcpu.x86().injectSmi())
                    .isInstanceOfSatisfying(KernelException.class, refused -> assertThat(refused.errno())
                            .isEqualTo(Errno.ENOTTY))
                    .hasMessageContaining("this kernel has no System Management Mode");
        }
    }

    @OnBothKernels
    void capabilityIsEnabledByItsNumber(Kernels kernels) {
        open(kernels);
        start();
        vm.enableCapability(Uapi.KVM_CAP_EXCEPTION_PAYLOAD, 1);
        assertThatThrownBy(() -> vm.enableCapability(9999))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("capability=9999");
        assertThatThrownBy(() -> vcpu.enableCapability(9999))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("the capability cannot be enabled on a vCPU");
        assertThatThrownBy(() -> vm.enableCapability(1, 1, 2, 3, 4, 5))
                .hasMessage("5 arguments of capability 1: expected at most 4");
    }
}
