/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/**
 * Arithmetic on operands of 1, 2 or 4 bytes, and the status flags that it leaves. Undefined flags are 0, except OF of a
 * shift by more than one, which is set by the last bit. Source: Intel SDM vol. 2, "ADD", "AND" and "SHL".
 */
final class Arithmetic {
    private static final int CARRY = 1;
    private static final int PARITY = 1 << 2;
    private static final int ADJUST = 1 << 4;
    private static final int ZERO = 1 << 6;
    private static final int SIGN = 1 << 7;
    private static final int OVERFLOW = 1 << 11;

    /** The numbers of operations in opcodes. */
    private static final int ADD = 0;

    static final int CMP = 7;
    private static final int OR = 1;
    private static final int AND = 4;
    private static final int SUB = 5;
    private static final int XOR = 6;
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
        long result =
                switch (operation) {
                    case ADD -> a + b;
                    case SUB, CMP -> a - b;
                    case OR -> a | b;
                    case AND -> a & b;
                    case XOR -> a ^ b;
                    default -> throw new AssertionError(operation);
                };
        if (operation == OR || operation == AND || operation == XOR) {
            return leave(result, size, false, false, false);
        }
        boolean carry = (result & ~mask(size)) != 0;
        boolean overflow = isNegative((a ^ result) & (operation == ADD ? b ^ result : a ^ b), size);
        return leave(result, size, carry, ((a ^ b ^ result) & ADJUST) != 0, overflow);
    }

    /** INC (1) and DEC (-1), which keep CF. */
    int step(int value, int by, int size) {
        int carry = registers.flags() & CARRY;
        int result = compute(by > 0 ? ADD : SUB, value, 1, size);
        registers.setFlags(registers.flags() & ~CARRY | carry);
        return result;
    }

    int shiftLeft(int value, int count, int size) {
        int by = count & COUNT;
        long a = value & mask(size);
        if (by == 0) {
            return (int) a;
        }
        boolean carry = isNegative(a << by - 1, size);
        return leave(a << by, size, carry, false, carry != isNegative(a << by, size));
    }

    boolean isZero() {
        return (registers.flags() & ZERO) != 0;
    }
}
