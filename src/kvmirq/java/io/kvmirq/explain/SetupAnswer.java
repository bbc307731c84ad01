/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static io.kvmirq.Errno.*;
import static io.kvmirq.explain.Condition.*;
import static io.kvmirq.explain.Grade.*;
import static io.kvmirq.explain.KernelCall.*;
import static io.kvmirq.explain.Row.behaviour;
import static io.kvmirq.explain.Row.refusal;

/** Refusals and behaviours of VMM requests about CPUID, TSC and MSRs. */
public enum SetupAnswer implements Answer {
    // spotless:off: a table, with the likeliest row of each call and errno first
    CPUID_OF_VCPU_ROOM(refusal(MEASURED, CPUID_OF_VCPU, E2BIG, "nent is too small for the vCPU's leaves",
        "nent: as many"
        + " as KVM_SET_CPUID2 set", "cpuid.c kvm_vcpu_ioctl_get_cpuid2()").unless(TYPED_CALL)),
    CPUID_KEPT(behaviour(MEASURED, "KVM_GET_CPUID2 returns the leaves of KVM_SET_CPUID2; the kernel changes bits of leaves"
        + " 1, 7 and 0xd as the guest's registers change", "cpuid.c kvm_update_cpuid_runtime()")),
    TSC_SLOWER(refusal(MEASURED, TSC_RATE, EINVAL, "the processor cannot slow a guest's TSC down",
        "KVM_CAP_TSC_CONTROL; the rate is kept anyway", "x86.c set_tsc_khz()").needs(X86)),
    TSC_OF_VM(refusal(MEASURED, TSC_RATE, EINVAL, "the VM already has vCPUs, and its rate applies only to later ones",
        "KVM_SET_TSC_KHZ on the vCPU", "x86.c kvm_arch_vm_ioctl()").needs(X86, NEW)),
    TSC_OF_HOST(behaviour(MEASURED, "with kvm_pvm a guest reads the processor's TSC: writes of the TSC and of its"
        + " offset are accepted and ignored, and the offset is 0", "x86.c kvm_arch_tsc_set_attr()")),
    SMI_NONE(refusal(MEASURED, SMI, ENOTTY, "this kernel has no System Management Mode", "CONFIG_KVM_SMM in its"
        + " configuration", "smm.h kvm_inject_smi()")),
    MSRS_OF_PROCESSOR(behaviour(INFERRED, "MSRs that depend on the processor read 0, or as documented here, and keep"
        + " the value that was set", "x86.c kvm_do_msr_access()"));
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
