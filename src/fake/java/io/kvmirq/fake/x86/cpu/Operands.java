/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

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
    private static final int SHOWN = 8;

    /** The names of all modelled instructions. */
    private static final String KNOWN =
            "adc, add, and, call, clc, cld, cli, cmp, dec, hlt, in, inc, int, iret, jcc, jcxz, jmp,"
                    + " lea, lgdt, lidt, lods, loop, mov, movs, movzx, neg, nop, not, or, out, outs, pop, push,"
                    + " rdmsr, ret, sar, sbb, shl, shr, stc, std, sti, stos, sub, test, wrmsr, xchg and xor, with"
                    + " operands of 8, 16 and 32 bits and addresses of 16";

    /** Segments of {@link SystemRegisters}, by their numbers in opcodes. */
    private static final int[] SEGMENTS = {
        SystemRegisters.EXTRA, SystemRegisters.CODE, SystemRegisters.STACK, SystemRegisters.DATA, 3, 4
    };

    private static final int EBX = 3;
    private static final int EBP = 5;

    private final GeneralRegisters registers;
    private final SystemRegisters system;
    private final RealModeMemory memory;
    private final DataMemory data;
    private int start;
    /** The size of an operand that is not a byte: 2 or 4 bytes. */
    private int wide;
    /** The segment of a prefix; -1 for none. */
    private int override;

    private boolean repeats;

    private int modrm;
    private int offset;
    private int segment;

    Operands(GeneralRegisters registers, SystemRegisters system, RealModeMemory memory, DataMemory data) {
        this.registers = registers;
        this.system = system;
        this.memory = memory;
        this.data = data;
    }

    void begin() {
        start = (int) registers.ip();
        wide = Short.BYTES;
        override = -1;
        repeats = false;
    }

    /** The prefix REP. */
    void repeat() {
        repeats = true;
    }

    boolean repeats() {
        return repeats;
    }

    int start() {
        return start;
    }

    int wide() {
        return wide;
    }

    void widen() {
        wide = Integer.BYTES;
    }

    void override(int number) {
        override = SEGMENTS[number];
    }

    /** The exception for an instruction that is not modelled, with its address and first bytes. */
    NotModelledException unknown() {
        long address = system.address(SystemRegisters.CODE, start);
        StringBuilder bytes = new StringBuilder();
        for (int i = 0; i < SHOWN && memory.has(address + i); i++) {
            bytes.append(" %02x".formatted(memory.read(address + i, 1)));
        }
        return new NotModelledException(
                "the instruction at 0x" + Long.toHexString(address) + "," + bytes + "; in real mode it knows " + KNOWN);
    }

    // Bytes of the instruction

    int fetch8() {
        long ip = registers.ip();
        if (ip >>> 16 != 0) {
            throw new NotModelledException("an instruction beyond its segment");
        }
        int value = memory.read(system.address(SystemRegisters.CODE, (int) ip), 1);
        registers.setIp(ip + 1);
        return value;
    }

    int fetch16() {
        return fetch8() | fetch8() << 8;
    }

    int fetch(int size) {
        return switch (size) {
            case 1 -> fetch8();
            case 2 -> fetch16();
            default -> fetch16() | fetch16() << 16;
        };
    }

    /** A number of 8 bits with its sign. */
    int fetchSigned() {
        return (byte) fetch8();
    }

    // ModRM

    /** Fetches ModRM and its displacement. */
    void fetchModrm() {
        modrm = fetch8();
        if (isRegister()) {
            return;
        }
        int mode = modrm >>> 6;
        int base = modrm & 7;
        boolean direct = mode == 0 && base == 6;
        offset = direct ? 0 : base(base);
        segment = base == 2 || base == 3 || base == 6 && !direct ? SystemRegisters.STACK : SystemRegisters.DATA;
        if (direct || mode == 2) {
            offset += fetch16();
        } else if (mode == 1) {
            offset += fetchSigned();
        }
        offset &= 0xffff;
    }

    private int base(int form) {
        return switch (form) {
            case 0 -> registers.get(EBX) + registers.get(ESI);
            case 1 -> registers.get(EBX) + registers.get(EDI);
            case 2 -> registers.get(EBP) + registers.get(ESI);
            case 3 -> registers.get(EBP) + registers.get(EDI);
            case 4 -> registers.get(ESI);
            case 5 -> registers.get(EDI);
            case 6 -> registers.get(EBP);
            default -> registers.get(EBX);
        };
    }

    /** Fetches the offset of a memory operand. */
    void fetchAddress() {
        modrm = 0;
        segment = SystemRegisters.DATA;
        offset = fetch16();
    }

    boolean isRegister() {
        return modrm >>> 6 == 3;
    }

    /** The reg field of ModRM: the register operand, or the number of the operation. */
    int field() {
        return modrm >>> 3 & 7;
    }

    /** The segment in the reg field; -1 for none. */
    int segmentField() {
        return field() < SEGMENTS.length ? SEGMENTS[field()] : -1;
    }

    int offset() {
        return offset;
    }

    long address() {
        return data(segment, offset);
    }

    /** An address in a segment, unless a prefix names another one. */
    long data(int unless, int at) {
        return system.address(override < 0 ? unless : override, at & 0xffff);
    }

    int read(int size) {
        return isRegister() ? registers.get(modrm & 7, size) : data.read(address(), size);
    }

    void write(int size, int value) {
        if (isRegister()) {
            registers.set(modrm & 7, size, value);
        } else {
            data.write(address(), size, value);
        }
    }

    // The stack

    private long top() {
        return system.address(SystemRegisters.STACK, registers.get(ESP) & 0xffff);
    }

    void push(int value, int size) {
        registers.set(ESP, Short.BYTES, registers.get(ESP) - size);
        memory.write(top(), size, value);
    }

    int pop(int size) {
        int value = memory.read(top(), size);
        registers.set(ESP, Short.BYTES, registers.get(ESP) + size);
        return value;
    }
}
