/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EAX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ECX;

/** The real-mode instructions that move data and compute, with register, memory and immediate operands. */
final class DataInstructions {
    private static final int SHL = 4;
    private static final int SHR = 5;
    private static final int SAR = 7;

    private final GeneralRegisters registers;
    private final Operands operands;
    private final Arithmetic arithmetic;

    DataInstructions(GeneralRegisters registers, Operands operands, Arithmetic arithmetic) {
        this.registers = registers;
        this.operands = operands;
        this.arithmetic = arithmetic;
    }

    private static boolean isComputation(int opcode) {
        return opcode < 0x40 && (opcode & 7) < 6;
    }

    /** Whether a one-byte opcode belongs to these instructions. */
    static boolean has(int opcode) {
        return isComputation(opcode)
                || switch (opcode >> 4) {
                    case 0x4, 0xb -> true;
                    case 0x8 -> opcode != 0x8c && opcode < 0x8e;
                    case 0xc, 0xd ->
                        switch (opcode) {
                            case 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3 -> true;
                            default -> false;
                        };
                    default -> opcode == 0xf6 || opcode == 0xf7;
                };
    }

    void execute(int opcode, int size) {
        if (isComputation(opcode)) {
            compute(opcode >> 3, opcode & 7, size);
        } else if (opcode >> 4 == 0x4) {
            step(opcode);
        } else if (opcode >> 4 == 0xb) {
            int of = (opcode & 8) == 0 ? 1 : operands.wide();
            registers.set(opcode & 7, of, operands.fetch(of));
        } else {
            modrm(opcode, size);
        }
    }

    /** The forms of ADD to CMP. */
    private void compute(int operation, int form, int size) {
        if (form >= 4) {
            int value = operands.fetch(size);
            int result = arithmetic.compute(operation, registers.get(EAX, size), value, size);
            if (operation != Arithmetic.CMP) {
                registers.set(EAX, size, result);
            }
            return;
        }
        operands.fetchModrm();
        int first = operands.read(size);
        int second = registers.get(operands.field(), size);
        boolean toRegister = form >= 2;
        int result = toRegister
                ? arithmetic.compute(operation, second, first, size)
                : arithmetic.compute(operation, first, second, size);
        if (operation != Arithmetic.CMP && toRegister) {
            registers.set(operands.field(), size, result);
        } else if (operation != Arithmetic.CMP) {
            operands.write(size, result);
        }
    }

    /** INC and DEC of a register. */
    private void step(int opcode) {
        int register = opcode & 7;
        int size = operands.wide();
        registers.set(register, size, arithmetic.step(registers.get(register, size), (opcode & 8) == 0 ? 1 : -1, size));
    }

    private void modrm(int opcode, int size) {
        operands.fetchModrm();
        switch (opcode) {
            case 0x80, 0x81, 0x83 -> {
                int first = operands.read(size);
                int second = opcode == 0x83 ? operands.fetchSigned() : operands.fetch(size);
                int result = arithmetic.compute(operands.field(), first, second, size);
                if (operands.field() != Arithmetic.CMP) {
                    operands.write(size, result);
                }
            }
            case 0x84, 0x85 -> arithmetic.test(operands.read(size), registers.get(operands.field(), size), size);
            case 0x86, 0x87 -> {
                int value = operands.read(size);
                operands.write(size, registers.get(operands.field(), size));
                registers.set(operands.field(), size, value);
            }
            case 0x88, 0x89 -> operands.write(size, registers.get(operands.field(), size));
            case 0x8a, 0x8b -> registers.set(operands.field(), size, operands.read(size));
            case 0x8d -> registers.set(operands.field(), size, operands.offset());
            case 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3 -> shift(opcode, size);
            case 0xc6, 0xc7 -> operands.write(size, operands.fetch(size));
            case 0xf6, 0xf7 -> unary(size);
            default -> throw operands.unknown();
        }
    }

    private void shift(int opcode, int size) {
        int operation = operands.field();
        if (operation != SHL && operation != SHR && operation != SAR) {
            throw operands.unknown();
        }
        int value = operands.read(size);
        int count = opcode < 0xd0 ? operands.fetch8() : opcode < 0xd2 ? 1 : registers.get(ECX, 1);
        operands.write(size, arithmetic.shift(operation, value, count, size));
    }

    private void unary(int size) {
        int value = operands.read(size);
        switch (operands.field()) {
            case 0 -> arithmetic.test(value, operands.fetch(size), size);
            case 2 -> operands.write(size, ~value);
            case 3 -> operands.write(size, arithmetic.compute(Arithmetic.SUB, 0, value, size));
            default -> throw operands.unknown();
        }
    }
}
