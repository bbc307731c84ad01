/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.explain.Cause.cause;
import static io.kvmirq.explain.Fact.FULL_IRQCHIP;
import static io.kvmirq.explain.Fact.NEW;
import static io.kvmirq.explain.Fact.NO_IRQCHIP;
import static io.kvmirq.explain.Fact.SPLIT_IRQCHIP;
import static io.kvmirq.explain.Fact.VCPUS;
import static io.kvmirq.explain.Fact.X86;

import io.kvmirq.Errno;
import java.util.List;

/** Of making a VM: the system, irqchips, vCPUs, memory. */
final class VmCauses {
    static final String OTHER_HYPERVISOR =
            "another hypervisor holds the CPU's virtualisation: stop it, or unload its module";

    private static final String ORDER = "the order of set-up: irqchip, vCPUs, routes, irqfds";
    private static final String SLOT = "slot, guest address, size and user address of all slots";

    private VmCauses() {}

    static List<Cause> rows() {
        return List.of(
                cause(
                        "VCPU_CPUID_OTHER",
                        KernelCall.CPUID_SET,
                        Errno.EINVAL,
                        "the vCPU has run, and this is another CPUID",
                        "set it before the first KVM_RUN"),
                cause(
                        "VCPU_CPUID_LEAVES",
                        KernelCall.CPUID_SET,
                        Errno.E2BIG,
                        "a vCPU has at most 256 CPUID leaves",
                        "nent"),
                cause(
                        "BOOT_VCPU_AFTER_VCPU",
                        KernelCall.BOOT_VCPU,
                        Errno.EBUSY,
                        "the boot vCPU is chosen before there is any",
                        "the order of set-up"),
                cause(
                        "BOOT_VCPU_ID",
                        KernelCall.BOOT_VCPU,
                        Errno.EINVAL,
                        "an id beyond what a vCPU may have",
                        "KVM_CAP_MAX_VCPU_ID"),
                cause("PIT_EXISTS", KernelCall.PIT_CREATE, Errno.EEXIST, "the VM has a timer already", "who made it"),
                cause(
                        "PIT_NEEDS_PIC",
                        KernelCall.PIT_CREATE,
                        Errno.ENOENT,
                        "the timer needs the PICs of the full irqchip",
                        "which irqchip the VM has"),
                cause(
                        "MEMORY_MEMFD",
                        KernelCall.MEMORY,
                        Errno.EBADF,
                        "the guest_memfd is not open",
                        "kvm_userspace_memory_region2.guest_memfd"),
                cause(
                        "MEMORY_NOT_A_MEMFD",
                        KernelCall.MEMORY,
                        Errno.EINVAL,
                        "the guest_memfd is another kind of file, or another VM's",
                        "kvm_userspace_memory_region2.guest_memfd"),
                cause(
                        "VCPU_STATE_WITHOUT_LAPIC",
                        KernelCall.VCPU_STATE,
                        Errno.EINVAL,
                        "without in-kernel LAPIC a vCPU is always runnable",
                        "which irqchip the VM has",
                        NO_IRQCHIP),
                cause(
                        "VCPU_STATE_UNKNOWN",
                        KernelCall.VCPU_STATE,
                        Errno.EINVAL,
                        "a state x86 does not have",
                        "kvm_mp_state.mp_state"),
                cause(
                        "LAPIC_X2APIC_ID",
                        KernelCall.LAPIC,
                        Errno.EINVAL,
                        "in x2APIC mode with long APIC ids the id is the vCPU's",
                        "bytes 0x20-0x23 of the registers"),
                cause(
                        "vm-hypervisor",
                        KernelCall.VM_CREATE,
                        Errno.EBUSY,
                        OTHER_HYPERVISOR,
                        "lsmod | grep -e vbox -e vmmon"),
                cause(
                        "KVM_VM_TYPE",
                        KernelCall.VM_CREATE,
                        Errno.EINVAL,
                        "this kernel has no VM of that type",
                        "KVM_CAP_VM_TYPES; 0 is the default type of x86"),
                cause(
                        "KVM_CPUID_ROOM",
                        KernelCall.CPUID,
                        Errno.E2BIG,
                        "nent has no room for the leaves",
                        "a larger nent: 100 is enough today"),
                cause(
                        "IRQCHIP_EXISTS",
                        KernelCall.IRQCHIP_CREATE,
                        Errno.EEXIST,
                        "this VM already has an irqchip, full or split",
                        "who made it: the VMM may have, before the VM was adopted"),
                cause(
                        "IRQCHIP_AFTER_VCPU",
                        KernelCall.IRQCHIP_CREATE,
                        Errno.EINVAL,
                        "vCPUs exist already: create the irqchip first",
                        ORDER,
                        VCPUS),
                cause(
                        "IRQCHIP_NOT_BUILT_IN",
                        KernelCall.IRQCHIP_CREATE,
                        Errno.ENOTTY,
                        "this kernel has no in-kernel irqchip but the split one",
                        "CONFIG_KVM_IOAPIC in the kernel's configuration; the split irqchip needs none",
                        X86,
                        NEW),
                cause(
                        "SPLIT_EXISTS",
                        KernelCall.SPLIT_IRQCHIP,
                        Errno.EEXIST,
                        "this VM already has an irqchip or vCPUs: make the split irqchip first",
                        ORDER),
                cause("SPLIT_PINS", KernelCall.SPLIT_IRQCHIP, Errno.EINVAL, "more than 4096 pins", "args[0]"),
                cause(
                        "CAP_FLAGS ARM_CAP_FLAGS",
                        KernelCall.CAP_ENABLE,
                        Errno.EINVAL,
                        "KVM_ENABLE_CAP has no flags",
                        "kvm_enable_cap.flags, which is 0"),
                cause(
                        "CAP_UNKNOWN",
                        KernelCall.CAP_ENABLE,
                        Errno.EINVAL,
                        "the capability is not one to enable, or not on a VM",
                        "KVM_CHECK_EXTENSION of it"),
                cause(
                        "VCPU_CAP",
                        KernelCall.CAP_ENABLE,
                        Errno.EINVAL,
                        "the capability is not one of a vCPU",
                        "whether it is to be enabled on the VM"),
                cause(
                        "X2APIC_TWO_BITS_BEFORE",
                        KernelCall.X2APIC,
                        Errno.EINVAL,
                        "this kernel knows bits 0 and 1 only",
                        "KVM_CHECK_EXTENSION(KVM_CAP_X2APIC_API) gives the bits there are"),
                cause(
                        "X2APIC_BITS",
                        KernelCall.X2APIC,
                        Errno.EINVAL,
                        "bits this kernel does not know",
                        "KVM_CHECK_EXTENSION(KVM_CAP_X2APIC_API) gives the bits there are"),
                cause(
                        "X2APIC_BOTH_SUPPRESS",
                        KernelCall.X2APIC,
                        Errno.EINVAL,
                        "EOI broadcasts cannot be suppressed and not suppressed",
                        "bits 2 and 3: one of them"),
                cause(
                        "X2APIC_SUPPRESS_SPLIT",
                        KernelCall.X2APIC,
                        Errno.EINVAL,
                        "suppressing EOI broadcasts needs the split irqchip",
                        "bit 2, and which irqchip the VM has",
                        NO_IRQCHIP,
                        FULL_IRQCHIP),
                cause(
                        "CHIP_NEEDS_FULL",
                        KernelCall.IRQCHIP_STATE,
                        Errno.ENXIO,
                        "this VM has no full in-kernel irqchip",
                        "which irqchip was made: with the split one PIC and IOAPIC are the VMM's"),
                cause(
                        "CHIP_UNKNOWN",
                        KernelCall.IRQCHIP_STATE,
                        Errno.EINVAL,
                        "chips are 0 (PIC master), 1 (slave) and 2 (IOAPIC)",
                        "chip_id"),
                cause(
                        "VM_TSS_ADDRESS",
                        KernelCall.TSS,
                        Errno.EINVAL,
                        "three pages from the address must lie below 4 GiB",
                        "the address: 0xfffbd000 is QEMU's"),
                cause(
                        "VCPU_EXISTS",
                        KernelCall.VCPU_CREATE,
                        Errno.EEXIST,
                        "this VM already has a vCPU of that id",
                        "the ids made so far"),
                cause(
                        "VCPU_ID",
                        KernelCall.VCPU_CREATE,
                        Errno.EINVAL,
                        "the id is beyond this VM's limit, or it has all its vCPUs",
                        "KVM_CAP_MAX_VCPU_ID and KVM_CAP_MAX_VCPUS"),
                cause(
                        "VCPU_IMMEDIATE_EXIT",
                        KernelCall.VCPU_RUN,
                        Errno.EINTR,
                        "immediate_exit is set, or a signal came",
                        "kvm_run.immediate_exit; it is the VMM's way out and no failure"),
                cause("VCPU_RUN_ARGUMENT", KernelCall.VCPU_RUN, Errno.EINVAL, "KVM_RUN takes no argument", "pass 0"),
                cause(
                        "run-memory",
                        KernelCall.VCPU_RUN,
                        Errno.EFAULT,
                        "the guest touched memory that this process has unmapped",
                        "the memory slots against /proc/PID/maps"),
                cause(
                        "LAPIC_NONE",
                        KernelCall.LAPIC,
                        Errno.EINVAL,
                        "this VM has no in-kernel irqchip: create one before the vCPU",
                        ORDER,
                        NO_IRQCHIP),
                cause(
                        "MEMORY_OVERLAP",
                        KernelCall.MEMORY,
                        Errno.EEXIST,
                        "it overlaps memory the guest already has",
                        SLOT),
                cause(
                        "MEMORY_ALIGNMENT",
                        KernelCall.MEMORY,
                        Errno.EINVAL,
                        "address or size is not a multiple of the page size",
                        SLOT),
                cause(
                        "MEMORY_CHANGED",
                        KernelCall.MEMORY,
                        Errno.EINVAL,
                        "the slot has other memory already",
                        "delete the slot first (size 0); moving it and logging may change in place"),
                cause("MEMORY_ABSENT", KernelCall.MEMORY, Errno.EINVAL, "there is no slot to delete", SLOT),
                cause(
                        "MEMORY_SLOT",
                        KernelCall.MEMORY,
                        Errno.EINVAL,
                        "the slot's number is beyond KVM_CAP_NR_MEMSLOTS, or it has too many pages",
                        SLOT),
                cause("MEMORY_FLAGS", KernelCall.MEMORY, Errno.EINVAL, "flags this kernel does not know", "flags"),
                cause(
                        "MEMORY_BEYOND",
                        KernelCall.MEMORY,
                        Errno.EINVAL,
                        "it ends beyond the processor's physical addresses",
                        "address sizes in /proc/cpuinfo"),
                cause(
                        "VCPU_INTERRUPT_PIC",
                        KernelCall.INTERRUPT,
                        Errno.ENXIO,
                        "the full in-kernel irqchip delivers interrupts, the VMM must not",
                        "use KVM_IRQ_LINE, KVM_SIGNAL_MSI or an irqfd",
                        FULL_IRQCHIP),
                cause(
                        "VCPU_INTERRUPT_PENDING",
                        KernelCall.INTERRUPT,
                        Errno.EEXIST,
                        "one is pending already",
                        "kvm_run.ready_for_interrupt_injection",
                        SPLIT_IRQCHIP),
                cause(
                        "VCPU_INTERRUPT_VECTOR",
                        KernelCall.INTERRUPT,
                        Errno.EINVAL,
                        "a vector is below 256",
                        "kvm_interrupt.irq"));
    }
}
