/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/**
 * Arithmetic on operands of 1, 2 or 4 bytes, and the status flags that it leaves. Undefined flags are 0, except OF of a
 * shift by more than one, which is set by the last bit. Source: Intel SDM vol. 2, "ADD", "AND", "SHL" and the others.
 */
final class Arithmetic {
    static final int CARRY = 1;
    static final int PARITY = 1 << 2;
    static final int ADJUST = 1 << 4;
    static final int ZERO = 1 << 6;
    static final int SIGN = 1 << 7;
    static final int OVERFLOW = 1 << 11;

    /** The numbers of operations in opcodes. */
    static final int ADD = 0;

    static final int SUB = 5;
    static final int CMP = 7;
    private static final int OR = 1;
    private static final int ADC = 2;
    private static final int SBB = 3;
    private static final int AND = 4;
    private static final int XOR = 6;
    /** The numbers of shifts in opcodes. */
    private static final int SHR = 5;

    private static final int SAR = 7;
    private static final int COUNT = 0x1f;

    private final GeneralRegisters registers;

    Arithmetic(GeneralRegisters registers) {
        this.registers = registers;
    }

    private static long mask(int size) {
        return -1L >>> Long.SIZE - Byte.SIZE * size;
    }

    private static boolean isNegative(long value, int size) {
        return (value >>> Byte.SIZE * size - 1 & 1) != 0;
    }

    boolean has(int flag) {
        return (registers.flags() & flag) != 0;
    }

    private int leave(long result, int size, boolean carry, boolean adjust, boolean overflow) {
        int flags = registers.flags() & ~GeneralRegisters.STATUS_FLAGS;
        flags |= (carry ? CARRY : 0) | (adjust ? ADJUST : 0) | (overflow ? OVERFLOW : 0);
        flags |= (result & mask(size)) == 0 ? ZERO : 0;
        flags |= isNegative(result, size) ? SIGN : 0;
        flags |= (Integer.bitCount((int) result & 0xff) & 1) == 0 ? PARITY : 0;
        registers.setFlags(flags);
        return (int) (result & mask(size));
    }

    /** @return the result; for CMP the difference */
    int compute(int operation, int first, int second, int size) {
        long a = first & mask(size);
        long b = second & mask(size);
        int carry = has(CARRY) ? 1 : 0;
        return switch (operation) {
            case ADD -> add(a, b, 0, size);
            case ADC -> add(a, b, carry, size);
            case SUB, CMP -> subtract(a, b, 0, size);
            case SBB -> subtract(a, b, carry, size);
            case OR -> leave(a | b, size, false, false, false);
            case AND -> leave(a & b, size, false, false, false);
            case XOR -> leave(a ^ b, size, false, false, false);
            default -> throw new AssertionError(operation);
        };
    }

    void test(int first, int second, int size) {
        compute(AND, first, second, size);
    }

    private int add(long a, long b, int carry, int size) {
        long sum = a + b + carry;
        boolean overflow = isNegative((a ^ sum) & (b ^ sum), size);
        return leave(sum, size, sum > mask(size), ((a ^ b ^ sum) & ADJUST) != 0, overflow);
    }

    private int subtract(long a, long b, int borrow, int size) {
        long difference = a - b - borrow;
        boolean overflow = isNegative((a ^ b) & (a ^ difference), size);
        return leave(difference, size, difference < 0, ((a ^ b ^ difference) & ADJUST) != 0, overflow);
    }

    /** INC and DEC, which keep CF. */
    int step(int value, int by, int size) {
        int carry = registers.flags() & CARRY;
        int result = by > 0 ? compute(ADD, value, 1, size) : compute(SUB, value, 1, size);
        registers.setFlags(registers.flags() & ~CARRY | carry);
        return result;
    }

    /** @param operation 4 SHL, 5 SHR, 7 SAR */
    int shift(int operation, int value, int count, int size) {
        int by = count & COUNT;
        long a = value & mask(size);
        if (by == 0) {
            return (int) a;
        }
        if (operation == SHR || operation == SAR) {
            long source = operation == SAR && isNegative(a, size) ? a | ~mask(size) : a;
            boolean carry = (source >> by - 1 & 1) != 0;
            return leave(source >> by, size, carry, false, operation == SHR && by == 1 && isNegative(a, size));
        }
        boolean carry = isNegative(a << by - 1, size);
        return leave(a << by, size, carry, false, carry != isNegative(a << by, size));
    }

    /** The condition of a jump, in the low four bits of its opcode. */
    boolean holds(int condition) {
        boolean holds =
                switch (condition >> 1 & 7) {
                    case 0 -> has(OVERFLOW);
                    case 1 -> has(CARRY);
                    case 2 -> has(ZERO);
                    case 3 -> has(CARRY) || has(ZERO);
                    case 4 -> has(SIGN);
                    case 5 -> has(PARITY);
                    case 6 -> has(SIGN) != has(OVERFLOW);
                    default -> has(ZERO) || has(SIGN) != has(OVERFLOW);
                };
        return holds == ((condition & 1) == 0);
    }
}
