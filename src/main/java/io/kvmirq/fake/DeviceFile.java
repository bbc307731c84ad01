/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/** The KVM-VFIO device of a VM, on a host without VFIO; source: virt/kvm/vfio.c. */
final class DeviceFile extends FakeFile {
    private static final int EFAULT = -Errno.EFAULT.number();
    private static final int ENXIO = -Errno.ENXIO.number();

    private final FakeKernel kernel;
    private final VmFile vm;

    DeviceFile(FakeKernel kernel, VmFile vm) {
        this.kernel = kernel;
        this.vm = vm;
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_GET_DEVICE_ATTR) {
            return -Errno.EPERM.number();
        }
        if (request != Uapi.KVM_SET_DEVICE_ATTR && request != Uapi.KVM_HAS_DEVICE_ATTR) {
            return -Errno.ENOTTY.number();
        }
        ByteBuffer attribute = kernel.memory().copyIn(argument, Uapi.KvmDeviceAttr.SIZE);
        if (attribute == null) {
            return EFAULT;
        }
        long number = attribute.getLong(Uapi.KvmDeviceAttr.ATTR);
        boolean known = attribute.getInt(Uapi.KvmDeviceAttr.GROUP) == Uapi.KVM_DEV_VFIO_FILE
                && (number == Uapi.KVM_DEV_VFIO_FILE_ADD || number == Uapi.KVM_DEV_VFIO_FILE_DEL);
        if (!known) {
            return ENXIO;
        }
        return request == Uapi.KVM_HAS_DEVICE_ATTR
                ? 0
                : setFile(number == Uapi.KVM_DEV_VFIO_FILE_ADD, attribute.getLong(Uapi.KvmDeviceAttr.ADDR));
    }

    private int setFile(boolean add, long address) {
        ByteBuffer value = kernel.memory().copyIn(address, Integer.BYTES);
        if (value == null) {
            return EFAULT;
        }
        Optional<FakeFile> file = kernel.file(value.getInt(0));
        if (file.isEmpty()) {
            return -Errno.EBADF.number();
        }
        return add ? -Errno.EINVAL.number() : -Errno.ENOENT.number();
    }

    @Override
    void released() {
        vm.deviceGone();
    }
}
