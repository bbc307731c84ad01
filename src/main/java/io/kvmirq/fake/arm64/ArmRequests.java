/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.util.Map;

/** The names of requests that arm64 implements and the fake does not, by kind of file; source: arch/arm64/kvm/arm.c. */
final class ArmRequests {
    static final Map<Long, String> OF_VM = Map.ofEntries(
            Map.entry(Uapi.KVM_GET_DIRTY_LOG, "KVM_GET_DIRTY_LOG"),
            Map.entry(Uapi.KVM_CLEAR_DIRTY_LOG, "KVM_CLEAR_DIRTY_LOG"),
            Map.entry(Uapi.KVM_RESET_DIRTY_RINGS, "KVM_RESET_DIRTY_RINGS"),
            Map.entry(Uapi.KVM_REGISTER_COALESCED_MMIO, "KVM_REGISTER_COALESCED_MMIO"),
            Map.entry(Uapi.KVM_UNREGISTER_COALESCED_MMIO, "KVM_UNREGISTER_COALESCED_MMIO"),
            Map.entry(Uapi.KVM_GET_STATS_FD, "KVM_GET_STATS_FD"),
            Map.entry(Uapi.KVM_SET_USER_MEMORY_REGION2, "KVM_SET_USER_MEMORY_REGION2"),
            Map.entry(Uapi.KVM_CREATE_GUEST_MEMFD, "KVM_CREATE_GUEST_MEMFD"),
            Map.entry(UapiArm64.KVM_ARM_SET_DEVICE_ADDR, "KVM_ARM_SET_DEVICE_ADDR"),
            Map.entry(UapiArm64.KVM_ARM_MTE_COPY_TAGS, "KVM_ARM_MTE_COPY_TAGS"),
            Map.entry(UapiArm64.KVM_ARM_SET_COUNTER_OFFSET, "KVM_ARM_SET_COUNTER_OFFSET"),
            Map.entry(UapiArm64.KVM_ARM_GET_REG_WRITABLE_MASKS, "KVM_ARM_GET_REG_WRITABLE_MASKS"));

    static final Map<Long, String> OF_VCPU = Map.of(
            Uapi.KVM_SET_SIGNAL_MASK, "KVM_SET_SIGNAL_MASK",
            Uapi.KVM_GET_MP_STATE, "KVM_GET_MP_STATE",
            Uapi.KVM_SET_MP_STATE, "KVM_SET_MP_STATE",
            Uapi.KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS",
            Uapi.KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS",
            Uapi.KVM_GET_STATS_FD, "KVM_GET_STATS_FD",
            UapiArm64.KVM_SET_GUEST_DEBUG, "KVM_SET_GUEST_DEBUG",
            UapiArm64.KVM_ARM_VCPU_FINALIZE, "KVM_ARM_VCPU_FINALIZE");

    private ArmRequests() {}
}
