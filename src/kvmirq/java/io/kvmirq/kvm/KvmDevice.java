/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Supplier;

/**
 * A VM's in-kernel device, created by {@code KVM_CREATE_DEVICE}. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="its"}
 */
public sealed class KvmDevice implements AutoCloseable permits Vgic, Its {
    /** The types of in-kernel devices. Source: {@code KVM_DEV_TYPE_*} in linux/kvm.h. */
    public enum Type {
        /** KVM-VFIO, to which a VMM adds VFIO files. A VM has at most one. Forwarding works without it. */
        VFIO(4),
        /** A GICv2 (arm64), see {@link Arm64Vm#createVgicV2}. */
        VGIC_V2(5),
        /** A GICv3 (arm64), see {@link Arm64Vm#createVgicV3}. */
        VGIC_V3(7),
        /** An ITS (arm64), see {@link Arm64Vm#createIts}. */
        ITS(8);

        private final int number;

        Type(int number) {
            this.number = number;
        }

        int number() {
            return number;
        }

        /** The facts that can explain why creating this device failed. */
        Set<Condition> facts() {
            return switch (this) {
                case VFIO -> Set.of(Condition.KVM_VFIO);
                case VGIC_V2, VGIC_V3 -> Set.of(Condition.VGIC_DEVICE);
                case ITS -> Set.of();
            };
        }
    }

    /** VGIC_ADDR_UNDEF. */
    private static final long NOWHERE = -1;

    private final VgicCalls calls;
    private final Fd fd;

    KvmDevice(VgicCalls calls, Fd fd) {
        this.calls = calls;
        this.fd = fd;
    }

    /** Returns whether this device belongs to the VM with this descriptor, {@link Vm#fd}. */
    @NotPromised
    public final boolean isOf(Fd vm) {
        return calls.vm().vm() == Objects.requireNonNull(vm, "vm is null");
    }

    final void set(KernelCall call, int group, long attribute, ByteBuffer value, Supplier<String> operands) {
        calls.attribute(Uapi.KVM_SET_DEVICE_ATTR, fd, call, group, attribute, value, operands);
    }

    final void control(KernelCall call, int attribute, String what) {
        set(call, UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL, attribute, VgicCalls.value(0), () -> what);
    }

    /** @return {@code value}, whose first bytes the kernel wrote */
    final ByteBuffer get(KernelCall call, int group, long attribute, ByteBuffer value, Supplier<String> operands) {
        calls.attribute(Uapi.KVM_GET_DEVICE_ATTR, fd, call, group, attribute, value, operands);
        return value;
    }

    /** @throws IllegalArgumentException if {@code address} is negative or not a multiple of {@code step} bytes */
    static void requireAligned(String what, long address, long step) {
        if (address < 0 || address % step != 0) {
            throw new IllegalArgumentException(what + " 0x" + Long.toHexString(address)
                    + " is invalid: expected a guest physical address that is a multiple of 0x"
                    + Long.toHexString(step));
        }
    }

    /** The address of a VGIC or ITS part; empty until it is set. */
    final OptionalLong place(int type) {
        long address = get(
                        KernelCall.ATTRIBUTE_GET,
                        UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR,
                        type,
                        VgicCalls.value(0L),
                        () -> "address type=" + type)
                .getLong(0);
        return address == NOWHERE ? OptionalLong.empty() : OptionalLong.of(address);
    }

    /** The device's descriptor. */
    public final Fd fd() {
        return fd;
    }

    /** Whether this kernel supports the attribute. Does not set it. */
    public final boolean hasAttribute(int group, long attribute) {
        return calls.vm().hasAttribute(fd, group, attribute);
    }

    /** Closes the descriptor. Idempotent, never fails. */
    @Override
    public final void close() {
        calls.vm().closeDevice(fd);
    }

    @Override
    public final String toString() {
        return fd.toString();
    }
}
