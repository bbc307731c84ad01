/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/**
 * The PICs of {@code X86Vm.createIrqchip}, whose lines {@code X86Vm.setLine} and level irqfds raise: arch/x86/kvm/i8259.c. The
 * search in io.kvmirq.differential compares random programs of a guest that writes and reads their ports.
 */
@Contract
class PicContract extends KernelSuite {
    private static final int MASTER = 0;
    private static final int SLAVE = 1;
    private static final int IRR = 1;
    private static final int IMR = 2;
    private static final int ISR = 3;
    private static final int READS_ISR = 6;
    private static final int LINE = 5;
    private static final int SLAVE_LINE = 12;
    private static final int TAKEN = 0x85;
    private static final String READY = asm("out 0x82, al");
    private static final String STI = asm("sti");
    private static final String HALT = asm("hlt");
    private static final String JUMP_TO_ITSELF = asm("loop: jmp loop");
    /** mov %al, $0x20; out to the command port. */
    private static final String END = out(0x20, 0x20);

    @SuppressWarnings("NullAway.Init")
    private RealModeGuest guest;

    private static String out(int port, int value) {
        return asm("mov al, " + value + "; out " + port + ", al");
    }

    /** Gives both PICs vectors. */
    private static String vectors(int master, int slave, int mode) {
        return out(0x20, 0x11)
                + out(0x21, master)
                + out(0x21, 4)
                + out(0x21, mode)
                + out(0xa0, 0x11)
                + out(0xa1, slave)
                + out(0xa1, 2)
                + out(0xa1, mode);
    }

    private void start(String code) {
        guest = new RealModeGuest(world, vm(), code);
    }

    private void handle(int vector, String end) {
        guest.handle(vector, out(TAKEN, vector) + end + asm("iret"));
    }

    private void assertTakes(int vector) {
        guest.runTo(TAKEN);
        assertThat(guest.written()).isEqualTo(vector);
    }

    private int state(int chip, int field) {
        ByteBuffer structure = Buffers.allocate(Uapi.KvmIrqchip.SIZE).putInt(Uapi.KvmIrqchip.CHIP_ID, chip);
        assertOk(libc.ioctl(vm(), Uapi.KVM_GET_IRQCHIP, structure));
        return structure.get(Uapi.KvmIrqchip.CHIP + field) & 0xff;
    }

    private void pulse(int line) {
        world.status(vm(), line, 1);
        world.status(vm(), line, 0);
    }

    /** The PIC's vectors begin at 0 until it is programmed. */
    @Test
    void lineOfTheDefaultRoutesReachesTheGuest() {
        start(READY + asm("sti; wait: inc cx; jne wait; out 0x82, al; jmp wait"));
        handle(LINE, out(0x20, 0x60 | LINE));
        assertThat(world.status(vm(), LINE, 1)).isOne();
        guest.runTo(RealModeGuest.READY);
        assertTakes(LINE);
        assertThat(state(MASTER, ISR)).isEqualTo(1 << LINE);
        assertThat(state(MASTER, IRR)).isZero();
        world.status(vm(), LINE, 0);
        pulse(LINE);
        assertThat(state(MASTER, IRR)).isEqualTo(1 << LINE);
        assertTakes(LINE);
        pulse(3);
        handle(3, END);
        assertTakes(3);
    }

    @Test
    void slaveInterruptsThroughTheCascadePin() {
        start(out(0x21, 0xff) + out(0x20, 0x0b) + vectors(0x20, 0x28, 1) + READY + STI + HALT + JUMP_TO_ITSELF);
        handle(0x2c, out(0xa0, 0x20) + END);
        guest.runTo(RealModeGuest.READY);
        assertThat(state(MASTER, IMR)).as("the mask after ICW1").isZero();
        assertThat(state(MASTER, READS_ISR))
                .as("the register to read after ICW1")
                .isZero();
        pulse(SLAVE_LINE);
        assertTakes(0x2c);
        assertThat(state(MASTER, ISR)).isEqualTo(1 << 2);
        assertThat(state(SLAVE, ISR)).isEqualTo(1 << 4);
        pulse(SLAVE_LINE);
        assertTakes(0x2c);
    }

    /** The slave's request, which the master keeps as an edge, is gone when the guest takes it. */
    @Test
    void levelOfTheSlaveThatEndsBeforeItIsTakenIsItsPin7() {
        start(vectors(0x20, 0x28, 1)
                + asm("mov dx, 0x4d1; mov al, 0x10; out dx, al")
                + READY
                + STI
                + HALT
                + JUMP_TO_ITSELF);
        handle(0x28, END);
        handle(0x2f, END);
        guest.runTo(RealModeGuest.READY);
        pulse(SLAVE_LINE);
        assertTakes(0x2f);
        assertThat(state(SLAVE, ISR)).isZero();
    }

    /** The end in the PIC, here of a named pin, is one that a resampling irqfd waits for. */
    @Test
    void endIsToldToAResamplingIrqfd() {
        start(READY + STI + JUMP_TO_ITSELF);
        handle(LINE, out(0x20, 0x60 | LINE));
        int event = world.eventfd();
        int resample = world.eventfd();
        assertOk(world.irqfd(vm(), event, LINE, Uapi.KVM_IRQFD_FLAG_RESAMPLE, resample));
        assertOk(kernel.eventfdSignal(event, 1));
        guest.runTo(RealModeGuest.READY);
        assertTakes(LINE);
        assertThat(world.drain(resample)).isZero();
        pulse(3);
        handle(3, END);
        assertTakes(3);
        assertThat(world.drain(resample)).isOne();
    }
}
