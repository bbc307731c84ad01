/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Set;

/** The CPUID leaves of a vCPU that the fake uses. Source: arch/x86/kvm/cpuid.c. Immutable. */
public final class GuestCpuid {
    private static final int FEATURES = CpuidLeaves.FEATURES;
    /** Leaf 1, ECX bit 21. */
    public static final int X2APIC = 1 << 21;

    private static final int EXTENDED = 0x8000_0000;
    private static final int ADDRESS_SIZES = 0x8000_0008;
    private static final int DEADLINE_TIMER = 1 << 24;
    /** The valid sizes of a linear address in bits: not reported, four-level and five-level page tables. */
    private static final Set<Integer> LINEAR_BITS = Set.of(0, 48, 57);
    /** The physical address bits without the leaf of address sizes. */
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

    /** The CPUID of a vCPU before KVM_SET_CPUID2. */
    public static GuestCpuid unset() {
        return new GuestCpuid(ByteBuffer.allocate(0), true);
    }

    boolean isUnset() {
        return unset;
    }

    /** @param register the offset of the register in {@code struct kvm_cpuid_entry2} */
    boolean has(int leaf, int register, int bit) {
        return (register(leaf, register) >>> bit & 1) != 0;
    }

    /** The leaves as {@code struct kvm_cpuid_entry2}, not to be modified. */
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

    /** Whether there is leaf 1, with signature and features. */
    public boolean hasFeatures() {
        return find(FEATURES) >= 0;
    }

    public boolean hasX2apic() {
        return (register(FEATURES, Uapi.KvmCpuidEntry2.ECX) & X2APIC) != 0;
    }

    public boolean hasDeadlineTimer() {
        return (register(FEATURES, Uapi.KvmCpuidEntry2.ECX) & DEADLINE_TIMER) != 0;
    }

    public int signature() {
        return hasFeatures() ? register(FEATURES, Uapi.KvmCpuidEntry2.EAX) : GeneralRegisters.SIGNATURE;
    }

    /** The XCR0 bits that the CPUID offers. */
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

    /** Whether the size of a linear address is valid or not reported: {@code kvm_check_cpuid()}. */
    public boolean hasKnownAddresses() {
        return LINEAR_BITS.contains(register(ADDRESS_SIZES, Uapi.KvmCpuidEntry2.EAX) >>> Byte.SIZE & BYTE);
    }
}
