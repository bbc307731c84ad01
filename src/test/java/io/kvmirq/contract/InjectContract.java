/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** KVM_SIGNAL_MSI and KVM_IRQ_LINE: virt/kvm/irqchip.c, arch/x86/kvm/irq.c. */
@Contract
class InjectContract extends KernelSuite {
    private int signal(int vm, long address, int vector) {
        return kernel.msiSignal(vm, address, vector, 0, 0);
    }

    @Test
    void messageWithoutAnyVcpuIsNotAPermissionProblemButSaysSo() {
        assertErrno(Errno.EPERM, signal(world.fullVm(), MSI_ADDRESS, VECTOR));
    }

    @Test
    void messageToADisabledLapicIsNotAccepted() {
        world.vcpu(vm(), 0);
        assertThat(signal(vm(), MSI_ADDRESS, VECTOR)).isZero();
    }

    @Test
    void messageToNobodyIsNotAccepted() {
        world.vcpuWithLapic(vm());
        assertThat(signal(vm(), MSI_ADDRESS | 7 << 12, VECTOR)).isZero();
    }

    @Test
    void messageIsDeliveredAndCoalescingIsNotReported() {
        int vcpu = world.vcpuWithLapic(vm());
        assertThat(signal(vm(), MSI_ADDRESS, VECTOR)).isEqualTo(1);
        assertThat(signal(vm(), MSI_ADDRESS, VECTOR)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        world.forget(vcpu);
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void lineNeedsAnIrqchip() {
        world.assumeX86();
        assertErrno(Errno.ENXIO, kernel.lineSet(world.bareVm(), 4, 1));
        assertErrno(Errno.ENXIO, kernel.lineSetStatus(world.bareVm(), 4, 1, Buffers.allocate(4)));
    }

    // Messages

    @Test
    void messageIsCheckedForAnIrqchipThenFlagsThenTheHighAddress() {
        int full = world.fullVm();
        int split = world.splitVm();
        world.vcpuWithLapic(full);
        world.vcpuWithLapic(split);
        assertErrno(Errno.EINVAL, kernel.msiSignal(world.bareVm(), MSI_ADDRESS, VECTOR, 2, 0));
        for (int vm : new int[] {full, split}) {
            assertErrno(Errno.EINVAL, kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 3, 0));
            assertThat(signal(vm, 1L << 32 | MSI_ADDRESS, VECTOR)).isEqualTo(1);
            assertOk(kernel.x2apicEnable(vm, Uapi.KVM_X2APIC_API_USE_32BIT_IDS));
            assertErrno(Errno.EINVAL, signal(vm, 1L << 32 | MSI_ADDRESS, VECTOR));
            assertThat(signal(vm, MSI_ADDRESS, VECTOR)).isEqualTo(1);
            assertThat(signal(vm, 1L << 40 | MSI_ADDRESS, VECTOR)).isZero();
        }
    }

    @Test
    void deviceOfAMessageIsIgnored() {
        world.vcpuWithLapic(vm());
        assertThat(kernel.msiSignal(vm(), MSI_ADDRESS, VECTOR, Uapi.KVM_MSI_VALID_DEVID, 1234))
                .isEqualTo(1);
        assertThat(kernel.msiSignal(vm(), MSI_ADDRESS, VECTOR, 0, 1234)).isEqualTo(1);
    }

    @Test
    void vectorsBelowSixteenAndAddressesElsewhereAreNotChecked() {
        int vcpu = world.vcpuWithLapic(vm());
        assertThat(signal(vm(), MSI_ADDRESS, 3)).isEqualTo(1);
        assertThat(world.requested(vcpu, 3)).isTrue();
        assertThat(signal(vm(), 0, VECTOR)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        assertThat(signal(vm(), 0x1234_5000L, VECTOR)).isZero();
    }

    @Test
    void messageReachesALapicOfTheSplitIrqchip() {
        int vm = world.splitVm();
        int vcpu = world.vcpuWithLapic(vm);
        assertThat(signal(vm, MSI_ADDRESS, VECTOR)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
    }

    /** Mode 3 ends the wait of a paravirtual spinlock. An SMI needs a kernel with System Management Mode. */
    @Test
    void messagesOfSpecialModesAreAccepted() {
        int vm = world.splitVm();
        world.vcpuWithLapic(vm);
        int spaces = kernel.capabilityCheck(vm, Uapi.KVM_CAP_MULTI_ADDRESS_SPACE);
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS, 2 << 8 | VECTOR, 0, 0)).isEqualTo(spaces > 1 ? 1 : 0);
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS, 3 << 8 | VECTOR, 0, 0)).isEqualTo(1);
    }

    /** An SMI for a pin that is pending: nothing is half done. */
    @Test
    void pendingPinOfModeTwoIsRestored() {
        int vm = world.fullVm();
        world.vcpuWithLapic(vm);
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm, World.IOAPIC, state));
        state.putInt(Uapi.KvmIoapicState.IRR, 1 << 5)
                .putLong(Uapi.KvmIoapicState.REDIRTBL + 5 * Long.BYTES, 2 << 8 | VECTOR);
        assertOk(kernel.irqchipSet(vm, World.IOAPIC, state));
        assertThat(world.redirection(vm, 5)).isEqualTo(2 << 8 | VECTOR);
    }

    @Test
    void levelBitOfAMessageShowsInTheLapic() {
        int vcpu = world.vcpuWithLapic(vm());
        assertThat(signal(vm(), MSI_ADDRESS, 0xc000 | VECTOR)).isEqualTo(1);
        assertThat(world.lapic(vcpu).getInt(0x180 + VECTOR / 32 * 16) >>> VECTOR % 32 & 1)
                .isEqualTo(1);
    }

    // Lines

    @Test
    void plainLineNeverWritesBack() {
        ByteBuffer line = Structs.of("kvm_irq_level", 100, 1);
        assertOk(libc.ioctl(vm(), Uapi.KVM_IRQ_LINE, line));
        assertThat(line.getInt(Uapi.KvmIrqLevel.IRQ)).isEqualTo(100);
        assertOk(libc.ioctl(vm(), Uapi.KVM_IRQ_LINE_STATUS, line));
        assertThat(line.getInt(Uapi.KvmIrqLevel.IRQ)).isEqualTo(-1);
        assertThat(line.getInt(Uapi.KvmIrqLevel.LEVEL)).isEqualTo(1);
    }

    /** In a new VM, the IOAPIC masks all pins, the PICs none. */
    @Test
    void statusIsTheSumOverThePinsThatListened() {
        assertThat(world.status(vm(), 4, 1)).isEqualTo(1);
        assertThat(world.status(vm(), 4, 1)).isEqualTo(1);
        assertThat(world.status(vm(), 4, 0)).isEqualTo(2);
        assertThat(world.status(vm(), 4, 1)).isZero();
    }

    @Test
    void maskedPinOfTheIoapicAloneIsNobody() {
        assertThat(world.status(vm(), 20, 1)).isEqualTo(-1);
        assertThat(world.status(vm(), 20, 0)).isEqualTo(1);
        assertThat(world.status(vm(), 20, 0)).isEqualTo(1);
    }

    @Test
    void edgeIsDeliveredOnceUntilItFell() {
        int vcpu = world.vcpuWithLapic(vm());
        world.redirect(vm(), 20, VECTOR);
        assertThat(world.status(vm(), 20, 1)).isEqualTo(1);
        world.forget(vcpu);
        assertThat(world.status(vm(), 20, 1)).isZero();
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
        assertThat(world.status(vm(), 20, 0)).isEqualTo(1);
        assertThat(world.status(vm(), 20, 1)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
    }

    @Test
    void levelIsDeliveredOnceUntilItsEnd() {
        int vcpu = world.vcpuWithLapic(vm());
        world.redirect(vm(), 20, LEVEL | VECTOR);
        assertThat(world.status(vm(), 20, 1)).isEqualTo(1);
        assertThat(world.redirection(vm(), 20)).isEqualTo(LEVEL | REMOTE_IRR | VECTOR);
        world.forget(vcpu);
        assertThat(world.status(vm(), 20, 1)).isEqualTo(-1);
        assertThat(world.status(vm(), 20, 0)).isEqualTo(1);
        assertThat(world.status(vm(), 20, 1)).isEqualTo(-1);
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void levelAndPicAddUp() {
        world.vcpuWithLapic(vm());
        world.redirect(vm(), 5, LEVEL | VECTOR);
        assertThat(world.status(vm(), 5, 1)).isEqualTo(2);
        assertThat(world.status(vm(), 5, 1)).isEqualTo(1);
        assertThat(world.status(vm(), 5, 0)).isEqualTo(2);
    }

    @Test
    void pinToNobodyHasNoStatus() {
        world.redirect(vm(), 20, VECTOR);
        assertThat(world.status(vm(), 20, 1)).isEqualTo(-1);
    }

    @Test
    void messageOnALineIsForTheRisingLevelOnly() {
        int vm = world.splitVm();
        world.vcpuWithLapic(vm);
        assertThat(world.status(vm, 3, 1)).isEqualTo(-1);
        assertOk(world.routeToVector(vm, 3));
        assertThat(world.status(vm, 3, 1)).isEqualTo(1);
        assertThat(world.status(vm, 3, 0)).isEqualTo(-1);
        assertThat(world.status(vm, 3, 1)).isEqualTo(1);
    }

    @Test
    void gsisFarOutAreUnroutedToo() {
        for (int gsi : new int[] {24, 4095, 4096, -1}) {
            assertOk(kernel.lineSet(vm(), gsi, 1));
            assertThat(world.status(vm(), gsi, 1)).isEqualTo(-1);
        }
    }

    @Test
    void longIdsReachVcpusBeyond255() {
        assertOk(kernel.x2apicEnable(vm(), Uapi.KVM_X2APIC_API_USE_32BIT_IDS));
        int vcpu = world.vcpuWithLapic(vm(), 256);
        assertThat(signal(vm(), 0x100L << 32 | MSI_ADDRESS, VECTOR)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        assertThat(signal(vm(), 0x200L << 32 | MSI_ADDRESS, VECTOR)).isZero();
    }

    // The PICs

    private static final int MASTER = 0;
    private static final int IMR = 2;
    private static final int ELCR = 14;

    private void pic(int vm, int register, int bits) {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm, MASTER, state));
        state.put(register, (byte) bits);
        assertOk(kernel.irqchipSet(vm, MASTER, state));
    }

    @Test
    void maskedPinsOfBothChipsAreNobody() {
        pic(vm(), IMR, 1 << 5);
        assertThat(world.status(vm(), 5, 1)).isEqualTo(-1);
        assertThat(world.status(vm(), 5, 0)).isEqualTo(1);
    }

    @Test
    void levelOfAPicIsCoalescedWhileItIsRequested() {
        pic(vm(), ELCR, 1 << 5);
        assertThat(world.status(vm(), 5, 1)).isEqualTo(1);
        assertThat(world.status(vm(), 5, 1)).isZero();
        assertThat(world.status(vm(), 5, 0)).isEqualTo(2);
        assertThat(world.status(vm(), 5, 1)).isEqualTo(1);
    }
}
