/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.x86.cpu.GuestExecution;
import io.kvmirq.fake.x86.cpu.RealModeCode;
import io.kvmirq.fake.x86.cpu.VcpuEvents;
import java.util.Optional;

/**
 * The interrupt, NMI or injected exception that a vCPU takes before its next instruction. Source: {@code kvm_check_and_inject_events()} in
 * arch/x86/kvm/x86.c, {@code kvm_cpu_get_interrupt()} in irq.c.
 */
final class PendingEvents {
    private static final int NMI_VECTOR = 2;
    private static final int LAST_VECTOR = 255;
    private static final int NONE = -1;

    private final X86Vm vm;
    private final Optional<FakeLapic> lapic;
    private final VcpuEvents events;
    /** The vector of KVM_INTERRUPT, which a user-space PIC sends beside in-kernel LAPICs. */
    private int external = NONE;

    PendingEvents(X86Vm vm, Optional<FakeLapic> lapic, VcpuEvents events) {
        this.vm = vm;
        this.lapic = lapic;
        this.events = events;
    }

    /** KVM_INTERRUPT; the rule that refuses it, or empty. */
    Optional<Answer> interrupt(int vector) {
        if (vector < 0 || vector > LAST_VECTOR) {
            return Optional.of(VmAnswer.VCPU_INTERRUPT_VECTOR);
        }
        switch (vm.irqchip()) {
            case FULL -> {
                return Optional.of(VmAnswer.VCPU_INTERRUPT_PIC);
            }
            case SPLIT -> {
                if (external != NONE) {
                    return Optional.of(VmAnswer.VCPU_INTERRUPT_PENDING);
                }
                external = vector;
            }
            case NONE -> events.inject(vector);
        }
        return Optional.empty();
    }

    /** The flag of {@code kvm_run} that the guest would take an interrupt of a PIC. */
    boolean isReady(GuestExecution code) {
        return vm.irqchip() == X86Vm.Irqchip.FULL || isOpen(code);
    }

    /** {@code kvm_vcpu_ready_for_interrupt_injection()}. There is room for one vector. */
    boolean isOpen(GuestExecution code) {
        return takesInterrupts(code)
                && external == NONE
                && lapic.map(FakeLapic::takesInterruptOfPic).orElse(true)
                && !events.isInjected();
    }

    /** {@code kvm_vcpu_has_events()} of a halted vCPU. An injected interrupt does not count. */
    boolean wakes(GuestExecution code) {
        return events.hasNmi()
                || takesInterrupts(code)
                        && lapic.map(apic -> apic.hasInterrupt() || wakesByPic(apic))
                                .orElse(false);
    }

    private boolean wakesByPic(FakeLapic apic) {
        return apic.takesInterruptOfPic() && (external != NONE || vm.pics().output());
    }

    private boolean takesInterrupts(GuestExecution code) {
        return code.interruptFlag() && !events.isShadowed();
    }

    /** Whether the processor refuses to enter the guest; the injected event stays. SVM injects what the guest blocks. */
    boolean entryFails(GuestExecution code) {
        return code instanceof RealModeCode
                && vm.host().build().hardware().isIntel()
                && !events.isReset()
                && !events.isSpecial()
                && events.entryFails(code.interruptFlag());
    }

    /** @return whether the guest has taken an event */
    boolean deliverTo(GuestExecution code) {
        if (events.isReset()) {
            throw new NotModelledException("INIT of a vCPU that runs");
        }
        if (events.isSpecial()) {
            throw new NotModelledException("a guest that takes an interrupt of delivery mode 2 or 3");
        }
        lapic.ifPresent(FakeLapic::scanIfWanted);
        int vector = events.takeException();
        if (vector != NONE) {
            vm.note(VmAnswer.EVENTS_TAKEN);
            return enterBeforeNmi(code, vector);
        }
        vector = events.takeInjected();
        if (vector != NONE) {
            vm.note(VmAnswer.VCPU_INTERRUPT_TAKEN);
            return enterBeforeNmi(code, vector);
        }
        if (takesNmi(code)) {
            return true;
        }
        return lapic.isPresent() && deliverTo(code, lapic.get());
    }

    /** Enters an interrupt before a pending NMI. Except on kvm_pvm, the guest then exits at once for the NMI. */
    private boolean enterBeforeNmi(GuestExecution code, int vector) {
        enter(code, vector, false);
        if (!vm.host().build().pvm()) {
            takesNmi(code);
        }
        return true;
    }

    private boolean takesNmi(GuestExecution code) {
        if (events.isShadowed() || !events.takeNmi()) {
            return false;
        }
        vm.note(ChipAnswer.NMI_TWO_KEPT);
        return enter(code, NMI_VECTOR, false);
    }

    /** Turns the expiry of the LAPIC's timer into a request, before other events are checked. */
    void takeTimer() {
        if (lapic.isPresent()) {
            lapic.get().timer().deliver();
        }
    }

    private boolean deliverTo(GuestExecution code, FakeLapic apic) {
        boolean open = takesInterrupts(code);
        int vector = open && apic.takesInterruptOfPic() ? takeOfPic(code) : NONE;
        if (vector != NONE) {
            events.took(vector);
            return enter(code, vector, false);
        }
        vector = apic.takeRequest(open);
        if (vector != NONE) {
            vm.note(ChipAnswer.LAPIC_PRIORITY);
            events.took(vector);
            // Measured: kvm_pvm ends an interrupt when it injects it into a guest in real mode.
            if (vm.host().build().pvm() && code instanceof RealModeCode) {
                apic.endOfInterrupt();
            }
        }
        return enter(code, vector, true);
    }

    private int takeOfPic(GuestExecution code) {
        int vector = external;
        external = NONE;
        return vector == NONE && vm.pics().output() && code.takesInterruptOfPic()
                ? vm.pics().acknowledge()
                : vector;
    }

    private boolean enter(GuestExecution code, int vector, boolean ofLapic) {
        if (vector != NONE) {
            events.setShadow(VcpuEvents.NO_SHADOW);
            code.enter(vector, ofLapic);
        }
        return vector != NONE;
    }
}
