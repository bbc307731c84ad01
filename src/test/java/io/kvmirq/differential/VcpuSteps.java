/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;

import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.util.ArrayList;
import java.util.List;

/**
 * Steps that read and write a vCPU's registers, and run programs on it. What runs on them is left out: exceptions that are
 * injected, System Management Mode, breakpoints, protected mode.
 */
final class VcpuSteps {
    private static final int RFLAGS = 17;
    private static final int MOST_INSTRUCTIONS = 12;

    /** Offsets in {@code struct kvm_sregs}. */
    private static final int GDT = 192;

    private static final int CR2 = 232;

    /** One-byte instructions: some without effect on a program, and some that a program is about. */
    private static final String[] INSTRUCTIONS = {
        "nop", "sti", "sti", "sti", "cli", "hlt", "mov ax, ss; mov ss, ax", "sti; hlt", "sti; nop", "push ax; pop ax"
    };

    /** OUT and IN of the VMM's, memory that is and that is not. */
    private static final String[] ACCESSES = {
        "out 0x84, al",
        "out 0x85, al",
        "out 0x85, ax",
        "out 0x85, eax",
        "in al, 0x85",
        "in ax, 0x85",
        "mov [0x8000], al",
        "mov al, [0x8000]",
        "mov es:[0], al",
        "mov es:[8], ax",
        "mov al, es:[4]",
        "mov es:[0xffe], ax"
    };

    private static final int[] PIC_PORTS = {0x20, 0x20, 0x20, 0x21, 0xa0, 0xa0, 0xa1, 0x4d0, 0x4d1};

    private static final long SYSENTER_ESP = 0x175;
    private static final long SYSENTER_EIP = 0x176;

    private static final long[] MSRS = {
        0x174,
        SYSENTER_ESP,
        SYSENTER_EIP,
        0xc0000081L,
        0xc0000082L,
        0xc0000083L,
        0xc0000084L,
        0xc0000102L,
        0x2ff,
        0x250,
        0x268,
        0x200,
        0x201,
        0x20e,
        0x20f,
        0x12345678L
    };

    private static final long PAT = 0x277;
    /** The leaf that tells the highest one of its kind, such as that of address sizes. */
    private static final long ADDRESSES = 0x80000000L;

    private static final long[] MSR_VALUES = {
        0, 0, 1, 6, 0x806, 0xc06, 0x100, 0x1000, 0xfffffff, 0x0606060606060606L, 0x0007040600070406L, 2, 7, 0xff
    };

    private final Draft draft;
    private final Values values;
    private final Descriptors fds;

    VcpuSteps(Draft draft) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
    }

    private long vcpu() {
        return values.rarely(30) ? fds.stale() : fds.pick(Kind.VCPU);
    }

    private boolean reads() {
        return values.rarely(2);
    }

    // Registers

    /** Writes, and often looks at once what came of it. */
    private void set(Call set, Call look) {
        draft.step(set);
        if (values.rarely(2)) {
            draft.step(look);
        }
    }

    /** Not RSP and RIP: a program needs them. An instruction of 32 bits may clear the high half of a register. */
    void general() {
        long vcpu = vcpu();
        Call look = call(Operation.GET_REGS, vcpu);
        if (reads()) {
            draft.step(look);
        } else if (values.rarely(3)) {
            set(call(Operation.SET_REGS, vcpu, RFLAGS, values.of(0, 2, 0x200, 0x202, 0xad7, 0x400)), look);
        } else {
            set(
                    call(Operation.SET_REGS, vcpu, values.of(0, 1, 2, 3, 4, 5, 7, 8, 15), values.of(0, 1, 0xffffffffL)),
                    look);
        }
    }

    void system() {
        long vcpu = vcpu();
        Call look = call(Operation.GET_SREGS, vcpu);
        if (values.rarely(4)) {
            draft.step(look);
            return;
        }
        switch ((int) values.below(6)) {
            case 0, 1, 2 -> set(call(Operation.SET_SREGS, vcpu, Uapi.KvmSregs.APIC_BASE, 8, values.apicBase()), look);
            case 3 -> set(call(Operation.SET_SREGS, vcpu, Uapi.KvmSregs.CR8, 8, values.of(0, 1, 4, 15, 16, -1)), look);
            case 4 -> set(call(Operation.SET_SREGS, vcpu, bitmap(), 1, values.of(0, 1, 2, 0x80, 0xff)), look);
            default -> {
                long at = values.of(CR2, Uapi.KvmSregs.CR3, GDT, Uapi.KvmSregs.CR0);
                long value = at == Uapi.KvmSregs.CR0
                        ? values.of(0x60000010L, 0x10, 0x40000010L, 0x20000010L, 1L << 32 | 0x10, 0x80000010L)
                        : values.of(0, 0x1000, 0x7000);
                set(call(Operation.SET_SREGS, vcpu, at, 8, value), look);
            }
        }
    }

    /** A byte of the bitmap of interrupts. */
    private long bitmap() {
        return Uapi.KvmSregs.APIC_BASE + Long.BYTES + values.of(0, 4, 5, 31);
    }

    void events() {
        long vcpu = vcpu();
        Call look = call(Operation.GET_EVENTS, vcpu);
        if (values.rarely(3)) {
            draft.step(look);
            return;
        }
        if (values.rarely(6)) {
            startUp(vcpu);
            return;
        }
        long valid = values.rarely(8)
                ? values.of(0x40, -1, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD, Uapi.KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
                : values.of(0, 1, 2, 4, 5, 8, 0xd, 0xf);
        long[] change =
                switch ((int) values.below(7)) {
                    case 0 -> new long[] {KvmVcpuEvents.INTERRUPT_INJECTED, values.below(2)};
                    case 1 -> new long[] {KvmVcpuEvents.INTERRUPT_NR, values.of(0, 2, 0x20, 0x41, 0xff)};
                    case 2 -> new long[] {KvmVcpuEvents.INTERRUPT_SHADOW, values.of(0, 1)};
                    case 3 -> new long[] {KvmVcpuEvents.NMI_PENDING, values.of(0, 1, 1, 2, 5)};
                    case 4 -> new long[] {KvmVcpuEvents.NMI_MASKED, values.of(0, 0, 1)};
                    case 5 -> new long[] {KvmVcpuEvents.SMI_LATCHED_INIT, values.of(0, 0, 1)};
                    default -> new long[] {KvmVcpuEvents.EXCEPTION_NR, values.of(0, 2, 13, 32, 255)};
                };
        set(call(Operation.SET_EVENTS, vcpu, valid, change[0], change[1]), look);
    }

    /** A start-up message, whose vector the VMM sets. */
    private void startUp(long vcpu) {
        long vector = values.of(0, 0x21, 0x9f);
        draft.step(call(
                Operation.SET_EVENTS, vcpu, Uapi.KVM_VCPUEVENT_VALID_SIPI_VECTOR, KvmVcpuEvents.SIPI_VECTOR, vector));
        draft.step(call(Operation.SET_MP_STATE, vcpu, Uapi.KVM_MP_STATE_SIPI_RECEIVED));
        draft.step(call(Operation.GET_MP_STATE, vcpu));
        draft.step(call(Operation.GET_SREGS, vcpu));
    }

    /** No breakpoint: its guest is not modelled. */
    void debug() {
        long vcpu = vcpu();
        Call look = call(Operation.GET_DEBUG, vcpu);
        if (reads()) {
            draft.step(look);
            return;
        }
        long[] change =
                switch ((int) values.below(4)) {
                    case 0 -> new long[] {8 * values.below(4), values.of(0, 1, -1)};
                    case 1 -> new long[] {Uapi.KvmDebugregs.DR6, values.of(0xffff0ff0L, 0xffff0ff1L, 0, 1L << 32)};
                    case 2 -> new long[] {Uapi.KvmDebugregs.DR7, values.of(0x400, 0, 1L << 32)};
                    default -> new long[] {Uapi.KvmDebugregs.FLAGS, values.of(0, 1)};
                };
        set(call(Operation.SET_DEBUG, vcpu, change[0], change[1]), look);
    }

    void extended() {
        long vcpu = vcpu();
        Call look = call(Operation.GET_XCRS, vcpu);
        if (reads()) {
            draft.step(look);
            return;
        }
        long count = values.rarely(6) ? values.of(0, 17, -1) : 1;
        long register = values.rarely(6) ? 1 : 0;
        set(call(Operation.SET_XCRS, vcpu, count, register, values.of(1, 1, 3, 2, 0, 1L << 62 | 1)), look);
    }

    void model() {
        long vcpu = vcpu();
        if (values.rarely(8)) {
            draft.step(call(Operation.GET_MSR, vcpu, 0x1b));
        } else if (values.rarely(12)) {
            // A kvm_pvm does not check the values of a PAT.
            draft.step(call(Operation.SET_MSR, vcpu, PAT, values.of(0, 0x0606060606060606L, 0x0007040600070406L)));
        } else {
            long msr = values.of(MSRS);
            Call look = call(Operation.GET_MSR, vcpu, msr);
            if (reads()) {
                draft.step(look);
            } else {
                // AMD keeps 32 bits of where SYSENTER goes.
                long kept = msr == SYSENTER_ESP || msr == SYSENTER_EIP ? 0xffff_ffffL : -1;
                set(call(Operation.SET_MSR, vcpu, msr, values.of(MSR_VALUES) & kept), look);
            }
        }
    }

    void cpuid() {
        long vcpu = vcpu();
        Call look = call(Operation.GET_CPUID, vcpu, values.rarely(3) ? values.of(0, 1) : 16);
        switch ((int) values.below(6)) {
            case 0 -> set(call(Operation.SET_CPUID, vcpu, 1, 0x601, values.of(0, 1 << 21, 1 << 24)), look);
            case 1 -> set(call(Operation.SET_CPUID, vcpu, values.of(0, 2, 0xd), values.of(1, 3, 7), 0), look);
            case 2 ->
                set(
                        call(
                                Operation.SET_CPUID,
                                vcpu,
                                ADDRESSES,
                                values.of(ADDRESSES + 7, ADDRESSES + 8),
                                0,
                                ADDRESSES + 8,
                                values.of(36, 40),
                                0),
                        look);
            case 3 -> set(call(Operation.SET_CPUID, vcpu, 1, 0, 3 << 21, 0xd, 3, 0), look);
            default -> draft.step(look);
        }
    }

    /** Not its vectors in service: when a run computes the processor's priority from them is the kernel's business. */
    void lapic() {
        long vcpu = vcpu();
        if (values.rarely(3)) {
            draft.step(call(Operation.SET_LAPIC, vcpu, LapicPage.LINT0_AT, values.of(0x10000, 0x10700, 0x700, 0)));
            return;
        }
        long[] register = values.lapicRegister();
        boolean served = register[0] >= LapicPage.ISR_AT && register[0] < LapicPage.TMR_AT;
        draft.step(call(Operation.SET_LAPIC, vcpu, served ? LapicPage.SVR_AT : register[0], register[1]));
    }

    // Interrupts of the VMM

    void interrupt() {
        long vector = values.rarely(10) ? values.of(256, -1) : values.of(0x20, 0x41, 5, 0, 0xff);
        draft.step(call(Operation.INTERRUPT, vcpu(), vector));
    }

    void nmi() {
        draft.step(call(Operation.NMI, vcpu()));
    }

    /** A pin of a PIC, raised or pulsed. */
    void line() {
        long vm = fds.pick(Kind.VM);
        long pin = values.of(1, 3, 4, 5, 5, 6, 7, 8, 12, 15);
        draft.step(call(Operation.IRQ_LINE_STATUS, vm, pin, values.rarely(3) ? 0 : 1));
        if (values.rarely(2)) {
            draft.step(call(Operation.IRQ_LINE_STATUS, vm, pin, 0));
        }
    }

    // Programs

    void load() {
        load(vcpu());
    }

    /** A program, and what happens before its first exits. */
    void load(long vcpu) {
        List<Long> arguments = new ArrayList<>(List.of(vcpu, values.of(0, 1, 1, 1, 2, 3)));
        if (values.rarely(3)) {
            vectors().forEach(code -> arguments.add(ProgramRun.instruction(code)));
        }
        for (long left = 2 + values.below(MOST_INSTRUCTIONS); left > 0; left--) {
            arguments.add(ProgramRun.instruction(instruction()));
        }
        draft.run(new Call(Operation.LOAD, List.copyOf(arguments)));
        if (values.rarely(2)) {
            line();
        }
        goOn(vcpu);
    }

    private String instruction() {
        return switch ((int) values.below(5)) {
            case 0 -> one(ACCESSES);
            case 1 -> picAccess();
            default -> one(INSTRUCTIONS);
        };
    }

    private String one(String[] of) {
        return of[(int) values.below(of.length)];
    }

    /** By DX and AL. */
    private String picAccess() {
        int port = PIC_PORTS[(int) values.below(PIC_PORTS.length)];
        String to = "mov dx, " + port + "; ";
        return values.rarely(3) ? to + "in al, dx" : to + "mov al, " + picCommand(port) + "; out dx, al";
    }

    private long picCommand(int port) {
        return (port & ~1) == 0x4d0 || (port & 1) == 1
                ? values.of(0, 0xff, 0x20, 8, 4)
                : values.of(0x20, 0x20, 0x0a, 0x0b, 0x60, 0x65, 0x68, 0x48);
    }

    /** Gives both PICs vectors. */
    private List<String> vectors() {
        long mode = values.of(1, 1, 3);
        return List.of(
                "mov al, 0x11; out 0x20, al",
                "mov al, 0x20; out 0x21, al",
                "mov al, 4; out 0x21, al",
                "mov al, " + mode + "; out 0x21, al",
                "mov al, 0x11; out 0xa0, al",
                "mov al, 0x28; out 0xa1, al",
                "mov al, 2; out 0xa1, al",
                "mov al, " + mode + "; out 0xa1, al");
    }

    void goOn() {
        goOn(vcpu());
    }

    private void goOn(long vcpu) {
        for (long runs = 1 + values.below(4); runs > 0; runs--) {
            long run = values.of(0, 0, 0, ProgramRun.WINDOW, ProgramRun.WINDOW, ProgramRun.IMMEDIATE);
            draft.run(call(Operation.CONTINUE, vcpu, run, values.of(0, 0x55, -1)));
            if (values.rarely(3)) {
                look(vcpu);
            }
        }
    }

    private void look(long vcpu) {
        draft.step(
                switch ((int) values.below(3)) {
                    case 0 -> call(Operation.GET_EVENTS, vcpu);
                    case 1 -> call(Operation.GET_IRQCHIP, fds.pick(Kind.VM), values.below(2));
                    default -> call(Operation.GET_MP_STATE, vcpu);
                });
    }
}
