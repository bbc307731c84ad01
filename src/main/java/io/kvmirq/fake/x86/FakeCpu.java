/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.explain.SignalAnswer;
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
    private static final long APIC_BASE = 0xfee00800L;
    private static final int APIC_BOOT = 1 << 8;
    /** No address of a guest has more bits. */
    private static final int LARGEST_ADDRESS = 52;

    static final int INTERRUPT_FLAG = 1 << 9;
    static final int DIRECTION_FLAG = 1 << 10;
    /** CF, PF, AF, ZF, SF, OF. */
    static final int STATUS_FLAGS = 0x8d5;
    /** Always set. */
    static final int FIXED_FLAG = 2;

    /** Fields of {@code struct kvm_sregs}. */
    private static final int APIC_BASE_AT = 272;

    private static final int INTERRUPT_BITMAP = APIC_BASE_AT + Long.BYTES;

    private static final int RESET_IP = 0xfff0;
    private static final int X2APIC_BIT = 1 << 10;
    private static final int APIC_ENABLED = 1 << 11;
    private static final long APIC_RESERVED = 0x2ff;
    private static final long APIC_MODES = APIC_BOOT | X2APIC_BIT | APIC_ENABLED;
    /** TPR class. */
    private static final long PRIORITIES = 0xf;

    private final X86Vm vm;
    private final Host host;
    private final MemorySlots memory;
    private final Optional<FakeLapic> lapic;
    private final ByteBuffer shared;
    private final CpuBus bus;
    private final boolean boot;
    private final GeneralRegisters registers = new GeneralRegisters();
    private final SystemRegisters system = new SystemRegisters();
    /** RIP, which a guest of the fake keeps below 64 KiB. */
    private long ip = RESET_IP;

    private int flags = FIXED_FLAG;
    /** Whether an instruction has changed STATUS_FLAGS, which are not computed. */
    private boolean statusIsUnknown;
    /** CR8 of a vCPU without LAPIC. */
    private long priority;
    /** The base and mode of its LAPIC in user space. */
    private long base;

    /** Whether the guest's CPUID has x2APIC. */
    private boolean x2apicOffered;

    private int signature = GeneralRegisters.SIGNATURE;

    /** The LAPIC's, or those of a vCPU without one. */
    private final VcpuEvents events;

    private boolean halted;
    /** The size of a read that waits for the VMM's answer, in bytes; 0 for none. */
    private int reads;
    /** The instruction after that read: RIP is at the read until the answer is there. */
    private int afterRead;

    FakeCpu(X86Vm vm, MemorySlots memory, Optional<FakeLapic> lapic, ByteBuffer shared, boolean boot) {
        this.boot = boot;
        this.vm = vm;
        this.host = vm.host();
        this.memory = memory;
        this.lapic = lapic;
        this.shared = shared;
        this.events = lapic.map(FakeLapic::events).orElseGet(VcpuEvents::new);
        this.bus = new CpuBus(vm, shared);
        this.base = APIC_BASE | (boot ? APIC_BOOT : 0);
    }

    // Registers

    void saveSegments(ByteBuffer to) {
        system.save(to);
        to.putLong(Uapi.KvmSregs.CR8, priority()).putLong(APIC_BASE_AT, apicBase());
        int vector = events.injected();
        if (vector >= 0) {
            to.put(INTERRUPT_BITMAP + vector / Byte.SIZE, (byte) (1 << vector % Byte.SIZE));
        }
    }

    private long priority() {
        return lapic.isPresent() ? lapic.get().taskPriority() : priority;
    }

    /** {@code kvm_set_cr8()}: whether it is a priority. */
    private boolean setPriority(long wanted) {
        boolean valid = (wanted & ~PRIORITIES) == 0;
        if (valid) {
            lapic.ifPresentOrElse(apic -> apic.setTaskPriority((int) wanted), () -> priority = wanted);
        }
        return valid;
    }

    private long apicBase() {
        boolean x2apic = lapic.isPresent() && lapic.get().isX2apic();
        return base | (x2apic ? X2APIC_BIT : 0);
    }

    /** The guest's CPUID, as far as the fake uses it. */
    void identify(int newSignature, boolean offered) {
        signature = newSignature;
        x2apicOffered = offered;
        lapic.ifPresent(apic -> apic.offerX2apic(offered));
    }

    /**
     * The rule that refuses KVM_SET_SREGS; empty for none.
     *
     * @throws NotModelledException before anything has changed
     */
    Optional<Answer> refusesSegments(ByteBuffer next) {
        Optional<Answer> refused = SystemRegisters.refuses(next).or(() -> refusesBase(next));
        if (refused.isPresent()) {
            return refused;
        }
        system.checkModelled(next);
        long changed = next.getLong(APIC_BASE_AT) ^ apicBase();
        if (lapic.isEmpty() ? (changed & ~APIC_MODES) != 0 : changed != 0) {
            throw new NotModelledException("moving or disabling the LAPIC");
        }
        return refused;
    }

    /** KVM_SET_SREGS of values that are not refused. */
    void setSegments(ByteBuffer next) {
        system.load(next);
        base ^= next.getLong(APIC_BASE_AT) ^ apicBase();
        setPriority(next.getLong(Uapi.KvmSregs.CR8));
        for (int at = Uapi.KvmSregs.SIZE - Long.BYTES; at >= INTERRUPT_BITMAP; at -= Long.BYTES) {
            if (next.getLong(at) != 0) {
                int word = (at - INTERRUPT_BITMAP) * Byte.SIZE;
                events.inject(word + Long.numberOfTrailingZeros(next.getLong(at)));
            }
        }
        if (boot && isAtReset()) {
            halted = false;
        }
    }

    /** INIT. */
    void reset() {
        registers.reset(signature);
        system.reset();
        ip = RESET_IP;
        flags = FIXED_FLAG;
        statusIsUnknown = false;
        halted = false;
        reads = 0;
    }

    /** A start-up message: the vCPU begins at the page that the vector names. */
    void startUp(int vector) {
        system.select(SystemRegisters.CODE, vector << Byte.SIZE);
        ip = 0;
    }

    boolean isAtReset() {
        return ip == RESET_IP && system.isAtReset();
    }

    private Optional<Answer> refusesBase(ByteBuffer next) {
        long wanted = next.getLong(APIC_BASE_AT);
        boolean x2apic = (wanted & X2APIC_BIT) != 0;
        boolean invalid = (wanted & APIC_RESERVED) != 0
                || wanted >>> LARGEST_ADDRESS != 0
                || x2apic && ((wanted & APIC_ENABLED) == 0 || !x2apicOffered);
        return invalid ? Optional.of(VmAnswer.SREGS_APIC_BASE) : Optional.empty();
    }

    void saveRegisters(ByteBuffer to) {
        if (statusIsUnknown) {
            throw new NotModelledException("the flags that an instruction left");
        }
        registers.save(to);
        to.putLong(Uapi.KvmRegs.RIP, ip).putLong(Uapi.KvmRegs.RFLAGS, flags);
    }

    /** KVM_SET_REGS. */
    int setRegisters(ByteBuffer values) {
        if (reads != 0) {
            throw new NotModelledException("KVM_SET_REGS before a read of the guest is complete");
        }
        long next = values.getLong(Uapi.KvmRegs.RFLAGS) | FIXED_FLAG;
        if ((next & ~(STATUS_FLAGS | DIRECTION_FLAG | INTERRUPT_FLAG | FIXED_FLAG)) != 0) {
            throw new NotModelledException("RFLAGS 0x" + Long.toHexString(next));
        }
        registers.load(values);
        ip = values.getLong(Uapi.KvmRegs.RIP);
        flags = (int) next;
        statusIsUnknown = false;
        return 0;
    }

    private boolean interruptsOn() {
        return (flags & INTERRUPT_FLAG) != 0;
    }

    /** KVM_NMI. */
    int requestNmi() {
        events.sendNmi();
        return 0;
    }

    VcpuEvents events() {
        return events;
    }

    boolean isHalted() {
        return halted;
    }

    void setHalted(boolean on) {
        halted = on;
    }

    /** The end of every KVM_RUN. */
    void leave() {
        host.note(VmAnswer.RUN_SAVES);
        shared.putLong(Uapi.KvmRun.CR8, priority())
                .putLong(Uapi.KvmRun.APIC_BASE, apicBase())
                .put(Uapi.KvmRun.IF_FLAG, (byte) (interruptsOn() ? 1 : 0))
                .put(Uapi.KvmRun.READY_FOR_INTERRUPT_INJECTION, (byte) (takesInterruptOfPic() ? 1 : 0));
    }

    private boolean takesInterruptOfPic() {
        return switch (vm.irqchip()) {
            case FULL -> true;
            case SPLIT -> interruptsOn() && lapic.orElseThrow().takesInterruptOfPic();
            case NONE -> interruptsOn();
        };
    }

    /** Whether a read waits for the VMM's answer. */
    boolean isReading() {
        return reads != 0;
    }

    /** {@code complete_fast_pio_in()}, {@code complete_emulated_mmio()}. */
    private void completeRead() {
        int mask = reads == Integer.BYTES ? -1 : (1 << Byte.SIZE * reads) - 1;
        registers.set(EAX, registers.get(EAX) & ~mask | bus.answer() & mask);
        ip = afterRead;
        reads = 0;
    }

    /** KVM_RUN, with the kernel's lock held, to its exit. */
    int run() {
        if (lapic.isEmpty() && !setPriority(shared.getLong(Uapi.KvmRun.CR8))) {
            return host.refuse(VmAnswer.RUN_CR8);
        }
        if (reads != 0) {
            completeRead();
        }
        if (shared.get(Uapi.KvmRun.IMMEDIATE_EXIT) != 0) {
            return host.refuse(VmAnswer.VCPU_IMMEDIATE_EXIT);
        }
        if (shared.get(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW) != 0 && vm.irqchip() != X86Vm.Irqchip.FULL) {
            throw new NotModelledException("KVM_RUN to a window for interrupts");
        }
        PostingVcpu hardware = lapic.map(FakeLapic::hardware).orElse(null);
        while (true) {
            if (hardware != null) {
                hardware.enterGuest();
            }
            if (host.threads().endsRun()) {
                shared.putInt(Uapi.KvmRun.EXIT_REASON, Uapi.KVM_EXIT_INTR);
                return host.refuse(SignalAnswer.RUN_SIGNAL);
            }
            if (exitsForEoi()) {
                return 0;
            }
            if (deliver()) {
                halted = false;
            }
            if (halted && hardware != null) {
                hardware.halt(interruptsOn());
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
        if (events.isReset()) {
            throw new NotModelledException("INIT of a vCPU that runs");
        }
        if (events.isSpecial()) {
            throw new NotModelledException("a guest that takes an interrupt of delivery mode 2 or 3");
        }
        lapic.ifPresent(FakeLapic::scanIfWanted);
        if (events.takeNmi()) {
            host.note(ChipAnswer.NMI_TWO_KEPT);
            enter(NMI_VECTOR);
            return true;
        }
        if (lapic.isEmpty()) {
            return false;
        }
        int vector = lapic.get().takeRequest(interruptsOn());
        if (vector >= 0) {
            host.note(ChipAnswer.LAPIC_PRIORITY);
            enter(vector);
        }
        return vector >= 0;
    }

    private void enter(int vector) {
        push(flags);
        push(system.selector(SystemRegisters.CODE));
        push((int) ip);
        flags &= ~INTERRUPT_FLAG;
        long entry = system.entry(vector);
        ip = memory16(entry);
        system.select(SystemRegisters.CODE, memory16(entry + 2));
    }

    // Memory

    private ByteBuffer at(long address, int length) {
        long user = memory.user(address)
                .orElseThrow(() -> new NotModelledException(
                        "guest access to address 0x" + Long.toHexString(address) + ", which is not memory"));
        ByteBuffer mapped = host.memory().at(user, length);
        if (mapped == null) {
            throw new NotModelledException("a guest whose memory has been unmapped");
        }
        return mapped;
    }

    private int offset(long address) {
        return host.memory().offset(memory.user(address).orElseThrow());
    }

    private int memory8(long address) {
        return at(address, 1).get(offset(address)) & 0xff;
    }

    private int memory16(long address) {
        return at(address, 2).getShort(offset(address)) & 0xffff;
    }

    private int memory32(long address) {
        return at(address, 4).getInt(offset(address));
    }

    private void push(int value) {
        registers.setLow(ESP, registers.get(ESP) - 2);
        long top = system.address(SystemRegisters.STACK, registers.get(ESP) & 0xffff);
        if (!memory.isWritable(top)) {
            throw new NotModelledException("a stack in read-only memory");
        }
        memory.written(top, Short.BYTES);
        at(top, 2).putShort(offset(top), (short) value);
    }

    private int pop() {
        int value = memory16(system.address(SystemRegisters.STACK, registers.get(ESP) & 0xffff));
        registers.setLow(ESP, registers.get(ESP) + 2);
        return value;
    }

    private int fetch8() {
        if (ip >>> 16 != 0) {
            throw new NotModelledException("an instruction beyond its segment");
        }
        int value = memory8(system.address(SystemRegisters.CODE, (int) ip));
        ip++;
        return value;
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
        int start = (int) ip;
        int opcode = fetch8();
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
                ip = ip + by & 0xffff;
            }
            case 0xf4 -> {
                return halt();
            }
            case 0xfb -> flags |= INTERRUPT_FLAG;
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
        statusIsUnknown = true;
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
        at(address, 4).putInt(offset(address), memory32(address) + 1);
        statusIsUnknown = true;
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
        statusIsUnknown = true;
    }

    private void returnFromInterrupt() {
        ip = pop();
        system.select(SystemRegisters.CODE, pop());
        int next = pop() | FIXED_FLAG;
        if ((next & ~(STATUS_FLAGS | DIRECTION_FLAG | INTERRUPT_FLAG | FIXED_FLAG)) != 0) {
            throw new NotModelledException("returning to flags 0x" + Integer.toHexString(next));
        }
        flags = next;
        events.endOfNmi();
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
        registers.set(EAX, (int) apicBase());
        registers.set(EDX, 0);
    }

    private void writeMsr() {
        FakeLapic apic = lapic.orElseThrow(() -> new NotModelledException("a guest without in-kernel LAPIC"));
        switch (registers.get(ECX)) {
            case MSR_APIC_BASE -> apic.setX2apic((registers.get(EAX) & X2APIC_BIT) != 0);
            case MSR_X2APIC_SVR -> apic.setSpurious(registers.get(EAX));
            case MSR_X2APIC_LINT0 -> apic.setLint0(registers.get(EAX));
            case MSR_X2APIC_EOI -> apic.endOfInterrupt();
            default -> throw new NotModelledException("writing MSR 0x" + Integer.toHexString(registers.get(ECX)));
        }
    }

    /** @return whether this {@code mov} to an immediate address exits to the VMM */
    private boolean store(int place, int size) {
        long address = system.address(SystemRegisters.DATA, place);
        if (!memory.isWritable(address)) {
            return bus.writeMemory(address, size, registers.get(EAX));
        }
        memory.written(address, size);
        ByteBuffer mapped = at(address, size);
        int offset = offset(address);
        for (int i = 0; i < size; i++) {
            mapped.put(offset + i, (byte) (registers.get(EAX) >>> Byte.SIZE * i));
        }
        return false;
    }

    /** @return whether this {@code mov} from an immediate address exits to the VMM */
    private boolean load(int start, int place, int size) {
        long address = system.address(SystemRegisters.DATA, place);
        if (memory.user(address).isPresent()) {
            throw new NotModelledException("reading memory of the guest");
        }
        bus.readMemory(address, size);
        return awaitAnswer(start, size);
    }

    private boolean in(int start, int port, int size) {
        bus.readPort(port, size);
        return awaitAnswer(start, size);
    }

    private boolean awaitAnswer(int start, int size) {
        host.note(VmAnswer.VCPU_READ_WAITS);
        reads = size;
        afterRead = (int) ip;
        ip = start;
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
