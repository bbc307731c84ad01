/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import static io.kvmirq.fake.x86.GeneralRegisters.EAX;
import static io.kvmirq.fake.x86.GeneralRegisters.ECX;
import static io.kvmirq.fake.x86.GeneralRegisters.EDI;
import static io.kvmirq.fake.x86.GeneralRegisters.EDX;
import static io.kvmirq.fake.x86.GeneralRegisters.ESI;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;

/** IN, OUT and the string instructions in real mode. */
final class Accesses {
    private final Host host;
    private final DataMemory memory;
    private final CpuBus bus;
    private final GeneralRegisters registers;
    private final SystemRegisters system;
    private final Operands operands;
    /** The size of a read that waits for the VMM's answer, in bytes; 0 for none. */
    private int reads;
    /** The register that gets it. */
    private int into;
    /** The instruction after that read: RIP is at the read until the answer is there. */
    private int afterRead;

    Accesses(FakeCpu cpu, DataMemory memory, CpuBus bus, Operands operands) {
        this.host = cpu.host();
        this.memory = memory;
        this.bus = bus;
        this.registers = cpu.registers();
        this.system = cpu.system();
        this.operands = operands;
    }

    void reset() {
        reads = 0;
    }

    /** Whether IN waits for the VMM's answer. */
    boolean isReading() {
        return reads != 0;
    }

    void completeRead() {
        registers.set(into, reads, (int) bus.answer(reads));
        registers.setIp(afterRead);
        reads = 0;
    }

    // Strings

    static boolean isString(int opcode) {
        return switch (opcode & ~1) {
            case 0x6e, 0xa4, 0xaa, 0xac -> true;
            default -> false;
        };
    }

    /** OUTS, MOVS, STOS and LODS; with REP one of them a step. */
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
        if (bus.isOfPic(port, size)) {
            registers.set(EAX, size, bus.readPic(port, size));
            return false;
        }
        bus.readPort(port, size, 1);
        return awaitAnswer(EAX, size);
    }

    private boolean awaitAnswer(int register, int size) {
        host.note(VmAnswer.VCPU_READ_WAITS);
        reads = size;
        into = register;
        afterRead = (int) registers.ip();
        registers.setIp(operands.start());
        return true;
    }

    /** RIP is past the instruction at its exit, as where KVM emulates it; on other hosts it is so at the next run. */
    boolean out(int port, int size) {
        boolean exits = bus.writePort(port, size, registers.get(EAX, size));
        if (exits) {
            host.note(VmAnswer.VCPU_OUT_PASSED);
        }
        return exits;
    }
}
