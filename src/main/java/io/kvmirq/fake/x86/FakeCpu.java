/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.MemorySlots;
import io.kvmirq.fake.posting.PostingVcpu;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * A real-mode CPU that runs the self-test's guest in the thread that calls KVM_RUN; any other instruction throws {@link
 * NotModelledException}. It releases the kernel's lock after each instruction and while halted.
 */
final class FakeCpu {
    private static final int EAX = 0;
    private static final int ECX = 1;
    private static final int EDX = 2;
    private static final int ESP = 4;
    private static final int ESI = 6;
    private static final int REGISTERS = 8;
    private static final int NMI_VECTOR = 2;
    private static final int MSR_APIC_BASE = 0x1b;
    /** The first of the MSRs that are the LAPIC's registers in x2APIC mode. */
    private static final int MSR_X2APIC = 0x800;

    private static final int MSR_X2APIC_EOI = MSR_X2APIC + LapicPage.EOI_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_SVR = MSR_X2APIC + LapicPage.SVR_AT / LapicPage.STRIDE;
    private static final int MSR_X2APIC_LINT0 = MSR_X2APIC + LapicPage.LINT0_AT / LapicPage.STRIDE;
    private static final int APIC_BASE = 0xfee00900;
    private static final int X2APIC_MODE = 1 << 10;
    private static final int INTERRUPT_FLAG = 1 << 9;

    private final Host host;
    private final MemorySlots memory;
    private final Optional<FakeLapic> lapic;
    private final ByteBuffer shared;
    private final CpuBus bus;
    private final int[] registers = new int[REGISTERS];
    private int ip = 0xfff0;
    private int cs = 0xf000;
    private boolean interruptsOn;
    private boolean halted;
    private boolean nmi;

    FakeCpu(X86Vm vm, MemorySlots memory, Optional<FakeLapic> lapic, ByteBuffer shared) {
        this.host = vm.host();
        this.memory = memory;
        this.lapic = lapic;
        this.shared = shared;
        this.bus = new CpuBus(vm, shared);
    }

    int setSegments(ByteBuffer segments) {
        cs = Short.toUnsignedInt(segments.getShort(Uapi.KvmSregs.CS_SELECTOR));
        lapic.ifPresent(apic -> apic.setTaskPriority((int) segments.getLong(Uapi.KvmSregs.CR8)));
        return 0;
    }

    int setRegisters(ByteBuffer values) {
        ip = (int) values.getLong(Uapi.KvmRegs.RIP);
        registers[ESP] = (int) values.getLong(Uapi.KvmRegs.RSP);
        interruptsOn = (values.getLong(Uapi.KvmRegs.RFLAGS) & INTERRUPT_FLAG) != 0;
        return 0;
    }

    /** KVM_NMI. */
    int requestNmi() {
        lapic.ifPresentOrElse(apic -> apic.events().sendNmi(), () -> nmi = true);
        return 0;
    }

    boolean isHalted() {
        return halted;
    }

    void setHalted(boolean on) {
        halted = on;
    }

    /** KVM_RUN, with the kernel's lock held. */
    int run() {
        if (shared.get(Uapi.KvmRun.IMMEDIATE_EXIT) != 0) {
            return host.refuse(VmAnswer.VCPU_IMMEDIATE_EXIT);
        }
        PostingVcpu hardware = lapic.map(FakeLapic::hardware).orElse(null);
        while (true) {
            if (hardware != null) {
                hardware.enterGuest();
            }
            if (exitsForEoi()) {
                return 0;
            }
            if (deliver()) {
                halted = false;
            }
            if (halted && hardware != null) {
                hardware.halt(interruptsOn);
            } else if (halted) {
                host.time().awaitChange();
            } else if (step()) {
                return 0;
            } else {
                host.time().letOthersIn();
            }
        }
    }

    private boolean exitsForEoi() {
        int vector = lapic.map(apic -> apic.eoiExitBitmap().takeEoiExit()).orElse(-1);
        if (vector >= 0) {
            host.note(ChipAnswer.EOI_TOLD_TO_VMM);
            shared.putInt(Uapi.KvmRun.EXIT_REASON, Uapi.KVM_EXIT_IOAPIC_EOI).put(Uapi.KvmRun.EOI_VECTOR, (byte) vector);
        }
        return vector >= 0;
    }

    private boolean deliver() {
        if (lapic.isEmpty()) {
            return deliverNmiWithoutLapic();
        }
        if (lapic.get().events().isReset()) {
            throw new NotModelledException("INIT of a vCPU that runs");
        }
        if (lapic.get().events().isSpecial()) {
            throw new NotModelledException("a guest that takes an interrupt of delivery mode 2 or 3");
        }
        lapic.get().scanIfWanted();
        if (lapic.get().events().takeNmi()) {
            host.note(ChipAnswer.NMI_TWO_KEPT);
            enter(NMI_VECTOR);
            return true;
        }
        int vector = lapic.get().takeRequest(interruptsOn);
        if (vector >= 0) {
            host.note(ChipAnswer.LAPIC_PRIORITY);
            enter(vector);
        }
        return vector >= 0;
    }

    private boolean deliverNmiWithoutLapic() {
        boolean taken = nmi;
        nmi = false;
        if (taken) {
            enter(NMI_VECTOR);
        }
        return taken;
    }

    private void enter(int vector) {
        push(interruptsOn ? INTERRUPT_FLAG : 0);
        push(cs);
        push(ip);
        interruptsOn = false;
        ip = memory16(vector * 4);
        cs = memory16(vector * 4 + 2);
    }

    // Memory

    private ByteBuffer at(int address, int length) {
        long user = memory.user(address)
                .orElseThrow(() -> new NotModelledException(
                        "guest access to address 0x" + Integer.toHexString(address) + ", which is not memory"));
        ByteBuffer mapped = host.memory().at(user, length);
        if (mapped == null) {
            throw new NotModelledException("a guest whose memory has been unmapped");
        }
        return mapped;
    }

    private int offset(int address) {
        return host.memory().offset(memory.user(address).orElseThrow());
    }

    private int memory8(int address) {
        return at(address, 1).get(offset(address)) & 0xff;
    }

    private int memory16(int address) {
        return at(address, 2).getShort(offset(address)) & 0xffff;
    }

    private int memory32(int address) {
        return at(address, 4).getInt(offset(address));
    }

    private void push(int value) {
        registers[ESP] -= 2;
        at(registers[ESP], 2).putShort(offset(registers[ESP]), (short) value);
    }

    private int pop() {
        int value = memory16(registers[ESP]);
        registers[ESP] += 2;
        return value;
    }

    private int fetch8() {
        return memory8(cs * 16 + ip++);
    }

    private int fetch16() {
        return fetch8() | fetch8() << 8;
    }

    private int fetch32() {
        return fetch16() | fetch16() << 16;
    }

    // Instructions; opcodes as in the Intel SDM, volume 2

    /** @return whether the guest exits to the VMM */
    private boolean step() {
        int opcode = fetch8();
        switch (opcode) {
            case 0x66 -> {
                return wide(fetch8());
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
                ip += by;
            }
            case 0xf4 -> {
                return halt();
            }
            case 0xfb -> interruptsOn = true;
            default -> throw unknown(opcode);
        }
        return false;
    }

    private static NotModelledException unknown(int opcode) {
        return new NotModelledException("the instruction 0x" + Integer.toHexString(opcode));
    }

    /** @return whether HLT exits to the VMM, which it does without an in-kernel LAPIC */
    private boolean halt() {
        if (lapic.isEmpty()) {
            host.note(VmAnswer.VCPU_HALT_LEAVES);
            shared.putInt(Uapi.KvmRun.EXIT_REASON, Uapi.KVM_EXIT_HLT);
            return true;
        }
        halted = true;
        return false;
    }

    /** Instructions with the operand-size prefix: 32-bit operands. */
    private boolean wide(int opcode) {
        switch (opcode) {
            case 0x0d -> registers[EAX] |= fetch32();
            case 0x31 -> exclusiveOr(fetch8());
            case 0x60 -> pushAll();
            case 0x61 -> popAll();
            case 0xb8, 0xb9, 0xba, 0xbb -> registers[opcode - 0xb8] = fetch32();
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
        registers[modrm & 7] ^= registers[modrm >>> 3 & 7];
    }

    private static void requireRegisters(int modrm) {
        if (modrm >>> 6 != 3) {
            throw new NotModelledException("operands in memory (ModRM 0x" + Integer.toHexString(modrm) + ")");
        }
    }

    private void pushAll() {
        int stack = registers[ESP];
        for (int i = 0; i < REGISTERS; i++) {
            int value = i == ESP ? stack : registers[i];
            push(value >>> 16);
            push(value & 0xffff);
        }
    }

    private void popAll() {
        for (int i = REGISTERS - 1; i >= 0; i--) {
            int value = pop() | pop() << 16;
            if (i != ESP) {
                registers[i] = value;
            }
        }
    }

    /** {@code incl disp16(%si)}. */
    private void increment(int modrm) {
        if (modrm != 0x84) {
            throw unknown(0x66ff00 | modrm);
        }
        int address = (registers[ESI] & 0xffff) + fetch16() & 0xffff;
        at(address, 4).putInt(offset(address), memory32(address) + 1);
    }

    private void move16(int modrm) {
        requireRegisters(modrm);
        low(modrm & 7, registers[modrm >>> 3 & 7]);
    }

    private void moveFromCs(int modrm) {
        requireRegisters(modrm);
        if ((modrm >>> 3 & 7) != 1) {
            throw unknown(0x8c00 | modrm);
        }
        low(modrm & 7, cs);
    }

    private void shift(int modrm) {
        requireRegisters(modrm);
        if ((modrm >>> 3 & 7) != 4) {
            throw unknown(0xc100 | modrm);
        }
        low(modrm & 7, registers[modrm & 7] << fetch8());
    }

    private void low(int register, int value) {
        registers[register] = registers[register] & 0xffff0000 | value & 0xffff;
    }

    private void returnFromInterrupt() {
        ip = pop();
        cs = pop();
        interruptsOn = (pop() & INTERRUPT_FLAG) != 0;
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
        if (registers[ECX] != MSR_APIC_BASE) {
            throw new NotModelledException("reading MSR 0x" + Integer.toHexString(registers[ECX]));
        }
        registers[EAX] = APIC_BASE;
        registers[EDX] = 0;
    }

    private void writeMsr() {
        FakeLapic apic = lapic.orElseThrow(() -> new NotModelledException("a guest without in-kernel LAPIC"));
        switch (registers[ECX]) {
            case MSR_APIC_BASE -> apic.setX2apic((registers[EAX] & X2APIC_MODE) != 0);
            case MSR_X2APIC_SVR -> apic.setSpurious(registers[EAX]);
            case MSR_X2APIC_LINT0 -> apic.setLint0(registers[EAX]);
            case MSR_X2APIC_EOI -> apic.endOfInterrupt();
            default -> throw new NotModelledException("writing MSR 0x" + Integer.toHexString(registers[ECX]));
        }
    }

    /** @return whether this {@code mov} to an immediate address exits to the VMM */
    private boolean store(int address, int size) {
        if (memory.user(address).isEmpty()) {
            return bus.writeMemory(address, size, registers[EAX]);
        }
        ByteBuffer mapped = at(address, size);
        int offset = offset(address);
        for (int i = 0; i < size; i++) {
            mapped.put(offset + i, (byte) (registers[EAX] >>> Byte.SIZE * i));
        }
        return false;
    }

    private boolean out(int port, int size) {
        return bus.writePort(port, size, registers[EAX]);
    }
}
