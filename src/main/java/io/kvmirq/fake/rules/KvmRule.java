/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import static io.kvmirq.fake.rules.Grade.INFERRED;
import static io.kvmirq.fake.rules.Grade.LAB;
import static io.kvmirq.fake.rules.Grade.MEASURED;
import static io.kvmirq.fake.rules.Grade.SOURCE;

import io.kvmirq.explain.Cause;
import io.kvmirq.explain.FileCause;
import io.kvmirq.explain.InterruptCause;
import io.kvmirq.explain.IrqfdCause;
import io.kvmirq.explain.VmCause;

/** Rules of KVM on x86-64, and of all KVM. MEASURED means on 6.18, x86-64, unless the rule is about another kernel. */
public enum KvmRule implements KernelRule {
    // /dev/kvm
    KVM_UNKNOWN_REQUEST(MEASURED, FileCause.KVM_UNKNOWN_REQUEST),
    KVM_ARGUMENT(MEASURED, FileCause.KVM_ARGUMENT),
    KVM_VM_TYPE(MEASURED, VmCause.KVM_VM_TYPE),
    KVM_CPUID_ROOM(MEASURED, VmCause.KVM_CPUID_ROOM),
    KVM_ATTRIBUTE(MEASURED, InterruptCause.KVM_ATTRIBUTE),
    CAPABILITY_UNKNOWN(
            MEASURED, "an unknown capability returns 0, not an error", "kvm_main.c kvm_vm_ioctl_check_extension()"),

    DEVICE_CAPABILITY_BEFORE(
            LAB,
            "before 6.5 KVM_CREATE_DEVICE works on x86, but KVM_CAP_DEVICE_CTRL returns 0",
            "kvm_main.c kvm_vm_ioctl_check_extension_generic()"),

    // VM
    VM_UNKNOWN_REQUEST(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    VM_TSS_ADDRESS(MEASURED, VmCause.VM_TSS_ADDRESS),
    VCPU_ID(MEASURED, VmCause.VCPU_ID),
    VCPU_ID_HALF_BEFORE(
            LAB, "before 6.11 the upper 32 bits of a vCPU id are ignored", "kvm_main.c kvm_vm_ioctl_create_vcpu()"),
    VCPU_EXISTS(MEASURED, VmCause.VCPU_EXISTS),
    IRQCHIP_EXISTS(MEASURED, VmCause.IRQCHIP_EXISTS),
    IRQCHIP_AFTER_VCPU(MEASURED, VmCause.IRQCHIP_AFTER_VCPU),
    IRQCHIP_NOT_BUILT_IN(SOURCE, VmCause.IRQCHIP_NOT_BUILT_IN),
    SPLIT_PINS(MEASURED, VmCause.SPLIT_PINS),
    SPLIT_PINS_KEPT(MEASURED, "the pin count is kept in 8 bits: 4096 becomes 0", "kvm_host.h nr_reserved_ioapic_pins"),
    SPLIT_EXISTS(MEASURED, VmCause.SPLIT_EXISTS),
    CAP_FLAGS(MEASURED, VmCause.CAP_FLAGS),
    CAP_UNKNOWN(MEASURED, VmCause.CAP_UNKNOWN),
    X2APIC_BITS(MEASURED, VmCause.X2APIC_BITS),
    X2APIC_TWO_BITS_BEFORE(LAB, VmCause.X2APIC_TWO_BITS_BEFORE),
    X2APIC_BOTH_SUPPRESS(MEASURED, VmCause.X2APIC_BOTH_SUPPRESS),
    X2APIC_SUPPRESS_SPLIT(MEASURED, VmCause.X2APIC_SUPPRESS_SPLIT),
    BOOT_VCPU_AFTER_VCPU(MEASURED, VmCause.BOOT_VCPU_AFTER_VCPU),
    BOOT_VCPU_ID(MEASURED, VmCause.BOOT_VCPU_ID),
    PIT_EXISTS(MEASURED, VmCause.PIT_EXISTS),
    PIT_WITHOUT_PIC_BEFORE(LAB, "on 6.1 KVM_CREATE_PIT2 needs no in-kernel PIC", "x86.c KVM_CREATE_PIT2"),
    PIT_NEEDS_PIC(MEASURED, VmCause.PIT_NEEDS_PIC),
    CHIP_NEEDS_FULL(MEASURED, VmCause.CHIP_NEEDS_FULL),
    CHIP_UNKNOWN(MEASURED, VmCause.CHIP_UNKNOWN),

    // Memory slots, in the order of __kvm_set_memory_region()
    MEMORY_FLAGS(MEASURED, VmCause.MEMORY_FLAGS),
    MEMORY_ALIGNMENT(MEASURED, VmCause.MEMORY_ALIGNMENT),
    MEMORY_SLOT(MEASURED, VmCause.MEMORY_SLOT),
    MEMORY_SPACES(
            LAB,
            "with System Management Mode built in, slots from 65536 on belong to the address space of that mode",
            "kvm_main.c kvm_set_memory_region()"),
    MEMORY_ABSENT(MEASURED, VmCause.MEMORY_ABSENT),
    MEMORY_CHANGED(MEASURED, VmCause.MEMORY_CHANGED),
    MEMORY_OVERLAP(MEASURED, VmCause.MEMORY_OVERLAP),
    MEMORY_BEYOND(INFERRED, VmCause.MEMORY_BEYOND),

    MEMORY_MEMFD(MEASURED, VmCause.MEMORY_MEMFD),
    MEMORY_NOT_A_MEMFD(MEASURED, VmCause.MEMORY_NOT_A_MEMFD),

    // Statistics
    STATS_READ_ONLY(MEASURED, FileCause.STATS_READ_ONLY),
    STATS_NONE(INFERRED, "the fake keeps no statistics: the file lists no descriptors", "binary_stats.c"),

    // vCPU
    VCPU_HALT_LEAVES(MEASURED, "without an in-kernel LAPIC, HLT exits to the VMM", "x86.c kvm_emulate_halt()"),
    VCPU_INTERRUPT_VECTOR(MEASURED, VmCause.VCPU_INTERRUPT_VECTOR),
    VCPU_INTERRUPT_PIC(MEASURED, VmCause.VCPU_INTERRUPT_PIC),
    VCPU_INTERRUPT_PENDING(MEASURED, VmCause.VCPU_INTERRUPT_PENDING),
    VCPU_STATE_WITHOUT_LAPIC(MEASURED, VmCause.VCPU_STATE_WITHOUT_LAPIC),
    VCPU_STATE_UNKNOWN(MEASURED, VmCause.VCPU_STATE_UNKNOWN),
    VCPU_STATE_FIRST(
            MEASURED,
            "the boot vCPU starts runnable; with in-kernel LAPICs the other vCPUs wait for INIT",
            "x86.c kvm_arch_vcpu_create()"),
    VCPU_UNKNOWN_REQUEST(MEASURED, FileCause.KVM_UNKNOWN_REQUEST),
    VCPU_ONE_CALL(MEASURED, "a vCPU ioctl waits until KVM_RUN returns, also during HLT", "kvm_main.c kvm_vcpu_ioctl()"),
    VCPU_CPUID_AFTER_RUN(MEASURED, "after the first KVM_RUN, KVM_SET_CPUID2 only compares", "cpuid.c kvm_set_cpuid()"),
    VCPU_CPUID_OTHER(MEASURED, VmCause.VCPU_CPUID_OTHER),
    VCPU_CPUID_LEAVES(MEASURED, VmCause.VCPU_CPUID_LEAVES),
    VCPU_RUN_ARGUMENT(MEASURED, VmCause.VCPU_RUN_ARGUMENT),
    VCPU_IMMEDIATE_EXIT(MEASURED, VmCause.VCPU_IMMEDIATE_EXIT),
    VCPU_CAP(MEASURED, VmCause.VCPU_CAP),
    VCPU_ATTRIBUTE(MEASURED, InterruptCause.VCPU_ATTRIBUTE),
    LAPIC_X2APIC_ID_BEFORE(LAB, "on 6.1 KVM_SET_LAPIC in x2APIC mode accepts any id", "lapic.c kvm_apic_state_fixup()"),
    LAPIC_X2APIC_ID(MEASURED, VmCause.LAPIC_X2APIC_ID),
    LAPIC_NONE(MEASURED, VmCause.LAPIC_NONE),

    // Routes, in the order of kvm_set_irq_routing()
    ROUTES_NEED_IRQCHIP(MEASURED, InterruptCause.ROUTES_NEED_IRQCHIP),
    ROUTES_TOO_MANY(MEASURED, InterruptCause.ROUTES_TOO_MANY),
    ROUTES_FLAGS(MEASURED, InterruptCause.ROUTES_FLAGS),
    ROUTE_GSI(MEASURED, InterruptCause.ROUTE_GSI),
    ROUTE_FLAGS(MEASURED, InterruptCause.ROUTE_FLAGS),
    ROUTE_CONFLICT(MEASURED, InterruptCause.ROUTE_CONFLICT),
    ROUTE_TYPE(MEASURED, InterruptCause.ROUTE_TYPE),
    ROUTE_PIN(MEASURED, InterruptCause.ROUTE_PIN),
    ROUTE_HIGH_ADDRESS(MEASURED, InterruptCause.ROUTE_HIGH_ADDRESS),
    ROUTE_SYNTHETIC(
            LAB,
            "with Hyper-V built in a route may be a synthetic interrupt; a vCPU without SynIC does not accept it",
            "hyperv.c kvm_hv_set_sint()"),
    ROUTES_REPLACED(MEASURED, "the whole table is replaced, or nothing on an error", "irqchip.c kvm_set_irq_routing()"),

    // irqfd, in the order of kvm_irqfd()
    IRQFD_FLAGS(MEASURED, IrqfdCause.IRQFD_FLAGS, IrqfdCause.IRQFD_FLAGS_DEASSIGN),
    IRQFD_NEEDS_IRQCHIP(MEASURED, IrqfdCause.IRQFD_NEEDS_IRQCHIP),
    IRQFD_RESAMPLE_NEEDS_FULL(MEASURED, IrqfdCause.IRQFD_RESAMPLE_NEEDS_FULL),
    IRQFD_FD(MEASURED, IrqfdCause.IRQFD_FD, IrqfdCause.IRQFD_FD_DEASSIGN),
    IRQFD_NOT_AN_EVENTFD(MEASURED, IrqfdCause.IRQFD_NOT_AN_EVENTFD, IrqfdCause.IRQFD_NOT_AN_EVENTFD_DEASSIGN),
    IRQFD_BUSY_HOST(MEASURED, IrqfdCause.IRQFD_BUSY_HOST),
    IRQFD_BUSY_VM(LAB, IrqfdCause.IRQFD_BUSY_VM),
    IRQFD_DEASSIGN(
            MEASURED, "deassign removes matching irqfds and succeeds without one", "eventfd.c kvm_irqfd_deassign()"),
    IRQFD_CONSUMES(MEASURED, "a signal is consumed from the count and injected once", "eventfd.c irqfd_wakeup()"),
    IRQFD_FIRST_TAKES(LAB, "before 6.17, of two VMs on an eventfd the first gets a signal", "eventfd.c irqfd_wakeup()"),
    IRQFD_PRE_SIGNALLED(
            MEASURED, "an earlier signal is injected once and stays in the count", "eventfd.c kvm_irqfd_assign()"),
    IRQFD_DETACH_DRAINS(
            MEASURED, "detaching an irqfd reads the eventfd", "fs/eventfd.c eventfd_ctx_remove_wait_queue()"),
    IRQFD_GONE_WITH_EVENTFD(
            MEASURED,
            "the last close() of the eventfd removes the irqfd, asynchronously",
            "eventfd.c irqfd_wakeup() EPOLLHUP"),
    IRQFD_GONE_WITH_VM(
            MEASURED, "the last close() of the VM removes its irqfds, synchronously", "eventfd.c kvm_irqfd_release()"),
    RESAMPLE_SOURCE(MEASURED, "resampling irqfds share one interrupt source of the line", "eventfd.c irqfd_inject()"),
    RESAMPLE_ON_EOI(
            MEASURED,
            "the guest's EOI lowers the line and signals every resamplefd of the GSI",
            "eventfd.c irqfd_resampler_ack()"),
    RESAMPLE_LAST_LOWERS(
            MEASURED,
            "removing the last resampling irqfd of a GSI lowers its line; so does a first one refused with EBUSY",
            "eventfd.c irqfd_resampler_shutdown()"),

    // ioeventfd, in the order of kvm_assign_ioeventfd()
    IOEVENTFD_ARGUMENTS(MEASURED, IrqfdCause.IOEVENTFD_ARGUMENTS),
    IOEVENTFD_FD(MEASURED, IrqfdCause.IOEVENTFD_FD, IrqfdCause.IOEVENTFD_FD_DEASSIGN),
    IOEVENTFD_NOT_AN_EVENTFD(
            MEASURED, IrqfdCause.IOEVENTFD_NOT_AN_EVENTFD, IrqfdCause.IOEVENTFD_NOT_AN_EVENTFD_DEASSIGN),
    IOEVENTFD_COLLIDES(MEASURED, IrqfdCause.IOEVENTFD_COLLIDES),
    IOEVENTFD_NONE(MEASURED, IrqfdCause.IOEVENTFD_NONE),
    IOEVENTFD_TAKES(
            MEASURED, "a matching guest write signals the eventfd without an exit", "eventfd.c ioeventfd_write()"),

    // Messages and lines
    MSI_NEEDS_IRQCHIP(MEASURED, InterruptCause.MSI_NEEDS_IRQCHIP),
    MSI_FLAGS(MEASURED, InterruptCause.MSI_FLAGS),
    MSI_HIGH_ADDRESS(MEASURED, InterruptCause.MSI_HIGH_ADDRESS),
    MSI_NOBODY(MEASURED, InterruptCause.MSI_NO_VCPU, InterruptCause.MSI_NOBODY),
    MSI_BY_MAP(
            MEASURED,
            "with an APIC map, the result is 0 if no enabled LAPIC has the id",
            "lapic.c kvm_irq_delivery_to_apic_fast()"),
    MSI_LOGICAL(
            MEASURED,
            "a logical destination is looked up in the APIC map if all LAPICs use one format",
            "lapic.c kvm_apic_map_get_logical_dest()"),
    MSI_LOGICAL_NOBODY_BEFORE(
            LAB,
            "before 6.3, if no LAPIC has a logical id, every LAPIC is compared with a logical destination",
            "lapic.c kvm_apic_map_get_logical_dest()"),
    MSI_MAP_FIRST_BEFORE(
            LAB, "before 6.3 the APIC map holds the first of LAPICs with one id", "lapic.c kvm_recalculate_apic_map()"),
    MSI_BROADCAST(
            MEASURED, "a broadcast reaches all LAPICs, or one by redirection hint", "irq.c kvm_irq_delivery_to_apic()"),
    LINE_NEEDS_IRQCHIP(MEASURED, InterruptCause.LINE_NEEDS_IRQCHIP),
    LINE_UNROUTED(MEASURED, "the status of a GSI without a route is -1", "irqchip.c kvm_set_irq()"),
    LINE_STATUS_SUM(MEASURED, "the status is the sum of all route results except -1", "irqchip.c kvm_set_irq()"),

    // Devices
    DEVICE_TYPE(MEASURED, InterruptCause.DEVICE_TYPE),
    DEVICE_TEST(
            MEASURED, "TEST creates no device and leaves the fd field alone", "kvm_main.c kvm_ioctl_create_device()"),
    DEVICE_SECOND(MEASURED, InterruptCause.DEVICE_SECOND),
    DEVICE_UNKNOWN_REQUEST(MEASURED, FileCause.VM_UNKNOWN_REQUEST),
    DEVICE_NO_GETTER(MEASURED, InterruptCause.DEVICE_NO_GETTER),
    VFIO_ATTRIBUTE(MEASURED, InterruptCause.VFIO_ATTRIBUTE, InterruptCause.FORWARD_ABSENT),
    VFIO_FILE_FD(MEASURED, InterruptCause.VFIO_FILE_FD),
    VFIO_NOT_A_VFIO_FILE(MEASURED, InterruptCause.VFIO_NOT_A_VFIO_FILE),
    VFIO_FILE_UNKNOWN(MEASURED, InterruptCause.VFIO_FILE_UNKNOWN),
    VFIO_FILE_TWICE(LAB, InterruptCause.VFIO_FILE_TWICE),

    // KVM_DEV_VFIO_DEVICE of 2014, as its third version and the review say: no kernel that could be asked has it
    FORWARD_NOT_A_DEVICE(SOURCE, InterruptCause.FORWARD_NOT_A_DEVICE),
    FORWARD_TWICE(SOURCE, InterruptCause.FORWARD_TWICE),
    FORWARD_SIGNALLED(SOURCE, InterruptCause.FORWARD_SIGNALLED),
    FORWARD_NO_LINE(INFERRED, InterruptCause.FORWARD_NO_LINE),
    FORWARD_UNKNOWN(SOURCE, InterruptCause.FORWARD_UNKNOWN),
    FORWARD_STUB(
            SOURCE,
            "on an architecture that does not forward, KVM-VFIO registers the interrupt, answers 0 and changes nothing",
            "[PATCH v3 7/8] KVM: kvm-vfio: kvm_arch_vfio_set_forward()"),
    UNFORWARD_LIVE(
            INFERRED,
            "an interrupt that is active can be unforwarded: the host ends it, and the handler masks from then on",
            "[PATCH v3 7/8] KVM: kvm-vfio: kvm_arch_vfio_set_forward()"),

    // Chips
    PIC_EDGE(MEASURED, "an edge is coalesced if its IRR bit is set; a masked pin returns -1", "i8259.c pic_set_irq1()"),
    PIC_CASCADE(MEASURED, "a request of the slave pulses pin 2 of the master", "i8259.c pic_update_irq()"),
    IOAPIC_EDGE(MEASURED, "an edge is coalesced if its IRR bit is set", "ioapic.c ioapic_set_irq()"),
    IOAPIC_LEVEL(MEASURED, "a level is delivered once until its EOI clears remote IRR", "ioapic.c ioapic_service()"),
    IOAPIC_MASKED(MEASURED, "a masked pin, or a level with remote IRR set, returns -1", "ioapic.c ioapic_service()"),
    IOAPIC_STORM(
            MEASURED,
            "after 10 000 EOIs in a row that found the pin high, the next interrupt comes a hundredth of a second later",
            "ioapic.c kvm_ioapic_update_eoi_one()"),
    IOAPIC_CLOCK(MEASURED, "a clock tick is coalesced until the EOI of the tick before", "ioapic.c rtc_irq_eoi()"),
    LAPIC_ACCEPTS(
            MEASURED,
            "an enabled LAPIC accepts a vector into IRR, also if its bit is set already",
            "lapic.c __apic_accept_irq()"),
    LAPIC_EOI(
            MEASURED,
            "an EOI clears the highest vector in ISR; it is forwarded if a pin of the IOAPIC waits for it",
            "lapic.c apic_set_eoi()"),
    LAPIC_PRIORITY(
            MEASURED,
            "a vector is delivered if its class is above the task priority and the vectors in ISR",
            "lapic.c apic_has_interrupt_for_ppr()"),
    NMI_TWO_KEPT(MEASURED, "two NMIs at once are kept, or one while an NMI is handled", "x86.c process_nmi()"),
    INIT_RESETS_LAPIC(
            MEASURED,
            "INIT is pending until the vCPU processes its events, then resets the LAPIC",
            "lapic.c kvm_apic_accept_events()"),
    BYPASS_CONNECTS(
            SOURCE,
            "an irqfd and a vector of MSI or MSI-X that VFIO has enabled with its eventfd are connected, in any order",
            "virt/lib/irqbypass.c __connect()"),
    BYPASS_BUSY(
            SOURCE,
            "a second irqfd or vector of one eventfd is not connected, and its call succeeds",
            "virt/lib/irqbypass.c irq_bypass_register_producer()"),
    IRTE_POSTED(
            SOURCE,
            "a device's interrupt is posted if its route is a fixed or lowest-priority message to one vCPU",
            "irq.c kvm_pi_update_irte()"),
    IRTE_NOT_POSTED(
            SOURCE, "a device's interrupt with any other route goes through the eventfd", "irq.c kvm_pi_update_irte()"),
    IRTE_RESTORED(
            SOURCE,
            "when irqfd or vector go, the interrupt goes through the eventfd again",
            "irq.c kvm_arch_irq_bypass_del_producer()"),
    EOI_TOLD_TO_VMM(
            MEASURED,
            "with the split irqchip, the EOI of a level interrupt routed from a reserved pin exits to the VMM",
            "lapic.c kvm_ioapic_send_eoi()"),
    LAPIC_RESTORED(MEASURED, "KVM_SET_LAPIC ignores version and processor priority", "lapic.c kvm_apic_set_state()");

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Decision decision;

    KvmRule(Grade grade, String text, String source) {
        decision = new Decision(grade, text, source);
    }

    KvmRule(Grade grade, Cause cause, Cause... more) {
        decision = new Decision(grade, cause, more);
    }

    @Override
    public Decision decision() {
        return decision;
    }
}
