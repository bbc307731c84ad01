/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The file of a VM's device, which has attributes. Source: {@code kvm_device_ioctl()} in virt/kvm/kvm_main.c. */
public abstract class KvmDeviceFile extends FakeFile {
    private static final Requests<KvmDeviceFile> SETTABLE = requests();

    private static final Requests<KvmDeviceFile> READABLE =
            requests().in(Uapi.KVM_GET_DEVICE_ATTR, (device, structure) -> device.get(Attribute.parse(structure)));

    private final boolean readable;

    /** @param readable whether the device implements KVM_GET_DEVICE_ATTR */
    protected KvmDeviceFile(KernelOfFile host, boolean readable) {
        super(host);
        this.readable = readable;
    }

    private static Requests<KvmDeviceFile> requests() {
        return new Requests<KvmDeviceFile>(InterruptAnswer.DEVICE_UNKNOWN_REQUEST, number -> null)
                .in(Uapi.KVM_SET_DEVICE_ATTR, (device, structure) -> device.set(Attribute.parse(structure)))
                .in(Uapi.KVM_HAS_DEVICE_ATTR, (device, structure) -> device.has(Attribute.parse(structure)));
    }

    @Override
    public final boolean isOfOneProcess() {
        return true;
    }

    /** Handles the ioctl. Refuses KVM_GET_DEVICE_ATTR of a device that is not readable before the structure is read. */
    @Override
    public final int ioctl(long request, long argument) {
        if (!readable && request == Uapi.KVM_GET_DEVICE_ATTR) {
            return host.refuse(InterruptAnswer.DEVICE_NO_GETTER);
        }
        return (readable ? READABLE : SETTABLE).answer(this, request, argument);
    }

    protected static ByteBuffer value(long value) {
        return ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder()).putLong(0, value);
    }

    protected final int put(Attribute attribute, long value, int size) {
        return host.put(attribute.address(), value(value), size);
    }

    protected abstract int has(Attribute attribute);

    protected abstract int set(Attribute attribute);

    /** Handles KVM_GET_DEVICE_ATTR of a readable device. */
    protected int get(Attribute attribute) {
        return host.refuse(InterruptAnswer.DEVICE_NO_GETTER);
    }
}
