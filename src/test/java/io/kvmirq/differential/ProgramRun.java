/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.testing.GuestAssembler.bytes;

import io.kvmirq.Errno;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmRun;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashSet;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A guest in real mode that runs the instructions of a sequence, from exit to exit. Its memory is one piece for all VMs
 * of a side, mapped at guest address 0x20000, where its segments begin: 0x0000 interrupt table, 0x1000 code, 0x2000
 * handler, 0xf000 stack. ES is memory that no VM has, FS the page of the LAPIC.
 *
 * <p>A handler tells its vector, which it finds in CS, by port {@link #TAKEN}. The program ends in a loop that writes to
 * a port. A guest that halts is left after a time: what it waits for is in the state that is told.
 *
 * <p>A vCPU whose registers are no longer those of the program is not run: it would not come back.
 *
 * <p>A kvm_pvm looks for interrupts when a guest has left, not between its instructions, unless the host is interrupted
 * meanwhile. So a few differences are not seen again.
 */
final class ProgramRun implements AutoCloseable {
    static final int TAKEN = 0x80;
    static final int END = 0x86;

    /** Bits of {@code run} of {@link Operation#CONTINUE}. */
    static final int WINDOW = 1;

    static final int IMMEDIATE = 2;

    /** How handlers end their interrupt: not at all, in the PICs, by an MSR of x2APIC mode, in the page of the LAPIC. */
    private static final String[] ENDS = {
        "",
        "mov al, 0x20; out 0xa0, al; out 0x20, al;",
        "pushad; " + GuestAssembler.EOI + "popad;",
        "push eax; xor eax, eax; mov fs:[0xb0], eax; pop eax;"
    };

    static final int NO_END = 0;
    static final int END_IN_PICS = 1;
    static final int END_BY_MSR = 2;

    private static final long BASE = 0x20000;
    private static final long NO_MEMORY = 0xd0000;
    private static final long LAPIC = 0xfee00000L;
    private static final int SIZE = 0x10000;
    private static final int SLOT = 101;
    private static final int START = 0x1000;
    private static final int HANDLER = 0x2000;
    private static final int HANDLER_END = 0x2040;
    private static final int STACK = 0xf000;
    private static final int VECTORS = 256;
    private static final byte STI = (byte) 0xfb;
    /** Bytes of an instruction; the highest byte of its number is how many there are. */
    private static final int LENGTH_SHIFT = 56;

    private static final int SEGMENT = 24;
    private static final int SELECTOR = 12;
    private static final int ES = 2;
    private static final int FS = 3;
    private static final int SS = 5;
    private static final int SEGMENTS = 6;
    private static final int PROTECTED = 1;
    private static final int TABLE_LIMIT = 0x3ff;
    private static final long X2APIC = 3 << 10;
    private static final long DR6 = 0xffff0ff0L;
    private static final long DR7 = 0x400;

    /** Results of {@link Operation#CONTINUE} above the exits: the vCPU waits in a state, or computes without end. */
    private static final int WAITS = 1000;

    private static final int COMPUTES = 2000;
    private static final int PATIENCE = 50;
    private static final int TOLD = 56;

    private final Libc libc;
    private final ByteBuffer cpuid;
    private final ByteBuffer structure = Buffers.allocate(1024);
    private final long address;
    private final int runSize;
    private final long memory;
    private final ByteBuffer guest;
    private final Set<Integer> loaded = new HashSet<>();
    private @Nullable Kicker kicker;

    /** @param cpuid of every vCPU that runs */
    ProgramRun(Libc libc, ByteBuffer cpuid, int runSize) {
        this.libc = libc;
        this.cpuid = cpuid;
        this.runSize = runSize;
        address = libc.addressOf(structure);
        memory = libc.mmap(SIZE, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        guest = libc.view(memory, SIZE).order(ByteOrder.nativeOrder());
    }

    void reset() {
        if (!loaded.isEmpty()) {
            guest.put(0, new byte[SIZE]);
            loaded.clear();
        }
    }

    @Override
    public void close() {
        if (kicker != null) {
            kicker.close();
        }
        libc.munmap(memory, SIZE);
    }

    private long shared(int vcpu) {
        return libc.mmap(runSize, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, vcpu, 0);
    }

    private int ask(int vcpu, long request) {
        return libc.ioctl(vcpu, request, address);
    }

    // Loading

    /** Prepares a vCPU to run a program from its start. */
    Answer load(int vcpu, int vm, Call call) {
        long shared = shared(vcpu);
        if (shared < 0 && shared > -VECTORS) {
            return Answer.of(shared);
        }
        try {
            return Answer.of(load(vcpu, vm, call, libc.view(shared, runSize).order(ByteOrder.nativeOrder())));
        } finally {
            libc.munmap(shared, runSize);
        }
    }

    private int load(int vcpu, int vm, Call call, ByteBuffer run) {
        ask(vcpu, Uapi.KVM_GET_MP_STATE);
        structure.putInt(0, Uapi.KVM_MP_STATE_RUNNABLE);
        ask(vcpu, Uapi.KVM_SET_MP_STATE);
        if (loaded.contains(vcpu)) {
            complete(vcpu, run);
        }
        structure
                .putInt(Uapi.KvmUserspaceMemoryRegion.SLOT, SLOT)
                .putInt(Uapi.KvmUserspaceMemoryRegion.FLAGS, 0)
                .putLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR, BASE)
                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, SIZE)
                .putLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR, memory);
        int result = ask(vm, Uapi.KVM_SET_USER_MEMORY_REGION);
        if (result < 0) {
            return result;
        }
        if (kicker == null) {
            kicker = new Kicker(libc);
        }
        kicker.prepare(vcpu);
        boolean hasLapic = ask(vcpu, Uapi.KVM_GET_LAPIC) == 0;
        int end = call.intAt(1) < END_BY_MSR || hasLapic ? call.intAt(1) : NO_END;
        write(call, end);
        return start(vcpu, end);
    }

    /** An access that the last exit has told is complete only in the next run; one to two pages is two. */
    private void complete(int vcpu, ByteBuffer run) {
        run.put(KvmRun.IMMEDIATE_EXIT, (byte) 1);
        for (int i = 0; i < 2 && libc.ioctl(vcpu, Uapi.KVM_RUN, 0) == 0; i++) {}
        run.put(KvmRun.IMMEDIATE_EXIT, (byte) 0);
    }

    private void write(Call call, int end) {
        byte[] handler = bytes("push ax; mov ax, cs; out 0x80, al; " + ENDS[end] + "pop ax; iret");
        guest.put(HANDLER, handler);
        for (int vector = 0; vector < VECTORS; vector++) {
            int segment = (int) (BASE >> 4) + vector;
            guest.putInt(vector * Integer.BYTES, segment << 16 | HANDLER - vector * 16);
        }
        int at = START;
        for (int i = 2; i < call.arguments().size(); i++) {
            long instruction = call.at(i);
            int length = (int) (instruction >>> LENGTH_SHIFT) & 7;
            for (int j = 0; j < length; j++) {
                guest.put(at++, (byte) (instruction >>> Byte.SIZE * j));
            }
        }
        guest.put(at, bytes("loop: out 0x86, al; jmp loop"));
    }

    /** An instruction of {@link Operation#LOAD}. */
    static long instruction(String code) {
        byte[] bytes = bytes(code);
        long number = (long) bytes.length << LENGTH_SHIFT;
        for (int i = 0; i < bytes.length; i++) {
            number |= (bytes[i] & 0xffL) << Byte.SIZE * i;
        }
        return number;
    }

    private int start(int vcpu, int end) {
        libc.ioctl(vcpu, Uapi.KVM_SET_CPUID2, libc.addressOf(cpuid));
        clearEvents(libc, vcpu, structure, true);
        int result = ask(vcpu, Uapi.KVM_GET_SREGS);
        for (int segment = 0; segment < SEGMENTS; segment++) {
            long base = segment == ES ? NO_MEMORY : segment == FS ? LAPIC : BASE;
            structure.putLong(segment * SEGMENT, base).putShort(segment * SEGMENT + SELECTOR, (short) (base >> 4));
        }
        structure.putLong(Uapi.KvmSregs.IDT_BASE, BASE).putShort(Uapi.KvmSregs.IDT_LIMIT, (short) TABLE_LIMIT);
        if (end == END_BY_MSR) {
            structure.putLong(Uapi.KvmSregs.APIC_BASE, structure.getLong(Uapi.KvmSregs.APIC_BASE) | X2APIC);
        }
        result = result < 0 ? result : ask(vcpu, Uapi.KVM_SET_SREGS);
        structure.put(0, new byte[Uapi.KvmRegs.SIZE]);
        structure
                .putLong(Uapi.KvmRegs.RIP, START)
                .putLong(Uapi.KvmRegs.RSP, STACK)
                .putLong(Uapi.KvmRegs.RFLAGS, 2);
        result = result < 0 ? result : ask(vcpu, Uapi.KVM_SET_REGS);
        if (result == 0) {
            loaded.add(vcpu);
        }
        return result;
    }

    /**
     * Clears what guests of the fake do not model: exceptions, soft interrupts and breakpoints.
     *
     * @param interrupt whether an interrupt that is injected stays
     */
    static void clearEvents(Libc libc, int vcpu, ByteBuffer structure, boolean interrupt) {
        long address = libc.addressOf(structure);
        libc.ioctl(vcpu, Uapi.KVM_GET_VCPU_EVENTS, address);
        structure
                .putLong(KvmVcpuEvents.EXCEPTION_INJECTED, 0)
                .put(KvmVcpuEvents.INTERRUPT_SOFT, (byte) 0)
                .put(KvmVcpuEvents.NMI_INJECTED, (byte) 0);
        if (!interrupt) {
            structure.putInt(KvmVcpuEvents.INTERRUPT_INJECTED, 0);
        }
        libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, address);
        structure.put(0, new byte[Uapi.KvmDebugregs.SIZE]);
        structure.putLong(Uapi.KvmDebugregs.DR6, DR6).putLong(Uapi.KvmDebugregs.DR7, DR7);
        libc.ioctl(vcpu, Uapi.KVM_SET_DEBUGREGS, address);
    }

    // Running

    /** Runs a program to its next exit; ENOEXEC if the vCPU has none. */
    Answer run(int vcpu, Call call) {
        if (!loaded.contains(vcpu) || !isInProgram(vcpu) || VcpuSide.PVM && hasInterruptOfLapic(vcpu)) {
            return Answer.of(-Errno.ENOEXEC.number());
        }
        long shared = shared(vcpu);
        if (shared < 0 && shared > -VECTORS) {
            return Answer.of(shared);
        }
        try {
            return run(vcpu, call, libc.view(shared, runSize).order(ByteOrder.nativeOrder()));
        } finally {
            libc.munmap(shared, runSize);
        }
    }

    private boolean isInProgram(int vcpu) {
        ask(vcpu, Uapi.KVM_GET_MP_STATE);
        if (ask(vcpu, Uapi.KVM_GET_REGS) < 0) {
            return false;
        }
        long ip = structure.getLong(Uapi.KvmRegs.RIP);
        ask(vcpu, Uapi.KVM_GET_SREGS);
        long at = structure.getLong(Uapi.KvmSregs.CS_BASE) + ip - BASE;
        return at >= START
                && at < HANDLER_END
                && structure.getLong(0) >= BASE
                && structure.getLong(SEGMENT) == BASE
                && structure.getLong(ES * SEGMENT) == NO_MEMORY
                && structure.getLong(FS * SEGMENT) == LAPIC
                && structure.getLong(SS * SEGMENT) == BASE
                && structure.getLong(Uapi.KvmSregs.IDT_BASE) == BASE
                && structure.getShort(Uapi.KvmSregs.IDT_LIMIT) == TABLE_LIMIT
                && (structure.getLong(Uapi.KvmSregs.CR0) & PROTECTED) == 0;
    }

    /** A kvm_pvm ends it as it delivers it, see {@link GuestRun}. */
    private boolean hasInterruptOfLapic(int vcpu) {
        boolean requested = false;
        if (ask(vcpu, Uapi.KVM_GET_LAPIC) == 0) {
            for (int at = LapicPage.IRR_AT; at < LapicPage.ESR_AT; at += LapicPage.STRIDE) {
                requested |= structure.getInt(at) != 0;
            }
        }
        return requested;
    }

    private Answer run(int vcpu, Call call, ByteBuffer run) {
        run.put(KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) (call.at(1) & WINDOW));
        run.put(KvmRun.IMMEDIATE_EXIT, (byte) ((call.at(1) & IMMEDIATE) >> 1));
        answer(run, call.at(2));
        int result = runOrWait(vcpu, (call.at(1) & IMMEDIATE) != 0);
        run.put(KvmRun.IMMEDIATE_EXIT, (byte) 0).put(KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) 0);
        if (result < 0) {
            return Answer.of(result);
        }
        ByteBuffer told = ByteBuffer.allocate(TOLD).order(ByteOrder.nativeOrder());
        told.put(0, isAfterSti(vcpu) ? 0 : run.get(KvmRun.READY_FOR_INTERRUPT_INJECTION))
                .put(1, run.get(KvmRun.IF_FLAG))
                .putLong(8, run.getLong(KvmRun.CR8))
                .putLong(16, run.getLong(KvmRun.APIC_BASE));
        int reason = result > 0 ? result : run.getInt(KvmRun.EXIT_REASON);
        if (reason == Uapi.KVM_EXIT_IO) {
            told.putLong(24, run.getLong(KvmRun.IO_DIRECTION));
            if (run.get(KvmRun.IO_DIRECTION) == Uapi.KVM_EXIT_IO_OUT) {
                put(told, run, (int) run.getLong(KvmRun.IO_DATA_OFFSET), run.get(KvmRun.IO_SIZE));
            }
        } else if (reason == Uapi.KVM_EXIT_MMIO) {
            told.putLong(24, run.getLong(KvmRun.MMIO_PHYS_ADDR))
                    .putInt(32, run.getInt(KvmRun.MMIO_LEN))
                    .put(36, run.get(KvmRun.MMIO_IS_WRITE));
            if (run.get(KvmRun.MMIO_IS_WRITE) != 0) {
                put(told, run, KvmRun.MMIO_DATA, run.getInt(KvmRun.MMIO_LEN));
            }
        } else if (reason == Uapi.KVM_EXIT_IOAPIC_EOI) {
            told.put(24, run.get(KvmRun.EOI_VECTOR));
        }
        return Answer.of(reason, told, TOLD);
    }

    /** Whether a shadow is not compared, as that of an STI of {@link Machine#alwaysShadowsSti}. */
    boolean isAfterSti(int vcpu) {
        if (!Machine.alwaysShadowsSti() || ask(vcpu, Uapi.KVM_GET_REGS) < 0) {
            return false;
        }
        int before = (int) structure.getLong(Uapi.KvmRegs.RIP) - 1 & 0xffff;
        return guest.get(before) == STI;
    }

    private static void put(ByteBuffer told, ByteBuffer run, int at, int length) {
        for (int i = 0; i < length; i++) {
            told.put(TOLD - Long.BYTES * 2 + i, run.get(at + i));
        }
    }

    /** What a read gets. */
    private static void answer(ByteBuffer run, long value) {
        int reason = run.getInt(KvmRun.EXIT_REASON);
        if (reason == Uapi.KVM_EXIT_IO && run.get(KvmRun.IO_DIRECTION) != Uapi.KVM_EXIT_IO_OUT) {
            run.putLong((int) run.getLong(KvmRun.IO_DATA_OFFSET), value);
        } else if (reason == Uapi.KVM_EXIT_MMIO && run.get(KvmRun.MMIO_IS_WRITE) == 0) {
            run.putLong(KvmRun.MMIO_DATA, value);
        }
    }

    /** @return 0 for an exit, else a negative errno, or what the vCPU does that does not exit */
    private int runOrWait(int vcpu, boolean immediate) {
        for (int i = 0; i < PATIENCE; i++) {
            int result = Objects.requireNonNull(kicker).run(vcpu);
            if (result != -Errno.EINTR.number() || immediate) {
                return result;
            }
            int state = ask(vcpu, Uapi.KVM_GET_MP_STATE) < 0 ? 0 : structure.getInt(0);
            if (state != Uapi.KVM_MP_STATE_RUNNABLE) {
                return WAITS + state;
            }
        }
        return COMPUTES;
    }

    static String outcome(Answer answer) {
        return switch ((int) answer.result()) {
            case Uapi.KVM_EXIT_IO -> "port";
            case Uapi.KVM_EXIT_MMIO -> "memory";
            case Uapi.KVM_EXIT_IRQ_WINDOW_OPEN -> "window";
            case COMPUTES -> "computes";
            default -> answer.result() >= WAITS ? "waits" : "exit " + answer.result();
        };
    }
}
