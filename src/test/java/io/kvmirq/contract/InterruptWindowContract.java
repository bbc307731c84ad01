/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** When a guest takes the interrupts and NMIs of its VMM, and how {@code kvm_run} tells: arch/x86/kvm/x86.c. */
@Contract
class InterruptWindowContract extends KernelSuite {
    private static final String OUT = "out 0x82, al;";
    private static final String STI = "sti;";
    private static final String HALT = "hlt;";
    private static final String NOP = "nop;";
    private static final String IN = "in al, 0x82;";
    private static final String JUMP_TO_ITSELF = "loop: jmp loop;";
    private static final String SS_FROM_AX = "mov ss, ax;";
    private static final int LINT0 = 0x350;
    private static final int LVT_MASKED = 0x10000;
    private static final int SVR = 0xf0;
    /** Of vectors 0x20 to 0x3f. */
    private static final int REQUESTS = 0x210;

    private static final int TIMER = 0x320;
    private static final int INITIAL_COUNT = 0x380;
    private static final int CURRENT_COUNT = 0x390;
    private static final int OTHER = 0x32;
    private static final int DIVISION = 0;
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

    /** Without in-kernel LAPIC, the halt is the exit. */
    @Test
    void windowOfAGuestThatHaltsIsOpen() {
        start(world.splitVm(), STI + HALT);
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_HALTED);
        start(world.bareVm(), STI + HALT + OUT);
        request(true);
        guest.run(Uapi.KVM_EXIT_HLT);
        assertFlags(1, 1);
    }

    @Test
    void noWindowWhereThePicIsInTheKernelOrLint0Masked() {
        start(world.fullVm(), STI + NOP + OUT);
        request(true);
        guest.run(Uapi.KVM_EXIT_IO);
        assertFlags(1, 1);
        start(world.splitVm(), STI + NOP + OUT);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu).putInt(LINT0, LVT_MASKED)));
        request(true);
        guest.run(Uapi.KVM_EXIT_IO);
        assertFlags(1, 0);
    }

    /** There is no room for another vector: {@code kvm_cpu_accept_dm_intr()}. */
    @Test
    void noWindowWhileAnInterruptOfTheVmmWaits() {
        start(world.splitVm(), OUT + STI + HALT + OUT);
        request(true);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        interrupt();
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
    }

    /** The guest is runnable again before it takes the NMI: {@code vcpu_block()}. */
    @Test
    void windowComesBeforeTheNmiThatEndsAHalt() {
        start(world.splitVm(), STI + HALT + OUT);
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_HALTED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        request(false);
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
    }

    /** {@code __kvm_emulate_halt()}: since 6.12 it looks for what would end the halt. */
    @Test
    void haltWithARequestIsNone() {
        start(world.splitVm(), OUT + STI + HALT + OUT);
        guest.handle(OTHER, asm(OUT + "iret"));
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        ByteBuffer lapic = world.lapic(vcpu).putInt(SVR, 0x1ff).putInt(REQUESTS, 1 << OTHER % 32);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        assertThat(state()).isEqualTo(world.isSince(6, 12) ? Uapi.KVM_MP_STATE_RUNNABLE : Uapi.KVM_MP_STATE_HALTED);
        request(false);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
    }

    /** In units of 2 ns. */
    private void setTimer(int vector, int count) {
        ByteBuffer lapic = world.lapic(vcpu)
                .putInt(SVR, 0x1ff)
                .putInt(TIMER, vector)
                .putInt(INITIAL_COUNT, count)
                .putInt(CURRENT_COUNT, count);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
    }

    /** Its interrupt is a request before the kernel looks for a window: {@code kvm_inject_pending_timer_irqs()}. */
    @Test
    void windowComesBeforeTheTimerThatEndsAHalt() {
        start(world.splitVm(), STI + HALT + OUT);
        guest.handle(OTHER, asm(OUT + "iret"));
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        setTimer(OTHER, 5_000_000);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        request(false);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
    }

    @Test
    void timerEndsAHaltWithAnInjectedInterrupt() {
        start(world.splitVm(), STI + HALT + OUT);
        guest.handle(OTHER, asm(OUT + "iret"));
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        request(false);
        ByteBuffer events = events();
        events.put(Uapi.KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 1)
                .put(Uapi.KvmVcpuEvents.INTERRUPT_NR, (byte) HANDLED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, events));
        setTimer(OTHER, 5_000_000);
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
    }

    private int state() {
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, state));
        return state.getInt(0);
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

    /** Of an interrupt that the guest has taken the vector stays: a VMM could inject it again. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void vectorOfAnInterruptStaysToBeTold(boolean split) {
        start(split ? world.splitVm() : world.bareVm(), STI + NOP + OUT + OUT);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        interrupt();
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
        assertThat(events().getShort(Uapi.KvmVcpuEvents.INTERRUPT_INJECTED)).isEqualTo((short) (HANDLED << 8));
    }

    // Shadows

    private ByteBuffer events() {
        ByteBuffer events = Buffers.allocate(Uapi.KvmVcpuEvents.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_VCPU_EVENTS, events));
        return events;
    }

    private int shadow() {
        return events().get(Uapi.KvmVcpuEvents.INTERRUPT_SHADOW);
    }

    /** The exit of a read is in the middle of its instruction. */
    @ParameterizedTest
    @ValueSource(strings = {STI, STI + NOP + SS_FROM_AX})
    void readIsInTheShadowOfTheInstructionBefore(String before) {
        start(world.bareVm(), before + IN + OUT);
        guest.run(Uapi.KVM_EXIT_IO);
        assertThat(run.get(Uapi.KvmRun.IO_DIRECTION)).isZero();
        assertFlags(1, 0);
        assertThat(shadow()).isNotZero();
        guest.run(Uapi.KVM_EXIT_IO);
        assertFlags(1, 1);
        assertThat(shadow()).isZero();
    }

    /** Where KVM emulates it. A processor has a shadow only if STI sets the flag. */
    @Test
    void secondStiHasAShadowOnlyWhereItIsEmulated() {
        assumeTrue(
                world.fake().isPresent() || !Machine.alwaysShadowsSti(),
                "needs a processor that QEMU does not emulate");
        start(world.bareVm(), STI + NOP + STI + IN);
        guest.run(Uapi.KVM_EXIT_IO);
        assertFlags(1, world.isPvm() ? 0 : 1);
    }

    /** Of instructions in a row only the first has one for sure: a processor gives no other one, KVM's emulator does. */
    @ParameterizedTest
    @ValueSource(strings = {SS_FROM_AX + STI, STI + SS_FROM_AX})
    void secondShadowInARowIsThereOnlyWhereItIsEmulated(String both) {
        start(world.bareVm(), both + IN);
        guest.run(Uapi.KVM_EXIT_IO);
        assertFlags(1, world.isPvm() ? 0 : 1);
    }

    /** An exit before it, for the page of the stack that nothing has touched, does not end the shadow. */
    @Test
    void interruptComesAfterThePushThatIsInAShadow() {
        start(world.splitVm(), OUT + STI + "push ax;" + JUMP_TO_ITSELF);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        interrupt();
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
        ByteBuffer registers = Buffers.allocate(Uapi.KvmRegs.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_REGS, registers));
        assertThat(registers.getLong(Uapi.KvmRegs.RSP)).isEqualTo(RealModeGuest.STACK - 8);
    }

    /** SVM lets one more instruction pass. */
    @Test
    void nmiWaitsForTheEndOfAShadowThatIsSet() {
        start(world.bareVm(), OUT + OUT + OUT);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        ByteBuffer events = events().put(Uapi.KvmVcpuEvents.INTERRUPT_SHADOW, (byte) 1);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, events));
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        assertOneNmi();
    }

    /** Of three exits one is the NMI's. */
    private void assertOneNmi() {
        assertThat(List.of(runToPort(), runToPort(), runToPort()))
                .containsExactlyInAnyOrder(RealModeGuest.INTERRUPTED, RealModeGuest.READY, RealModeGuest.READY);
    }

    /** Not with what was there of another exit: {@code emulator_pio_in_out()}. */
    @Test
    void dataOfAReadBeginAsZeros() {
        start(world.bareVm(), "mov al, 0xff;" + OUT + IN);
        guest.run(Uapi.KVM_EXIT_IO);
        int at = (int) run.getLong(Uapi.KvmRun.IO_DATA_OFFSET);
        assertThat(run.get(at)).isEqualTo((byte) 0xff);
        guest.run(Uapi.KVM_EXIT_IO);
        assertThat(run.get(at)).isZero();
    }

    // NMIs

    /** A kvm_pvm lets instructions pass between the end of the first and the second. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void twoNmisAreTakenOneAfterTheOther(boolean full) {
        start(full ? world.fullVm() : world.bareVm(), OUT + OUT);
        for (int i = 0; i < 3; i++) {
            assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        }
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
        assertOneNmi();
    }

    /**
     * Only one event enters the guest at a time, so it leaves at once: {@code kvm_check_and_inject_events()}. A kvm_pvm
     * emulates instructions first.
     */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void nmiComesBeforeTheHandlerOfAnInjectedInterrupt(boolean exception) {
        start(world.bareVm(), NOP + OUT);
        guest.handle(OTHER, asm(OUT + "iret"));
        guest.handle(DIVISION, asm(OUT + "iret"));
        ByteBuffer events = exception
                ? events().put(Uapi.KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 1)
                : events().put(Uapi.KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 1)
                        .put(Uapi.KvmVcpuEvents.INTERRUPT_NR, (byte) OTHER);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, events));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        List<Integer> ports = List.of(runToPort(), runToPort());
        assertThat(ports.get(world.isPvm() ? 1 : 0)).isEqualTo(RealModeGuest.INTERRUPTED);
    }

    /** The NMI makes the guest leave, and the kernel looks for a window first: {@code vcpu_run()}. */
    @Test
    void windowComesBeforeTheNmiThatWaitedForAnother() {
        start(world.bareVm(), STI + NOP + OUT + JUMP_TO_ITSELF);
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        request(false);
        assertThat(runToPort()).isEqualTo(RealModeGuest.INTERRUPTED);
    }

    /** The request stays, and is no NMI any more: KVM_REQ_NMI. */
    @Test
    void nmiThatIsMaskedLaterEndsAHalt() {
        start(world.splitVm(), STI + HALT + OUT);
        request(true);
        guest.run(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        request(false);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        ByteBuffer events =
                events().put(Uapi.KvmVcpuEvents.NMI_MASKED, (byte) 1).putInt(Uapi.KvmVcpuEvents.FLAGS, 0);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, events));
        assertThat(runToPort()).isEqualTo(RealModeGuest.READY);
    }

    @Test
    void nmiEndsTheWaitForInit() {
        start(world.fullVm(), OUT);
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(0, Uapi.KVM_MP_STATE_UNINITIALIZED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_MP_STATE, state));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_NMI, 0));
        assertErrno(Errno.EAGAIN, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_UNINITIALIZED);
    }

    // A run that does not enter the guest

    /** A triple fault that the VMM has set. */
    @Test
    void cpuidMayChangeUntilTheGuestIsEntered() {
        world.assumeX86();
        int vm = world.bareVm();
        ByteBuffer enable = Structs.of("kvm_enable_cap", Uapi.KVM_CAP_X86_TRIPLE_FAULT_EVENT, 0, 1L);
        assertOk(libc.ioctl(vm, Uapi.KVM_ENABLE_CAP, enable));
        start(vm, OUT);
        assertOk(libc.ioctl(
                vcpu, Uapi.KVM_SET_VCPU_EVENTS, events().put(Uapi.KvmVcpuEvents.TRIPLE_FAULT_PENDING, (byte) 1)));
        guest.run(Uapi.KVM_EXIT_SHUTDOWN);
        assertThat(events().get(Uapi.KvmVcpuEvents.TRIPLE_FAULT_PENDING)).isZero();
        assertOk(world.setCpuid(vcpu, Structs.leaf(0)));
        guest.run(Uapi.KVM_EXIT_IO);
        assertErrno(Errno.EINVAL, world.setCpuid(vcpu, Structs.leaf(1)));
    }
}
