/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Explanation.refusal;
import static io.kvmirq.explain.Fact.FULL_IRQCHIP;
import static io.kvmirq.explain.Fact.MISALIGNED;
import static io.kvmirq.explain.Fact.NEW;
import static io.kvmirq.explain.Fact.NO_IRQCHIP;
import static io.kvmirq.explain.Fact.SPLIT_IRQCHIP;
import static io.kvmirq.explain.Fact.TYPED_CALL;
import static io.kvmirq.explain.Fact.VCPUS;
import static io.kvmirq.explain.Fact.X86;

import io.kvmirq.Errno;

/** Of making a VM: the system, irqchips, vCPUs, memory. */
public enum VmCause implements Cause {
    VCPU_CPUID_OTHER(refusal(
            KernelCall.CPUID_SET,
            Errno.EINVAL,
            "the vCPU has run, and this is another CPUID",
            "set it before the first KVM_RUN",
            "cpuid.c kvm_set_cpuid()")),
    VCPU_CPUID_LEAVES(refusal(
            KernelCall.CPUID_SET,
            Errno.E2BIG,
            "a vCPU has at most 256 CPUID leaves",
            "nent",
            "cpuid.c kvm_vcpu_ioctl_set_cpuid2()")),
    BOOT_VCPU_AFTER_VCPU(refusal(
            KernelCall.BOOT_VCPU,
            Errno.EBUSY,
            "the VM has vCPUs already: the boot vCPU is chosen before the first",
            "the order of set-up",
            "x86.c KVM_SET_BOOT_CPU_ID")),
    BOOT_VCPU_ID(refusal(
            KernelCall.BOOT_VCPU,
            Errno.EINVAL,
            "an id beyond what a vCPU may have",
            "KVM_CAP_MAX_VCPU_ID",
            "x86.c KVM_SET_BOOT_CPU_ID")),
    PIT_EXISTS(refusal(
            KernelCall.PIT_CREATE, Errno.EEXIST, "the VM has a timer already", "who made it", "x86.c KVM_CREATE_PIT2")),
    PIT_NEEDS_PIC(refusal(
            KernelCall.PIT_CREATE,
            Errno.ENOENT,
            "the timer needs the PICs of the full irqchip",
            "which irqchip the VM has",
            "x86.c KVM_CREATE_PIT2")),
    VCPU_STATE_WITHOUT_LAPIC(refusal(
                    KernelCall.VCPU_STATE,
                    Errno.EINVAL,
                    "without in-kernel LAPIC a vCPU is always runnable",
                    "which irqchip the VM has",
                    "x86.c kvm_arch_vcpu_ioctl_set_mpstate()")
            .certainWhen(NO_IRQCHIP)),
    VCPU_STATE_UNKNOWN(refusal(
            KernelCall.VCPU_STATE,
            Errno.EINVAL,
            "x86 has no such state",
            "kvm_mp_state.mp_state",
            "x86.c kvm_arch_vcpu_ioctl_set_mpstate()")),
    LAPIC_X2APIC_ID(refusal(
            KernelCall.LAPIC_GET,
            Errno.EINVAL,
            "in x2APIC mode with 32-bit APIC ids the id is the vCPU's",
            "bytes 0x20-0x23 of the registers",
            "lapic.c kvm_apic_state_fixup()")),
    VM_HYPERVISOR(refusal(
            KernelCall.VM_CREATE,
            Errno.EBUSY,
            Text.OTHER_HYPERVISOR,
            "lsmod | grep -e vbox -e vmmon",
            "kvm_main.c hardware_enable_all()")),
    KVM_VM_TYPE(refusal(
                    KernelCall.VM_CREATE,
                    Errno.EINVAL,
                    "this kernel has no VM of that type",
                    "KVM_CAP_VM_TYPES; 0 is the default type of x86",
                    "x86.c kvm_arch_init_vm()")
            .unless(TYPED_CALL)),
    KVM_CPUID_ROOM(refusal(
            KernelCall.CPUID,
            Errno.E2BIG,
            "nent has no room for the leaves",
            "a larger nent: 100 is enough today",
            "cpuid.c kvm_dev_ioctl_get_cpuid()")),
    IRQCHIP_EXISTS(refusal(
            KernelCall.IRQCHIP_CREATE,
            Errno.EEXIST,
            "this VM already has an irqchip, full or split",
            "which code made it: the VMM may have, before the VM was adopted",
            "x86.c KVM_CREATE_IRQCHIP")),
    IRQCHIP_AFTER_VCPU(refusal(
                    KernelCall.IRQCHIP_CREATE,
                    Errno.EINVAL,
                    "vCPUs exist already: create the irqchip first",
                    Text.ORDER,
                    "x86.c KVM_CREATE_IRQCHIP")
            .certainWhen(VCPUS)),
    IRQCHIP_NOT_BUILT_IN(refusal(
                    KernelCall.IRQCHIP_CREATE,
                    Errno.ENOTTY,
                    "this kernel has no in-kernel irqchip except the split one",
                    "CONFIG_KVM_IOAPIC in the kernel's configuration; the split irqchip needs none",
                    "x86.c KVM_CREATE_IRQCHIP")
            .needs(X86, NEW)),
    SPLIT_EXISTS(refusal(
            KernelCall.SPLIT_IRQCHIP,
            Errno.EEXIST,
            "this VM already has an irqchip or vCPUs: make the split irqchip first",
            Text.ORDER,
            "x86.c KVM_CAP_SPLIT_IRQCHIP")),
    SPLIT_PINS(refusal(
            KernelCall.SPLIT_IRQCHIP, Errno.EINVAL, "more than 4096 pins", "args[0]", "x86.c KVM_CAP_SPLIT_IRQCHIP")),
    CAP_FLAGS(refusal(
                    KernelCall.CAP_ENABLE,
                    Errno.EINVAL,
                    "KVM_ENABLE_CAP has no flags",
                    "kvm_enable_cap.flags, which is 0",
                    "x86.c kvm_vm_ioctl_enable_cap(), arm.c kvm_vm_ioctl_enable_cap()")
            .unless(TYPED_CALL)),
    CAP_UNKNOWN(refusal(
            KernelCall.CAP_ENABLE,
            Errno.EINVAL,
            "the capability is not one to enable, or not on a VM",
            "KVM_CHECK_EXTENSION of it",
            "x86.c kvm_vm_ioctl_enable_cap()")),
    VCPU_CAP(refusal(
            KernelCall.CAP_ENABLE,
            Errno.EINVAL,
            "the capability is not one of a vCPU",
            "whether it is to be enabled on the VM",
            "x86.c kvm_vcpu_ioctl_enable_cap()")),
    X2APIC_TWO_BITS_BEFORE(refusal(
            KernelCall.X2APIC,
            Errno.EINVAL,
            "this kernel knows bits 0 and 1 only",
            "KVM_CHECK_EXTENSION(KVM_CAP_X2APIC_API) gives the bits there are",
            "x86.c KVM_X2APIC_API_VALID_FLAGS")),
    X2APIC_BITS(refusal(
            KernelCall.X2APIC,
            Errno.EINVAL,
            "bits this kernel does not know",
            "KVM_CHECK_EXTENSION(KVM_CAP_X2APIC_API) gives the bits there are",
            "x86.c KVM_X2APIC_API_VALID_FLAGS")),
    X2APIC_BOTH_SUPPRESS(refusal(
            KernelCall.X2APIC,
            Errno.EINVAL,
            "EOI broadcasts cannot be suppressed and not suppressed",
            "bits 2 and 3: one of them",
            "x86.c KVM_CAP_X2APIC_API")),
    X2APIC_SUPPRESS_SPLIT(refusal(
                    KernelCall.X2APIC,
                    Errno.EINVAL,
                    "suppressing EOI broadcasts needs the split irqchip",
                    "bit 2, and which irqchip the VM has",
                    "x86.c KVM_CAP_X2APIC_API")
            .needs(NO_IRQCHIP, FULL_IRQCHIP)),
    CHIP_NEEDS_FULL(refusal(
            KernelCall.IRQCHIP_STATE,
            Errno.ENXIO,
            "this VM has no full in-kernel irqchip",
            "which irqchip was made: with the split one PIC and IOAPIC are the VMM's",
            "x86.c KVM_GET_IRQCHIP")),
    CHIP_UNKNOWN(refusal(
                    KernelCall.IRQCHIP_STATE,
                    Errno.EINVAL,
                    "chips are 0 (PIC master), 1 (slave) and 2 (IOAPIC)",
                    "chip_id",
                    "irq.c kvm_vm_ioctl_get_irqchip()")
            .unless(TYPED_CALL)),
    VM_TSS_ADDRESS(refusal(
            KernelCall.TSS,
            Errno.EINVAL,
            "three pages from the address must lie below 4 GiB",
            "the address: 0xfffbd000 is QEMU's",
            "x86.c kvm_vm_ioctl_set_tss_addr()")),
    VCPU_EXISTS(refusal(
            KernelCall.VCPU_CREATE,
            Errno.EEXIST,
            "this VM already has a vCPU of that id",
            "the ids made so far",
            "kvm_main.c kvm_vm_ioctl_create_vcpu()")),
    VCPU_ID(refusal(
            KernelCall.VCPU_CREATE,
            Errno.EINVAL,
            "the id is beyond this VM's limit, or it has all its vCPUs",
            "KVM_CAP_MAX_VCPU_ID and KVM_CAP_MAX_VCPUS",
            "kvm_main.c kvm_vm_ioctl_create_vcpu()")),
    VCPU_IMMEDIATE_EXIT(refusal(
            KernelCall.VCPU_RUN,
            Errno.EINTR,
            "immediate_exit is set, or a signal came",
            "kvm_run.immediate_exit; it is the VMM's way out and no failure",
            "x86.c kvm_arch_vcpu_ioctl_run()")),
    RUN_WAITING(refusal(
                    KernelCall.VCPU_RUN,
                    Errno.EAGAIN,
                    "the vCPU is an application processor (AP), which waits for INIT and SIPI",
                    "call KVM_RUN again until both have come, or start it with KVM_SET_MP_STATE"
                            + " (KVM_MP_STATE_RUNNABLE)",
                    "x86.c kvm_arch_vcpu_ioctl_run()")
            .needs(X86)),
    VCPU_RUN_ARGUMENT(refusal(
                    KernelCall.VCPU_RUN,
                    Errno.EINVAL,
                    "KVM_RUN takes no argument",
                    "pass 0",
                    "kvm_main.c kvm_vcpu_ioctl()")
            .unless(TYPED_CALL)),
    RUN_MEMORY(refusal(
            KernelCall.VCPU_RUN,
            Errno.EFAULT,
            "the guest touched memory that this process has unmapped",
            "the memory slots against /proc/PID/maps",
            "x86.c vcpu_run(), kvm_main.c hva_to_pfn()")),
    LAPIC_NONE(refusal(
                    KernelCall.LAPIC_GET,
                    Errno.EINVAL,
                    "this VM has no in-kernel irqchip: create one before the vCPU",
                    Text.ORDER,
                    "x86.c KVM_GET_LAPIC")
            .certainWhen(NO_IRQCHIP)),
    MEMORY_OVERLAP(refusal(
            KernelCall.MEMORY,
            Errno.EEXIST,
            "it overlaps memory the guest already has",
            Text.SLOT,
            "kvm_main.c kvm_check_memslot_overlap()")),
    MEMORY_ALIGNMENT(refusal(
                    KernelCall.MEMORY,
                    Errno.EINVAL,
                    "address or size is not a multiple of the page size",
                    Text.SLOT,
                    "kvm_main.c kvm_set_memory_region()")
            .certainWhen(MISALIGNED)),
    MEMORY_CHANGED(refusal(
            KernelCall.MEMORY,
            Errno.EINVAL,
            "the slot has other memory already",
            "delete the slot first (size 0); moving it and logging may change in place",
            "kvm_main.c kvm_set_memory_region()")),
    MEMORY_ABSENT(refusal(
                    KernelCall.MEMORY,
                    Errno.EINVAL,
                    "there is no slot to delete",
                    Text.SLOT,
                    "kvm_main.c kvm_set_memory_region()")
            .unless(TYPED_CALL)),
    MEMORY_SLOT(refusal(
            KernelCall.MEMORY,
            Errno.EINVAL,
            "the slot's number is beyond KVM_CAP_NR_MEMSLOTS, or it has too many pages",
            Text.SLOT,
            "kvm_main.c kvm_set_memory_region()")),
    MEMORY_MEMFD(refusal(
                    KernelCall.MEMORY,
                    Errno.EBADF,
                    "the guest_memfd is not open",
                    "kvm_userspace_memory_region2.guest_memfd",
                    "guest_memfd.c kvm_gmem_bind()")
            .unless(TYPED_CALL)),
    MEMORY_NOT_A_MEMFD(refusal(
                    KernelCall.MEMORY,
                    Errno.EINVAL,
                    "the guest_memfd is another kind of file, or another VM's",
                    "kvm_userspace_memory_region2.guest_memfd",
                    "guest_memfd.c kvm_gmem_bind()")
            .unless(TYPED_CALL)),
    MEMORY_FLAGS(refusal(
                    KernelCall.MEMORY,
                    Errno.EINVAL,
                    "flags this kernel does not know",
                    "flags",
                    "kvm_main.c check_memory_region_flags()")
            .unless(TYPED_CALL)),
    MEMORY_BEYOND(refusal(
            KernelCall.MEMORY,
            Errno.EINVAL,
            "it ends beyond the processor's physical addresses",
            "address sizes in /proc/cpuinfo",
            "x86.c kvm_arch_prepare_memory_region()")),
    VCPU_INTERRUPT_PIC(refusal(
                    KernelCall.INTERRUPT,
                    Errno.ENXIO,
                    "the full in-kernel irqchip delivers interrupts, the VMM must not",
                    "use KVM_IRQ_LINE, KVM_SIGNAL_MSI or an irqfd",
                    "x86.c kvm_vcpu_ioctl_interrupt()")
            .certainWhen(FULL_IRQCHIP)),
    VCPU_INTERRUPT_PENDING(refusal(
                    KernelCall.INTERRUPT,
                    Errno.EEXIST,
                    "an interrupt is pending already",
                    "kvm_run.ready_for_interrupt_injection",
                    "x86.c kvm_vcpu_ioctl_interrupt()")
            .needs(SPLIT_IRQCHIP)),
    VCPU_INTERRUPT_VECTOR(refusal(
            KernelCall.INTERRUPT,
            Errno.EINVAL,
            "the vector is 256 or more",
            "kvm_interrupt.irq",
            "x86.c kvm_vcpu_ioctl_interrupt()"));

    /** What several say. */
    static final class Text {
        static final String OTHER_HYPERVISOR =
                "another hypervisor holds the CPU's virtualisation: stop it, or unload its module";
        static final String ORDER = "the order of set-up: irqchip, vCPUs, routes, irqfds";
        static final String SLOT = "slot, guest address, size and user address of all slots";
    }

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Explanation explanation;

    VmCause(Explanation explanation) {
        this.explanation = explanation;
    }

    @Override
    public Explanation explanation() {
        return explanation;
    }
}
