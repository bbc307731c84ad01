/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * An x86 vCPU's CPUID leaves, which determine the results of its CPUID instruction. Immutable.
 *
 * <p>Source: {@code struct kvm_cpuid2} in asm/kvm.h; Intel SDM volume 2, CPUID.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="cpuid"}
 */
public final class Cpuid {
    /** KVM refuses a longer list with E2BIG. */
    private static final int MOST_LEAVES = 256;

    private static final int FEATURES = 1;
    private static final int THREADS = 1 << 28;
    private static final int TSC_DEADLINE = 1 << 24;
    private static final int HYPERVISOR = 1 << 31;
    private static final int APIC_ID_AT = 24;
    private static final int COUNT_AT = 16;
    private static final int LOW_HALF = 0xffff;
    private static final int BYTE = 0xff;
    private static final List<Integer> TOPOLOGIES = List.of(0xb, 0x1f);
    private static final int LEVEL_OF_THREADS = 1 << 8;
    private static final int LEVEL_OF_CORES = 2 << 8;

    private final List<Leaf> leaves;

    /**
     * A CPUID leaf: the CPUID instruction's results for one function and index.
     *
     * @param function EAX before the instruction
     * @param index ECX before the instruction; ignored if bit 0 of {@code flags} is 0
     * @param flags bit 0 is 1 if the results depend on {@code index}
     * @param eax EAX after the instruction; {@code ebx}, {@code ecx} and {@code edx} are EBX, ECX and EDX after it
     */
    public record Leaf(int function, int index, int flags, int eax, int ebx, int ecx, int edx) {
        /** The bit of {@link #flags} that is set if the results depend on the index. */
        public static final int INDEXED = 1;

        private boolean answers(int wanted, int wantedIndex) {
            return function == wanted && ((flags & INDEXED) == 0 || index == wantedIndex);
        }
    }

    private Cpuid(List<Leaf> leaves) {
        this.leaves = List.copyOf(leaves);
    }

    /**
     * All CPUID leaves that KVM supports on this host, including x2APIC.
     *
     * @throws io.kvmirq.KernelException ENOENT or EACCES if the KVM device cannot be opened
     * @throws UnsupportedOperationException if the kernel is not x86
     */
    public static Cpuid ofHost(Kernel kernel) {
        Objects.requireNonNull(kernel, "kernel is null");
        return read(SupportedCpu.cpuid(kernel, MOST_LEAVES));
    }

    /** Makes a Cpuid with these leaves, such as the {@link #leaves} of another host. */
    public static Cpuid of(List<Leaf> leaves) {
        Objects.requireNonNull(leaves, "leaves is null");
        return new Cpuid(leaves);
    }

    static Cpuid read(ByteBuffer structure) {
        List<Leaf> leaves = new ArrayList<>();
        int count = structure.getInt(Uapi.KvmCpuid2.NENT);
        for (int i = 0; i < count; i++) {
            int at = Uapi.KvmCpuid2.SIZE + i * Uapi.KvmCpuidEntry2.SIZE;
            leaves.add(new Leaf(
                    structure.getInt(at + Uapi.KvmCpuidEntry2.FUNCTION),
                    structure.getInt(at + Uapi.KvmCpuidEntry2.INDEX),
                    structure.getInt(at + Uapi.KvmCpuidEntry2.FLAGS),
                    structure.getInt(at + Uapi.KvmCpuidEntry2.EAX),
                    structure.getInt(at + Uapi.KvmCpuidEntry2.EBX),
                    structure.getInt(at + Uapi.KvmCpuidEntry2.ECX),
                    structure.getInt(at + Uapi.KvmCpuidEntry2.EDX)));
        }
        return new Cpuid(leaves);
    }

    ByteBuffer structure() {
        ByteBuffer structure = Buffers.allocate(Uapi.KvmCpuid2.SIZE + leaves.size() * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, leaves.size());
        for (int i = 0; i < leaves.size(); i++) {
            Leaf leaf = leaves.get(i);
            int at = Uapi.KvmCpuid2.SIZE + i * Uapi.KvmCpuidEntry2.SIZE;
            structure
                    .putInt(at + Uapi.KvmCpuidEntry2.FUNCTION, leaf.function)
                    .putInt(at + Uapi.KvmCpuidEntry2.INDEX, leaf.index)
                    .putInt(at + Uapi.KvmCpuidEntry2.FLAGS, leaf.flags)
                    .putInt(at + Uapi.KvmCpuidEntry2.EAX, leaf.eax)
                    .putInt(at + Uapi.KvmCpuidEntry2.EBX, leaf.ebx)
                    .putInt(at + Uapi.KvmCpuidEntry2.ECX, leaf.ecx)
                    .putInt(at + Uapi.KvmCpuidEntry2.EDX, leaf.edx);
        }
        return structure;
    }

    /** All leaves of this CPUID. */
    public List<Leaf> leaves() {
        return leaves;
    }

    /** The leaf of a function and an index; empty if absent, in which case the guest usually reads zeros. */
    public Optional<Leaf> leaf(int function, int index) {
        return leaves.stream().filter(leaf -> leaf.answers(function, index)).findFirst();
    }

    /** A copy with this leaf, which replaces the leaf of the same function and index. */
    public Cpuid with(Leaf leaf) {
        Objects.requireNonNull(leaf, "leaf is null");
        List<Leaf> changed = new ArrayList<>(leaves);
        changed.removeIf(old -> old.answers(leaf.function, leaf.index));
        changed.add(leaf);
        return new Cpuid(changed);
    }

    /** A copy without the leaves of a function. */
    public Cpuid without(int function) {
        return new Cpuid(
                leaves.stream().filter(leaf -> leaf.function != function).toList());
    }

    /**
     * A copy with the hypervisor bit and the TSC-deadline bit set in leaf 1. Linux before 6.14 omits both from {@link
     * #ofHost} and expects the VMM to set them. A Linux guest looks for KVM only if the hypervisor bit is set. The
     * TSC-deadline bit needs in-kernel LAPICs and {@code KVM_CAP_TSC_DEADLINE_TIMER}. Without it, KVM ignores writes to
     * IA32_TSC_DEADLINE.
     *
     * @throws IllegalStateException if leaf 1 is absent
     */
    public Cpuid forGuestOfKvm() {
        Leaf old = leaf(FEATURES, 0).orElseThrow(() -> new IllegalStateException("no leaf 1: begin with ofHost"));
        int ecx = old.ecx | HYPERVISOR | TSC_DEADLINE;
        return with(new Leaf(FEATURES, old.index, old.flags, old.eax, old.ebx, ecx, old.edx));
    }

    /**
     * A copy for one vCPU, with this APIC id, in which the VM's vCPUs are the cores of one package.
     *
     * @param apicId the vCPU's APIC id, which equals the vCPU's id
     * @param vcpus the VM's number of vCPUs, at least 1
     * @throws IllegalArgumentException if {@code apicId} is negative or {@code vcpus} is below 1
     */
    public Cpuid forVcpu(int apicId, int vcpus) {
        if (apicId < 0 || vcpus < 1) {
            throw new IllegalArgumentException(
                    "vCPU " + apicId + " of " + vcpus + ": expected an id of 0 or more, and at least 1 vCPU");
        }
        int bits = Integer.SIZE - Integer.numberOfLeadingZeros(vcpus - 1);
        Cpuid made = leaf(FEATURES, 0)
                .map(old -> with(new Leaf(
                        FEATURES,
                        old.index,
                        old.flags,
                        old.eax,
                        old.ebx & LOW_HALF | (1 << bits & BYTE) << COUNT_AT | (apicId & BYTE) << APIC_ID_AT,
                        old.ecx,
                        vcpus > 1 ? old.edx | THREADS : old.edx & ~THREADS)))
                .orElse(this);
        for (int function : TOPOLOGIES) {
            if (leaf(function, 0).isPresent()) {
                made = made.without(function)
                        .with(new Leaf(function, 0, Leaf.INDEXED, 0, 1, LEVEL_OF_THREADS, apicId))
                        .with(new Leaf(function, 1, Leaf.INDEXED, bits, vcpus, LEVEL_OF_CORES | 1, apicId))
                        .with(new Leaf(function, 2, Leaf.INDEXED, 0, 0, 2, apicId));
            }
        }
        return made;
    }

    /** A copy with this APIC id and an unchanged topology. */
    Cpuid withApicId(int id) {
        List<Leaf> changed = new ArrayList<>();
        for (Leaf leaf : leaves) {
            int ebx = leaf.function == FEATURES ? leaf.ebx & ~(BYTE << APIC_ID_AT) | id << APIC_ID_AT : leaf.ebx;
            int edx = TOPOLOGIES.contains(leaf.function) ? id : leaf.edx;
            changed.add(new Leaf(leaf.function, leaf.index, leaf.flags, leaf.eax, ebx, leaf.ecx, edx));
        }
        return new Cpuid(changed);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Cpuid cpuid && cpuid.leaves.equals(leaves);
    }

    @Override
    public int hashCode() {
        return leaves.hashCode();
    }

    @Override
    public String toString() {
        return "CPUID of " + leaves.size() + " leaves";
    }
}
