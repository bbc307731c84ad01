/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Requests of arm64 kernels that the fake does not model, by kind of file. Source: arch/arm64/kvm/arm.c. */
final class ArmRequests {
    private static final Set<Long> OF_VM = Set.of(
            Uapi.KVM_CLEAR_DIRTY_LOG,
            Uapi.KVM_RESET_DIRTY_RINGS,
            Uapi.KVM_REGISTER_COALESCED_MMIO,
            Uapi.KVM_UNREGISTER_COALESCED_MMIO,
            Uapi.KVM_GET_STATS_FD,
            Uapi.KVM_SET_USER_MEMORY_REGION2,
            Uapi.KVM_CREATE_GUEST_MEMFD,
            UapiArm64.KVM_ARM_SET_DEVICE_ADDR,
            UapiArm64.KVM_ARM_MTE_COPY_TAGS,
            UapiArm64.KVM_ARM_SET_COUNTER_OFFSET,
            UapiArm64.KVM_ARM_GET_REG_WRITABLE_MASKS);

    private static final Set<Long> OF_VCPU = Set.of(
            Uapi.KVM_GET_VCPU_EVENTS, Uapi.KVM_SET_VCPU_EVENTS, Uapi.KVM_GET_STATS_FD, UapiArm64.KVM_SET_GUEST_DEBUG);

    private ArmRequests() {}

    /** The name of a request that is not modelled; null for any other number. */
    static @Nullable String name(FileKind kind, long number) {
        UapiTable.Request request = UapiTable.find(number, kind);
        return request != null && (kind == FileKind.VM ? OF_VM : OF_VCPU).contains(number) ? request.name() : null;
    }
}
