/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.Row.behaviour;

/** Behaviours of the x86 interrupt controllers PIC, IOAPIC and LAPIC. */
public enum ChipAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    PIC_EDGE(behaviour(MEASURED, "an edge is coalesced if its IRR bit is set; a masked pin returns -1",
        "i8259.c pic_set_irq1()")),
    PIC_CASCADE(behaviour(MEASURED, "a request of the slave pulses pin 2 of the master", "i8259.c pic_update_irq()")),
    PIC_TAKEN(behaviour(MEASURED, "a vCPU whose LINT0 is ExtINT, or whose LAPIC is off, takes the PICs' interrupt by"
        + " the pin's vector", "i8259.c kvm_pic_read_irq()")),
    PIC_PORTS(behaviour(MEASURED, "the kernel handles the ports of the PICs, 0x20, 0xa0 and 0x4d0",
        "i8259.c picdev_write()")),
    IOAPIC_EDGE(behaviour(MEASURED, "an edge is coalesced if its IRR bit is set", "ioapic.c ioapic_set_irq()")),
    IOAPIC_LEVEL(behaviour(MEASURED, "a level is delivered once until its EOI clears remote IRR",
        "ioapic.c ioapic_service()")),
    IOAPIC_MASKED(behaviour(MEASURED, "a masked pin, or a level with remote IRR set, returns -1",
        "ioapic.c ioapic_service()")),
    IOAPIC_STORM(behaviour(MEASURED,
        "after 10 000 EOIs in a row that found the pin high, the next interrupt comes a hundredth of a second later",
        "ioapic.c kvm_ioapic_update_eoi_one()")),
    IOAPIC_CLOCK(behaviour(MEASURED,
        "a clock tick is coalesced until the EOI of the previous tick, or with APIC virtualization "
        + "until its vector has left IRR and ISR", "ioapic.c rtc_irq_eoi(), ioapic_lazy_update_eoi()")),
    IOAPIC_REGISTERS(behaviour(MEASURED, "the kernel handles a guest's accesses to the registers at 0xfec00000",
        "ioapic.c ioapic_mmio_write()")),
    LAPIC_ACCEPTS(behaviour(MEASURED, "an enabled LAPIC accepts a vector into IRR even if its bit is set already",
        "lapic.c __apic_accept_irq()")),
    LAPIC_EOI(behaviour(MEASURED,
        "an EOI clears the highest vector in ISR; it is forwarded if a pin of the IOAPIC waits for it",
        "lapic.c apic_set_eoi()")),
    VMX_EOI_OF_NOTHING(behaviour(LAB, "with Intel's APICv an EOI with no vector in ISR counts as an EOI of vector 0, the"
        + " vector of IOAPIC pins that no guest has set up", "vmx.c handle_apic_eoi_induced()")),
    VMX_EOI_EXITS_KEPT(behaviour(LAB, "a VM entry scans the pins before it turns Intel's APICv on, so the EOI of a"
        + " pin that changed while APICv was off is not forwarded until another scan", "vmx.c vmx_load_eoi_exitmap()")),
    LAPIC_PRIORITY(behaviour(MEASURED,
        "a vector is delivered if its class is above the task priority and the vectors in ISR",
        "lapic.c apic_has_interrupt_for_ppr()")),
    NMI_TWO_KEPT(behaviour(MEASURED, "two NMIs at once are kept, or one while an NMI is handled",
        "x86.c process_nmi()")),
    INIT_RESETS_LAPIC(behaviour(MEASURED, "INIT is pending until the vCPU processes its events, then resets the LAPIC",
        "lapic.c kvm_apic_accept_events()")),
    LAPIC_OFF(behaviour(MEASURED, "a LAPIC disabled through IA32_APIC_BASE accepts no messages, and has its vCPU's id"
        + " when it is enabled again", "lapic.c kvm_lapic_set_base()")),
    LAPIC_COUNT(behaviour(MEASURED, "KVM_SET_LAPIC starts the timer from the current count, which is 0 without an"
        + " initial count", "lapic.c apic_get_tmcct()")),
    LAPIC_TIMER(behaviour(MEASURED, "an expired LAPIC timer interrupts when its vCPU runs, unless its entry is masked;"
        + " several expirations until then raise one interrupt",
        "lapic.c apic_timer_fn(), kvm_inject_apic_timer_irqs()")),
    LAPIC_DEADLINE(behaviour(MEASURED, "in TSC-deadline mode only, MSR 0x6e0 is the TSC at which the LAPIC timer"
        + " expires; expiry clears it", "lapic.c kvm_set_lapic_tscdeadline_msr()")),
    LAPIC_COMMAND_WIDE(behaviour(MEASURED, "in x2APIC mode the upper half of ICR is at 0x304; KVM_SET_LAPIC reads it"
        + " from ICR2 (0x310), and KVM_GET_LAPIC returns it at both", "lapic.c kvm_apic_state_fixup()")),
    LAPIC_COMMAND_SPLIT(behaviour(SOURCE, "on AMD the upper half of ICR is ICR2 (0x310) in x2APIC mode too",
        "svm.c x2apic_icr_is_split")),
    LAPIC_MSRS(behaviour(MEASURED, "in x2APIC mode KVM_GET_MSRS reads the LAPIC: MSR 0x800 plus a register's offset, by 16;"
        + " ICR has 64 bits", "lapic.c kvm_x2apic_msr_read()")),
    EOI_TOLD_TO_VMM(behaviour(MEASURED,
        "with the split irqchip, the EOI of a level interrupt routed from a reserved pin exits to the VMM",
        "lapic.c kvm_ioapic_send_eoi()")),
    LAPIC_RESTORED(behaviour(MEASURED, "KVM_SET_LAPIC ignores version and processor priority",
        "lapic.c kvm_apic_set_state()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    ChipAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
