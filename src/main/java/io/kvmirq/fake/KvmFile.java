/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** /dev/kvm; source: {@code kvm_dev_ioctl()} in virt/kvm/kvm_main.c. */
final class KvmFile extends FakeFile {
    static final int RUN_SIZE = 12288;
    /** KVM_MAX_CPUID_ENTRIES. */
    static final int MOST_LEAVES = 256;

    /** Leaf 1, ECX bit 21. */
    static final int CPUID_X2APIC = 1 << 21;

    /** The bit of XCR0 that is always on. */
    private static final long X87_STATE = 1;

    KvmFile(FakeKernel kernel) {
        super(kernel);
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_GET_API_VERSION) {
            return argument == 0 ? Uapi.KVM_API_VERSION : kernel.refuse(Rule.KVM_ARGUMENT);
        }
        if (request == Uapi.KVM_GET_VCPU_MMAP_SIZE) {
            return argument == 0 ? RUN_SIZE : kernel.refuse(Rule.KVM_ARGUMENT);
        }
        if (request == Uapi.KVM_CHECK_EXTENSION) {
            return Capabilities.check(kernel, argument);
        }
        if (request == Uapi.KVM_CREATE_VM) {
            return createVm(argument);
        }
        if (request == Uapi.KVM_GET_SUPPORTED_CPUID) {
            return supportedCpuid(argument);
        }
        if (request == Uapi.KVM_GET_DEVICE_ATTR || request == Uapi.KVM_HAS_DEVICE_ATTR) {
            return attribute(request == Uapi.KVM_GET_DEVICE_ATTR, argument);
        }
        return unknown(UapiTable.FileKind.KVM, request, Rule.KVM_UNKNOWN_REQUEST);
    }

    /** Opened by name it has places, but no operation to read them. */
    @Override
    long pread(long to, long length, long offset) {
        return kernel.refuse(Rule.NOT_READABLE);
    }

    @Override
    long pwrite(long from, long length, long offset) {
        return kernel.refuse(Rule.NOT_READABLE);
    }

    /** The descriptor is taken before the type is looked at. */
    private int createVm(long type) {
        if (kernel.isFull()) {
            return kernel.refuse(Rule.FD_TABLE_FULL);
        }
        return type == 0 ? kernel.install(new VmFile(kernel)) : kernel.refuse(Rule.KVM_VM_TYPE);
    }

    /** Of the system there is one: what a guest may put into XCR0, which the fake's CPU does not have. */
    private int attribute(boolean get, long argument) {
        ByteBuffer attribute = kernel.memory().copyIn(argument, Uapi.KvmDeviceAttr.SIZE);
        if (attribute == null) {
            return kernel.refuse(Rule.FAULT);
        }
        if (attribute.getInt(Uapi.KvmDeviceAttr.GROUP) != 0 || attribute.getLong(Uapi.KvmDeviceAttr.ATTR) != 0) {
            return kernel.refuse(Rule.KVM_ATTRIBUTE);
        }
        ByteBuffer value =
                ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder()).putLong(0, X87_STATE);
        long to = attribute.getLong(Uapi.KvmDeviceAttr.ADDR);
        return !get || kernel.memory().copyOut(to, value, Long.BYTES) ? 0 : kernel.refuse(Rule.FAULT);
    }

    /** One leaf, and in it x2APIC: the fake's CPU looks at none. */
    private int supportedCpuid(long argument) {
        ByteBuffer header = kernel.memory().copyIn(argument, Uapi.KvmCpuid2.SIZE);
        if (header == null) {
            return kernel.refuse(Rule.FAULT);
        }
        if (header.getInt(Uapi.KvmCpuid2.NENT) == 0) {
            return kernel.refuse(Rule.KVM_CPUID_ROOM);
        }
        int length = Uapi.KvmCpuid2.SIZE + Uapi.KvmCpuid2.ENTRY_SIZE;
        ByteBuffer leaf = ByteBuffer.allocate(length)
                .order(ByteOrder.nativeOrder())
                .putInt(Uapi.KvmCpuid2.NENT, 1)
                .putInt(Uapi.KvmCpuid2.SIZE, 1)
                .putInt(Uapi.KvmCpuid2.SIZE + Uapi.KvmCpuid2.ENTRY_ECX, CPUID_X2APIC);
        return kernel.memory().copyOut(argument, leaf, length) ? 0 : kernel.refuse(Rule.FAULT);
    }
}
