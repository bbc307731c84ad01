/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.stream.IntStream;

/**
 * The APIC of a vCPU in the kernel's memory. Immutable.
 *
 * @param thread the thread that made its VM
 * @param cpu the CPU that it was loaded on last; empty before the first
 * @param active whether APIC virtualization is in use for it: {@code kvm_lapic.apicv_active}
 * @param inhibits the reasons that inhibit APIC virtualization in its VM, by the names of newer kernels
 * @param requested the vectors in IRR of its register page, which is the virtual-APIC page with Intel, the backing page with
 *     AMD; ascending
 * @param inService the vectors in ISR there
 * @param posted its posted-interrupt descriptor with Intel; empty with AMD
 * @param avicEntry its entry in the physical APIC id table with AMD; empty with Intel, and while AVIC is not in use
 */
public record KernelVcpu(
        int thread,
        VcpuId vcpu,
        OptionalInt cpu,
        boolean active,
        List<String> inhibits,
        List<Integer> requested,
        List<Integer> inService,
        Optional<Posted> posted,
        OptionalLong avicEntry) {
    private static final int VECTORS = 256;

    /**
     * A descriptor, and what KVM has beside it.
     *
     * @param words all of it
     * @param place what KVM wrote last; unknown if it changed whenever it was read
     */
    public record Posted(PostedInterruptDescriptor words, Known<Place> place) {
        /** The vectors in PIR, ascending. */
        public List<Integer> requested() {
            return IntStream.range(0, VECTORS)
                    .filter(vector -> (words.bits()[vector / Long.SIZE] >>> vector & 1) != 0)
                    .boxed()
                    .toList();
        }
    }

    /**
     * Parts that KVM changes together, read as one.
     *
     * @param nv the notification vector
     * @param ndst the notified CPU
     * @param cpu the CPU that the vCPU was loaded on last; negative before the first
     * @param isListed whether the vCPU is on a CPU's list of those that the wake-up vector wakes
     */
    public record Place(int nv, long ndst, int cpu, boolean isListed) {}

    public KernelVcpu {
        inhibits = List.copyOf(inhibits);
        requested = List.copyOf(requested);
        inService = List.copyOf(inService);
    }
}
