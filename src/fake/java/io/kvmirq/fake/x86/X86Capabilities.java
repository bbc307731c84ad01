/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmNestedState;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/** KVM_CHECK_EXTENSION, measured on 6.18 with kvm_pvm and on the other kernels. Others return 0. */
final class X86Capabilities {
    private static final int NESTED_STATE = 157;
    private static final int IDS_PER_VCPU = 4;

    /** Pairs of number and value: the capabilities that are not 0 on the measured 6.18, without those in check(). */
    private static final int[] MEASURED = {
        0, 1, 1, 1, 2, 1, 3, 1, 4, 1, 6, 1, 7, 1, 8, 1, 9, 2, 10, 32764, 11, 1, 12, 1, 14, 1, 15, 2, 16, 1, 21, 1, 22,
        1, 23, 1, 24, 1, 25, 4096, 26, 1, 30, 1, 31, 32, 32, 1, 33, 1, 34, 1, 35, 1, 36, 1, 37, 1, 39, 14, 40, 1, 41, 1,
        47, 1, 50, 1, 51, 1, 54, 1, 55, 1, 56, 1, 59, 1, 61, 1, 70, 1, 72, 1, 74, 7, 76, 1, 77, 1, 81, 1, 82, 1, 89, 1,
        95, 1, 97, 1, 98, 1, 100, 1, 105, 1, 116, 1, 121, 1, 122, 1, 127, 1, 136, 1, 143, 14, 153, 1, 159, 1, 162, 1,
        164, 1, 168, 3, 173, 1, 182, 1, 183, 1, 184, 1, 185, 1, 187, 1, 188, 1, 189, 1, 190, 1, 192, 1048576, 195,
        2031619, 197, 1, 200, 1, 201, 4096, 203, 1, 204, 1, 206, 1, 208, 4096, 209, 1, 213, 1535, 215, 1, 218, 1, 220,
        1, 223, 1048576, 226, 1, 232, 1, 237, 1, 238, 1, 244, 3
    };

    /** The highest capability number of a version; numbers are assigned in ascending order. */
    private static final int LAST_OF_6_1 = 224;

    private static final int LAST_OF_6_12 = 238;

    /** KVM_CAP_PIT, KVM_CAP_REINJECT_CONTROL, KVM_CAP_PIT2 and KVM_CAP_PIT_STATE2. */
    private static final Set<Long> OF_FULL_IRQCHIP = Set.of(11L, 24L, 33L, 35L);

    private static final Map<Long, Integer> VALUES = values();

    private static Map<Long, Integer> values() {
        Map<Long, Integer> values = new HashMap<>();
        for (int i = 0; i < MEASURED.length; i += 2) {
            values.put((long) MEASURED[i], MEASURED[i + 1]);
        }
        return values;
    }

    private X86Capabilities() {}

    static int vcpuIds(Build build) {
        return maxVcpus(build) * IDS_PER_VCPU;
    }

    /** The most vCPUs: 4096 on Debian's kernels since 6.12; the kernel with kvm_pvm has the limit from before 6.7. */
    static int maxVcpus(Build build) {
        return !build.pvm() && build.isSince(6, 12) ? 4096 : 1024;
    }

    /** The number of address spaces, two with System Management Mode. */
    static int addressSpaces(Build build) {
        return build.hasManagementMode() ? 2 : 1;
    }

    /** The bits of KVM_CAP_X2APIC_API that this kernel supports. */
    static int x2apicBits(Build build) {
        return build.isSince(6, 18) ? 0xf : 3;
    }

    static int check(KernelOfFile host, long capability) {
        Build build = host.build();
        if (capability == Uapi.KVM_CAP_X2APIC_API) {
            return x2apicBits(build);
        }
        if (capability == Uapi.KVM_CAP_MAX_VCPUS) {
            return maxVcpus(build);
        }
        if (capability == Uapi.KVM_CAP_MAX_VCPU_ID) {
            return vcpuIds(build);
        }
        if (capability == Uapi.KVM_CAP_DEVICE_CTRL && !build.isSince(6, 5)) {
            // KVM_CREATE_DEVICE works nevertheless.
            host.note(VmAnswer.DEVICE_CAPABILITY_BEFORE);
            return 0;
        }
        if (capability == Uapi.KVM_CAP_HYPERV_SYNIC && !build.pvm()) {
            return 1;
        }
        if (capability == NESTED_STATE) {
            return nestedState(build);
        }
        if (capability == Uapi.KVM_CAP_MULTI_ADDRESS_SPACE && addressSpaces(build) > 1) {
            return addressSpaces(build);
        }
        if (capability == Uapi.KVM_CAP_USER_MEMORY2 || capability == Uapi.KVM_CAP_VM_TYPES) {
            return build.isSince(6, 8) ? 1 : 0;
        }
        if (capability == Uapi.KVM_CAP_GUEST_MEMFD) {
            return build.hasGuestMemfd() ? 1 : 0;
        }
        if (!build.fullIrqchip() && OF_FULL_IRQCHIP.contains(capability)) {
            return 0;
        }
        Integer value = isYounger(build, capability) ? null : VALUES.get(capability);
        if (value == null) {
            host.note(VmAnswer.CAPABILITY_UNKNOWN);
            return 0;
        }
        return value;
    }

    private static boolean isYounger(Build build, long capability) {
        return !build.isSince(6, 2) && capability > LAST_OF_6_1 || !build.isSince(6, 13) && capability > LAST_OF_6_12;
    }
    /** The size of the largest state; 0 for none, and on a host of no vendor. */
    private static int nestedState(Build build) {
        boolean none = build.pvm() || build.hardware() == Hardware.REMAPPING;
        return none ? 0 : KvmNestedState.SIZE + (build.hardware().isAmd() ? 1 : 2) * 4096;
    }
}
