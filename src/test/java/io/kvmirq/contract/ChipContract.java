/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** PIC, IOAPIC and LAPIC as what is asked of them shows: arch/x86/kvm/i8259.c, ioapic.c, lapic.c. */
@ContractPerVendor
class ChipContract extends KernelSuite {
    private static final int CLOCK = 8;
    private static final int NMI = 0x400;
    private static final long BROADCAST = MSI_ADDRESS | 0xff << 12;
    private static final long TO_ONE = 8;
    private static final long LOGICAL = 4;

    private ByteBuffer chip(int vm, int chip) {
        ByteBuffer structure = Buffers.allocate(Uapi.KvmIrqchip.SIZE).putInt(Uapi.KvmIrqchip.CHIP_ID, chip);
        assertOk(libc.ioctl(vm, Uapi.KVM_GET_IRQCHIP, structure));
        return structure;
    }

    private int signal(int vm, long address, int data) {
        return kernel.msiSignal(vm, address, data, 0, 0);
    }

    /** KVM_SET_LAPIC with what is there: the kernel looks at all LAPICs anew. */
    private void look(int vcpu) {
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu)));
    }

    private void setId(int vcpu, int id) {
        ByteBuffer lapic = world.lapic(vcpu).putInt(0x20, id << 24);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
    }

    // IOAPIC

    @Test
    void edgeThatIsOutDoesNotShow() {
        int vcpu = world.vcpuWithLapic(vm());
        world.redirect(vm(), 20, VECTOR);
        assertThat(world.status(vm(), 20, 1)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        assertThat(world.ioapicLine(vm(), 20)).isFalse();
        assertThat(world.status(vm(), 20, 1)).as("the line is high").isZero();
        assertThat(world.ioapicLine(vm(), 20)).as("a second edge is kept").isTrue();
    }

    @Test
    void tickIsCoalescedUntilItsEndIfTheCallerWantsToKnow() {
        int vcpu = world.vcpuWithLapic(vm());
        assertOk(world.setPinRoutes(vm(), new PinRoute(CLOCK, IOAPIC, CLOCK, 0)));
        assertThat(world.status(vm(), CLOCK, 1)).as("masked").isEqualTo(-1);
        world.redirect(vm(), CLOCK, NMI);
        world.status(vm(), CLOCK, 0);
        assertThat(world.status(vm(), CLOCK, 1)).as("a restored NMI has no end").isEqualTo(1);
        world.redirect(vm(), CLOCK, VECTOR);
        assertThat(world.status(vm(), CLOCK, 1)).isEqualTo(1);
        assertThat(world.status(vm(), CLOCK, 0)).isEqualTo(1);
        assertThat(world.status(vm(), CLOCK, 1))
                .as("a tick in PIR counts as ended")
                .isEqualTo(world.virtualizesApics() ? 1 : 0);
        world.forget(vcpu);
        assertThat(world.status(vm(), CLOCK, 0)).isEqualTo(1);
        assertThat(world.status(vm(), CLOCK, 1)).isEqualTo(1);
    }

    // LAPIC

    @Test
    void newVcpuIsNotFoundByItsIdUntilTheKernelLooksAgain() {
        int vcpu = world.vcpu(vm(), 0);
        assertThat(signal(vm(), MSI_ADDRESS, NMI)).isZero();
        assertThat(signal(vm(), BROADCAST, NMI)).isEqualTo(1);
        look(vcpu);
        assertThat(signal(vm(), MSI_ADDRESS, NMI)).isEqualTo(1);
    }

    /** Since 6.3; before, the first has it alone, and nobody is asked. */
    @Test
    void everybodyWithAnIdIsAskedWhenTwoHaveTheSame() {
        world.vcpuWithLapic(vm());
        setId(world.vcpu(vm(), 1), 0);
        boolean all = world.isSince(6, 3);
        assertThat(signal(vm(), MSI_ADDRESS, NMI)).isEqualTo(all ? 2 : 1);
        assertThat(signal(vm(), MSI_ADDRESS | 1 << 12, VECTOR)).isEqualTo(all ? -Errno.EPERM.number() : 0);
    }

    private void setLogicalId(int vcpu, int id) {
        ByteBuffer lapic = world.lapic(vcpu).putInt(0xd0, id << 24);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
    }

    private int signalLogical(int destination) {
        return signal(vm(), MSI_ADDRESS | destination << 12 | LOGICAL, VECTOR);
    }

    /** Since 6.3 all LAPICs are asked then; before, the lowest bit counts. */
    @Test
    void logicalIdMayHaveTwoBits() {
        setLogicalId(world.vcpuWithLapic(vm(), 0), 3);
        setLogicalId(world.vcpuWithLapic(vm(), 1), 4);
        assertThat(signalLogical(1)).isOne();
        assertThat(signalLogical(2)).isEqualTo(world.isSince(6, 3) ? 1 : 0);
        assertThat(signalLogical(3)).isOne();
        assertThat(signalLogical(6)).isEqualTo(world.isSince(6, 3) ? 2 : 1);
        assertThat(signalLogical(7)).isEqualTo(2);
    }

    /** Since 6.3 both are asked; before, the last has it alone. */
    @Test
    void twoLapicsMayHaveOneLogicalId() {
        int first = world.vcpuWithLapic(vm(), 0);
        int second = world.vcpuWithLapic(vm(), 1);
        setLogicalId(second, 1);
        setLogicalId(first, 1);
        boolean both = world.isSince(6, 3);
        assertThat(signalLogical(1)).isEqualTo(both ? 2 : 1);
        assertThat(world.requested(first, VECTOR)).isEqualTo(both);
        assertThat(world.requested(second, VECTOR)).isTrue();
    }

    @Test
    void broadcastIsForAllOrWithTheHintForOneThatListens() {
        int vcpu = world.vcpu(vm(), 1);
        assertErrno(Errno.EPERM, signal(vm(), BROADCAST | TO_ONE, VECTOR));
        world.vcpuWithLapic(vm());
        assertThat(signal(vm(), BROADCAST, VECTOR | 0x100)).isEqualTo(1);
        assertThat(signal(vm(), BROADCAST, NMI)).isEqualTo(2);
        assertThat(signal(vm(), BROADCAST | TO_ONE, 0x40)).isEqualTo(1);
        assertThat(world.requested(vcpu, 0x40)).isFalse();
        world.vcpuWithLapic(vm(), 2);
        assertThat(signal(vm(), BROADCAST, VECTOR | 0x100))
                .as("lowest priority")
                .isEqualTo(2);
    }

    @Test
    void routeFromBeforeTheLongerIdsIsCheckedWhenItIsUsed() {
        int vcpu = world.vcpuWithLapic(vm());
        assertOk(world.setMsiRoutes(vm(), new MsiRoute(30, 1L << 32 | MSI_ADDRESS, VECTOR, 0)));
        assertThat(world.status(vm(), 30, 1)).isEqualTo(1);
        world.forget(vcpu);
        ByteBuffer capability =
                Structs.of("kvm_enable_cap", Uapi.KVM_CAP_X2APIC_API, 0, Uapi.KVM_X2APIC_API_USE_32BIT_IDS);
        assertOk(libc.ioctl(vm(), Uapi.KVM_ENABLE_CAP, capability));
        assertThat(world.status(vm(), 30, 1)).isEqualTo(-1);
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }
}
