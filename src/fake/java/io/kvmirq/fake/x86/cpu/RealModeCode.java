/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EAX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ECX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EDX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ESP;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.kvm.FakeMemorySlots;

/**
 * Executes the real-mode instructions that guests of kvmirq and of its tests use. Any other instruction throws {@link
 * NotModelledException}, whose message lists the modelled instructions. Opcodes: Intel SDM vol. 2, appendix A. Exits:
 * {@code kvm_fast_pio_out()} in arch/x86/kvm/x86.c.
 */
public final class RealModeCode implements GuestExecution {
    private static final int REGISTERS = 8;
    private static final int HLT = 0xf4;
    private static final int JE = 0x74;
    private static final int JNE = 0x75;
    /** The numbers of SHL, and of DEC beside INC, in ModRM. */
    private static final int SHL = 4;

    private static final int DEC = 1;

    /** The segment registers by their numbers in ModRM. */
    private static final int[] SEGMENTS = {
        SystemRegisters.EXTRA,
        SystemRegisters.CODE,
        SystemRegisters.STACK,
        SystemRegisters.DATA,
        SystemRegisters.FS,
        SystemRegisters.GS
    };

    /** The bit of a shift's opcode; without it, a number follows. */
    private static final int SHIFT_BY_ONE = 0x10;

    private static final long NOWHERE = -1;
    /** The port whose OUT increments RIP before the exit; firmware relies on it (KVM_X86_QUIRK_OUT_7E_INC_RIP). */
    private static final int PASSED_AT_ONCE = 0x7e;

    private final KernelOfFile host;
    /** Whether KVM executes the instructions in software, as kvm_pvm does. */
    private final boolean emulated;

    private final boolean shadowsEachKind;

    private final GuestMemory memory;
    private final GeneralRegisters registers;
    private final SystemRegisters system;
    private final Operands operands;
    private final Arithmetic arithmetic;
    private final VcpuEvents events;
    private final GuestBus bus;
    private final GuestMsrs msrs;
    /** The interrupt shadow that the instruction begins: the next instruction runs before any interrupt. */
    private int shadow;

    /** Whether the guest exits for a port. */
    private boolean exits;
    /** The size of an IN that waits for the VMM's answer, in bytes; 0 for none. */
    private int reads;
    /** The address of the next instruction, for RIP after that IN is complete or at the run after an OUT. */
    private int next;

    /** The address of an OUT that has exited; {@link #NOWHERE} for none. */
    private long out = NOWHERE;

    public RealModeCode(
            KernelOfFile host,
            GeneralRegisters registers,
            SystemRegisters system,
            VcpuEvents events,
            FakeMemorySlots slots,
            GuestBus bus,
            GuestMsrs msrs) {
        this.host = host;
        this.emulated = host.build().pvm();
        this.shadowsEachKind = emulated || host.build().hardware().isIntel();
        this.memory = new GuestMemory(host, slots, bus);
        this.registers = registers;
        this.system = system;
        this.events = events;
        this.bus = bus;
        this.msrs = msrs;
        this.operands = new Operands(registers, system, memory);
        this.arithmetic = new Arithmetic(registers);
    }

    /** INIT. */
    public void reset() {
        reads = 0;
        out = NOWHERE;
        memory.reset();
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
        return reads != 0 || memory.isReading();
    }

    @Override
    public boolean completeRead() {
        if (memory.isReading()) {
            memory.complete();
            return step() == Outcome.EXITS;
        }
        registers.set(EAX, reads, (int) bus.answer(reads));
        registers.setIp(next);
        reads = 0;
        events.setShadow(VcpuEvents.NO_SHADOW);
        return false;
    }

    /** Called when KVM_RUN begins: moves RIP past an OUT that exited to the VMM, unless the VMM has changed RIP. */
    public void completeOut() {
        if (out != NOWHERE && out == place()) {
            registers.setIp(next);
            events.setShadow(VcpuEvents.NO_SHADOW);
        }
        out = NOWHERE;
    }

    /** {@code kvm_get_linear_rip()}. */
    private long place() {
        return system.address(SystemRegisters.CODE, (int) registers.ip());
    }

    @Override
    public void enter(int vector, boolean ofLapic) {
        operands.push(registers.flags(), Short.BYTES);
        operands.push(system.selector(SystemRegisters.CODE), Short.BYTES);
        operands.push((int) registers.ip(), Short.BYTES);
        registers.setFlags(registers.flags() & ~GeneralRegisters.INTERRUPT_FLAG);
        long entry = system.entry(vector);
        registers.setIp(memory.readMemory(entry, Short.BYTES));
        system.select(SystemRegisters.CODE, memory.readMemory(entry + Short.BYTES, Short.BYTES));
    }

    // Instructions

    @Override
    public Outcome step() {
        shadow = VcpuEvents.NO_SHADOW;
        exits = false;
        operands.begin();
        try {
            int opcode = operands.fetchOpcode();
            if (opcode != HLT) {
                execute(opcode, (opcode & 1) == 0 ? 1 : operands.wide(), operands.wide());
            }
            exits |= memory.exits();
            if (!isReading() && out == NOWHERE) {
                events.setShadow(shadow);
            }
            return opcode == HLT ? Outcome.HALTS : exits ? Outcome.EXITS : Outcome.GOES_ON;
        } catch (GuestMemory.Unanswered e) {
            registers.setIp(operands.start());
            return Outcome.EXITS;
        } catch (NotModelledException e) {
            registers.setIp(operands.start());
            throw e;
        }
    }

    private void execute(int opcode, int size, int wide) {
        int register = opcode & 7;
        switch (opcode >> 3) {
            case 0x8, 0x9 -> {
                int by = opcode >> 3 == 0x8 ? 1 : -1;
                registers.set(register, wide, arithmetic.step(registers.get(register, wide), by, wide));
            }
            case 0xa -> operands.push(registers.get(register, wide), wide);
            case 0xb -> registers.set(register, wide, operands.pop(wide));
            case 0xe -> {
                operands.requireKnown(opcode == JE || opcode == JNE);
                jump(operands.fetchSigned(), arithmetic.isZero() == (opcode == JE));
            }
            case 0x10, 0x11 -> modrm(opcode, size);
            case 0x16 -> registers.set(register, 1, operands.fetch(1));
            case 0x17 -> registers.set(register, wide, operands.fetch(wide));
            case 0x1c, 0x1d -> jumpOrPort(opcode, size, wide);
            default -> {
                if (opcode < 0x40 && register < 6) {
                    compute(opcode >> 3, register, size);
                } else {
                    single(opcode, size, wide);
                }
            }
        }
    }

    private void jump(int by, boolean taken) {
        if (taken) {
            registers.setIp(registers.ip() + by & 0xffff);
        }
    }

    /** The forms of ADD to CMP: to ModRM, from ModRM, and of a number to EAX. */
    private void compute(int operation, int form, int size) {
        requireModelled(operation);
        boolean toEax = form >= 4;
        if (!toEax) {
            operands.fetchModrm();
        }
        int register = toEax ? EAX : operands.field();
        int value = registers.get(register, size);
        if (form < 2) {
            change(operation, value, size);
            return;
        }
        int second = toEax ? operands.fetch(size) : operands.read(size);
        int result = arithmetic.compute(operation, value, second, size);
        if (operation != Arithmetic.CMP) {
            registers.set(register, size, result);
        }
    }

    /** Requires an operation other than ADC and SBB, whose numbers are 2 and 3. */
    private void requireModelled(int operation) {
        operands.requireKnown(operation >> 1 != 1);
    }

    /** Computes with a ModRM operand, and changes it. */
    private void change(int operation, int second, int size) {
        requireModelled(operation);
        int result = arithmetic.compute(operation, operands.read(size), second, size);
        if (operation != Arithmetic.CMP) {
            operands.write(size, result);
        }
    }

    private void modrm(int opcode, int size) {
        operands.fetchModrm();
        int field = operands.field();
        switch (opcode) {
            case 0x80, 0x81 -> change(field, operands.fetch(size), size);
            case 0x83 -> change(field, operands.fetchSigned(), size);
            case 0x88, 0x89 -> operands.write(size, registers.get(field, size));
            case 0x8a, 0x8b -> registers.set(field, size, operands.read(size));
            case 0x8c -> {
                operands.requireKnown(field < SEGMENTS.length);
                operands.write(operands.isRegister() ? operands.wide() : Short.BYTES, system.selector(SEGMENTS[field]));
            }
            case 0x8e -> select(field);
            case 0xc0, 0xc1, 0xd0, 0xd1 -> {
                operands.requireKnown(field == SHL);
                int count = (opcode & SHIFT_BY_ONE) != 0 ? 1 : operands.fetch(1);
                operands.write(size, arithmetic.shiftLeft(operands.read(size), count, size));
            }
            case 0xc6, 0xc7 -> {
                operands.requireKnown(field == 0);
                operands.write(size, operands.fetch(size));
            }
            default -> {
                operands.requireKnown(opcode >= 0xfe && field <= DEC);
                operands.write(size, arithmetic.step(operands.read(size), field == DEC ? -1 : 1, size));
            }
        }
    }

    /** MOV to a segment register. */
    private void select(int field) {
        operands.requireKnown(field < SEGMENTS.length && SEGMENTS[field] != SystemRegisters.CODE);
        system.select(SEGMENTS[field], operands.read(Short.BYTES));
        if (SEGMENTS[field] == SystemRegisters.STACK && beginsShadow(VcpuEvents.SHADOW_OF_SS)) {
            shadow = VcpuEvents.SHADOW_OF_SS;
        }
    }

    /** Instructions of one byte, and those with an address or with two bytes. */
    private void single(int opcode, int size, int wide) {
        switch (opcode) {
            case 0x0f -> modelRegister(operands.fetch(1));
            case 0x60 -> {
                int stack = registers.get(ESP);
                for (int i = 0; i < REGISTERS; i++) {
                    operands.push(i == ESP ? stack : registers.get(i), wide);
                }
            }
            case 0x61 -> {
                for (int i = REGISTERS - 1; i >= 0; i--) {
                    int value = operands.pop(wide);
                    if (i != ESP) {
                        registers.set(i, wide, value);
                    }
                }
            }
            case 0x90 -> {}
            case 0xa0, 0xa1 -> {
                operands.fetchAddress();
                registers.set(EAX, size, operands.read(size));
            }
            case 0xa2, 0xa3 -> {
                operands.fetchAddress();
                operands.write(size, registers.get(EAX, size));
            }
            case 0xc3, 0xcf -> returns(opcode, wide);
            case 0xfa -> registers.setFlags(registers.flags() & ~GeneralRegisters.INTERRUPT_FLAG);
            case 0xfb -> {
                boolean begins = beginsShadow(VcpuEvents.SHADOW_OF_STI) && (emulated || !registers.interruptsOn());
                shadow = begins ? VcpuEvents.SHADOW_OF_STI : VcpuEvents.NO_SHADOW;
                registers.setFlags(registers.flags() | GeneralRegisters.INTERRUPT_FLAG);
            }
            case 0xc0, 0xc1, 0xc6, 0xc7, 0xd0, 0xd1, 0xfe, 0xff -> modrm(opcode, size);
            default -> throw operands.unknown();
        }
    }

    /**
     * Whether an instruction begins a shadow. Only the first in a row does: of each kind where KVM emulates ({@code
     * toggle_interruptibility()}) and on the lab's VMX, of both on its SVM. The manuals promise the first shadow alone.
     */
    private boolean beginsShadow(int kind) {
        return shadowsEachKind ? (events.shadow() & kind) == 0 : !events.isShadowed();
    }

    /** WRMSR and RDMSR. */
    private void modelRegister(int opcode) {
        operands.requireKnown(opcode == 0x30 || opcode == 0x32);
        if (opcode == 0x30) {
            long low = Integer.toUnsignedLong(registers.get(EAX));
            msrs.write(registers.get(ECX), (long) registers.get(EDX) << Integer.SIZE | low);
        } else {
            long value = msrs.read(registers.get(ECX));
            registers.set(EAX, (int) value);
            registers.set(EDX, (int) (value >>> Integer.SIZE));
        }
    }

    /** RET and IRET. */
    private void returns(int opcode, int wide) {
        operands.requireKnown(opcode == 0xc3 || wide == Short.BYTES);
        registers.setIp(operands.pop(wide) & 0xffff);
        if (opcode == 0xcf) {
            system.select(SystemRegisters.CODE, operands.pop(Short.BYTES));
            registers.setFlags(GeneralRegisters.checked(operands.pop(Short.BYTES)));
            events.endOfNmi();
        }
    }

    private void jumpOrPort(int opcode, int size, int wide) {
        switch (opcode) {
            case 0xe4, 0xe5 -> in(operands.fetch(1), size);
            case 0xe6, 0xe7 -> out(operands.fetch(1), size);
            case 0xe8 -> {
                int by = operands.fetch(wide);
                operands.push((int) registers.ip(), wide);
                jump(by, true);
            }
            case 0xe9 -> jump(operands.fetch(wide), true);
            case 0xeb -> jump(operands.fetchSigned(), true);
            case 0xec, 0xed -> in(registers.get(EDX, Short.BYTES), size);
            case 0xee, 0xef -> out(registers.get(EDX, Short.BYTES), size);
            default -> throw operands.unknown();
        }
    }

    private void in(int port, int size) {
        exits = !bus.isServed(port, size);
        if (!exits) {
            registers.set(EAX, size, bus.readServed(port, size));
            return;
        }
        bus.readPort(port, size, 1);
        host.note(VmAnswer.VCPU_READ_WAITS);
        reads = size;
        next = (int) registers.ip();
        registers.setIp(operands.start());
    }

    /** Executes OUT. RIP moves at the exit if KVM emulates it, otherwise at the next run. */
    private void out(int port, int size) {
        exits = bus.writePort(port, size, registers.get(EAX, size));
        if (exits) {
            host.note(VmAnswer.VCPU_OUT_PASSED);
        }
        if (exits && !emulated && port != PASSED_AT_ONCE) {
            next = (int) registers.ip();
            registers.setIp(operands.start());
            out = place();
        }
    }
}
