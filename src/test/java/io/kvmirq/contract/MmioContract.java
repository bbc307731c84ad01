/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
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
    /** {@code out %al, $0x82}. */
    private static final String TELLS = "e682";

    private static final int TOLD = 0x82;
    private static final long NOWHERE = RealModeGuest.NO_MEMORY;
    /** The last byte of memory. */
    private static final int LAST = 0xefff;

    private static final String DS_FROM_AX = "8ed8";
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
        "000600f8, 1, 0x39", // add %al, (NOWHERE)
        "010600f8, 2, 0x1239",
        "310600f8, 2, 0x1231", // xor
        "800e00f803, 1, 0x37", // or $3
        "812600f8f00f, 2, 0x230", // and $0xff0
        "832e00f801, 2, 0x1233", // sub $1
        "c12600f804, 2, 0x2340", // shl $4
        "fe0600f8, 1, 0x35", // inc
        "ff0e00f8, 2, 0x1233", // dec
    })
    void changeIsAReadAndAWrite(String code, int size, String written) {
        RealModeGuest guest = guest("b80500" + code);
        guest.runToRead(NOWHERE, size, 0x1234);
        guest.runToMmio(NOWHERE, size, Integer.decode(written));
        guest.runTo(TOLD);
        assertThat(registers(guest).getShort(0)).isEqualTo((short) 5);
    }

    /** Comparisons, and operations whose result is a register. */
    @ParameterizedTest
    @CsvSource({
        "3a0600f8, 1, 0x5", // cmp (NOWHERE), %al
        "380600f8, 1, 0x5",
        "803e00f805, 1, 0x5",
        "020600f8, 1, 0x39", // add
        "230600f8, 2, 0x4", // and
        "8b0600f8, 2, 0x1234", // mov
    })
    void operandIsOneRead(String code, int size, String result) {
        RealModeGuest guest = guest("b80500" + code);
        guest.runToRead(NOWHERE, size, 0x1234);
        guest.runTo(TOLD);
        assertThat(registers(guest).getShort(0)).isEqualTo((short) (int) Integer.decode(result));
    }

    @Test
    void instructionHasNoEffectBeforeItsAnswer() {
        RealModeGuest guest = guest("b8ffff" + "010600f8");
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

    /** The write is the end of the first run, as the second part of a store is. */
    @Test
    void immediateExitComesAfterTheWrite() {
        RealModeGuest guest = guest("b001" + "000600f8");
        guest.runToRead(NOWHERE, 1, 7);
        ByteBuffer run = libc.view(world.map(PAGE, guest.vcpu()), PAGE).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        guest.runToMmio(NOWHERE, 1, 8);
        assertErrno(Errno.EINTR, libc.ioctl(guest.vcpu(), Uapi.KVM_RUN, 0));
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 0);
        guest.runTo(TOLD);
    }

    @Test
    void writeOfANumberIsNoRead() {
        RealModeGuest guest = guest("c60600f85a" + "c70600f83412");
        guest.runToMmio(NOWHERE, 1, 0x5a);
        guest.runToMmio(NOWHERE, 2, 0x1234);
        guest.runTo(TOLD);
    }

    // Two pages

    /** {@code mov (LAST), %eax}: the first byte is memory. */
    @Test
    void readAcrossTheEndOfASlotIsMemoryAndAnExit() {
        RealModeGuest guest = guest("c606ffef78" + "66a1ffef");
        guest.runToRead(LAST + 1, 3, 0xaa123456);
        guest.runTo(TOLD);
        assertThat(registers(guest).getInt(0)).isEqualTo(0x12345678);
    }

    /** DS begins at 0x1000: the read is at 0xffff. The second exit is the end of the first. */
    @Test
    void readOfTwoPagesIsTwoExits() {
        RealModeGuest guest = guest("b80001" + DS_FROM_AX + "66a1ffef");
        guest.runToRead(0xffff, 1, 0xaa78);
        ByteBuffer run = libc.view(world.map(PAGE, guest.vcpu()), PAGE).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        guest.runToRead(0x10000, 3, 0x123456);
        assertThat(registers(guest).getInt(0)).isEqualTo(0x100);
        assertErrno(Errno.EINTR, libc.ioctl(guest.vcpu(), Uapi.KVM_RUN, 0));
        assertThat(registers(guest).getInt(0)).isEqualTo(0x12345678);
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 0);
        guest.runTo(TOLD);
    }

    /** {@code addl $1, (LAST)}. */
    @Test
    void changeAcrossTheEndOfASlotIsInMemoryAndTwoExits() {
        RealModeGuest guest = guest("c606ffefff" + "668306ffef01");
        guest.runToRead(LAST + 1, 3, 0x0000ff);
        guest.runToMmio(LAST + 1, 3, 0x000100);
        assertThat(guest.at(LAST)).isZero();
        guest.runTo(TOLD);
    }

    /** And four of two pages without memory. */
    @Test
    void changeOfTwoPagesIsFourExits() {
        RealModeGuest guest = guest("b80001" + DS_FROM_AX + "668336ffefff");
        guest.runToRead(0xffff, 1, 0x78);
        guest.runToRead(0x10000, 3, 0x123456);
        guest.runToMmio(0xffff, 1, 0x87);
        guest.runToMmio(0x10000, 3, 0xedcba9);
        guest.runTo(TOLD);
    }
}
