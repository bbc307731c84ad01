/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;

import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.uapi.Uapi;

/** Steps that make devices of a VM, KVM-VFIO most of all, and use their attributes and those of other files. */
final class DeviceSteps {
    private final Draft draft;
    private final Values values;
    private final Descriptors fds;

    DeviceSteps(Draft draft) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
    }

    /** {@code KVM_CREATE_DEVICE} of VFIO more often than not. */
    void create() {
        long type = values.rarely(6) ? values.of(0, 5, 6, 7, 16, 17, 99) : Uapi.KVM_DEV_TYPE_VFIO;
        create(fds.pick(Kind.VM), type, values.of(0, 0, 1, 0x80, 0x81));
    }

    void create(long vm, long type, long flags) {
        long to = fds.fresh();
        draft.step(call(Operation.CREATE_DEVICE, to, vm, type, flags));
        if (type == Uapi.KVM_DEV_TYPE_VFIO && flags < Uapi.KVM_CREATE_DEVICE_TEST) {
            fds.addFrom(Kind.VM, vm, Kind.DEVICE, to);
        }
    }

    void attribute() {
        Operation operation =
                switch ((int) values.below(4)) {
                    case 0 -> Operation.GET_ATTR;
                    case 1 -> Operation.HAS_ATTR;
                    default -> Operation.SET_ATTR;
                };
        if (values.rarely(6)) {
            otherAttribute(operation);
            return;
        }
        long file = values.rarely(5) ? Side.NOWHERE : values.rarely(3) ? fds.stale() : fds.anyOpen();
        long fd = fds.pick(values.rarely(16) ? Kind.EPOLL : Kind.DEVICE);
        // Group 1 of the system is kvm_amd's, and not every machine's.
        long usual = fds.open(Kind.KVM).contains(fd) ? 0 : 1;
        draft.step(call(
                operation,
                fd,
                values.rarely(6) ? values.of(0, 2, -1) : usual,
                values.rarely(6) ? values.of(0, 3, -1) : 1 + values.below(2),
                file));
    }

    /** KVM_DEV_VFIO_FILE_ADD and DEL of a file that may be one. */
    void vfioFile() {
        draft.step(call(Operation.SET_ATTR, fds.pick(Kind.DEVICE), 1, 1 + values.below(2), fds.anyVfio()));
    }

    /** The one of a vCPU and the one of the system. */
    private void otherAttribute(Operation operation) {
        Kind kind = values.rarely(2) ? Kind.VCPU : Kind.KVM;
        long address = values.rarely(3) ? Side.NOWHERE : fds.stale();
        // As above.
        long group = kind == Kind.KVM ? 2 : 1;
        draft.step(call(operation, fds.pick(kind), values.rarely(4) ? group : 0, values.rarely(4) ? 1 : 0, address));
    }
}
