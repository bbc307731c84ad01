/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Instructions whose operands are not memory: {@code emulator_read_write()} in arch/x86/kvm/x86.c. */
@Contract
class MmioContract extends KernelSuite {
    private static final String TELLS = asm("out 0x82, al");

    private static final int TOLD = 0x82;
    private static final long NOWHERE = RealModeGuest.NO_MEMORY;
    private static final int CARRY = 1;

    private int vm;

    @BeforeEach
    void setUp() {
        vm = world.splitVm();
    }

    private RealModeGuest guest(String code) {
        return new RealModeGuest(world, vm, code + TELLS);
    }

    private ByteBuffer registers(RealModeGuest guest) {
        ByteBuffer registers = Buffers.allocate(Uapi.KvmRegs.SIZE);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_GET_REGS, registers));
        return registers;
    }

    /** AL or AX is 5. The VMM answers 0x1234, or its low byte. */
    @ParameterizedTest
    @CsvSource({
        "'add [0xf800], al', 1, 0x39",
        "'add [0xf800], ax', 2, 0x1239",
        "'xor [0xf800], ax', 2, 0x1231",
        "'or byte [0xf800], 3', 1, 0x37",
        "'and word [0xf800], 0xff0', 2, 0x230",
        "'sub word [0xf800], 1', 2, 0x1233",
        "'shl word [0xf800], 4', 2, 0x2340",
        "'inc byte [0xf800]', 1, 0x35",
        "'dec word [0xf800]', 2, 0x1233",
    })
    void changeIsAReadAndAWrite(String code, int size, String written) {
        RealModeGuest guest = guest(asm("mov ax, 0x5; " + code));
        guest.runToRead(NOWHERE, size, 0x1234);
        guest.runToMmio(NOWHERE, size, Integer.decode(written));
        guest.runTo(TOLD);
        assertThat(registers(guest).getShort(0)).isEqualTo((short) 5);
    }

    /** Comparisons, and operations whose result is a register. */
    @ParameterizedTest
    @CsvSource({
        "'cmp al, [0xf800]', 1, 0x5",
        "'cmp [0xf800], al', 1, 0x5",
        "'cmp byte [0xf800], 5', 1, 0x5",
        "'add al, [0xf800]', 1, 0x39",
        "'and ax, [0xf800]', 2, 0x4",
    })
    void operandIsOneRead(String code, int size, String result) {
        RealModeGuest guest = guest(asm("mov ax, 0x5; " + code));
        guest.runToRead(NOWHERE, size, 0x1234);
        guest.runTo(TOLD);
        assertThat(registers(guest).getShort(0)).isEqualTo((short) (int) Integer.decode(result));
    }

    @Test
    void instructionHasNoEffectBeforeItsAnswer() {
        RealModeGuest guest = guest(asm("mov ax, 0xffff; add [0xf800], ax"));
        guest.runToRead(NOWHERE, 2, 1);
        ByteBuffer before = registers(guest);
        assertThat(before.getLong(Uapi.KvmRegs.RIP)).isEqualTo(0x1003);
        assertThat(before.getLong(Uapi.KvmRegs.RFLAGS) & CARRY).isZero();
        guest.runToMmio(NOWHERE, 2, 0);
        ByteBuffer after = registers(guest);
        assertThat(after.getLong(Uapi.KvmRegs.RIP)).isEqualTo(0x1007);
        assertThat(after.getLong(Uapi.KvmRegs.RFLAGS) & CARRY).isOne();
        guest.runTo(TOLD);
    }

    /** The write is the end of the first run. */
    @Test
    void immediateExitComesAfterTheWrite() {
        RealModeGuest guest = guest(asm("mov al, 0x1; add [0xf800], al"));
        guest.runToRead(NOWHERE, 1, 7);
        ByteBuffer run = libc.view(world.map(PAGE, guest.vcpu()), PAGE).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        guest.runToMmio(NOWHERE, 1, 8);
        assertErrno(Errno.EINTR, libc.ioctl(guest.vcpu(), Uapi.KVM_RUN, 0));
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 0);
        guest.runTo(TOLD);
    }

    @Test
    void writeOfANumberIsNoRead() {
        RealModeGuest guest = guest(asm("mov byte [0xf800], 0x5a; mov word [0xf800], 0x1234"));
        guest.runToMmio(NOWHERE, 1, 0x5a);
        guest.runToMmio(NOWHERE, 2, 0x1234);
        guest.runTo(TOLD);
    }
}
