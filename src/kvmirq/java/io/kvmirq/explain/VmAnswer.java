/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.KernelCall.SPLIT_IRQCHIP;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.like;
import static io.kvmirq.explain.Row.refusal;
import static io.kvmirq.explain.Text.*;

/** Refusals and behaviours of requests that set up a VM, with {@code /dev/kvm}, irqchips, vCPUs and memory. */
public enum VmAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first

    // /dev/kvm
    VM_HYPERVISOR(refusal(UNTESTED, VM_CREATE, EBUSY,
        "another hypervisor uses the CPU's virtualization extensions: stop it, or unload its module",
        "lsmod | grep -e vbox -e vmmon", "virt/kvm/kvm_main.c kvm_create_vm() hardware_enable_all()").also(OPEN)),
    KVM_VM_TYPE(refusal(MEASURED, VM_CREATE, EINVAL, "this kernel has no VM of that type",
        "KVM_CAP_VM_TYPES; 0 is the default type of x86", "x86.c kvm_arch_init_vm()").unless(TYPED_CALL)),
    VCPU_CPUID_OTHER(refusal(MEASURED, CPUID_SET, EINVAL, "the vCPU has run, and this CPUID differs",
        "set it before the first KVM_RUN", "cpuid.c kvm_set_cpuid()")),
    VCPU_CPUID_ADDRESSES(refusal(MEASURED, CPUID_SET, EINVAL, "a linear address has 48 or 57 bits",
        "bits 8 to 15 of EAX of leaf 0x80000008", "cpuid.c kvm_check_cpuid()")),
    VCPU_CPUID_LEAVES(refusal(MEASURED, CPUID_SET, E2BIG, "a vCPU has at most 256 CPUID leaves", "nent",
        "cpuid.c kvm_vcpu_ioctl_set_cpuid2()")),
    KVM_CPUID_ROOM(refusal(MEASURED, CPUID, E2BIG, "nent is too small for the leaves",
        "a larger nent: 100 is enough today", "cpuid.c kvm_dev_ioctl_get_cpuid()")),
    VCPU_CPUID_AFTER_RUN(behaviour(MEASURED, "after the first KVM_RUN, KVM_SET_CPUID2 only compares,"
        + " except for bits that follow from CR4, XCR0 and the LAPIC's base",
        "cpuid.c kvm_set_cpuid()")),

    // Capabilities
    CAP_FLAGS(refusal(MEASURED, CAP_ENABLE, EINVAL, "KVM_ENABLE_CAP has no flags", "kvm_enable_cap.flags, which is 0",
        "x86.c kvm_vm_ioctl_enable_cap(), arm.c kvm_vm_ioctl_enable_cap()").unless(TYPED_CALL)),
    CAP_UNKNOWN(refusal(MEASURED, CAP_ENABLE, EINVAL, "the capability cannot be enabled, or not on a VM",
        "KVM_CHECK_EXTENSION of it", "x86.c kvm_vm_ioctl_enable_cap()")),
    VCPU_CAP(refusal(MEASURED, CAP_ENABLE, EINVAL, "the capability cannot be enabled on a vCPU",
        "whether it must be enabled on the VM instead", "x86.c kvm_vcpu_ioctl_enable_cap()")),
    MAX_VCPU_ID_VALUE(refusal(MEASURED, CAP_ENABLE, EINVAL, "an id limit beyond the kernel's own",
        "args[0] against KVM_CAP_MAX_VCPU_ID", "x86.c KVM_CAP_MAX_VCPU_ID").unless(TYPED_CALL)),
    MAX_VCPU_ID_BOOT(refusal(MEASURED, CAP_ENABLE, EINVAL, "since 6.11 the id limit cannot be below the boot vCPU's",
        "KVM_SET_BOOT_CPU_ID", "x86.c KVM_CAP_MAX_VCPU_ID").unless(TYPED_CALL)),
    MAX_VCPU_ID_CHOSEN(refusal(MEASURED, CAP_ENABLE, EINVAL, "the id limit was set already, or a vCPU exists",
        ORDER, "x86.c KVM_CAP_MAX_VCPU_ID").unless(TYPED_CALL)),
    BUS_CYCLE_VALUE(refusal(MEASURED, CAP_ENABLE, EINVAL, "an APIC bus cycle takes 1 to 2^25 ns", "args[0]",
        "x86.c KVM_CAP_X86_APIC_BUS_CYCLES_NS").unless(TYPED_CALL)),
    BUS_CYCLE_NEEDS_LAPICS(refusal(MEASURED, CAP_ENABLE, ENXIO, "the VM has no in-kernel LAPICs",
        "which irqchip was created; it comes first", "x86.c KVM_CAP_X86_APIC_BUS_CYCLES_NS").unless(TYPED_CALL)),
    BUS_CYCLE_AFTER_VCPU(refusal(MEASURED, CAP_ENABLE, EINVAL, "vCPUs exist already: set the APIC bus first", ORDER,
        "x86.c KVM_CAP_X86_APIC_BUS_CYCLES_NS").unless(TYPED_CALL)),
    X2APIC_TWO_BITS_BEFORE(refusal(LAB, X2APIC, EINVAL, "this kernel knows bits 0 and 1 only", X2APIC_FLAGS,
        "x86.c KVM_X2APIC_API_VALID_FLAGS")),
    X2APIC_BITS(refusal(MEASURED, X2APIC, EINVAL, "bits this kernel does not know", X2APIC_FLAGS,
        "x86.c KVM_X2APIC_API_VALID_FLAGS")),
    X2APIC_BOTH_SUPPRESS(refusal(MEASURED, X2APIC, EINVAL, "EOI broadcasts cannot be both suppressed and not suppressed",
        "bits 2 and 3: one of them", "x86.c KVM_CAP_X2APIC_API")),
    X2APIC_SUPPRESS_SPLIT(refusal(MEASURED, X2APIC, EINVAL, "suppressing EOI broadcasts needs the split irqchip",
        "bit 2, and which irqchip the VM has", "x86.c KVM_CAP_X2APIC_API").needs(NO_IRQCHIP, FULL_IRQCHIP)),
    CAPABILITY_UNKNOWN(behaviour(MEASURED, "an unknown capability returns 0, not an error",
        "kvm_main.c kvm_vm_ioctl_check_extension()")),
    DEVICE_CAPABILITY_BEFORE(behaviour(LAB,
        "before 6.5 KVM_CREATE_DEVICE works on x86, but KVM_CAP_DEVICE_CTRL returns 0",
        "kvm_main.c kvm_vm_ioctl_check_extension_generic()")),

    // Interrupt controllers and the timer
    IRQCHIP_EXISTS(refusal(MEASURED, IRQCHIP_CREATE, EEXIST, "this VM already has an irqchip, full or split",
        "which code created it: the VMM may have done so before the VM was adopted", "x86.c KVM_CREATE_IRQCHIP")),
    IRQCHIP_AFTER_VCPU(refusal(MEASURED, IRQCHIP_CREATE, EINVAL, "vCPUs exist already: create the irqchip first", ORDER,
        "x86.c KVM_CREATE_IRQCHIP").certainWhen(VCPUS)),
    IRQCHIP_NOT_BUILT_IN(refusal(SOURCE, IRQCHIP_CREATE, ENOTTY,
        "this kernel has no in-kernel irqchip except the split one", "CONFIG_KVM_IOAPIC in the kernel's configuration;"
        + " the split irqchip needs none", "x86.c KVM_CREATE_IRQCHIP").needs(X86, NEW)
        .also(PIT_CREATE, PIT_GET, IRQCHIP_STATE)),
    SPLIT_EXISTS(refusal(MEASURED, SPLIT_IRQCHIP, EEXIST,
        "this VM already has an irqchip or vCPUs: create the split irqchip first", ORDER, "x86.c KVM_CAP_SPLIT_IRQCHIP")),
    SPLIT_PINS(refusal(MEASURED, SPLIT_IRQCHIP, EINVAL, "more than 4096 pins", "args[0]",
        "x86.c KVM_CAP_SPLIT_IRQCHIP")),
    CHIP_NEEDS_FULL(refusal(MEASURED, IRQCHIP_STATE, ENXIO, "this VM has no full in-kernel irqchip",
        "which irqchip was created: with the split one PIC and IOAPIC are the VMM's", "x86.c KVM_GET_IRQCHIP")),
    CHIP_UNKNOWN(refusal(MEASURED, IRQCHIP_STATE, EINVAL, "chips are 0 (PIC master), 1 (slave) and 2 (IOAPIC)",
        "chip_id", "irq.c kvm_vm_ioctl_get_irqchip()").unless(TYPED_CALL)),
    SPLIT_PINS_KEPT(behaviour(MEASURED, "the pin count is kept in 8 bits: 4096 becomes 0",
        "kvm_host.h nr_reserved_ioapic_pins")),
    PIT_EXISTS(refusal(MEASURED, PIT_CREATE, EEXIST, "the VM already has a timer", "which code created it",
        "x86.c KVM_CREATE_PIT2")),
    PIT_NEEDS_PIC(refusal(MEASURED, PIT_CREATE, ENOENT, "the timer needs the PICs of the full irqchip",
        "which irqchip the VM has", "x86.c KVM_CREATE_PIT2")),
    PIT_WITHOUT_PIC_BEFORE(behaviour(LAB, "on 6.1 KVM_CREATE_PIT2 needs no in-kernel PIC", "x86.c KVM_CREATE_PIT2")),
    PIT_NONE(refusal(MEASURED, PIT_GET, ENXIO, "the VM has no in-kernel timer", "whether it was created",
        "x86.c KVM_GET_PIT2")),
    PIT_RESTART(behaviour(MEASURED, "KVM_SET_PIT2 reloads every count: a channel starts again from its full count",
        "i8254.c kvm_vm_ioctl_set_pit2()")),
    PIT_REINJECTS(behaviour(SOURCE, "on AMD a timer that makes up for lost ticks inhibits AVIC, so no vCPU that has run"
        + " since gets posted interrupts", "i8254.c kvm_pit_set_reinject()")),
    CLOCK_FLAGS(refusal(MEASURED, CLOCK_SET, EINVAL, "flags that KVM_GET_CLOCK does not return",
        "flags: 2, 4 and 8 are known", "x86.c kvm_vm_ioctl_set_clock()").unless(TYPED_CALL)),
    CLOCK_GOES_ON(behaviour(MEASURED, "KVM_GET_CLOCK continues from the value of KVM_SET_CLOCK, in nanoseconds",
        "x86.c kvm_vm_ioctl_set_clock()")),
    CLOCK_OF_DAY(behaviour(MEASURED, "with KVM_CLOCK_REALTIME, KVM_SET_CLOCK adds the time that has passed since"
        + " realtime, and subtracts none", "x86.c kvm_vm_ioctl_set_clock()")),
    VM_TSS_ADDRESS(refusal(MEASURED, TSS, EINVAL, "three pages from the address must lie below 4 GiB",
        "the address: 0xfffbd000 is QEMU's", "x86.c kvm_vm_ioctl_set_tss_addr()")),
    VM_IDENTITY_MAP(refusal(MEASURED, IDENTITY_MAP, EINVAL,
        "the VM already has vCPUs: set the address before the first one", ORDER, "x86.c KVM_SET_IDENTITY_MAP_ADDR")),
    BOOT_VCPU_AFTER_VCPU(refusal(MEASURED, BOOT_VCPU, EBUSY,
        "the VM already has vCPUs: choose the boot vCPU before the first one",
        "the order of set-up", "x86.c KVM_SET_BOOT_CPU_ID")),
    BOOT_VCPU_ID(refusal(MEASURED, BOOT_VCPU, EINVAL, "an id beyond what a vCPU may have", "KVM_CAP_MAX_VCPU_ID",
        "x86.c KVM_SET_BOOT_CPU_ID")),

    // vCPUs
    VCPU_EXISTS(refusal(MEASURED, VCPU_CREATE, EEXIST, "this VM already has a vCPU with that id", "the ids created so far",
        "kvm_main.c kvm_vm_ioctl_create_vcpu()")),
    VCPU_ID(refusal(MEASURED, VCPU_CREATE, EINVAL,
        "the id is beyond this VM's limit, or the VM already has all its vCPUs",
        "KVM_CAP_MAX_VCPU_ID and KVM_CAP_MAX_VCPUS", "kvm_main.c kvm_vm_ioctl_create_vcpu()")),
    VCPU_ID_AVIC_BEFORE(refusal(SOURCE, VCPU_CREATE, EINVAL,
        "up to 6.16, kvm_amd with avic=1 takes ids up to 254, with x2AVIC up to 511",
        "a lower id, or avic=0: KVM_CAP_MAX_VCPU_ID does not show this limit", "avic.c avic_init_backing_page()")
        .unless(ARM64, NEW)),
    VCPU_ID_HALF_BEFORE(behaviour(LAB, "before 6.11 the upper 32 bits of a vCPU id are ignored",
        "kvm_main.c kvm_vm_ioctl_create_vcpu()")),
    VCPU_UNKNOWN_REQUEST(like(MEASURED, FileAnswer.KVM_UNKNOWN_REQUEST.row())),
    SREGS_CONTRADICT(refusal(MEASURED, SREGS_SET, EINVAL, "the control registers contradict each other",
        "CR0.PG needs PE, NW needs CD; EFER.LMA and a 64-bit code segment need LME and PG",
        "x86.c kvm_is_valid_sregs()").also(VCPU_RUN).needs(X86)),
    SREGS_CR3(refusal(MEASURED, SREGS_SET, EINVAL, "in long mode CR3 is not a guest physical address",
        "cr3: the CPUID gives the address width (36 without leaf 0x80000008)", "x86.c kvm_is_valid_sregs()")
        .also(VCPU_RUN).needs(X86)),
    SREGS_CR4(refusal(MEASURED, SREGS_SET, EINVAL, "CR4 has bits that the vCPU's CPUID or the processor lacks",
        "cr4, and KVM_SET_CPUID2, which comes first", "x86.h __cr4_reserved_bits()").also(VCPU_RUN).needs(X86)),
    SREGS_EFER(refusal(UNTESTED, SREGS_SET, EINVAL, "EFER has bits that the vCPU's CPUID or the processor lacks, which stable"
        + " kernels such as 6.12.117 check", "efer, and KVM_SET_CPUID2, which comes first", "x86.c kvm_is_valid_sregs()")
        .needs(X86)),
    SREGS_APIC_BASE(refusal(MEASURED, SREGS_SET, EINVAL, "the base of the LAPIC has reserved bits or no such mode",
        "apic_base: bits 7:0 and 9 are 0, x2APIC needs the enable bit and the CPUID, which also gives the"
        + " address width (36 without leaf 0x80000008)", "x86.c kvm_apic_set_base()").also(VCPU_RUN).needs(X86)),
    VCPU_STATE_WITHOUT_LAPIC(refusal(MEASURED, VCPU_STATE, EINVAL, "without an in-kernel LAPIC, a vCPU is always runnable",
        "which irqchip the VM has", "x86.c kvm_arch_vcpu_ioctl_set_mpstate()").certainWhen(NO_IRQCHIP)),
    VCPU_STATE_UNKNOWN(refusal(MEASURED, VCPU_STATE, EINVAL, "x86 has no such state", "kvm_mp_state.mp_state",
        "x86.c kvm_arch_vcpu_ioctl_set_mpstate()")),
    VCPU_STATE_FIRST(behaviour(MEASURED,
        "the boot vCPU starts runnable; with in-kernel LAPICs, the other vCPUs wait for INIT",
        "x86.c kvm_arch_vcpu_create()")),
    MSR_ROOM(refusal(MEASURED, MSR_LIST, E2BIG, "nmsrs is too small for the list", "nmsrs now holds the required"
        + " count", "x86.c KVM_GET_MSR_INDEX_LIST").unless(TYPED_CALL)),
    MSRS_MANY(refusal(MEASURED, MSRS_GET, E2BIG, "one call takes at most 255 MSRs", "nmsrs", "x86.c msr_io()")
        .also(MSRS_SET).unless(TYPED_CALL)),
    MSRS_STOP(behaviour(MEASURED, "KVM_GET_MSRS and KVM_SET_MSRS stop at the first MSR that is unknown or does not"
        + " accept the value, and return how many come before it", "x86.c __msr_io()")),
    XSAVE_FEATURES(refusal(MEASURED, XSAVE_SET, EINVAL, "the area contains state that this host does not support",
        "XSTATE_BV (bytes 512-519) against XCR0 of the host", "kernel/fpu/core.c fpu_copy_uabi_to_guest_fpstate()")),
    XSAVE_HEADER(refusal(MEASURED, XSAVE_SET, EINVAL, "the area is compacted, or its header has reserved bits",
        "XCOMP_BV and the rest of the header (bytes 520-575), which are 0",
        "kernel/fpu/xstate.c validate_user_xstate_header()")),
    XSAVE_MXCSR(refusal(MEASURED, XSAVE_SET, EINVAL, "MXCSR has bits that the processor does not have",
        "bytes 24-27 against MXCSR_MASK, bytes 28-31", "kernel/fpu/xstate.c copy_uabi_to_xstate()")),
    XCR_VALUE(refusal(MEASURED, XCRS_SET, EINVAL, "XCR0 has bits that the vCPU's CPUID does not offer, or lacks bit 0",
        "leaf 0xd of its CPUID: EDX:EAX are the bits that it may have", "x86.c __kvm_set_xcr()")),
    XCRS_STRUCTURE(refusal(MEASURED, XCRS_SET, EINVAL, "more than 16 registers, or a flag", "nr_xcrs and flags",
        "x86.c kvm_vcpu_ioctl_x86_set_xcrs()").unless(TYPED_CALL)),
    EVENTS_FLAGS(refusal(MEASURED, EVENTS_SET, EINVAL, "flags that this kernel does not know, or that the VM has not"
        + " enabled", "flags: 0x10 needs KVM_CAP_EXCEPTION_PAYLOAD, 0x20 KVM_CAP_X86_TRIPLE_FAULT_EVENT",
        "x86.c kvm_vcpu_ioctl_x86_set_vcpu_events()")),
    EVENTS_EXCEPTION(refusal(MEASURED, EVENTS_SET, EINVAL, "an exception is 0 to 31, except 2, the NMI",
        "exception.nr", "x86.c kvm_vcpu_ioctl_x86_set_vcpu_events()")),
    EVENTS_MANAGEMENT_STARTUP(refusal(LAB, EVENTS_SET, EINVAL,
        "before 6.17 a vCPU that has received INIT accepts no SMI",
        "smi.smm and smi.pending; KVM_SET_MP_STATE comes first", "x86.c kvm_vcpu_ioctl_x86_set_vcpu_events()")),
    EVENTS_NO_MANAGEMENT(refusal(MEASURED, EVENTS_SET, EINVAL, "this kernel has no System Management Mode",
        "smi.smm, smi.pending and smi.smm_inside_nmi, which are 0 there; the other events were set",
        "x86.c kvm_vcpu_ioctl_x86_set_vcpu_events()")),
    EVENTS_NMIS(behaviour(MEASURED, "an unmasked vCPU keeps up to two NMIs, a masked one keeps one",
        "x86.c process_nmi()")),
    EVENTS_ONE_NMI_BEFORE(behaviour(LAB,
        "before 6.4 KVM_GET_VCPU_EVENTS reports whether an NMI is pending, not how many",
        "x86.c kvm_vcpu_ioctl_x86_get_vcpu_events()")),
    EVENTS_SOFT(behaviour(MEASURED, "exceptions 3 and 4 and soft interrupts are taken but not reported: the guest"
        + " raises them again", "x86.c kvm_vcpu_ioctl_x86_get_vcpu_events()")),
    EVENTS_TAKEN(behaviour(MEASURED, "an injected exception or NMI is taken before the next instruction; a guest in real"
        + " mode gets no error code", "x86.c kvm_check_and_inject_events()")),
    DEBUG_HIGH(refusal(MEASURED, DEBUG_SET, EINVAL, "DR6 and DR7 have 32 bits", "dr6 and dr7",
        "x86.c kvm_vcpu_ioctl_x86_set_debugregs()")),
    DEBUG_FLAGS(refusal(MEASURED, DEBUG_SET, EINVAL, "KVM_SET_DEBUGREGS has no flags", "kvm_debugregs.flags, which is 0",
        "x86.c kvm_vcpu_ioctl_x86_set_debugregs()").unless(TYPED_CALL)),
    FPU_WITHOUT_MXCSR(behaviour(MEASURED, "KVM_GET_FPU and KVM_SET_FPU leave MXCSR out, and the state that they set"
        + " is used only where XSTATE_BV has its bit", "x86.c kvm_arch_vcpu_ioctl_set_fpu()")),
    LAPIC_X2APIC_ID(refusal(MEASURED, LAPIC_GET, EINVAL, "in x2APIC mode with 32-bit APIC ids the id is the vCPU's",
        "bytes 0x20-0x23 of the registers", "lapic.c kvm_apic_state_fixup()")),
    LAPIC_NONE(refusal(MEASURED, LAPIC_GET, EINVAL, "this VM has no in-kernel irqchip: create one before the vCPU",
        ORDER, "x86.c KVM_GET_LAPIC").certainWhen(NO_IRQCHIP)),
    LAPIC_X2APIC_ID_BEFORE(behaviour(LAB, "on 6.1 KVM_SET_LAPIC in x2APIC mode accepts any id, and"
        + " physical messages look for the vCPU's", "lapic.c kvm_apic_state_fixup()")),
    VCPU_IMMEDIATE_EXIT(refusal(MEASURED, VCPU_RUN, EINTR, "immediate_exit is set, or a signal arrived",
        "kvm_run.immediate_exit; not an error: this is how a VMM leaves KVM_RUN", "x86.c kvm_arch_vcpu_ioctl_run()")),
    RUN_WAITING(refusal(MEASURED, VCPU_RUN, EAGAIN, "the vCPU is an application processor (AP), which waits for INIT"
        + " and SIPI", "call KVM_RUN again, which waits for the rest, or start it with KVM_SET_MP_STATE"
        + " (KVM_MP_STATE_RUNNABLE)", "x86.c kvm_arch_vcpu_ioctl_run()").needs(X86)),
    VCPU_RUN_ARGUMENT(refusal(MEASURED, VCPU_RUN, EINVAL, "KVM_RUN takes no argument", "pass 0",
        "kvm_main.c kvm_vcpu_ioctl()").unless(TYPED_CALL)),
    RUN_CR8(refusal(MEASURED, VCPU_RUN, EINVAL, "without an in-kernel LAPIC, KVM_RUN sets CR8, and this value is not a priority",
        "kvm_run.cr8: 0 to 15", "x86.c kvm_arch_vcpu_ioctl_run()").needs(NO_IRQCHIP)),
    RUN_MEMORY(refusal(UNTESTED, VCPU_RUN, EFAULT, "the guest touched memory that this process has unmapped",
        "the memory slots against /proc/PID/maps", "x86.c vcpu_run(), kvm_main.c hva_to_pfn()")),
    RUN_NO_MEMORY(refusal(UNTESTED, VCPU_RUN, ENOSPC, "the VM has no memory",
        "KVM_SET_USER_MEMORY_REGION before KVM_RUN", "mmu.c make_mmu_pages_available()").needs(X86)),
    RUN_SAVES(behaviour(MEASURED, "KVM_RUN leaves CR8, the base of the LAPIC and the interrupt flag in kvm_run",
        "x86.c post_kvm_run_save()")),
    VCPU_OUT_PASSED(behaviour(MEASURED, "where KVM emulates real mode, RIP is past an OUT when it exits; where the"
        + " processor runs it (SVM, VMX with unrestricted_guest) it is at the OUT until the next KVM_RUN",
        "x86.c kvm_fast_pio_out()")),
    VCPU_READ_WAITS(behaviour(MEASURED, "at the exit of a read RIP is at the read; the next KVM_RUN takes the answer, even"
        + " with immediate_exit", "x86.c complete_fast_pio_in(), complete_emulated_mmio()")),
    RUN_WINDOW(behaviour(MEASURED, "with request_interrupt_window and no in-kernel PIC, KVM_RUN exits where a VMM"
        + " interrupt would be taken; kvm_pvm may run some instructions longer", "x86.c vcpu_run()")),
    VCPU_INTERRUPT_TAKEN(behaviour(MEASURED, "without an in-kernel LAPIC, KVM_INTERRUPT's interrupt is taken before"
        + " the next instruction, because KVM ignores the interrupt flag", "x86.c kvm_check_and_inject_events()")),
    VMX_ENTRY_FAILS(behaviour(LAB, "on VMX, KVM_RUN exits with KVM_EXIT_FAIL_ENTRY 0x80000021 while the guest's flag or"
        + " shadow blocks an injected interrupt, which stays injected; on SVM the guest takes it", "vmx.c vmx_inject_irq()")),
    VCPU_HALT_LEAVES(behaviour(MEASURED, "without an in-kernel LAPIC, HLT exits to the VMM",
        "x86.c kvm_emulate_halt()")),
    VCPU_HALT_PASSED(behaviour(MEASURED, "since 6.12, a vCPU does not halt while an interrupt or NMI waits that would end"
        + " the halt", "x86.c __kvm_emulate_halt()")),
    VCPU_ONE_CALL(behaviour(MEASURED, "a vCPU ioctl waits until KVM_RUN returns, even during HLT",
        "kvm_main.c kvm_vcpu_ioctl()")),
    VCPU_INTERRUPT_PIC(refusal(MEASURED, INTERRUPT, ENXIO,
        "the full in-kernel irqchip delivers interrupts, not the VMM: signal a message, a line or an irqfd instead",
        "KVM_IRQ_LINE, KVM_SIGNAL_MSI, KVM_IRQFD", "x86.c kvm_vcpu_ioctl_interrupt()").certainWhen(FULL_IRQCHIP)),
    VCPU_INTERRUPT_PENDING(refusal(MEASURED, INTERRUPT, EEXIST, "an interrupt is pending already",
        "kvm_run.ready_for_interrupt_injection", "x86.c kvm_vcpu_ioctl_interrupt()").needs(Condition.SPLIT_IRQCHIP)),
    VCPU_INTERRUPT_VECTOR(refusal(MEASURED, INTERRUPT, EINVAL, "the vector is 256 or more", "kvm_interrupt.irq",
        "x86.c kvm_vcpu_ioctl_interrupt()")),

    // Memory slots and statistics
    MEMORY_OVERLAP(refusal(MEASURED, MEMORY, EEXIST, "the slot overlaps memory that the guest already has", SLOT,
        "kvm_main.c kvm_check_memslot_overlap()")),
    MEMORY_ALIGNMENT(refusal(MEASURED, MEMORY, EINVAL, "address or size is not a multiple of the page size", SLOT,
        "kvm_main.c kvm_set_memory_region()").certainWhen(MISALIGNED)),
    MEMORY_OF_KERNEL(refusal(MEASURED, MEMORY, EINVAL, "the memory is not at user-space addresses",
        "userspace_addr and memory_size", "kvm_main.c kvm_set_memory_region() access_ok()").unless(TYPED_CALL)),
    MEMORY_WRAPS(refusal(MEASURED, MEMORY, EINVAL, "the slot ends beyond 2^64", "guest address and size",
        "kvm_main.c kvm_set_memory_region()").certainWhen(WRAPPING)),
    MEMORY_CHANGED(refusal(MEASURED, MEMORY, EINVAL, "the slot has other memory already",
        "delete the slot first (size 0); it can be moved, or its logging switched, in place",
        "kvm_main.c kvm_set_memory_region()")),
    MEMORY_ABSENT(refusal(MEASURED, MEMORY, EINVAL, "there is no slot to delete", SLOT,
        "kvm_main.c kvm_set_memory_region()").unless(TYPED_CALL)),
    MEMORY_SLOT(refusal(MEASURED, MEMORY, EINVAL,
        "the slot's number is beyond KVM_CAP_NR_MEMSLOTS, or it has too many pages",
        SLOT, "kvm_main.c kvm_set_memory_region()")),
    MEMORY_MEMFD(refusal(MEASURED, MEMORY, EBADF, "the guest_memfd is not open",
        "kvm_userspace_memory_region2.guest_memfd", "guest_memfd.c kvm_gmem_bind()").unless(TYPED_CALL)),
    MEMORY_NOT_A_MEMFD(refusal(MEASURED, MEMORY, EINVAL, "the guest_memfd is another kind of file, or another VM's",
        "kvm_userspace_memory_region2.guest_memfd", "guest_memfd.c kvm_gmem_bind()").unless(TYPED_CALL)),
    DIRTY_LOG_SLOT(refusal(MEASURED, DIRTY_LOG, EINVAL, "the slot's number is beyond KVM_CAP_NR_MEMSLOTS", SLOT,
        "kvm_main.c kvm_get_dirty_log_protect()").unless(TYPED_CALL)),
    DIRTY_LOG_NONE(refusal(MEASURED, DIRTY_LOG, ENOENT, "there is no such slot, or it keeps no log",
        "KVM_MEM_LOG_DIRTY_PAGES in its flags", "kvm_main.c kvm_get_dirty_log_protect()").unless(TYPED_CALL)),
    DIRTY_LOG_OF_GUEST(behaviour(MEASURED, "the log has pages that the guest or KVM wrote, but none that only user space"
        + " did", "kvm_main.c mark_page_dirty_in_slot()")),
    MEMORY_READ_ONLY(behaviour(MEASURED, "a guest's write to read-only memory exits as MMIO",
        "x86 mmu.c kvm_handle_error_pfn()")),
    MEMORY_UNUSABLE(behaviour(MEASURED,
        "a guest's access that this process's mapping does not permit exits as MMIO"
        + " where KVM emulates real mode; where the processor runs it, KVM_RUN fails with EFAULT",
        "x86.c emulator_read_write_onepage(), mmu.c kvm_handle_error_pfn()")),
    MEMORY_FLAGS(refusal(MEASURED, MEMORY, EINVAL, "flags this kernel does not know", "flags",
        "kvm_main.c check_memory_region_flags()").unless(TYPED_CALL)),
    MEMORY_BEYOND(refusal(INFERRED, MEMORY, EINVAL, "the slot ends beyond the processor's physical addresses",
        "address sizes in /proc/cpuinfo", "x86.c kvm_arch_prepare_memory_region()")),
    MEMORY_SPACES(behaviour(LAB,
        "with System Management Mode built in, slots from 65536 on belong to the address space of that mode",
        "kvm_main.c kvm_set_memory_region()")),
    VCPU_STATE_RELEASED(behaviour(MEASURED, "after a message of delivery mode 3 a halted vCPU is runnable",
        "x86.c kvm_arch_vcpu_ioctl_get_mpstate()")),
    VCPU_STARTUP(behaviour(MEASURED, "a start-up message (SIPI) starts a vCPU at its vector times 4096: CS is the vector"
        + " times 256, RIP 0", "x86.c kvm_vcpu_deliver_sipi_vector()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    VmAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
