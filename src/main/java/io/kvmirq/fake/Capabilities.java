/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import java.util.Map;

/** KVM_CHECK_EXTENSION, as measured on 6.18 and, where others differ, seen on those; what is not here is 0, never an error. */
final class Capabilities {
    private static final int MULTI_ADDRESS_SPACE = 118;
    private static final int IDS_PER_VCPU = 4;

    private static final Map<Long, Integer> VALUES = Map.ofEntries(
            Map.entry(0L, 1), // IRQCHIP
            Map.entry(3L, 1), // USER_MEMORY
            Map.entry(9L, 2), // NR_VCPUS
            Map.entry(10L, 32764), // NR_MEMSLOTS
            Map.entry(15L, 2), // COALESCED_MMIO: the page of the ring
            Map.entry(25L, 4096), // IRQ_ROUTING
            Map.entry(26L, 1), // IRQ_INJECT_STATUS
            Map.entry(32L, 1), // IRQFD
            Map.entry(33L, 1), // PIT2
            Map.entry(36L, 1), // IOEVENTFD
            Map.entry(54L, 1), // ENABLE_CAP
            Map.entry(77L, 1), // SIGNAL_MSI
            Map.entry(82L, 1), // IRQFD_RESAMPLE
            Map.entry(89L, 1), // DEVICE_CTRL
            Map.entry(98L, 1), // ENABLE_CAP_VM
            Map.entry(100L, 1), // IOEVENTFD_NO_LENGTH
            Map.entry(105L, 1), // CHECK_EXTENSION_VM
            Map.entry(121L, 1), // SPLIT_IRQCHIP
            Map.entry(122L, 1), // IOEVENTFD_ANY_LENGTH
            Map.entry(136L, 1), // IMMEDIATE_EXIT
            Map.entry(203L, 1)); // BINARY_STATS_FD

    private Capabilities() {}

    static int vcpuIds(Profile profile) {
        return profile.maxVcpus() * IDS_PER_VCPU;
    }

    static int check(FakeKernel kernel, long capability) {
        Profile profile = kernel.profile();
        if (capability == Uapi.KVM_CAP_X2APIC_API) {
            return profile.x2apicBits();
        }
        if (capability == Uapi.KVM_CAP_MAX_VCPUS) {
            return profile.maxVcpus();
        }
        if (capability == Uapi.KVM_CAP_MAX_VCPU_ID) {
            return vcpuIds(profile);
        }
        if (capability == Uapi.KVM_CAP_DEVICE_CTRL && !profile.isSince(6, 5)) {
            // It could be used all the same.
            kernel.note(Rule.DEVICE_CAPABILITY_BEFORE);
            return 0;
        }
        if (capability == Uapi.KVM_CAP_HYPERV_SYNIC && profile.hasHyperv()) {
            return 1;
        }
        if (capability == MULTI_ADDRESS_SPACE && profile.addressSpaces() > 1) {
            return profile.addressSpaces();
        }
        if (capability == Uapi.KVM_CAP_USER_MEMORY2 || capability == Uapi.KVM_CAP_VM_TYPES) {
            return profile.isSince(6, 8) ? 1 : 0;
        }
        if (capability == Uapi.KVM_CAP_GUEST_MEMFD) {
            return profile.hasGuestMemfd() ? 1 : 0;
        }
        Integer value = VALUES.get(capability);
        if (value == null) {
            kernel.note(Rule.CAPABILITY_UNKNOWN);
            return 0;
        }
        return value;
    }
}
