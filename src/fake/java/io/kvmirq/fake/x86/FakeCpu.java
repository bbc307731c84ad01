/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.kvm.FakeMemorySlots;
import io.kvmirq.fake.kvm.RunPage;
import io.kvmirq.fake.kvm.ScriptPlayer;
import io.kvmirq.fake.posting.PostingVcpu;
import io.kvmirq.fake.x86.cpu.GeneralRegisters;
import io.kvmirq.fake.x86.cpu.GuestCpuid;
import io.kvmirq.fake.x86.cpu.GuestExecution;
import io.kvmirq.fake.x86.cpu.RealModeCode;
import io.kvmirq.fake.x86.cpu.SystemRegisters;
import io.kvmirq.fake.x86.cpu.VcpuEvents;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * A CPU that runs a guest in the thread that calls KVM_RUN, and its registers. It releases the kernel's lock after each
 * step and while halted.
 */
final class FakeCpu {
    /** Fields of {@code struct kvm_sregs}. */
    private static final int APIC_BASE_AT = 272;

    private static final int INTERRUPT_BITMAP = APIC_BASE_AT + Long.BYTES;

    /** The instructions between two event checks of kvm_pvm, which emulates real mode. */
    private static final int UNSEEN_OF_PVM = 1000;

    /** The exit reason of VMX, with the bit of a failed entry. */
    private static final long INVALID_GUEST_STATE = 0x8000_0021L;

    /** The mask of a task priority class. */
    private static final long PRIORITIES = 0xf;

    private final X86Vm vm;
    private final KernelOfFile host;
    private final int id;
    private final FakeMemorySlots slots;
    private final Optional<FakeLapic> lapic;
    private final ByteBuffer shared;
    private final RunPage page;
    private final CpuBus bus;
    private final GeneralRegisters registers = new GeneralRegisters();
    private final SystemRegisters system = new SystemRegisters();
    /** CR8 of a vCPU without an in-kernel LAPIC. */
    private long priority;

    private final ApicBase base;
    private GuestCpuid cpuid = GuestCpuid.unset();

    /** The events of the LAPIC, or of a vCPU without one. */
    private final VcpuEvents events;

    private final PendingEvents pending;

    private boolean halted;
    /** Whether the guest exited with HLT although an event is pending, so that it does not wait. */
    private boolean atHalt;

    private boolean entered;
    private final RealModeCode instructions;
    private GuestExecution code;

    FakeCpu(X86Vm vm, FakeMemorySlots slots, int id, Optional<FakeLapic> lapic, ByteBuffer shared, RunPage page) {
        this.vm = vm;
        this.host = vm.host();
        this.id = id;
        this.slots = slots;
        this.lapic = lapic;
        this.shared = shared;
        this.page = page;
        this.events = lapic.map(FakeLapic::events).orElseGet(() -> new VcpuEvents(host));
        this.pending = new PendingEvents(vm, lapic, events);
        this.base = new ApicBase(lapic, vm.isBootVcpu(id));
        this.bus = new CpuBus(vm, page, base);
        this.instructions = new RealModeCode(
                host,
                registers,
                system,
                events,
                slots,
                bus,
                new ModelRegisters(lapic, new LapicMsrs(host, lapic), base, this::writeBase));
        this.code = instructions;
    }

    // Registers

    void saveSegments(ByteBuffer to) {
        system.save(to);
        to.putLong(Uapi.KvmSregs.CR8, priority()).putLong(APIC_BASE_AT, base.get());
        int vector = events.injected();
        if (vector >= 0) {
            to.put(INTERRUPT_BITMAP + vector / Byte.SIZE, (byte) (1 << vector % Byte.SIZE));
        }
    }

    private long priority() {
        return lapic.isPresent() ? lapic.get().taskPriority() : priority;
    }

    /** {@code kvm_set_cr8()}; false if the value is no priority. */
    private boolean setPriority(long wanted) {
        boolean valid = (wanted & ~PRIORITIES) == 0;
        if (valid) {
            lapic.ifPresentOrElse(apic -> apic.setTaskPriority((int) wanted), () -> priority = wanted);
        }
        return valid;
    }

    GeneralRegisters registers() {
        return registers;
    }

    SystemRegisters system() {
        return system;
    }

    ApicBase base() {
        return base;
    }

    /** WRMSR to MSR 0x1b. */
    private void writeBase(long wanted) {
        if (base.refuses(wanted, cpuid, host.build()).isPresent() || !base.isTransition(wanted)) {
            throw new NotModelledException(
                    "a guest whose WRMSR of 0x" + Long.toHexString(wanted) + " to MSR 0x1b faults");
        }
        base.set(wanted);
    }

    GuestCpuid cpuid() {
        return cpuid;
    }

    void setCpuid(GuestCpuid next) {
        cpuid = next;
        lapic.ifPresent(apic -> apic.identify(next));
    }

    /** The rule that refuses KVM_SET_SREGS, if any; NotModelledException before anything has changed. */
    Optional<Answer> refusesSegments(ByteBuffer next) {
        Optional<Answer> refused = SystemRegisters.refuses(next, cpuid)
                .or(() -> base.refuses(next.getLong(APIC_BASE_AT), cpuid, host.build()));
        if (refused.isEmpty() && isReading()) {
            throw new NotModelledException("KVM_SET_SREGS before a read of the guest is complete");
        }
        return refused;
    }

    /** KVM_SET_SREGS with values that {@link #refusesSegments} accepts. */
    void setSegments(ByteBuffer next) {
        system.load(next);
        base.set(next.getLong(APIC_BASE_AT));
        setPriority(next.getLong(Uapi.KvmSregs.CR8));
        for (int at = Uapi.KvmSregs.SIZE - Long.BYTES; at >= INTERRUPT_BITMAP; at -= Long.BYTES) {
            if (next.getLong(at) != 0) {
                int word = (at - INTERRUPT_BITMAP) * Byte.SIZE;
                events.inject(word + Long.numberOfTrailingZeros(next.getLong(at)));
            }
        }
        if (base.isBoot() && isAtReset()) {
            halted = false;
        }
    }

    /** INIT. */
    void reset() {
        registers.reset(cpuid.signature());
        system.reset();
        halted = false;
        instructions.reset();
    }

    /** A start-up message (SIPI). The vCPU begins at page {@code vector}. */
    void startUp(int vector) {
        system.select(SystemRegisters.CODE, vector << Byte.SIZE);
        registers.setIp(0);
    }

    boolean isAtReset() {
        return registers.ip() == GeneralRegisters.RESET_IP && system.isAtReset();
    }

    void saveRegisters(ByteBuffer to) {
        registers.save(to);
    }

    /** KVM_SET_REGS. */
    int setRegisters(ByteBuffer values) {
        if (isReading()) {
            throw new NotModelledException("KVM_SET_REGS before a read of the guest is complete");
        }
        registers.load(values);
        return 0;
    }

    int requestNmi() {
        events.sendNmi();
        return 0;
    }

    VcpuEvents events() {
        return events;
    }

    PendingEvents pending() {
        return pending;
    }

    /** Whether the guest has executed an instruction. */
    boolean hasEntered() {
        return entered;
    }

    boolean isHalted() {
        return halted;
    }

    void setHalted(boolean on) {
        halted = on;
    }

    /** Saves state at the end of every KVM_RUN. */
    void leave() {
        host.note(VmAnswer.RUN_SAVES);
        shared.putLong(Uapi.KvmRun.CR8, priority())
                .putLong(Uapi.KvmRun.APIC_BASE, base.get())
                .put(Uapi.KvmRun.IF_FLAG, (byte) (code.interruptFlag() ? 1 : 0))
                .put(Uapi.KvmRun.READY_FOR_INTERRUPT_INJECTION, (byte) (pending.isReady(code) ? 1 : 0));
    }

    /** Whether the guest exits because it can take an interrupt of the VMM (interrupt window). */
    private boolean exitsForWindow() {
        boolean exits = shared.get(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW) != 0
                && vm.irqchip() != X86Vm.Irqchip.FULL
                && pending.isOpen(code);
        if (exits) {
            host.note(VmAnswer.RUN_WINDOW);
            page.exit(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        }
        return exits;
    }

    /** Whether an event is pending that ends a halt, even if the vCPU cannot take it. */
    boolean wakes() {
        return pending.wakes(code);
    }

    /** Whether a run that a signal ends exits for the interrupt window instead. */
    boolean leavesByWindow() {
        return host.threads().endsRun() && exitsForWindow();
    }

    /** Whether a halt that an event or a signal ends exits for the interrupt window instead. */
    private boolean wakesToWindow() {
        boolean woken = halted && pending.wakes(code);
        boolean exits = halted && (woken || host.threads().endsRun()) && exitsForWindow();
        halted &= !(exits && woken);
        return exits;
    }

    /** Whether an instruction waits for the VMM's value of its read. */
    boolean isReading() {
        return instructions.isReading();
    }

    /** Chooses the instructions in memory, or the exits of a test's script. */
    private void chooseCode() {
        Script script = host.scripts().get(id);
        if (script != null && code == instructions) {
            ScriptPlayer player = new ScriptPlayer(script, vm, slots, page);
            code = new ScriptedCode(vm, script, player, events, lapic, bus, page);
        }
    }

    /** {@code complete_userspace_io()}; returns whether the guest exits again for the write of an instruction. */
    boolean completesAccess() {
        instructions.completeOut();
        return code.isReading() && code.completeRead();
    }

    /** KVM_RUN, with the kernel's lock held, to its exit. A NotModelledException says where the guest is. */
    int run() {
        try {
            int result = runToExit();
            return result == 0 ? page.result() : result;
        } catch (NotModelledException e) {
            throw code == instructions ? e.at("RIP 0x" + Long.toHexString(registers.ip()) + " of vcpu " + id) : e;
        }
    }

    private int runToExit() {
        if (lapic.isEmpty() && !setPriority(shared.getLong(Uapi.KvmRun.CR8))) {
            return host.refuse(VmAnswer.RUN_CR8);
        }
        if (completesAccess()) {
            return 0;
        }
        int ended = page.refusesToEnter();
        if (ended != 0) {
            return ended;
        }
        if (events.takeTripleFault()) {
            page.exit(Uapi.KVM_EXIT_SHUTDOWN);
            return 0;
        }
        chooseCode();
        if (code == instructions) {
            system.checkModelled();
        }
        PostingVcpu hardware = lapic.map(FakeLapic::hardware).orElse(null);
        boolean pvm = host.build().pvm() && code == instructions;
        boolean begun = false;
        while (true) {
            for (int unseen = begun && pvm ? UNSEEN_OF_PVM : 0; unseen > 0 && !halted && !atHalt; unseen--) {
                if (steps()) {
                    return 0;
                }
            }
            atHalt = false;
            pending.takeTimer();
            if (hardware != null) {
                // The scan comes first, and loads the VMCS only where APICv was on: vcpu_enter_guest(). A halted vCPU
                // does neither.
                boolean runs = !halted || pending.wakes(code);
                if (runs) {
                    lapic.ifPresent(FakeLapic::scanIfWanted);
                }
                hardware.enterGuest();
                if (runs) {
                    lapic.ifPresent(FakeLapic::entered);
                }
            }
            // After an exit the kernel checks for the window before it injects: vcpu_run().
            if (wakesToWindow() || begun && !halted && exitsForWindow()) {
                return 0;
            }
            ended = page.signalled();
            if (ended != 0) {
                return ended;
            }
            if (exitsForEoi()) {
                return 0;
            }
            halted &= !events.takeNmiRequest();
            boolean sleeps = halted && events.isInjected() && !pending.wakes(code);
            if (!sleeps && (!halted || pending.wakes(code)) && pending.entryFails(code)) {
                host.note(VmAnswer.VMX_ENTRY_FAILS);
                entered = true;
                page.exitForFailedEntry(INVALID_GUEST_STATE);
                return 0;
            }
            halted &= sleeps || !pending.deliverTo(code) && !code.goesOn();
            entered |= !halted;
            if (!halted && (begun || !pvm) && exitsForWindow()) {
                return 0;
            }
            begun = true;
            if (halted && hardware != null) {
                hardware.halt(code.interruptFlag(), host.threads()::endsRun);
            } else if (halted) {
                host.time().awaitChange();
            } else if (steps()) {
                return 0;
            } else {
                host.time().letOthersIn();
            }
        }
    }

    /** @return whether the guest exits to the VMM; HLT does so without an in-kernel LAPIC */
    private boolean steps() {
        GuestExecution.Outcome outcome = code.step();
        if (code == instructions) {
            lapic.ifPresent(FakeLapic::leaveGuest);
        }
        if (outcome == GuestExecution.Outcome.HALTS) {
            if (lapic.isEmpty()) {
                host.note(VmAnswer.VCPU_HALT_LEAVES);
                page.exit(Uapi.KVM_EXIT_HLT);
                return true;
            }
            host.note(VmAnswer.VCPU_HALT_PASSED);
            atHalt = true;
            halted = !host.build().isSince(6, 12) || !pending.wakes(code);
            return exitsForWindow();
        }
        return outcome == GuestExecution.Outcome.EXITS;
    }

    private boolean exitsForEoi() {
        int vector = lapic.map(apic -> apic.eoiExitBitmap().takeEoiExit()).orElse(-1);
        if (vector >= 0) {
            host.note(ChipAnswer.EOI_TOLD_TO_VMM);
            page.exitForEoi(vector);
        }
        return vector >= 0;
    }
}
