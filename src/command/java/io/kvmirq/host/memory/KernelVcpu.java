/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.path.Known;
import java.util.BitSet;
import java.util.List;
import java.util.OptionalLong;

/**
 * A vCPU's APIC in kernel memory. Immutable.
 *
 * @param thread the thread that made its VM
 * @param active whether APIC virtualization is in use for it: {@code kvm_lapic.apicv_active}
 * @param inhibits the reasons that inhibit APIC virtualization in its VM, by the names of newer kernels
 * @param page vectors of its register page, which is the virtual-APIC page with Intel, the backing page with AMD
 * @param posted its posted-interrupt descriptor; none unless kvm_intel runs it
 * @param avicEntry KVM's copy of its entry in AVIC's table of physical APIC ids; empty with Intel, and while AVIC is not in use
 */
public record KernelVcpu(
        int thread,
        VcpuId vcpu,
        boolean active,
        List<String> inhibits,
        Known<Page> page,
        Known<Posted> posted,
        OptionalLong avicEntry) {
    /**
     * Vectors of a register page, ascending.
     *
     * @param requested those in IRR
     * @param inService those in ISR
     */
    public record Page(List<Integer> requested, List<Integer> inService) {
        public Page {
            requested = List.copyOf(requested);
            inService = List.copyOf(inService);
        }
    }

    /**
     * A descriptor, and what KVM changes with it, read as one.
     *
     * @param words all of it
     * @param cpu the CPU that the vCPU was loaded on last; negative before the first
     * @param isListed whether the vCPU is on a CPU's list of those that the wake-up vector wakes
     */
    public record Posted(PostedInterruptDescriptor words, int cpu, boolean isListed) {
        /** The vectors in PIR, ascending. */
        public List<Integer> requested() {
            long[] pir = {words.pir0(), words.pir1(), words.pir2(), words.pir3()};
            return BitSet.valueOf(pir).stream().boxed().toList();
        }
    }

    public KernelVcpu {
        inhibits = List.copyOf(inhibits);
    }

    /** Whether KVM never keeps descriptors: kvm_intel.enable_apicv=N. */
    public boolean isDisabled() {
        return inhibits.contains("DISABLED");
    }
}
