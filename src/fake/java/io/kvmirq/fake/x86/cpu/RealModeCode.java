/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EAX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ECX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EDX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ESP;

import io.kvmirq.NotModelledException;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.MemorySlots;

/**
 * Executes the instructions of a guest in real mode. Others throw {@link NotModelledException}, which lists the
 * modelled ones. Opcodes: Intel SDM vol. 2, appendix A.
 */
public final class RealModeCode implements GuestCode {
    private static final int REGISTERS = 8;
    /** The mask of flags that PUSHF stores, and that POPF and IRET load. */
    private static final int FLAGS = 0xffff;

    /** Whether KVM executes the instructions in software, as kvm_pvm does. */
    private final boolean emulated;

    private final RealModeMemory memory;
    private final DataMemory dataMemory;
    private final GeneralRegisters registers;
    private final SystemRegisters system;
    private final Operands operands;
    private final Arithmetic arithmetic;
    private final VcpuEvents events;
    private final GuestMsrs msrs;
    private final Accesses accesses;
    private final DataInstructions data;
    /** The interrupt shadow that the instruction begins: the next instruction runs before any interrupt. */
    private int shadow;

    public RealModeCode(
            Host host,
            GeneralRegisters registers,
            SystemRegisters system,
            VcpuEvents events,
            MemorySlots slots,
            GuestBus bus,
            GuestMsrs msrs) {
        this.emulated = host.build().pvm();
        this.memory = new RealModeMemory(host, slots);
        this.registers = registers;
        this.system = system;
        this.events = events;
        this.msrs = msrs;
        this.dataMemory = new DataMemory(host, memory, bus);
        this.operands = new Operands(registers, system, memory, dataMemory);
        this.arithmetic = new Arithmetic(registers);
        this.accesses = new Accesses(host, registers, system, dataMemory, bus, operands);
        this.data = new DataInstructions(registers, operands, arithmetic);
    }

    /** INIT. */
    public void reset() {
        accesses.reset();
        dataMemory.reset();
    }

    @Override
    public boolean interruptFlag() {
        return registers.interruptsOn();
    }

    @Override
    public boolean takesInterruptOfPic() {
        return true;
    }

    @Override
    public boolean goesOn() {
        return false;
    }

    @Override
    public boolean isReading() {
        return accesses.isReading() || dataMemory.isReading();
    }

    @Override
    public boolean exitsAgain() {
        return dataMemory.exits();
    }

    @Override
    public boolean completeRead() {
        if (dataMemory.isReading()) {
            return !dataMemory.complete() || step() == Outcome.EXITS;
        }
        accesses.completeRead();
        events.setShadow(VcpuEvents.NO_SHADOW);
        return false;
    }

    /** Completes an OUT at the start of a run. */
    public void completeOut() {
        if (accesses.completeOut()) {
            events.setShadow(VcpuEvents.NO_SHADOW);
        }
    }

    @Override
    public void enter(int vector, boolean ofLapic) {
        enter(vector);
    }

    private void enter(int vector) {
        operands.push(registers.flags(), Short.BYTES);
        operands.push(system.selector(SystemRegisters.CODE), Short.BYTES);
        operands.push((int) registers.ip(), Short.BYTES);
        registers.setFlags(registers.flags() & ~GeneralRegisters.INTERRUPT_FLAG);
        long entry = system.entry(vector);
        registers.setIp(memory.read(entry, Short.BYTES));
        system.select(SystemRegisters.CODE, memory.read(entry + Short.BYTES, Short.BYTES));
    }

    // Instructions

    @Override
    public Outcome step() {
        operands.begin();
        shadow = VcpuEvents.NO_SHADOW;
        try {
            int opcode = prefixed();
            boolean halts = opcode == 0xf4;
            boolean exits = !halts && execute(opcode);
            exits |= dataMemory.exits();
            if (!isReading() && !accesses.isAtOut()) {
                events.setShadow(shadow);
            }
            return halts ? Outcome.HALTS : exits ? Outcome.EXITS : Outcome.GOES_ON;
        } catch (DataMemory.Unanswered e) {
            registers.setIp(operands.start());
            return Outcome.EXITS;
        } catch (NotModelledException e) {
            registers.setIp(operands.start());
            throw e;
        }
    }

    /** Fetches the prefixes and the opcode. */
    private int prefixed() {
        while (true) {
            int next = operands.fetch8();
            switch (next) {
                case 0x26, 0x2e, 0x36, 0x3e -> operands.override(next >> 3 & 3);
                case 0x64, 0x65 -> operands.override(next & 7);
                case 0x66 -> operands.widen();
                case 0xf3 -> operands.repeat();
                default -> {
                    return next;
                }
            }
        }
    }

    /** The operand size: 1 if the opcode's lowest bit is 0. */
    private int size(int opcode) {
        return (opcode & 1) == 0 ? 1 : operands.wide();
    }

    /** @return whether the guest exits to the VMM */
    private boolean execute(int opcode) {
        if (operands.repeats() && !Accesses.isString(opcode)) {
            throw operands.unknown();
        }
        if (DataInstructions.has(opcode)) {
            data.execute(opcode, size(opcode));
            return false;
        }
        return switch (opcode >> 4) {
            case 0x0, 0x1 -> {
                stackSegment(opcode);
                yield false;
            }
            case 0x5 -> {
                stack(opcode);
                yield false;
            }
            case 0x6 -> immediateOrAll(opcode);
            case 0x7 -> {
                int by = operands.fetchSigned();
                jump(arithmetic.holds(opcode), by);
                yield false;
            }
            case 0x8 -> {
                moveSegment(opcode);
                yield false;
            }
            case 0x9 -> {
                exchangeOrFlags(opcode);
                yield false;
            }
            case 0xa -> memoryOrString(opcode);
            case 0xc -> {
                returns(opcode);
                yield false;
            }
            case 0xe -> loopOrPort(opcode);
            case 0xf -> {
                flagsOrGroup(opcode);
                yield false;
            }
            default -> throw operands.unknown();
        };
    }

    private void jump(boolean taken, int by) {
        if (taken) {
            registers.setIp(registers.ip() + by & 0xffff);
        }
    }

    // The stack

    private void stack(int opcode) {
        int size = operands.wide();
        int register = opcode & 7;
        if ((opcode & 8) == 0) {
            operands.push(registers.get(register, size), size);
        } else {
            registers.set(register, size, operands.pop(size));
        }
    }

    /** PUSH and POP of ES, CS, SS and DS. */
    private void stackSegment(int opcode) {
        if (opcode == 0x0f) {
            twoBytes(operands.fetch8());
            return;
        }
        int[] segments = {SystemRegisters.EXTRA, SystemRegisters.CODE, SystemRegisters.STACK, SystemRegisters.DATA};
        int segment = segments[opcode >> 3];
        int size = operands.wide();
        if ((opcode & 1) == 0) {
            operands.push(system.selector(segment), size);
        } else {
            select(segment, operands.pop(size));
        }
    }

    private void select(int segment, int selector) {
        system.select(segment, selector & 0xffff);
        if (segment == SystemRegisters.STACK && beginsShadow(VcpuEvents.SHADOW_OF_SS)) {
            shadow = VcpuEvents.SHADOW_OF_SS;
        }
    }

    /** PUSHA, POPA, PUSH of a number, OUTS. */
    private boolean immediateOrAll(int opcode) {
        int size = operands.wide();
        switch (opcode) {
            case 0x60 -> {
                int stack = registers.get(ESP);
                for (int i = 0; i < REGISTERS; i++) {
                    operands.push(i == ESP ? stack : registers.get(i), size);
                }
            }
            case 0x61 -> {
                for (int i = REGISTERS - 1; i >= 0; i--) {
                    int value = operands.pop(size);
                    if (i != ESP) {
                        registers.set(i, size, value);
                    }
                }
            }
            case 0x68 -> operands.push(operands.fetch(size), size);
            case 0x6a -> operands.push(operands.fetchSigned(), size);
            case 0x6e, 0x6f -> {
                return accesses.string(opcode, size(opcode));
            }
            default -> throw operands.unknown();
        }
        return false;
    }

    // Moves

    /** MOV to and from a segment register. */
    private void moveSegment(int opcode) {
        operands.fetchModrm();
        int segment = requireSegment();
        if (opcode == 0x8c) {
            operands.write(Short.BYTES, system.selector(segment));
        } else if (segment == SystemRegisters.CODE) {
            throw operands.unknown();
        } else {
            select(segment, operands.read(Short.BYTES));
        }
    }

    private int requireSegment() {
        if (operands.segmentField() < 0) {
            throw operands.unknown();
        }
        return operands.segmentField();
    }

    /** TEST of a number, MOV of an immediate address, and strings. */
    private boolean memoryOrString(int opcode) {
        int size = size(opcode);
        if (opcode == 0xa8 || opcode == 0xa9) {
            arithmetic.test(registers.get(EAX, size), operands.fetch(size), size);
            return false;
        }
        if (Accesses.isString(opcode)) {
            return accesses.string(opcode, size);
        }
        if (opcode > 0xa3) {
            throw operands.unknown();
        }
        operands.fetchAddress();
        if (opcode < 0xa2) {
            registers.set(EAX, size, operands.read(size));
        } else {
            operands.write(size, registers.get(EAX, size));
        }
        return false;
    }

    // Flags, returns

    /** NOP and XCHG, PUSHF and POPF. */
    private void exchangeOrFlags(int opcode) {
        int size = operands.wide();
        if (opcode < 0x98) {
            int value = registers.get(EAX, size);
            registers.set(EAX, size, registers.get(opcode & 7, size));
            registers.set(opcode & 7, size, value);
        } else if (opcode == 0x9c) {
            operands.push(registers.flags(), size);
        } else if (opcode == 0x9d) {
            registers.setFlags(GeneralRegisters.checked(operands.pop(size) & FLAGS));
        } else {
            throw operands.unknown();
        }
    }

    /** RET, INT and IRET. */
    private void returns(int opcode) {
        switch (opcode) {
            case 0xc3 -> registers.setIp(operands.pop(operands.wide()) & 0xffff);
            case 0xcd -> enter(operands.fetch8());
            case 0xcf -> {
                if (operands.wide() != Short.BYTES) {
                    throw operands.unknown();
                }
                registers.setIp(operands.pop(Short.BYTES));
                system.select(SystemRegisters.CODE, operands.pop(Short.BYTES));
                registers.setFlags(GeneralRegisters.checked(operands.pop(Short.BYTES)));
                events.endOfNmi();
            }
            default -> throw operands.unknown();
        }
    }

    /** LOOP, calls and jumps, IN and OUT. */
    private boolean loopOrPort(int opcode) {
        int size = size(opcode);
        switch (opcode) {
            case 0xe2 -> {
                int by = operands.fetchSigned();
                registers.set(ECX, Short.BYTES, registers.get(ECX) - 1);
                jump(registers.get(ECX, Short.BYTES) != 0, by);
            }
            case 0xe3 -> {
                int by = operands.fetchSigned();
                jump(registers.get(ECX, Short.BYTES) == 0, by);
            }
            case 0xe4, 0xe5 -> {
                return accesses.in(operands.fetch8(), size);
            }
            case 0xe6, 0xe7 -> {
                return accesses.out(operands.fetch8(), size);
            }
            case 0xe8 -> {
                int by = operands.fetch(operands.wide());
                operands.push((int) registers.ip(), operands.wide());
                jump(true, by);
            }
            case 0xe9 -> jump(true, operands.fetch(operands.wide()));
            case 0xea -> {
                int to = operands.fetch(operands.wide());
                system.select(SystemRegisters.CODE, operands.fetch16());
                registers.setIp(to & 0xffff);
            }
            case 0xeb -> jump(true, operands.fetchSigned());
            case 0xec, 0xed -> {
                return accesses.in(registers.get(EDX, Short.BYTES), size);
            }
            case 0xee, 0xef -> {
                return accesses.out(registers.get(EDX, Short.BYTES), size);
            }
            default -> throw operands.unknown();
        }
        return false;
    }

    private void flagsOrGroup(int opcode) {
        int flags = registers.flags();
        switch (opcode) {
            case 0xf8 -> registers.setFlags(flags & ~Arithmetic.CARRY);
            case 0xf9 -> registers.setFlags(flags | Arithmetic.CARRY);
            case 0xfa -> registers.setFlags(flags & ~GeneralRegisters.INTERRUPT_FLAG);
            case 0xfb -> {
                boolean begins = beginsShadow(VcpuEvents.SHADOW_OF_STI) && (emulated || !registers.interruptsOn());
                shadow = begins ? VcpuEvents.SHADOW_OF_STI : VcpuEvents.NO_SHADOW;
                registers.setFlags(flags | GeneralRegisters.INTERRUPT_FLAG);
            }
            case 0xfc -> registers.setFlags(flags & ~GeneralRegisters.DIRECTION_FLAG);
            case 0xfd -> registers.setFlags(flags | GeneralRegisters.DIRECTION_FLAG);
            case 0xfe, 0xff -> stepOrGo(size(opcode));
            default -> throw operands.unknown();
        }
    }

    /** Whether an instruction begins a shadow; only the first in a row does ({@code toggle_interruptibility()}). */
    private boolean beginsShadow(int kind) {
        return emulated ? (events.shadow() & kind) == 0 : !events.isShadowed();
    }

    /** INC and DEC; of 16 or 32 bits also CALL, JMP and PUSH. */
    private void stepOrGo(int size) {
        operands.fetchModrm();
        int value = operands.read(size);
        int operation = operands.field();
        if (operation <= 1) {
            operands.write(size, arithmetic.step(value, operation == 0 ? 1 : -1, size));
        } else if (operation == 2 && size > 1) {
            operands.push((int) registers.ip(), size);
            registers.setIp(value & 0xffff);
        } else if (operation == 4 && size > 1) {
            registers.setIp(value & 0xffff);
        } else if (operation == 6 && size > 1) {
            operands.push(value, size);
        } else {
            throw operands.unknown();
        }
    }

    private void twoBytes(int opcode) {
        switch (opcode) {
            case 0x01 -> {
                operands.fetchModrm();
                boolean loads = operands.field() == 2 || operands.field() == 3;
                if (!loads || operands.isRegister()) {
                    throw operands.unknown();
                }
                long at = operands.address();
                int base = memory.read(at + Short.BYTES, Integer.BYTES);
                system.setTable(
                        operands.field() == 3,
                        memory.read(at, Short.BYTES),
                        operands.wide() == Short.BYTES ? base & 0xffffff : Integer.toUnsignedLong(base));
            }
            case 0x30 -> {
                long low = Integer.toUnsignedLong(registers.get(EAX));
                msrs.write(registers.get(ECX), (long) registers.get(EDX) << Integer.SIZE | low);
            }
            case 0x32 -> {
                long value = msrs.read(registers.get(ECX));
                registers.set(EAX, (int) value);
                registers.set(EDX, (int) (value >>> Integer.SIZE));
            }
            case 0xb6, 0xb7 -> {
                operands.fetchModrm();
                registers.set(operands.field(), operands.wide(), operands.read(opcode == 0xb6 ? 1 : Short.BYTES));
            }
            default -> {
                if (opcode >> 4 != 8) {
                    throw operands.unknown();
                }
                int by = operands.fetch(operands.wide());
                jump(arithmetic.holds(opcode), by);
            }
        }
    }
}
