/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Whether AVIC is on for each vCPU ({@code apicv_active} of its LAPIC). KVM turns AVIC on for a new vCPU, and applies
 * changed inhibits at the vCPU's next guest entry (KVM_REQ_APICV_UPDATE in {@code vcpu_enter_guest()} of
 * arch/x86/kvm/x86.c). Up to Linux 6.16, an entry that KVM writes while AVIC is off stays remapped.
 */
final class AvicVcpus {
    private final Map<VcpuId, Avic> vcpus = new HashMap<>();

    /**
     * @param on whether AVIC is on, empty if not known
     * @param late whether AVIC was turned on while the vCPU was loaded. {@code amd_iommu_activate_guest_mode()} then
     *     leaves IsRun clear in its entries until the next load
     */
    private record Avic(Optional<Boolean> on, boolean late) {
        static final Avic UNKNOWN = new Avic(Optional.empty(), false);
    }

    private Avic at(VcpuId vcpu) {
        return vcpus.getOrDefault(vcpu, Avic.UNKNOWN);
    }

    void add(VcpuId vcpu, boolean inhibited) {
        vcpus.put(vcpu, inhibited ? Avic.UNKNOWN : new Avic(Optional.of(true), false));
    }

    /** Handles changed inhibits, which each vCPU may apply at any time from now on. */
    void change() {
        vcpus.clear();
    }

    /** Called after the vCPU has applied the inhibits. */
    void enter(VcpuId vcpu, boolean inhibited) {
        Avic before = at(vcpu);
        boolean turnedOn = !inhibited && !before.on.orElse(false);
        vcpus.put(vcpu, new Avic(Optional.of(!inhibited), turnedOn || before.late && !inhibited));
    }

    /** Called when the vCPU is loaded again. */
    void load(VcpuId vcpu) {
        Avic now = at(vcpu);
        if (now.late) {
            vcpus.put(vcpu, new Avic(now.on, false));
        }
    }

    Optional<Boolean> isOn(VcpuId vcpu) {
        return at(vcpu).on;
    }

    /** Whether the loaded vCPU's entries are known to have IsRun set. */
    boolean isShown(VcpuId vcpu) {
        Avic now = at(vcpu);
        return now.on.orElse(false) && !now.late;
    }
}
