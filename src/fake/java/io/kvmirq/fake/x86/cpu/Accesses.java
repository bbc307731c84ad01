/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EAX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ECX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EDI;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.EDX;
import static io.kvmirq.fake.x86.cpu.GeneralRegisters.ESI;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;

/** IN, OUT and the string instructions in real mode. */
final class Accesses {
    private static final long NOWHERE = -1;
    /** The port whose OUT increments RIP before the exit; firmware relies on it (KVM_X86_QUIRK_OUT_7E_INC_RIP). */
    private static final int PASSED_AT_ONCE = 0x7e;

    private final Host host;
    private final DataMemory memory;
    private final GuestBus bus;
    private final GeneralRegisters registers;
    private final SystemRegisters system;
    private final Operands operands;
    /** The size of a read that waits for the VMM's answer, in bytes; 0 for none. */
    private int reads;
    /** The register that gets the value of that read. */
    private int into;
    /** The address of the next instruction, for RIP after the read is complete or at the run after an OUT. */
    private int next;

    /** The address of an OUT that has exited; {@link #NOWHERE} for none. */
    private long out = NOWHERE;

    Accesses(
            Host host,
            GeneralRegisters registers,
            SystemRegisters system,
            DataMemory memory,
            GuestBus bus,
            Operands operands) {
        this.host = host;
        this.memory = memory;
        this.bus = bus;
        this.registers = registers;
        this.system = system;
        this.operands = operands;
    }

    void reset() {
        reads = 0;
        out = NOWHERE;
    }

    /** Whether IN waits for the VMM's answer. */
    boolean isReading() {
        return reads != 0;
    }

    void completeRead() {
        registers.set(into, reads, (int) bus.answer(reads));
        registers.setIp(next);
        reads = 0;
    }

    /** @return whether RIP was moved past an OUT that has exited; it stays if the VMM has changed RIP */
    boolean completeOut() {
        boolean passes = out != NOWHERE && out == place();
        out = NOWHERE;
        if (passes) {
            registers.setIp(next);
        }
        return passes;
    }

    /** {@code kvm_get_linear_rip()}. */
    private long place() {
        return system.address(SystemRegisters.CODE, (int) registers.ip());
    }

    // Strings

    static boolean isString(int opcode) {
        return switch (opcode & ~1) {
            case 0x6e, 0xa4, 0xaa, 0xac -> true;
            default -> false;
        };
    }

    /** Executes OUTS, MOVS, STOS or LODS; with REP one iteration a step. */
    boolean string(int opcode, int size) {
        if (operands.repeats() && registers.get(ECX, Short.BYTES) == 0) {
            return false;
        }
        long from = operands.data(SystemRegisters.DATA, registers.get(ESI));
        long to = system.address(SystemRegisters.EXTRA, registers.get(EDI) & 0xffff);
        boolean exits = false;
        switch (opcode) {
            case 0x6e, 0x6f -> exits = bus.writePort(registers.get(EDX, Short.BYTES), size, memory.read(from, size));
            case 0xa4, 0xa5 -> memory.write(to, size, memory.read(from, size));
            case 0xaa, 0xab -> memory.write(to, size, registers.get(EAX, size));
            case 0xac, 0xad -> registers.set(EAX, size, memory.read(from, size));
            default -> throw new AssertionError(opcode);
        }
        int by = (registers.flags() & GeneralRegisters.DIRECTION_FLAG) == 0 ? size : -size;
        if (opcode >> 1 != 0xaa >> 1) {
            registers.set(ESI, Short.BYTES, registers.get(ESI) + by);
        }
        if (opcode >> 1 == 0xa4 >> 1 || opcode >> 1 == 0xaa >> 1) {
            registers.set(EDI, Short.BYTES, registers.get(EDI) + by);
        }
        if (operands.repeats()) {
            registers.set(ECX, Short.BYTES, registers.get(ECX) - 1);
            registers.setIp(operands.start());
        }
        return exits;
    }

    // Ports

    /** @return whether this IN exits to the VMM */
    boolean in(int port, int size) {
        if (bus.isServed(port, size)) {
            registers.set(EAX, size, bus.readServed(port, size));
            return false;
        }
        bus.readPort(port, size, 1);
        return awaitAnswer(EAX, size);
    }

    private boolean awaitAnswer(int register, int size) {
        host.note(VmAnswer.VCPU_READ_WAITS);
        reads = size;
        into = register;
        next = (int) registers.ip();
        registers.setIp(operands.start());
        return true;
    }

    /** Executes OUT. RIP moves at the exit if KVM emulates it, else at the next run: {@code kvm_fast_pio_out()}. */
    boolean out(int port, int size) {
        boolean exits = bus.writePort(port, size, registers.get(EAX, size));
        if (exits) {
            host.note(VmAnswer.VCPU_OUT_PASSED);
        }
        if (exits && !host.build().pvm() && port != PASSED_AT_ONCE) {
            next = (int) registers.ip();
            registers.setIp(operands.start());
            out = place();
        }
        return exits;
    }

    /** Whether RIP is at an OUT that has exited. */
    boolean isAtOut() {
        return out != NOWHERE;
    }
}
