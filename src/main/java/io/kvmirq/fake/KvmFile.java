/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** /dev/kvm; source: {@code kvm_dev_ioctl()} in virt/kvm/kvm_main.c. */
final class KvmFile extends FakeFile {
    static final int RUN_SIZE = 12288;

    /** The bit of XCR0 that is always on. */
    private static final long X87_STATE = 1;

    private static final int E2BIG = -Errno.E2BIG.number();
    private static final int EFAULT = -Errno.EFAULT.number();
    private static final int EINVAL = -Errno.EINVAL.number();

    private final FakeKernel kernel;

    KvmFile(FakeKernel kernel) {
        this.kernel = kernel;
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_GET_API_VERSION) {
            return argument == 0 ? Uapi.KVM_API_VERSION : EINVAL;
        }
        if (request == Uapi.KVM_GET_VCPU_MMAP_SIZE) {
            return argument == 0 ? RUN_SIZE : EINVAL;
        }
        if (request == Uapi.KVM_CHECK_EXTENSION) {
            return Capabilities.check(kernel.profile(), argument);
        }
        if (request == Uapi.KVM_CREATE_VM) {
            return argument == 0 ? kernel.install(new VmFile(kernel)) : EINVAL;
        }
        if (request == Uapi.KVM_GET_SUPPORTED_CPUID) {
            return supportedCpuid(argument);
        }
        if (request == Uapi.KVM_GET_DEVICE_ATTR || request == Uapi.KVM_HAS_DEVICE_ATTR) {
            return attribute(request == Uapi.KVM_GET_DEVICE_ATTR, argument);
        }
        return unknown(UapiTable.FileKind.KVM, request, EINVAL);
    }

    /** Of the system there is one: what a guest may put into XCR0, which the fake's CPU does not have. */
    private int attribute(boolean get, long argument) {
        ByteBuffer attribute = kernel.memory().copyIn(argument, Uapi.KvmDeviceAttr.SIZE);
        if (attribute == null) {
            return EFAULT;
        }
        if (attribute.getInt(Uapi.KvmDeviceAttr.GROUP) != 0 || attribute.getLong(Uapi.KvmDeviceAttr.ATTR) != 0) {
            return -Errno.ENXIO.number();
        }
        ByteBuffer value =
                ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder()).putLong(0, X87_STATE);
        long to = attribute.getLong(Uapi.KvmDeviceAttr.ADDR);
        return !get || kernel.memory().copyOut(to, value, Long.BYTES) ? 0 : EFAULT;
    }

    /** One empty leaf: the fake's CPU looks at none. */
    private int supportedCpuid(long argument) {
        ByteBuffer header = kernel.memory().copyIn(argument, Uapi.KvmCpuid2.SIZE);
        if (header == null) {
            return EFAULT;
        }
        if (header.getInt(Uapi.KvmCpuid2.NENT) == 0) {
            return E2BIG;
        }
        header.putInt(Uapi.KvmCpuid2.NENT, 1);
        return kernel.memory().copyOut(argument, header, Uapi.KvmCpuid2.SIZE) ? 0 : EFAULT;
    }
}
