/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.fake.file.Build;
import io.kvmirq.uapi.Uapi;

/**
 * The bits of CR4 that a vCPU may have. Source: {@code __cr4_reserved_bits()} in arch/x86/kvm/x86.h. Before
 * KVM_SET_CPUID2, and with kvm_pvm always, only the host decides. The modelled host has all of them, except VMX on AMD.
 */
final class ControlBits {
    private static final int FEATURES = 1;
    private static final int EXTENDED_FEATURES = 7;

    /** VME to OSXMMEXCPT, which every processor has. */
    private static final long ALWAYS = 0x7ff;

    /** A bit that depends on a CPUID bit. */
    private enum Bit {
        UMIP(11, EXTENDED_FEATURES, Uapi.KvmCpuidEntry2.ECX, 2),
        LA57(12, EXTENDED_FEATURES, Uapi.KvmCpuidEntry2.ECX, 16),
        VMXE(13, FEATURES, Uapi.KvmCpuidEntry2.ECX, 5),
        FSGSBASE(16, EXTENDED_FEATURES, Uapi.KvmCpuidEntry2.EBX, 0),
        PCIDE(17, FEATURES, Uapi.KvmCpuidEntry2.ECX, 17),
        OSXSAVE(18, FEATURES, Uapi.KvmCpuidEntry2.ECX, 26),
        SMEP(20, EXTENDED_FEATURES, Uapi.KvmCpuidEntry2.EBX, 7),
        SMAP(21, EXTENDED_FEATURES, Uapi.KvmCpuidEntry2.EBX, 20),
        PKE(22, EXTENDED_FEATURES, Uapi.KvmCpuidEntry2.ECX, 3);

        private final long mask;
        private final int leaf;
        private final int register;
        private final int feature;

        Bit(int number, int leaf, int register, int feature) {
            this.mask = 1L << number;
            this.leaf = leaf;
            this.register = register;
            this.feature = feature;
        }

        /** Whether the host offers the bit. kvm_pvm offers no five-level pages, VMX or PCIDs. */
        boolean isOfHost(Build build) {
            boolean none = build.pvm() && (this == LA57 || this == VMXE || this == PCIDE);
            return !none && !(this == VMXE && build.hardware().isAmd());
        }
    }

    private ControlBits() {}

    static long reserved(GuestCpuid cpuid, Build build) {
        long allowed = ALWAYS;
        for (Bit bit : Bit.values()) {
            boolean offered = build.pvm() || cpuid.isUnset() || cpuid.has(bit.leaf, bit.register, bit.feature);
            if (bit.isOfHost(build) && offered) {
                allowed |= bit.mask;
            }
        }
        return ~allowed;
    }
}
