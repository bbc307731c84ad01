/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The requests of a vCPU that runs little or not at all: arch/x86/kvm/x86.c, lapic.c. */
@Contract
class VcpuContract extends KernelSuite {
    @Test
    void secondVcpuOfAnIdExists() {
        int vm = world.bareVm();
        world.vcpu(vm, 1);
        assertErrno(Errno.EEXIST, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 1));
        assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 1 << 20));
    }

    @Test
    void lapicNeedsAnIrqchip() {
        int vcpu = world.vcpu(world.bareVm(), 0);
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_GET_LAPIC, Buffers.allocate(Uapi.KvmLapicState.SIZE)));
    }

    private static final long NOWHERE = 8;
    private static final int LINT0 = 0x350;

    /** The vCPU lives as long as its VM. */
    @Test
    void closedVcpuStillHasItsId() {
        world.close(world.vcpu(vm(), 0));
        assertErrno(Errno.EEXIST, libc.ioctl(vm(), Uapi.KVM_CREATE_VCPU, 0));
    }

    // KVM_INTERRUPT

    private int interrupt(int vcpu, int vector) {
        return libc.ioctl(
                vcpu,
                Uapi.KVM_INTERRUPT,
                Buffers.allocate(Uapi.KvmInterrupt.SIZE).putInt(Uapi.KvmInterrupt.IRQ, vector));
    }

    @Test
    void interruptIsCopiedThenAVectorThenForUserspacesIrqchip() {
        int bare = world.vcpu(world.bareVm(), 0);
        int full = world.vcpu(world.fullVm(), 0);
        for (int vcpu : new int[] {bare, full, world.vcpu(world.splitVm(), 0)}) {
            assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_INTERRUPT, NOWHERE));
            assertErrno(Errno.EINVAL, interrupt(vcpu, 256));
            assertErrno(Errno.EINVAL, interrupt(vcpu, -1));
        }
        assertErrno(Errno.ENXIO, interrupt(full, VECTOR));
        assertOk(interrupt(bare, VECTOR));
        assertOk(interrupt(bare, VECTOR));
    }

    @Test
    void splitIrqchipHoldsOneInterruptOfUserspacesPic() {
        int vcpu = world.vcpu(world.splitVm(), 0);
        assertOk(interrupt(vcpu, VECTOR));
        assertErrno(Errno.EEXIST, interrupt(vcpu, VECTOR));
        assertErrno(Errno.EEXIST, interrupt(vcpu, 0x40));
        assertErrno(Errno.EINVAL, interrupt(vcpu, 256));
    }

    // KVM_RUN

    @Test
    void immediateExitIsAnInterruptionWithoutReason() {
        int kvm = world.kvm();
        int vcpu = world.vcpu(world.fullVm(), 0);
        int size = libc.ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        ByteBuffer run = libc.view(world.map(size, vcpu), size);
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_RUN, 1));
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_UNKNOWN);
    }

    /** INIT and a start-up message are messages of a device here. The first run ends with INIT. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void applicationProcessorStartsInTwoRuns(boolean together) {
        int vm = world.fullVm();
        new RealModeGuest(world, vm, asm("out 0x82, al; hlt"));
        int vcpu = world.vcpu(vm, 1);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu))); // KVM maps its APIC id
        ByteBuffer page = libc.view(world.map(PAGE, vcpu), PAGE);
        assertThat(signalSecondVcpu(vm, 0x4500)).isEqualTo(1);
        if (together) {
            assertThat(signalSecondVcpu(vm, 0x4601)).isEqualTo(1);
        }
        assertErrno(Errno.EAGAIN, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(state(vcpu)).isEqualTo(together ? Uapi.KVM_MP_STATE_RUNNABLE : Uapi.KVM_MP_STATE_INIT_RECEIVED);
        if (!together) {
            assertThat(signalSecondVcpu(vm, 0x4601)).isEqualTo(1);
        }
        assertOk(libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(page.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_IO);
        assertThat(page.getShort(Uapi.KvmRun.IO_PORT)).isEqualTo((short) RealModeGuest.READY);
    }

    private int signalSecondVcpu(int vm, int data) {
        return kernel.msiSignal(vm, MSI_ADDRESS | 1 << 12, data, 0, 0);
    }

    // KVM_GET_MP_STATE

    private int state(int vcpu) {
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, state));
        return state.getInt(Uapi.KvmMpState.MP_STATE);
    }

    private int setState(int vcpu, int state) {
        return libc.ioctl(
                vcpu,
                Uapi.KVM_SET_MP_STATE,
                Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(Uapi.KvmMpState.MP_STATE, state));
    }

    @Test
    void withoutIrqchipEveryVcpuRunsAndNothingElse() {
        int vm = world.bareVm();
        int vcpu = world.vcpu(vm, 1);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        assertOk(setState(vcpu, Uapi.KVM_MP_STATE_RUNNABLE));
        assertErrno(Errno.EINVAL, setState(vcpu, Uapi.KVM_MP_STATE_HALTED));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_SET_MP_STATE, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, NOWHERE));
    }

    @Test
    void statesOfOtherArchitecturesAreInvalid() {
        int full = world.vcpu(world.fullVm(), 0);
        int bare = world.vcpu(world.bareVm(), 0);
        for (int state : new int[] {Uapi.KVM_MP_STATE_STOPPED, 6, 10, 99, -1}) {
            assertErrno(Errno.EINVAL, setState(full, state));
            assertErrno(Errno.EINVAL, setState(bare, state));
        }
        for (int state : new int[] {
            Uapi.KVM_MP_STATE_INIT_RECEIVED, Uapi.KVM_MP_STATE_SIPI_RECEIVED, Uapi.KVM_MP_STATE_AP_RESET_HOLD
        }) {
            assertErrno(Errno.EINVAL, setState(bare, state));
        }
        assertThat(state(full)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
    }

    private void message(int vm, int vcpu, int data) {
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS | vcpu << 12, data, 0, 0)).isOne();
    }

    /** A guest's lock wakes its waiter so. It is remembered over INIT, and since 6.15 until the vCPU is runnable. */
    @Test
    void deliveryMode3WakesAHaltedVcpu() {
        int vm = world.splitVm();
        world.vcpu(vm, 0);
        int vcpu = world.vcpuWithLapic(vm, 1);
        assertOk(setState(vcpu, Uapi.KVM_MP_STATE_HALTED));
        message(vm, 1, 0x300);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        message(vm, 1, 0x500);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_INIT_RECEIVED);
        for (int state : new int[] {Uapi.KVM_MP_STATE_HALTED, Uapi.KVM_MP_STATE_AP_RESET_HOLD}) {
            assertOk(setState(vcpu, state));
            assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        }
        assertOk(setState(vcpu, Uapi.KVM_MP_STATE_RUNNABLE));
        assertOk(setState(vcpu, Uapi.KVM_MP_STATE_HALTED));
        assertThat(state(vcpu)).isEqualTo(world.isSince(6, 15) ? Uapi.KVM_MP_STATE_HALTED : Uapi.KVM_MP_STATE_RUNNABLE);
    }

    @Test
    void bootVcpuIsTheOneChosen() {
        assertOk(libc.ioctl(vm(), Uapi.KVM_SET_BOOT_CPU_ID, 1));
        int other = world.vcpu(vm(), 0);
        int boot = world.vcpu(vm(), 1);
        assertThat(state(other)).isEqualTo(Uapi.KVM_MP_STATE_UNINITIALIZED);
        assertThat(state(boot)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        assertThat(world.lapic(other).getInt(LINT0)).isEqualTo(0x10000);
        assertThat(world.lapic(boot).getInt(LINT0)).isEqualTo(0x700);
    }

    @Test
    void nmiReachesTheGuest() {
        RealModeGuest guest = RealModeGuest.answering(world, world.fullVm());
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_NMI, 0));
        guest.runTo(RealModeGuest.INTERRUPTED);
    }

    @Test
    void nmiReachesAGuestWithoutIrqchip() {
        RealModeGuest guest = new RealModeGuest(world, world.bareVm(), asm("out 0x82, al; out 0x82, al"));
        guest.runTo(RealModeGuest.READY);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_NMI, 0));
        guest.runTo(RealModeGuest.INTERRUPTED);
        guest.runTo(RealModeGuest.READY);
    }

    /** With LAPICs in the kernel it waits there. */
    @Test
    void haltWithoutIrqchipReachesTheVmm() {
        RealModeGuest guest = new RealModeGuest(world, world.bareVm(), asm("hlt; out 0x82, al; hlt"));
        guest.runToHalt();
        guest.runTo(RealModeGuest.READY);
        guest.runToHalt();
    }
}
