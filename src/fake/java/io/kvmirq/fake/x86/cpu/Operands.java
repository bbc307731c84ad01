/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ESI;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ESP;

import io.kvmirq.NotModelledException;

/**
 * The bytes of a real-mode instruction and its operands: registers, memory and the stack. Addresses have 16 bits.
 * Source: Intel SDM vol. 2, "16-bit addressing forms with the ModR/M byte".
 */
final class Operands {
    /** The number of instruction bytes in an error message. */
    private static final int SHOWN = 8;

    /** The names of all modelled instructions. */
    private static final String KNOWN =
            "add, and, call, cli, cmp, dec, hlt, in, inc, iret, je, jmp, jne, mov, nop, or, out, pop, popa, push, pusha,"
                    + " rdmsr, ret, shl, sti, sub, wrmsr and xor, with operands of 8, 16 and 32 bits, in memory at a"
                    + " number or at SI plus a number";

    /** The addresses of 16 bits in ModRM, without the reg field: a number, and SI plus a number. */
    private static final int NUMBER = 0x06;

    private static final int SI_PLUS_NUMBER = 0x84;

    private final GeneralRegisters registers;
    private final SystemRegisters system;
    private final GuestMemory memory;
    private int start;
    /** The size of an operand that is not a byte: 2 or 4 bytes. */
    private int wide;
    /** The segment of the operand in memory: DS, or ES or FS by a prefix. */
    private int segment;

    private int modrm;
    private int offset;

    Operands(GeneralRegisters registers, SystemRegisters system, GuestMemory memory) {
        this.registers = registers;
        this.system = system;
        this.memory = memory;
    }

    int start() {
        return start;
    }

    int wide() {
        return wide;
    }

    void requireKnown(boolean known) {
        if (!known) {
            throw unknown();
        }
    }

    /** The exception for an instruction that is not modelled, with its address and first bytes. */
    NotModelledException unknown() {
        long address = system.address(SystemRegisters.CODE, start);
        StringBuilder bytes = new StringBuilder();
        for (int i = 0; i < SHOWN && memory.has(address + i); i++) {
            bytes.append(" %02x".formatted(memory.readMemory(address + i, 1)));
        }
        return new NotModelledException(
                "the instruction at 0x" + Long.toHexString(address) + "," + bytes + "; in real mode it knows " + KNOWN);
    }

    // Bytes of the instruction

    /** Begins an instruction: fetches the prefixes of operand size and segment, and the opcode. */
    int fetchOpcode() {
        wide = Short.BYTES;
        segment = SystemRegisters.DATA;
        while (true) {
            int next = fetch(1);
            switch (next) {
                case 0x26 -> segment = SystemRegisters.EXTRA;
                case 0x64 -> segment = SystemRegisters.FS;
                case 0x66 -> wide = Integer.BYTES;
                default -> {
                    return next;
                }
            }
        }
    }

    void begin() {
        start = (int) registers.ip();
    }

    /** Fetches a number of 1, 2 or 4 bytes. */
    int fetch(int size) {
        int value = 0;
        for (int i = 0; i < size; i++) {
            long ip = registers.ip();
            if (ip >>> 16 != 0) {
                throw new NotModelledException("an instruction beyond its segment");
            }
            value |= memory.readMemory(system.address(SystemRegisters.CODE, (int) ip), 1) << Byte.SIZE * i;
            registers.setIp(ip + 1);
        }
        return value;
    }

    /** A number of 8 bits with its sign. */
    int fetchSigned() {
        return (byte) fetch(1);
    }

    // ModRM

    /** Fetches ModRM and its displacement. */
    void fetchModrm() {
        modrm = fetch(1);
        if (isRegister()) {
            return;
        }
        int form = modrm & 0xc7;
        requireKnown(form == NUMBER || form == SI_PLUS_NUMBER);
        offset = fetch(Short.BYTES) + (form == NUMBER ? 0 : registers.get(ESI)) & 0xffff;
    }

    /** Fetches the offset of a memory operand. */
    void fetchAddress() {
        modrm = 0;
        offset = fetch(Short.BYTES);
    }

    private boolean isRegister() {
        return modrm >>> 6 == 3;
    }

    /** The reg field of ModRM: the register operand, or the number of the operation. */
    int field() {
        return modrm >>> 3 & 7;
    }

    private long address() {
        return system.address(segment, offset);
    }

    int read(int size) {
        return isRegister() ? registers.get(modrm & 7, size) : memory.read(address(), size);
    }

    void write(int size, int value) {
        if (isRegister()) {
            registers.set(modrm & 7, size, value);
        } else {
            memory.write(address(), size, value);
        }
    }

    // The stack

    private long top() {
        return system.address(SystemRegisters.STACK, registers.get(ESP) & 0xffff);
    }

    void push(int value, int size) {
        registers.set(ESP, Short.BYTES, registers.get(ESP) - size);
        memory.writeMemory(top(), size, value);
    }

    int pop(int size) {
        int value = memory.readMemory(top(), size);
        registers.set(ESP, Short.BYTES, registers.get(ESP) + size);
        return value;
    }
}
