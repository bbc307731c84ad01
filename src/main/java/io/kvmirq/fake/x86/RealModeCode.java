/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import static io.kvmirq.fake.x86.GeneralRegisters.EAX;
import static io.kvmirq.fake.x86.GeneralRegisters.ECX;
import static io.kvmirq.fake.x86.GeneralRegisters.EDX;
import static io.kvmirq.fake.x86.GeneralRegisters.ESI;
import static io.kvmirq.fake.x86.GeneralRegisters.ESP;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import java.util.Optional;

/** The instructions of a guest in real mode; any other throws {@link NotModelledException}. Opcodes: Intel SDM vol. 2. */
final class RealModeCode implements GuestCode {
    private static final int REGISTERS = 8;
    private static final int MSR_APIC_BASE = 0x1b;
    /** The first of the MSRs that are the LAPIC's registers in x2APIC mode. */
    private static final int MSR_X2APIC = 0x800;

    private static final int MSR_X2APIC_EOI = MSR_X2APIC + LapicPage.EOI_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_SVR = MSR_X2APIC + LapicPage.SVR_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_LINT0 = MSR_X2APIC + LapicPage.LINT0_AT / LapicPage.STRIDE;

    private final Host host;
    private final FakeCpu cpu;
    private final Optional<FakeLapic> lapic;
    private final RealModeMemory memory;
    private final CpuBus bus;
    private final GeneralRegisters registers;
    private final SystemRegisters system;
    /** The size of a read that waits for the VMM's answer, in bytes; 0 for none. */
    private int reads;
    /** The instruction after that read: RIP is at the read until the answer is there. */
    private int afterRead;

    RealModeCode(FakeCpu cpu, RealModeMemory memory, CpuBus bus) {
        this.host = cpu.host();
        this.cpu = cpu;
        this.lapic = cpu.lapic();
        this.memory = memory;
        this.bus = bus;
        this.registers = cpu.registers();
        this.system = cpu.system();
    }

    /** INIT. */
    void reset() {
        reads = 0;
    }

    @Override
    public boolean interruptsOn() {
        return registers.interruptsOn();
    }

    @Override
    public boolean goesOn() {
        return false;
    }

    @Override
    public boolean isReading() {
        return reads != 0;
    }

    @Override
    public void completeRead() {
        int mask = reads == Integer.BYTES ? -1 : (1 << Byte.SIZE * reads) - 1;
        registers.set(EAX, registers.get(EAX) & ~mask | (int) bus.answer(reads) & mask);
        registers.setIp(afterRead);
        reads = 0;
    }

    @Override
    public void enter(int vector) {
        push(registers.flags());
        push(system.selector(SystemRegisters.CODE));
        push((int) registers.ip());
        registers.setFlags(registers.flags() & ~GeneralRegisters.INTERRUPT_FLAG);
        long entry = system.entry(vector);
        registers.setIp(memory.read(entry, Short.BYTES));
        system.select(SystemRegisters.CODE, memory.read(entry + Short.BYTES, Short.BYTES));
    }

    // Memory

    private void push(int value) {
        registers.setLow(ESP, registers.get(ESP) - 2);
        memory.write(top(), Short.BYTES, value);
    }

    private long top() {
        return system.address(SystemRegisters.STACK, registers.get(ESP) & 0xffff);
    }

    private int pop() {
        int value = memory.read(top(), Short.BYTES);
        registers.setLow(ESP, registers.get(ESP) + 2);
        return value;
    }

    private int fetch8() {
        long ip = registers.ip();
        if (ip >>> 16 != 0) {
            throw new NotModelledException("an instruction beyond its segment");
        }
        int value = memory.read(system.address(SystemRegisters.CODE, (int) ip), 1);
        registers.setIp(ip + 1);
        return value;
    }

    private int fetch16() {
        return fetch8() | fetch8() << 8;
    }

    private int fetch32() {
        return fetch16() | fetch16() << 16;
    }

    // Instructions; opcodes as in the Intel SDM, volume 2

    @Override
    public Outcome step() {
        int start = (int) registers.ip();
        int opcode = fetch8();
        if (opcode == 0xf4) {
            return Outcome.HALTS;
        }
        return execute(start, opcode) ? Outcome.EXITS : Outcome.GOES_ON;
    }

    /** @return whether the guest exits to the VMM */
    private boolean execute(int start, int opcode) {
        switch (opcode) {
            case 0xa0 -> {
                return load(start, fetch16(), Byte.BYTES);
            }
            case 0xa1 -> {
                return load(start, fetch16(), Short.BYTES);
            }
            case 0xe4 -> {
                return in(start, fetch8(), Byte.BYTES);
            }
            case 0xe5 -> {
                return in(start, fetch8(), Short.BYTES);
            }
            case 0x66 -> {
                return wide(start, fetch8());
            }
            case 0x0f -> system(fetch8());
            case 0x89 -> move16(fetch8());
            case 0x8c -> moveFromCs(fetch8());
            case 0xc1 -> shift(fetch8());
            case 0xcf -> returnFromInterrupt();
            case 0xa2 -> {
                return store(fetch16(), Byte.BYTES);
            }
            case 0xa3 -> {
                return store(fetch16(), Short.BYTES);
            }
            case 0xe6 -> {
                return out(fetch8(), Byte.BYTES);
            }
            case 0xe7 -> {
                return out(fetch8(), Short.BYTES);
            }
            case 0xeb -> {
                int by = (byte) fetch8();
                registers.setIp(registers.ip() + by & 0xffff);
            }
            case 0xfb -> registers.setFlags(registers.flags() | GeneralRegisters.INTERRUPT_FLAG);
            default -> throw unknown(opcode);
        }
        return false;
    }

    private static NotModelledException unknown(int opcode) {
        return new NotModelledException("the instruction 0x" + Integer.toHexString(opcode));
    }

    /** Instructions with the operand-size prefix: 32-bit operands. */
    private boolean wide(int start, int opcode) {
        switch (opcode) {
            case 0xa1 -> {
                return load(start, fetch16(), Integer.BYTES);
            }
            case 0xe5 -> {
                return in(start, fetch8(), Integer.BYTES);
            }
            case 0x0d -> result(EAX, registers.get(EAX) | fetch32());
            case 0x31 -> exclusiveOr(fetch8());
            case 0x60 -> pushAll();
            case 0x61 -> popAll();
            case 0xb8, 0xb9, 0xba, 0xbb -> registers.set(opcode - 0xb8, fetch32());
            case 0xff -> increment(fetch8());
            case 0xa3 -> {
                return store(fetch16(), Integer.BYTES);
            }
            case 0xe7 -> {
                return out(fetch8(), Integer.BYTES);
            }
            default -> throw unknown(0x6600 | opcode);
        }
        return false;
    }

    private void exclusiveOr(int modrm) {
        requireRegisters(modrm);
        result(modrm & 7, registers.get(modrm & 7) ^ registers.get(modrm >>> 3 & 7));
    }

    private void result(int register, int value) {
        registers.set(register, value);
        registers.loseStatus();
    }

    private static void requireRegisters(int modrm) {
        if (modrm >>> 6 != 3) {
            throw new NotModelledException("operands in memory (ModRM 0x" + Integer.toHexString(modrm) + ")");
        }
    }

    private void pushAll() {
        int stack = registers.get(ESP);
        for (int i = 0; i < REGISTERS; i++) {
            int value = i == ESP ? stack : registers.get(i);
            push(value >>> 16);
            push(value & 0xffff);
        }
    }

    private void popAll() {
        for (int i = REGISTERS - 1; i >= 0; i--) {
            int value = pop() | pop() << 16;
            if (i != ESP) {
                registers.set(i, value);
            }
        }
    }

    /** {@code incl disp16(%si)}. */
    private void increment(int modrm) {
        if (modrm != 0x84) {
            throw unknown(0x66ff00 | modrm);
        }
        long address = system.address(SystemRegisters.DATA, registers.get(ESI) + fetch16() & 0xffff);
        memory.write(address, Integer.BYTES, memory.read(address, Integer.BYTES) + 1);
        registers.loseStatus();
    }

    private void move16(int modrm) {
        requireRegisters(modrm);
        registers.setLow(modrm & 7, registers.get(modrm >>> 3 & 7));
    }

    private void moveFromCs(int modrm) {
        requireRegisters(modrm);
        if ((modrm >>> 3 & 7) != 1) {
            throw unknown(0x8c00 | modrm);
        }
        registers.setLow(modrm & 7, system.selector(SystemRegisters.CODE));
    }

    private void shift(int modrm) {
        requireRegisters(modrm);
        if ((modrm >>> 3 & 7) != 4) {
            throw unknown(0xc100 | modrm);
        }
        registers.setLow(modrm & 7, registers.get(modrm & 7) << fetch8());
        registers.loseStatus();
    }

    private void returnFromInterrupt() {
        registers.setIp(pop());
        system.select(SystemRegisters.CODE, pop());
        registers.setFlags(GeneralRegisters.checked(pop()));
        lapic.ifPresent(apic -> apic.events().endOfNmi());
    }

    private void system(int opcode) {
        switch (opcode) {
            case 0x30 -> writeMsr();
            case 0x32 -> readMsr();
            default -> throw unknown(0x0f00 | opcode);
        }
    }

    private void readMsr() {
        if (registers.get(ECX) != MSR_APIC_BASE) {
            throw new NotModelledException("reading MSR 0x" + Integer.toHexString(registers.get(ECX)));
        }
        registers.set(EAX, (int) cpu.apicBase());
        registers.set(EDX, 0);
    }

    private void writeMsr() {
        FakeLapic apic = lapic.orElseThrow(() -> new NotModelledException("a guest without in-kernel LAPIC"));
        switch (registers.get(ECX)) {
            case MSR_APIC_BASE -> apic.setX2apic((registers.get(EAX) & FakeCpu.X2APIC_BIT) != 0);
            case MSR_X2APIC_SVR -> apic.setSpurious(registers.get(EAX));
            case MSR_X2APIC_LINT0 -> apic.setLint0(registers.get(EAX));
            case MSR_X2APIC_EOI -> apic.endOfInterrupt();
            default -> throw new NotModelledException("writing MSR 0x" + Integer.toHexString(registers.get(ECX)));
        }
    }

    /** @return whether this {@code mov} to an immediate address exits to the VMM */
    private boolean store(int place, int size) {
        long address = system.address(SystemRegisters.DATA, place);
        if (!memory.has(address)) {
            return bus.writeMemory(address, size, registers.get(EAX));
        }
        memory.write(address, size, registers.get(EAX));
        return false;
    }

    /** @return whether this {@code mov} from an immediate address exits to the VMM */
    private boolean load(int start, int place, int size) {
        long address = system.address(SystemRegisters.DATA, place);
        if (memory.has(address)) {
            throw new NotModelledException("reading memory of the guest");
        }
        bus.readMemory(address, size);
        return awaitAnswer(start, size);
    }

    private boolean in(int start, int port, int size) {
        bus.readPort(port, size, 1);
        return awaitAnswer(start, size);
    }

    private boolean awaitAnswer(int start, int size) {
        host.note(VmAnswer.VCPU_READ_WAITS);
        reads = size;
        afterRead = (int) registers.ip();
        registers.setIp(start);
        return true;
    }

    /** RIP is past the instruction at its exit, as where KVM emulates it; on other hosts it is so at the next run. */
    private boolean out(int port, int size) {
        boolean exits = bus.writePort(port, size, registers.get(EAX));
        if (exits) {
            host.note(VmAnswer.VCPU_OUT_PASSED);
        }
        return exits;
    }
}
