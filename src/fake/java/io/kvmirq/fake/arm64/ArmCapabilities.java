/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.VcpuId;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.util.Map;

/**
 * KVM_CHECK_EXTENSION on arm64, as measured in the lab on 6.1 and 6.12. Unlisted capabilities return 0. Source: {@code
 * kvm_vm_ioctl_check_extension()} in arch/arm64/kvm/arm.c.
 */
final class ArmCapabilities {
    /** KVM_USER_MEM_SLOTS. */
    static final int SLOTS = 32767;

    private static final Map<Long, Integer> VALUES = Map.ofEntries(
            Map.entry(0L, 1), // IRQCHIP
            Map.entry(3L, 1), // USER_MEMORY
            Map.entry(9L, 2), // NR_VCPUS
            Map.entry(10L, SLOTS), // NR_MEMSLOTS
            Map.entry(14L, 1), // MP_STATE
            Map.entry(15L, 1), // COALESCED_MMIO: the offset of the ring, in pages
            Map.entry(16L, 1), // SYNC_MMU
            Map.entry(21L, 1), // DESTROY_MEMORY_REGION_WORKS
            Map.entry(25L, 4096), // IRQ_ROUTING
            Map.entry(30L, 1), // JOIN_MEMORY_REGIONS_WORKS
            Map.entry(32L, 1), // IRQFD
            Map.entry(36L, 1), // IOEVENTFD
            Map.entry(40L, 1), // INTERNAL_ERROR_DATA
            Map.entry(70L, 1), // ONE_REG
            Map.entry(77L, 1), // SIGNAL_MSI
            Map.entry(81L, 1), // READONLY_MEM
            Map.entry(82L, 1), // IRQFD_RESAMPLE
            Map.entry(87L, 1), // ARM_PSCI
            Map.entry(88L, 1), // ARM_SET_DEVICE_ADDR
            Map.entry(89L, 1), // DEVICE_CTRL
            Map.entry(98L, 1), // ENABLE_CAP_VM
            Map.entry(102L, 1), // ARM_PSCI_0_2
            Map.entry(105L, 1), // CHECK_EXTENSION_VM
            Map.entry(122L, 1), // IOEVENTFD_ANY_LENGTH
            Map.entry(127L, 1), // VCPU_ATTRIBUTES
            Map.entry(136L, 1), // IMMEDIATE_EXIT
            Map.entry(174L, 1), // ARM_IRQ_LINE_LAYOUT_2
            Map.entry(203L, 1)); // BINARY_STATS_FD

    private ArmCapabilities() {}

    static int check(KernelOfFile host, long capability) {
        if (capability == Uapi.KVM_CAP_MSI_DEVID) {
            return host.refuse(ArmAnswer.ARM_MSI_DEVID_OF_VM);
        }
        if (capability == UapiArm64.KVM_CAP_ARM_VM_IPA_SIZE) {
            return addressBits(host);
        }
        if (capability == Uapi.KVM_CAP_MAX_VCPUS || capability == Uapi.KVM_CAP_MAX_VCPU_ID) {
            return isGicV2(host) ? VcpuId.MOST_OF_GICV2 : VcpuId.MOST_OF_GICV3;
        }
        if (capability == Uapi.KVM_CAP_USER_MEMORY2) {
            return host.build().isSince(6, 8) ? 1 : 0;
        }
        Integer value = VALUES.get(capability);
        if (value == null) {
            host.note(VmAnswer.CAPABILITY_UNKNOWN);
            return 0;
        }
        return value;
    }

    static boolean isGicV2(KernelOfFile host) {
        return host.build().hardware() == Hardware.GICV2;
    }

    /** The largest IPA size in bits, with pages of 4 KiB. The lab's CPU has 52 bits; 6.1 uses 48 of them. */
    static int addressBits(KernelOfFile host) {
        return host.build().isSince(6, 12) ? 52 : 48;
    }
}
