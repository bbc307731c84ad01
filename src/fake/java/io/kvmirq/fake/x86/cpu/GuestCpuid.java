/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.uapi.Uapi.KvmCpuidEntry2;
import java.nio.ByteBuffer;
import java.util.Set;

/**
 * The CPUID leaves that the VMM set for a vCPU, and the fields that the fake uses. A real kernel also changes bits of
 * leaves 1, 7 and 0xd with guest registers, which no guest of the fake reads. Source: arch/x86/kvm/cpuid.c. Immutable.
 */
public final class GuestCpuid {
    private static final int FEATURES = 1;
    private static final int XSAVE = 0xd;
    /** KVM_CPUID_FLAG_SIGNIFCANT_INDEX: the leaf depends on the index. */
    public static final int INDEXED = 1;

    /** The x2APIC feature: CPUID leaf 1, ECX bit 21. */
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

    /** @param leaves an array of {@code struct kvm_cpuid_entry2}; the caller must not change it afterwards */
    public GuestCpuid(ByteBuffer leaves) {
        this.leaves = leaves;
    }

    /** Returns the CPUID of a vCPU before KVM_SET_CPUID2. */
    public static GuestCpuid unset() {
        return new GuestCpuid(ByteBuffer.allocate(0));
    }

    /** Returns the leaves as {@code struct kvm_cpuid_entry2}; do not modify the buffer. */
    public ByteBuffer leaves() {
        return leaves;
    }

    /** Whether another CPUID has the same leaves, apart from padding: {@code kvm_cpuid_check_equal()}. */
    public boolean isSameAs(GuestCpuid other) {
        boolean same = leaves.capacity() == other.leaves.capacity();
        int length = KvmCpuidEntry2.EDX + Integer.BYTES;
        for (int at = 0; same && at < leaves.capacity(); at += KvmCpuidEntry2.SIZE) {
            same = leaves.slice(at, length).equals(other.leaves.slice(at, length));
        }
        return same;
    }

    /** The offset of the first entry of a leaf, with index 0 if the leaf has indexes; -1 for none. */
    private int find(int function) {
        for (int at = 0; at < leaves.capacity(); at += KvmCpuidEntry2.SIZE) {
            boolean indexed = (leaves.getInt(at + KvmCpuidEntry2.FLAGS) & INDEXED) != 0;
            if (leaves.getInt(at) == function && (!indexed || leaves.getInt(at + KvmCpuidEntry2.INDEX) == 0)) {
                return at;
            }
        }
        return -1;
    }

    private int register(int function, int register) {
        int at = find(function);
        return at < 0 ? 0 : leaves.getInt(at + register);
    }

    /** Whether the VMM set leaf 1, which has the processor's signature and features. */
    public boolean hasFeatures() {
        return find(FEATURES) >= 0;
    }

    public boolean hasX2apic() {
        return (register(FEATURES, KvmCpuidEntry2.ECX) & X2APIC) != 0;
    }

    public boolean hasDeadlineTimer() {
        return (register(FEATURES, KvmCpuidEntry2.ECX) & DEADLINE_TIMER) != 0;
    }

    public int signature() {
        return hasFeatures() ? register(FEATURES, KvmCpuidEntry2.EAX) : GeneralRegisters.SIGNATURE;
    }

    /** Returns the bits of XCR0 that the guest may set according to the CPUID. */
    public long xcr0() {
        return Integer.toUnsignedLong(register(XSAVE, KvmCpuidEntry2.EAX))
                | (long) register(XSAVE, KvmCpuidEntry2.EDX) << Integer.SIZE;
    }

    /** Returns the size of a physical address in bits: {@code cpuid_query_maxphyaddr()}. */
    public int addressBits() {
        boolean hasSizes = Integer.compareUnsigned(register(EXTENDED, KvmCpuidEntry2.EAX), ADDRESS_SIZES) >= 0
                && find(ADDRESS_SIZES) >= 0;
        return hasSizes ? register(ADDRESS_SIZES, KvmCpuidEntry2.EAX) & BYTE : LEAST_ADDRESS_BITS;
    }

    /** Whether the CPUID's size of linear addresses is valid or missing: {@code kvm_check_cpuid()}. */
    public boolean hasKnownAddresses() {
        return LINEAR_BITS.contains(register(ADDRESS_SIZES, KvmCpuidEntry2.EAX) >>> Byte.SIZE & BYTE);
    }
}
