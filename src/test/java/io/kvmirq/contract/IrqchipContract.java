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

/** Irqchips, and what may be enabled of them: arch/x86/kvm/x86.c, irq.c. */
@Contract
class IrqchipContract extends KernelSuite {
    @Test
    void secondIrqchipExists() {
        int full = world.fullVm();
        assertErrno(Errno.EEXIST, kernel.irqchipCreate(full));
        assertErrno(Errno.EEXIST, kernel.irqchipCreateSplit(full, 24));
        int split = world.splitVm();
        assertErrno(Errno.EEXIST, kernel.irqchipCreate(split));
        assertErrno(Errno.EEXIST, kernel.irqchipCreateSplit(split, 24));
    }

    @Test
    void irqchipAfterVcpuIsInvalidButSplitExists() {
        world.assumeFullIrqchip();
        int vm = world.bareVm();
        world.vcpu(vm, 0);
        assertErrno(Errno.EINVAL, kernel.irqchipCreate(vm));
        assertErrno(Errno.EEXIST, kernel.irqchipCreateSplit(vm, 24));
    }

    @Test
    void splitIrqchipTakes4096Pins() {
        world.assumeX86();
        assertErrno(Errno.EINVAL, kernel.irqchipCreateSplit(world.bareVm(), 4097));
        assertOk(kernel.irqchipCreateSplit(world.bareVm(), 4096));
    }

    @Test
    void chipStateNeedsTheFullIrqchip() {
        world.assumeFullIrqchip();
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertErrno(Errno.ENXIO, kernel.irqchipGet(world.bareVm(), 2, state));
        assertErrno(Errno.ENXIO, kernel.irqchipGet(world.splitVm(), 2, state));
        assertErrno(Errno.EINVAL, kernel.irqchipGet(world.fullVm(), 3, state));
        assertErrno(Errno.EINVAL, kernel.irqchipSet(world.fullVm(), 3, state));
    }

    @Test
    void chipStateComesBackAsWritten() {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm(), 2, state));
        int pin7 = Uapi.KvmIoapicState.REDIRTBL + 7 * 8;
        state.putLong(pin7, 0x8042);
        assertOk(kernel.irqchipSet(vm(), 2, state));
        ByteBuffer again = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm(), 2, again));
        assertThat(again.getLong(pin7)).isEqualTo(0x8042);
    }

    /** Since 6.18 there are four, but one is for split irqchips only. */
    @Test
    void x2apicBitsAreChecked() {
        int full = world.fullVm();
        assertErrno(Errno.EINVAL, kernel.x2apicEnable(full, 0x10));
        assertOk(kernel.x2apicEnable(full, 3));
        assertErrno(Errno.EINVAL, kernel.x2apicEnable(full, 4));
        if (world.isSince(6, 18)) {
            assertOk(kernel.x2apicEnable(full, 8));
            assertOk(kernel.x2apicEnable(world.splitVm(), 4));
        } else {
            assertErrno(Errno.EINVAL, kernel.x2apicEnable(full, 8));
            assertErrno(Errno.EINVAL, kernel.x2apicEnable(world.splitVm(), 4));
        }
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_X2APIC_API))
                .isEqualTo(world.isSince(6, 18) ? 0xf : 3);
    }

    /** Bit 4 of KVM_CAP_X2APIC_API; what other bits there are is the kernel's version. */
    @Test
    void suppressingEoisIsForSplitIrqchips() {
        assertThat(libc.ioctl(world.fullVm(), Uapi.KVM_CHECK_EXTENSION, Uapi.KVM_CAP_X2APIC_API) & 4)
                .isZero();
    }

    // The order of checks

    @Test
    void irqchipThatExistsComesBeforeVcpusThatDo() {
        for (int vm : new int[] {world.fullVm(), world.splitVm()}) {
            world.vcpu(vm, 0);
            assertErrno(Errno.EEXIST, kernel.irqchipCreate(vm));
            assertErrno(Errno.EEXIST, kernel.irqchipCreateSplit(vm, 24));
        }
    }

    @Test
    void pinsAreCountedBeforeAnIrqchipIsFound() {
        assertErrno(Errno.EINVAL, kernel.irqchipCreateSplit(world.fullVm(), 4097));
        assertErrno(Errno.EINVAL, kernel.irqchipCreateSplit(world.splitVm(), 4097));
        assertErrno(Errno.EINVAL, kernel.irqchipCreateSplit(world.fullVm(), -1));
    }

    @Test
    void splitIrqchipMayHaveNoPins() {
        world.assumeX86();
        assertOk(kernel.irqchipCreateSplit(world.bareVm(), 0));
    }

    @Test
    void irqchipIsStillWantedAfterARefusal() {
        int vm = world.bareVm();
        assertErrno(Errno.EINVAL, kernel.irqchipCreateSplit(vm, 4097));
        world.createFullIrqchip(vm);
    }

    @Test
    void chipIsLookedForBeforeItsNumber() {
        world.assumeFullIrqchip();
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        for (int vm : new int[] {world.bareVm(), world.splitVm()}) {
            assertErrno(Errno.ENXIO, kernel.irqchipGet(vm, 3, state));
            assertErrno(Errno.ENXIO, kernel.irqchipSet(vm, 3, state));
        }
        assertErrno(Errno.EINVAL, kernel.irqchipGet(world.fullVm(), -1, state));
    }

    @Test
    void everyChipComesBackAsItWas() {
        for (int chip = 0; chip <= IOAPIC; chip++) {
            ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
            ByteBuffer again = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
            assertOk(kernel.irqchipGet(vm(), chip, state));
            assertOk(kernel.irqchipSet(vm(), chip, state));
            assertOk(kernel.irqchipGet(vm(), chip, again));
            assertThat(again).isEqualTo(state);
        }
    }

    @Test
    void newIoapicIsMaskedAndLow() {
        for (int pin = 0; pin < 24; pin++) {
            assertThat(world.redirection(vm(), pin)).isEqualTo(MASKED);
            assertThat(world.ioapicLine(vm(), pin)).isFalse();
        }
    }

    // KVM_CAP_X2APIC_API

    /** The number of bits depends on the version: 2 until 6.18, then 4, of which one needs the split irqchip. */
    @Test
    void x2apicBitsAreThoseTheVmSays() {
        int full = world.fullVm();
        int split = world.splitVm();
        assertThat(kernel.capabilityCheck(world.kvm(), Uapi.KVM_CAP_X2APIC_API)).isIn(3, 15);
        for (int vm : new int[] {full, split}) {
            int bits = kernel.capabilityCheck(vm, Uapi.KVM_CAP_X2APIC_API);
            for (int bit = 1; bit <= 0x10; bit *= 2) {
                if ((bits & bit) == 0) {
                    assertErrno(Errno.EINVAL, kernel.x2apicEnable(vm, bit));
                } else {
                    assertOk(kernel.x2apicEnable(vm, bit));
                }
            }
            assertErrno(Errno.EINVAL, kernel.x2apicEnable(vm, 1L << 40));
        }
    }

    @Test
    void eoiBroadcastsAreNotSuppressedAndNotSuppressed() {
        int both = Uapi.KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST | Uapi.KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST;
        assertErrno(Errno.EINVAL, kernel.x2apicEnable(world.fullVm(), both));
        assertErrno(Errno.EINVAL, kernel.x2apicEnable(world.splitVm(), both));
    }

    @Test
    void longIdsStayOnceEnabledAndMayComeAfterVcpus() {
        world.vcpu(vm(), 0);
        assertOk(kernel.x2apicEnable(vm(), Uapi.KVM_X2APIC_API_USE_32BIT_IDS));
        assertOk(kernel.x2apicEnable(vm(), 0));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm(), new MsiRoute(0, 1L << 32 | MSI_ADDRESS, VECTOR, 0)));
    }

    @Test
    void longIdsNeedNoIrqchip() {
        world.assumeX86();
        assertOk(kernel.x2apicEnable(world.bareVm(), 3));
    }

    // The timer

    private static final long NOWHERE = 8;

    private int pit(int vm) {
        return libc.ioctl(vm, Uapi.KVM_CREATE_PIT2, Buffers.allocate(Uapi.KvmPitConfig.SIZE));
    }

    /** 6.1 needs no PICs for it, 6.12 does. */
    @Test
    void timerIsCopiedThenUniqueThenInNeedOfThePics() {
        world.assumeFullIrqchip();
        assertErrno(Errno.EFAULT, libc.ioctl(world.bareVm(), Uapi.KVM_CREATE_PIT2, NOWHERE));
        int withoutPics = world.isSince(6, 12) ? -Errno.ENOENT.number() : 0;
        assertThat(pit(world.bareVm())).isEqualTo(withoutPics);
        assertThat(pit(world.splitVm())).isEqualTo(withoutPics);
        assertOk(pit(vm()));
        assertErrno(Errno.EEXIST, pit(vm()));
        assertErrno(Errno.EFAULT, libc.ioctl(vm(), Uapi.KVM_CREATE_PIT2, NOWHERE));
    }

    @Test
    void ticksAreMadeUpForByATimerOnly() {
        world.assumeFullIrqchip();
        ByteBuffer control = Buffers.allocate(Uapi.KvmReinjectControl.SIZE);
        assertErrno(Errno.EFAULT, libc.ioctl(vm(), Uapi.KVM_REINJECT_CONTROL, NOWHERE));
        assertErrno(Errno.ENXIO, libc.ioctl(vm(), Uapi.KVM_REINJECT_CONTROL, control));
        assertOk(pit(vm()));
        for (int value : new int[] {0, 1, 2}) {
            assertOk(libc.ioctl(vm(), Uapi.KVM_REINJECT_CONTROL, control.put(0, (byte) value)));
        }
        assertErrno(Errno.EFAULT, libc.ioctl(vm(), Uapi.KVM_REINJECT_CONTROL, NOWHERE));
    }

    @Test
    void timerMayComeAfterVcpus() {
        world.vcpu(vm(), 0);
        assertOk(pit(vm()));
    }

    private int busCycle(int vm, long nanos) {
        return libc.ioctl(
                vm, Uapi.KVM_ENABLE_CAP, Structs.of("kvm_enable_cap", Uapi.KVM_CAP_X86_APIC_BUS_CYCLES_NS, 0, nanos));
    }

    /** Since 6.11; before, the capability is unknown. */
    @Test
    void cycleOfTheBusIsAValueThenForLapicsThenBeforeVcpus() {
        world.assumeX86();
        int vm = world.splitVm();
        assertErrno(Errno.EINVAL, busCycle(world.bareVm(), 0));
        if (!world.isSince(6, 11)) {
            assertErrno(Errno.EINVAL, busCycle(vm, 10));
            return;
        }
        // 2^64-1 less than a timer's longest time
        assertErrno(Errno.EINVAL, busCycle(world.bareVm(), (1L << 25) + 1));
        assertErrno(Errno.ENXIO, busCycle(world.bareVm(), 1L << 25));
        assertOk(busCycle(vm, 1L << 25));
        assertOk(busCycle(vm, 10));
        world.vcpu(vm, 0);
        assertErrno(Errno.EINVAL, busCycle(vm, 10));
        assertErrno(Errno.EINVAL, busCycle(vm, -1));
    }

    @Test
    void bootVcpuIsChosenBeforeThereIsAny() {
        assertOk(libc.ioctl(vm(), Uapi.KVM_SET_BOOT_CPU_ID, 1));
        assertOk(libc.ioctl(vm(), Uapi.KVM_SET_BOOT_CPU_ID, 4096));
        world.vcpu(vm(), 0);
        assertErrno(Errno.EBUSY, libc.ioctl(vm(), Uapi.KVM_SET_BOOT_CPU_ID, 0));
        assertErrno(Errno.EBUSY, libc.ioctl(vm(), Uapi.KVM_SET_BOOT_CPU_ID, 1 << 20));
    }

    /** Since 6.11; before, any number is taken. */
    @Test
    void bootVcpuIsOneThatCanBe() {
        int tooMany = kernel.capabilityCheck(vm(), Uapi.KVM_CAP_MAX_VCPU_ID) + 1;
        int expected = world.isSince(6, 11) ? -Errno.EINVAL.number() : 0;
        assertThat(libc.ioctl(vm(), Uapi.KVM_SET_BOOT_CPU_ID, tooMany)).isEqualTo(expected);
        assertThat(libc.ioctl(vm(), Uapi.KVM_SET_BOOT_CPU_ID, -1)).isEqualTo(expected);
    }
}
