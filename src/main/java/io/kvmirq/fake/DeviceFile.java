/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;

/** The KVM-VFIO device of a VM, on a host without VFIO; source: virt/kvm/vfio.c. */
final class DeviceFile extends FakeFile {
    private final Runnable gone;

    /** @param gone told when no descriptor of it is left */
    DeviceFile(FakeKernel kernel, Runnable gone) {
        super(kernel);
        this.gone = gone;
    }

    @Override
    boolean isOfOneProcess() {
        return true;
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_GET_DEVICE_ATTR) {
            return kernel.refuse(Rule.DEVICE_NO_GETTER);
        }
        if (request != Uapi.KVM_SET_DEVICE_ATTR && request != Uapi.KVM_HAS_DEVICE_ATTR) {
            return kernel.refuse(Rule.DEVICE_UNKNOWN_REQUEST);
        }
        ByteBuffer attribute = kernel.memory().copyIn(argument, Uapi.KvmDeviceAttr.SIZE);
        if (attribute == null) {
            return kernel.refuse(Rule.FAULT);
        }
        long number = attribute.getLong(Uapi.KvmDeviceAttr.ATTR);
        boolean known = attribute.getInt(Uapi.KvmDeviceAttr.GROUP) == Uapi.KVM_DEV_VFIO_FILE
                && (number == Uapi.KVM_DEV_VFIO_FILE_ADD || number == Uapi.KVM_DEV_VFIO_FILE_DEL);
        if (!known) {
            return kernel.refuse(Rule.VFIO_ATTRIBUTE);
        }
        return request == Uapi.KVM_HAS_DEVICE_ATTR
                ? 0
                : setFile(number == Uapi.KVM_DEV_VFIO_FILE_ADD, attribute.getLong(Uapi.KvmDeviceAttr.ADDR));
    }

    private int setFile(boolean add, long address) {
        ByteBuffer value = kernel.memory().copyIn(address, Integer.BYTES);
        if (value == null) {
            return kernel.refuse(Rule.FAULT);
        }
        if (kernel.file(value.getInt(0)) == null) {
            return kernel.refuse(Rule.VFIO_FILE_FD);
        }
        return kernel.refuse(add ? Rule.VFIO_NOT_A_VFIO_FILE : Rule.VFIO_FILE_UNKNOWN);
    }

    @Override
    void released() {
        gone.run();
    }
}
