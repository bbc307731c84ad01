/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.kernel.Fd;

/** An in-kernel device of a VM, from {@code KVM_CREATE_DEVICE}. Thread-safe. */
public sealed class KvmDevice implements AutoCloseable permits Vgic, Its {
    /** Kinds of device; source: {@code KVM_DEV_TYPE_*} in linux/kvm.h. */
    public enum Type {
        /** Tells KVM which host devices the guest has; one per VM. Interrupt forwarding works without it. */
        VFIO(4),
        /** A GICv2 (arm64), see {@link Vm#createVgicV2}. */
        VGIC_V2(5),
        /** A GICv3 (arm64), see {@link Vm#createVgicV3}. */
        VGIC_V3(7),
        /** An ITS (arm64), see {@link Vm#createIts}. */
        ITS(8);

        private final int number;

        Type(int number) {
            this.number = number;
        }

        int number() {
            return number;
        }
    }

    private final VmCalls calls;
    private final Fd fd;

    KvmDevice(VmCalls calls, Fd fd) {
        this.calls = calls;
        this.fd = fd;
    }

    /** The descriptor of the device. */
    public final Fd fd() {
        return fd;
    }

    /** Whether this kernel knows the attribute; sets nothing. */
    public final boolean hasAttribute(int group, long attribute) {
        return calls.hasAttribute(fd, group, attribute);
    }

    /** Idempotent, never fails. */
    @Override
    public final void close() {
        calls.closeDevice(fd);
    }

    @Override
    public final String toString() {
        return fd.toString();
    }
}
