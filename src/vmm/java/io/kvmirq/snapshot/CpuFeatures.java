/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.kvm.Cpuid;
import java.util.List;
import java.util.Optional;

/**
 * Checks whether a host has the CPUID features of a guest. KVM accepts a CPUID with features that the host lacks, but
 * the guest fails when it uses them. Source: Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E;
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
final class CpuFeatures {
    /** A register of a CPUID leaf in which each bit is a feature, except the bits in {@code except}. */
    private record Features(int function, int index, Register register, int except) {
        Features(int function, int index, Register register) {
            this(function, index, register, 0);
        }

        int of(Cpuid cpuid) {
            return cpuid.leaf(function, index)
                    .map(leaf -> switch (register) {
                        case EAX -> leaf.eax();
                        case EBX -> leaf.ebx();
                        case ECX -> leaf.ecx();
                        case EDX -> leaf.edx();
                    })
                    .orElse(0);
        }
    }

    private enum Register {
        EAX,
        EBX,
        ECX,
        EDX
    }

    /** KVM supports this with in-kernel LAPICs, but does not list it before Linux 6.17. */
    private static final int TSC_DEADLINE = 1 << 24;
    /** OSXSAVE and OSPKE, which follow CR4. */
    private static final int OSXSAVE = 1 << 27;

    private static final int OSPKE = 1 << 4;
    private static final int HYPERVISOR = 1 << 31;
    /** Bits that depend on the VM's topology and LAPIC, not on the host. */
    private static final int APIC = 1 << 9;

    private static final int THREADS = 1 << 28;

    private static final int EXTENDED = 0x8000_0001;
    private static final int EXTENDED_THREADS = 1 << 1;

    private static final List<Features> ALL = List.of(
            new Features(1, 0, Register.ECX, TSC_DEADLINE | OSXSAVE | HYPERVISOR),
            new Features(1, 0, Register.EDX, APIC | THREADS),
            new Features(6, 0, Register.EAX),
            new Features(7, 0, Register.EBX),
            new Features(7, 0, Register.ECX, OSPKE),
            new Features(7, 0, Register.EDX),
            new Features(7, 1, Register.EAX),
            new Features(0xd, 0, Register.EAX),
            new Features(0xd, 0, Register.EDX),
            new Features(0xd, 1, Register.EAX),
            new Features(0x4000_0001, 0, Register.EAX),
            new Features(EXTENDED, 0, Register.ECX, EXTENDED_THREADS),
            new Features(EXTENDED, 0, Register.EDX, APIC));

    private CpuFeatures() {}

    /** A sentence about a feature of {@code saved} that {@code host} lacks. */
    static Optional<String> missing(Cpuid saved, Cpuid host) {
        for (Features features : ALL) {
            int missing = features.of(saved) & ~features.of(host) & ~features.except;
            if (missing != 0) {
                return Optional.of("a feature that this host does not have: CPUID leaf 0x"
                        + Integer.toHexString(features.function) + ", index " + features.index + ", "
                        + features.register + " bit "
                        + Integer.numberOfTrailingZeros(missing));
            }
        }
        return Optional.empty();
    }
}
