/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** KVM_SIGNAL_MSI and KVM_IRQ_LINE: virt/kvm/irqchip.c, arch/x86/kvm/irq.c. */
@Contract
class InjectContract {
    private final World world;
    private final KernelBackend kernel;

    InjectContract(World world) {
        this.world = world;
        this.kernel = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    private int signal(int vm, long address, int vector) {
        return kernel.msiSignal(vm, address, vector, 0, 0);
    }

    @Test
    void messageNeedsAnIrqchip() {
        assertErrno(Errno.EINVAL, signal(world.bareVm(), MSI_ADDRESS, VECTOR));
    }

    @Test
    void messageFlagsAreChecked() {
        assertErrno(Errno.EINVAL, kernel.msiSignal(world.fullVm(), MSI_ADDRESS, VECTOR, 2, 0));
    }

    @Test
    void messageWithoutAnyVcpuIsNotAPermissionProblemButSaysSo() {
        assertErrno(Errno.EPERM, signal(world.fullVm(), MSI_ADDRESS, VECTOR));
    }

    @Test
    void messageToADisabledLapicIsNotAccepted() {
        int vm = world.fullVm();
        world.vcpu(vm, 0);
        assertThat(signal(vm, MSI_ADDRESS, VECTOR)).isZero();
    }

    @Test
    void messageToNobodyIsNotAccepted() {
        int vm = world.fullVm();
        world.vcpuWithLapic(vm);
        assertThat(signal(vm, MSI_ADDRESS | 7 << 12, VECTOR)).isZero();
    }

    @Test
    void messageIsDeliveredAndCoalescingIsNotReported() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        assertThat(signal(vm, MSI_ADDRESS, VECTOR)).isEqualTo(1);
        assertThat(signal(vm, MSI_ADDRESS, VECTOR)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        world.forget(vcpu);
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void lineNeedsAnIrqchip() {
        assertErrno(Errno.ENXIO, kernel.lineSet(world.bareVm(), 4, 1));
        assertErrno(Errno.ENXIO, kernel.lineSetStatus(world.bareVm(), 4, 1, Buffers.allocate(4)));
    }

    @Test
    void lineWithoutRouteIsIgnoredAndOnlyTheStatusSaysSo() {
        int vm = world.fullVm();
        ByteBuffer status = Buffers.allocate(4);
        assertOk(kernel.lineSet(vm, 100, 1));
        assertThat(kernel.lineSetStatus(vm, 100, 1, status)).isZero();
        assertThat(status.getInt(0)).isEqualTo(-1);
    }
}
