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

/**
 * When a guest takes the interrupts of a VMM that has its own PICs: arch/x86/kvm/x86.c. The user interrupts of {@code
 * forward.Userspace} depend on it.
 */
@Contract
class InterruptWindowContract extends KernelSuite {
    private static final String OUT = "out 0x82, al;";
    private static final String STI = "sti;";
    private static final String HALT = "hlt;";
    private static final String NOP = "nop;";
    private static final String JUMP_TO_ITSELF = "loop: jmp loop;";
    /** The handler that {@link RealModeGuest} has. */
    private static final int HANDLED = 2;

    @SuppressWarnings("NullAway.Init")
    private RealModeGuest guest;

    private int vcpu;

    @SuppressWarnings("NullAway.Init")
    private ByteBuffer run;

    private void start(int vm, String code) {
        guest = new RealModeGuest(world, vm, asm(code));
        vcpu = guest.vcpu();
        int size = libc.ioctl(world.kvm(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        run = libc.view(world.map(size, vcpu), size);
    }

    private void request(boolean window) {
        run.put(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) (window ? 1 : 0));
    }

    private int runToPort() {
        guest.run(Uapi.KVM_EXIT_IO);
        return run.getShort(Uapi.KvmRun.IO_PORT) & 0xffff;
    }

    private void assertFlags(int interrupts, int ready) {
        assertThat(run.get(Uapi.KvmRun.IF_FLAG)).as("if_flag").isEqualTo((byte) interrupts);
        assertThat(run.get(Uapi.KvmRun.READY_FOR_INTERRUPT_INJECTION))
                .as("ready_for_interrupt_injection")
                .isEqualTo((byte) ready);
    }

    // The window

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void windowOpensOnceTheGuestTakesInterrupts(boolean split) {
        start(split ? world.splitVm() : world.bareVm(), OUT + STI + JUMP_TO_ITSELF);
        request(true);
        guest.run(Uapi.KVM_EXIT_IO);
        assertFlags(0, 0);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        assertFlags(1, 1);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
    }

    // Interrupts of the VMM

    private void interrupt() {
        ByteBuffer interrupt = Buffers.allocate(Uapi.KvmInterrupt.SIZE).putInt(Uapi.KvmInterrupt.IRQ, HANDLED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_INTERRUPT, interrupt));
    }

    /** A run that leaves before its guest takes it tells that the VMM has to wait. */
    @Test
    void interruptIsTakenAtOnceWithoutLapic() {
        start(world.bareVm(), STI + NOP + OUT + OUT + OUT);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        assertFlags(1, 1);
        interrupt();
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertFlags(1, 0);
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 0);
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
        assertFlags(0, 0);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        assertFlags(1, 1);
    }

    @Test
    void interruptWaitsForTheFlagWithASplitIrqchip() {
        start(world.splitVm(), OUT + STI + JUMP_TO_ITSELF);
        interrupt();
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
        interrupt();
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
    }

    @Test
    void interruptOfTheVmmEndsAHalt() {
        start(world.splitVm(), STI + HALT + OUT);
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        request(false);
        interrupt();
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
    }
}
