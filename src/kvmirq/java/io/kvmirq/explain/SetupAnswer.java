/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Fact.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.refusal;

/** Answers to requests of VMMs other than interrupts: CPUID, TSC, machine checks, MSR filters. */
public enum SetupAnswer implements Answer {
    // spotless:off: a table; within a call and an errno the likeliest row is the first
    CPUID_OF_VCPU_ROOM(refusal(MEASURED, CPUID_OF_VCPU, E2BIG, "nent has no room for the vCPU's leaves", "nent: as many"
        + " as KVM_SET_CPUID2 set", "cpuid.c kvm_vcpu_ioctl_get_cpuid2()").unless(TYPED_CALL)),
    CPUID_KEPT(behaviour(MEASURED, "KVM_GET_CPUID2 gives the leaves of KVM_SET_CPUID2; the kernel changes bits of leaves"
        + " 1, 7 and 0xd as the guest's registers change", "cpuid.c kvm_update_cpuid_runtime()")),
    TSC_SLOWER(refusal(MEASURED, TSC_RATE, EINVAL, "the processor cannot slow a guest's TSC down",
        "KVM_CAP_TSC_CONTROL; the rate is kept all the same", "x86.c set_tsc_khz()").needs(X86)),
    TSC_OF_VM(refusal(MEASURED, TSC_RATE, EINVAL, "the VM has vCPUs already: its rate is for later ones",
        "KVM_SET_TSC_KHZ of the vCPU", "x86.c kvm_arch_vm_ioctl()").needs(X86, NEW)),
    TSC_SHARED(behaviour(LAB, "a new vCPU takes the TSC offset that a vCPU of its VM was given last. A write of the TSC"
        + " does the same if it is of 0, or of a value less than a second from what the last one has become. Both vCPUs"
        + " must have one rate", "x86.c kvm_synchronize_tsc()")),
    TSC_FIRST_WRITE_BEFORE(behaviour(LAB, "before 6.7 the first write of a VM's TSC is compared too, with the 0 at"
        + " which its last vCPU was created", "x86.c kvm_synchronize_tsc()")),
    TSC_OF_HOST(behaviour(MEASURED, "with kvm_pvm a guest reads the processor's TSC: writes of the TSC and of its"
        + " offset are accepted and ignored, and the offset is 0", "x86.c kvm_arch_tsc_set_attr()")),
    CLOCK_NOT_ON(refusal(MEASURED, CLOCK_PAUSE, EINVAL, "the guest does not use KVM's clock",
        "the MSR KVM_SYSTEM_TIME; a VMM ignores it", "x86.c kvm_set_guest_paused()")),
    MMU_PAGES_FEW(refusal(MEASURED, MMU_PAGES, EINVAL, "fewer than 64 pages", "the argument",
        "x86.c kvm_vm_ioctl_set_nr_mmu_pages()")),
    FILTER_FLAGS(refusal(MEASURED, MSR_FILTER, EINVAL, "a flag that this kernel does not know, or a range without READ"
        + " and WRITE", "kvm_msr_filter.flags: 1; those of a range: 1 and 2",
        "x86.c kvm_vm_ioctl_set_msr_filter()").unless(TYPED_CALL)),
    FILTER_EMPTY(refusal(MEASURED, MSR_FILTER, EINVAL, "KVM_MSR_FILTER_DEFAULT_DENY without a range denies all MSRs",
        "nmsrs of the ranges", "x86.c kvm_vm_ioctl_set_msr_filter()")),
    FILTER_LONG(refusal(MEASURED, MSR_FILTER, EINVAL, "a range has more than 12288 MSRs", "nmsrs",
        "x86.c kvm_add_msr_filter()")),
    MCE_BANKS(refusal(MEASURED, MCE_SETUP, EINVAL, "no bank, or more than 32", "bits 7:0: KVM_CAP_MCE",
        "x86.c kvm_vcpu_ioctl_x86_setup_mce()")),
    MCE_CAPABILITIES(refusal(MEASURED, MCE_SETUP, EINVAL, "capabilities that KVM does not have",
        "KVM_X86_GET_MCE_CAP_SUPPORTED", "x86.c kvm_vcpu_ioctl_x86_setup_mce()")),
    MCE_NO_BANK(refusal(MEASURED, MCE_SET, EINVAL, "the vCPU has no such bank, or the status is not valid (bit 63)",
        "bank and status", "x86.c kvm_vcpu_ioctl_x86_set_mce()")),
    VAPIC_WITHOUT_LAPIC(refusal(MEASURED, VAPIC, EINVAL, "the vCPU has no in-kernel LAPIC", "which irqchip the VM has",
        "x86.c kvm_arch_vcpu_ioctl()").certainWhen(NO_IRQCHIP)),
    VAPIC_MEMORY(refusal(MEASURED, VAPIC, EINVAL, "the guest has no memory there that it may write",
        "vapic_addr and the memory slots", "lapic.c kvm_lapic_set_vapic_addr()")),
    TPR_FLAGS(refusal(MEASURED, TPR, EINVAL, "KVM_TPR_ACCESS_REPORTING has no flags", "kvm_tpr_access_ctl.flags, which"
        + " is 0", "x86.c vapic_tpr_access_reporting()").unless(TYPED_CALL)),
    SMI_NONE(refusal(MEASURED, SMI, ENOTTY, "this kernel has no System Management Mode", "CONFIG_KVM_SMM in its"
        + " configuration", "smm.h kvm_inject_smi()")),
    SREGS_PDPTRS(refusal(MEASURED, SREGS_SET, EINVAL, "flags that this kernel does not know, or page directory pointers"
        + " outside PAE paging", "kvm_sregs2.flags: 1 is KVM_SREGS2_FLAGS_PDPTRS_VALID",
        "x86.c __set_sregs2()").unless(TYPED_CALL)),
    MSRS_OF_PROCESSOR(behaviour(INFERRED, "MSRs that depend on the processor read 0, or as documented here, and keep"
        + " what was set", "x86.c kvm_do_msr_access()"));
    // spotless:on

    @SuppressWarnings("ImmutableEnumChecker") // a record of values
    private final Row row;

    SetupAnswer(Row row) {
        this.row = row;
    }

    @Override
    public Row row() {
        return row;
    }
}
