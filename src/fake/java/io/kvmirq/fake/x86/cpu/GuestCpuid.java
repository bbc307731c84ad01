/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Set;

/** The CPUID leaves of a vCPU, as far as the fake uses them; source: arch/x86/kvm/cpuid.c. Immutable. */
public final class GuestCpuid {
    private static final int FEATURES = CpuidLeaves.FEATURES;
    /** Leaf 1, ECX bit 21. */
    public static final int X2APIC = 1 << 21;

    private static final int VMX = 5;
    private static final int EXTENDED = 0x8000_0000;
    private static final int ADDRESS_SIZES = 0x8000_0008;
    private static final int DEADLINE_TIMER = 1 << 24;
    /** Sizes of a linear address in bits, by four levels of pages and by five. */
    private static final Set<Integer> LINEAR_BITS = Set.of(0, 48, 57);
    /** Without the leaf of address sizes. */
    private static final int LEAST_ADDRESS_BITS = 36;

    private static final int BYTE = 0xff;

    private final ByteBuffer leaves;
    private final boolean unset;

    /** @param leaves {@code struct kvm_cpuid_entry2}, which the caller does not change */
    public GuestCpuid(ByteBuffer leaves) {
        this(leaves, false);
    }

    private GuestCpuid(ByteBuffer leaves, boolean unset) {
        this.leaves = leaves;
        this.unset = unset;
    }

    /** That of a vCPU before KVM_SET_CPUID2. */
    public static GuestCpuid unset() {
        return new GuestCpuid(ByteBuffer.allocate(0), true);
    }

    boolean isUnset() {
        return unset;
    }

    /** @param register its place in {@code struct kvm_cpuid_entry2} */
    boolean has(int leaf, int register, int bit) {
        return (register(leaf, register) >>> bit & 1) != 0;
    }

    /** {@code struct kvm_cpuid_entry2}, which nobody changes. */
    public ByteBuffer leaves() {
        return leaves;
    }

    private int find(int function) {
        return CpuidLeaves.find(leaves, function, 0);
    }

    private int register(int function, int register) {
        int at = find(function);
        return at < 0 ? 0 : leaves.getInt(at + register);
    }

    /** Whether it has leaf 1, of signature and features. */
    public boolean hasFeatures() {
        return find(FEATURES) >= 0;
    }

    public boolean hasX2apic() {
        return (register(FEATURES, Uapi.KvmCpuidEntry2.ECX) & X2APIC) != 0;
    }

    public boolean hasDeadlineTimer() {
        return (register(FEATURES, Uapi.KvmCpuidEntry2.ECX) & DEADLINE_TIMER) != 0;
    }

    public boolean hasVmx() {
        return has(FEATURES, Uapi.KvmCpuidEntry2.ECX, VMX);
    }

    public int signature() {
        return hasFeatures() ? register(FEATURES, Uapi.KvmCpuidEntry2.EAX) : GeneralRegisters.SIGNATURE;
    }

    /** The bits of XCR0 that it offers. */
    public long xcr0() {
        return Integer.toUnsignedLong(register(CpuidLeaves.XSAVE, Uapi.KvmCpuidEntry2.EAX))
                | (long) register(CpuidLeaves.XSAVE, Uapi.KvmCpuidEntry2.EDX) << Integer.SIZE;
    }

    /** The size of a physical address in bits: {@code cpuid_query_maxphyaddr()}. */
    public int addressBits() {
        boolean told = Integer.compareUnsigned(register(EXTENDED, Uapi.KvmCpuidEntry2.EAX), ADDRESS_SIZES) >= 0
                && find(ADDRESS_SIZES) >= 0;
        return told ? register(ADDRESS_SIZES, Uapi.KvmCpuidEntry2.EAX) & BYTE : LEAST_ADDRESS_BITS;
    }

    /** Whether a linear address has a size that the kernel knows, or none: {@code kvm_check_cpuid()}. */
    public boolean hasKnownAddresses() {
        return LINEAR_BITS.contains(register(ADDRESS_SIZES, Uapi.KvmCpuidEntry2.EAX) >>> Byte.SIZE & BYTE);
    }
}
