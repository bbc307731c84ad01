/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.ByteArrayOutputStream;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Assembles the guests of tests: 16-bit code of x86 in Intel's syntax. Statements are separated by semicolons, and a label may
 * come before one. {@code $} is the address of the statement itself. A jump has 8 bits, a call 16.
 *
 * <pre>
 * out 0x82, al; idle: sti; hlt; jmp idle
 * inc dword [si+0x2000]; mov fs:[0xb0], eax
 * </pre>
 *
 * <p>Source: Intel SDM vol. 2, the encoding of each instruction.
 */
public final class GuestAssembler {
    /** Turns the LAPIC on, in x2APIC mode. */
    public static final String LAPIC_ON =
            "mov ecx, 0x1b; rdmsr; or eax, 0xc00; wrmsr;" + " mov ecx, 0x80f; mov eax, 0x1ff; xor edx, edx; wrmsr;";

    /** Ends an interrupt in x2APIC mode. */
    public static final String EOI = "mov ecx, 0x80b; xor eax, eax; xor edx, edx; wrmsr;";

    /** Instructions without operands. */
    private static final List<String> PLAIN =
            List.of("nop 90 hlt f4 sti fb cli fa ret c3 iret cf cpuid 0fa2 rdmsr 0f32 wrmsr 0f30 pushad 6660 popad 6661"
                    .split(" "));

    private static final List<String> OPERATIONS = List.of("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp");
    private static final List<String> JUMPS = List.of("jmp", "je", "jne", "call");
    private static final List<String> BYTES = List.of("al", "cl", "dl", "bl", "ah", "ch", "dh", "bh");
    private static final List<String> WORDS = List.of("ax", "cx", "dx", "bx", "sp", "bp", "si", "di");
    private static final List<String> SEGMENTS = List.of("es", "cs", "ss", "ds", "fs", "gs");
    private static final int ES_PREFIX = 0x26;
    private static final int FS_PREFIX = 0x64;
    private static final List<String> SIZES = List.of("byte", "word", "", "dword");
    /** SI as the base of an address, and no base. */
    private static final int SI = 4;

    private static final int NO_BASE = 6;

    private static final Pattern STATEMENT = Pattern.compile("(?:(\\w+):(?!\\[) *)?(\\w+)? *(.*)");
    private static final Pattern MEMORY =
            Pattern.compile("(?:(byte|word|dword) )?(?:([ef]s):)?\\[(si\\+)?(0x[0-9a-f]+|\\d+)\\]");

    private enum Kind {
        REGISTER,
        SEGMENT,
        MEMORY,
        NUMBER
    }

    /** {@code number} is that of a register or segment, the base of an address, or the number itself. */
    private record Operand(Kind kind, int size, int number, int offset, int prefix) {
        boolean is(Kind wanted) {
            return kind == wanted;
        }

        boolean isAccumulator() {
            return kind == Kind.REGISTER && number == 0;
        }

        boolean isAddress() {
            return kind == Kind.MEMORY && number == NO_BASE;
        }
    }

    private final Map<String, Integer> labels;
    private final ByteArrayOutputStream code = new ByteArrayOutputStream();

    private GuestAssembler(Map<String, Integer> labels) {
        this.labels = labels;
    }

    /** The bytes of code. */
    public static byte[] bytes(String text) {
        Map<String, Integer> labels = new HashMap<>();
        new GuestAssembler(labels).assemble(text); // finds the labels
        return new GuestAssembler(labels).assemble(text);
    }

    /** The bytes of code, in hex. */
    public static String asm(String text) {
        return HexFormat.of().formatHex(bytes(text));
    }

    private byte[] assemble(String text) {
        for (String statement : text.split(";")) {
            Matcher parts = STATEMENT.matcher(statement.strip());
            if (!parts.matches()) {
                throw new IllegalArgumentException(statement);
            }
            if (parts.group(1) != null) {
                labels.put(parts.group(1), code.size());
            }
            if (parts.group(2) != null) {
                put(
                        parts.group(2),
                        parts.group(3).isEmpty()
                                ? new String[0]
                                : parts.group(3).split(", *"));
            }
        }
        return code.toByteArray();
    }

    private void put(String name, String[] words) {
        if (PLAIN.contains(name)) {
            code.writeBytes(HexFormat.of().parseHex(PLAIN.get(PLAIN.indexOf(name) + 1)));
        } else if (words.length == 0) {
            throw new IllegalArgumentException(name);
        } else if (JUMPS.contains(name)) {
            jump(name, words[0]);
        } else {
            Operand[] operands =
                    Arrays.stream(words).map(GuestAssembler::operand).toArray(Operand[]::new);
            Operand to = operands[0];
            Operand from = operands[operands.length - 1];
            switch (name) {
                case "push", "pop" -> sized(name.equals("push") ? 0x50 : 0x58, 0, to, to.number);
                case "inc", "dec" -> modrm(0xfe, to.size, name.equals("dec") ? 1 : 0, to);
                case "in" -> port(0xe4, from, to);
                case "out" -> port(0xe6, to, from);
                case "shl" -> {
                    modrm(0xc0, to.size, 4, to);
                    number(from.number, 1);
                }
                case "mov" -> move(to, from);
                default -> compute(operation(name), to, from);
            }
        }
    }

    private static int operation(String name) {
        if (!OPERATIONS.contains(name)) {
            throw new IllegalArgumentException(name + ": an instruction that no guest has");
        }
        return OPERATIONS.indexOf(name);
    }

    private static Operand operand(String text) {
        int bytes = BYTES.indexOf(text);
        int words = WORDS.indexOf(text.length() == 3 && text.startsWith("e") ? text.substring(1) : text);
        Matcher memory = MEMORY.matcher(text);
        if (bytes >= 0 || words >= 0) {
            return new Operand(
                    Kind.REGISTER, bytes >= 0 ? 1 : text.length() == 2 ? 2 : 4, Math.max(bytes, words), 0, 0);
        } else if (SEGMENTS.contains(text)) {
            return new Operand(Kind.SEGMENT, 2, SEGMENTS.indexOf(text), 0, 0);
        } else if (memory.matches()) {
            int size = memory.group(1) == null ? 0 : SIZES.indexOf(memory.group(1)) + 1;
            int base = memory.group(3) == null ? NO_BASE : SI;
            int prefix = memory.group(2) == null ? 0 : memory.group(2).equals("es") ? ES_PREFIX : FS_PREFIX;
            return new Operand(Kind.MEMORY, size, base, Integer.decode(memory.group(4)), prefix);
        }
        return new Operand(Kind.NUMBER, 0, (int) Long.decode(text).longValue(), 0, 0);
    }

    private void jump(String name, String target) {
        int from = code.size();
        boolean isCall = name.equals("call");
        int to = target.startsWith("$")
                ? from + (target.length() == 1 ? 0 : Integer.parseInt(target.substring(1)))
                : labels.getOrDefault(target, from);
        code.write(
                switch (name) {
                    case "je" -> 0x74;
                    case "jne" -> 0x75;
                    default -> isCall ? 0xe8 : 0xeb;
                });
        number(to - from - (isCall ? 3 : 2), isCall ? 2 : 1);
    }

    private void number(int value, int size) {
        for (int i = 0; i < size; i++) {
            code.write(value >>> Byte.SIZE * i);
        }
    }

    /** An opcode that names a register; {@code wide} is added unless the size is 1. */
    private void sized(int opcode, int wide, Operand of, int register) {
        if (of.size == Integer.BYTES) {
            code.write(0x66);
        }
        code.write(opcode + register + (of.size == 1 ? 0 : wide));
    }

    private void port(int opcode, Operand port, Operand register) {
        boolean byDx = port.is(Kind.REGISTER);
        sized(opcode + (byDx ? 8 : 0), 1, register, 0);
        number(port.number, byDx ? 0 : 1);
    }

    /** The prefixes, an opcode of a size, and ModRM with a register field and a register or memory. */
    private void modrm(int opcode, int size, int field, Operand of) {
        if (of.prefix != 0) {
            code.write(of.prefix);
        }
        sized(opcode, 1, new Operand(Kind.REGISTER, size, 0, 0, 0), 0);
        int mode = of.is(Kind.REGISTER) ? 3 : of.isAddress() ? 0 : 2;
        code.write(mode << 6 | field << 3 | of.number);
        number(of.offset, of.is(Kind.REGISTER) ? 0 : 2);
    }

    private void move(Operand to, Operand from) {
        boolean reads = from.is(Kind.MEMORY);
        if (to.is(Kind.SEGMENT) || from.is(Kind.SEGMENT)) {
            boolean loads = to.is(Kind.SEGMENT);
            modrm(loads ? 0x8d : 0x8b, 2, loads ? to.number : from.number, loads ? from : to);
        } else if (from.is(Kind.NUMBER) && to.is(Kind.REGISTER)) {
            sized(0xb0, 8, to, to.number);
            number(from.number, to.size);
        } else if (from.is(Kind.NUMBER)) {
            modrm(0xc6, to.size, 0, to);
            number(from.number, to.size);
        } else if (to.isAccumulator() && from.isAddress() || from.isAccumulator() && to.isAddress()) {
            if ((reads ? from : to).prefix != 0) {
                code.write((reads ? from : to).prefix);
            }
            sized(reads ? 0xa0 : 0xa2, 1, reads ? to : from, 0);
            number((reads ? from : to).offset, 2);
        } else {
            modrm(reads ? 0x8a : 0x88, (reads ? to : from).size, (reads ? to : from).number, reads ? from : to);
        }
    }

    private void compute(int operation, Operand to, Operand from) {
        boolean isSmall = to.size > 1 && from.number == (byte) from.number;
        if (!from.is(Kind.NUMBER)) {
            boolean reads = from.is(Kind.MEMORY);
            Operand register = reads ? to : from;
            modrm(operation << 3 | (reads ? 2 : 0), register.size, register.number, reads ? from : to);
        } else if (to.isAccumulator() && !isSmall) {
            sized(operation << 3 | 4, 1, to, 0);
            number(from.number, to.size);
        } else {
            modrm(isSmall ? 0x82 : 0x80, to.size, operation, to);
            number(from.number, isSmall ? 1 : to.size);
        }
    }
}
