/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EBP;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EBX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EDI;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ESI;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ESP;

import io.kvmirq.NotModelledException;

/**
 * The bytes of a real-mode instruction and its operands: registers, memory and the stack. Addresses have 16 bits.
 * Source: Intel SDM vol. 2, "16-bit addressing forms with the ModR/M byte".
 */
final class Operands {
    /** The number of instruction bytes in an error message. */
    private static final int BYTES_SHOWN = 8;

    /** The names of all modelled instructions; a test tries every opcode against them. */
    private static final String KNOWN =
            "add, and, cli, cmp, dec, hlt, in, inc, iret, mov (no control or debug register), near ret, nop, or, out,"
                    + " pop of a general register, popa, push of a general register, pusha, rdmsr, relative call,"
                    + " relative jmp, shl by a number, short je, short jne, sti, sub, wrmsr and xor, with operands of"
                    + " 8, 16 and 32 bits, 16-bit addresses and segment prefixes";

    /** The base registers of 16-bit addresses, by the r/m field of ModRM. */
    private static final int[] BASES = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};

    /** The r/m field of BP, and with mod 0 of a number alone; fields below {@link #UNINDEXED} add SI or DI. */
    private static final int BP = 6;

    private static final int UNINDEXED = 4;
    /** No segment prefix. */
    private static final int DEFAULT = -1;

    private static final int SEGMENT_SIZE = 0x1_0000;

    private final GeneralRegisters registers;
    private final SystemRegisters system;
    private final GuestMemory memory;
    private int start;
    /** The size of an operand that is not a byte: 2 or 4 bytes. */
    private int wide;
    /** The segment of the operand in memory. */
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
        for (int i = 0; i < BYTES_SHOWN && memory.has(address + i); i++) {
            bytes.append(" %02x".formatted(memory.readMemory(address + i, 1)));
        }
        return new NotModelledException(
                "the instruction at 0x" + Long.toHexString(address) + "," + bytes + "; in real mode it knows " + KNOWN);
    }

    // Bytes of the instruction

    /** Begins an instruction: fetches the prefixes of operand size and segment, and the opcode. */
    int fetchOpcode() {
        wide = Short.BYTES;
        segment = DEFAULT;
        while (true) {
            int next = fetch(1);
            switch (next) {
                case 0x26 -> segment = SystemRegisters.EXTRA;
                case 0x2e -> segment = SystemRegisters.CODE;
                case 0x36 -> segment = SystemRegisters.STACK;
                case 0x3e -> segment = SystemRegisters.DATA;
                case 0x64 -> segment = SystemRegisters.FS;
                case 0x65 -> segment = SystemRegisters.GS;
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
        int mode = modrm >>> 6;
        int form = modrm & 7;
        boolean isNumber = mode == 0 && form == BP;
        int number = mode == 1 ? fetchSigned() : mode == 2 || isNumber ? fetch(Short.BYTES) : 0;
        int index = form >= UNINDEXED ? 0 : registers.get((form & 1) == 0 ? ESI : EDI);
        offset = number + (isNumber ? 0 : registers.get(BASES[form]) + index) & 0xffff;
        defaultTo(BASES[form] == EBP && !isNumber ? SystemRegisters.STACK : SystemRegisters.DATA);
    }

    private void defaultTo(int without) {
        segment = segment == DEFAULT ? without : segment;
    }

    /** Fetches the offset of a memory operand. */
    void fetchAddress() {
        modrm = 0;
        offset = fetch(Short.BYTES);
        defaultTo(SystemRegisters.DATA);
    }

    /** Whether the ModRM operand is a register and not memory. */
    boolean isRegister() {
        return modrm >>> 6 == 3;
    }

    /** The reg field of ModRM: the register operand, or the number of the operation. */
    int field() {
        return modrm >>> 3 & 7;
    }

    private long address(int size) {
        if (offset + size > SEGMENT_SIZE) {
            throw new NotModelledException("an operand beyond its segment");
        }
        return system.address(segment, offset);
    }

    int read(int size) {
        return isRegister() ? registers.get(modrm & 7, size) : memory.read(address(size), size);
    }

    void write(int size, int value) {
        if (isRegister()) {
            registers.set(modrm & 7, size, value);
        } else {
            memory.write(address(size), size, value);
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
