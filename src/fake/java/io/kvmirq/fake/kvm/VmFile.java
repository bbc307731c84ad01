/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/** The architecture-independent part of a VM's file. Source: {@code kvm_vm_ioctl()} in virt/kvm/kvm_main.c. */
public abstract class VmFile extends FakeFile {
    private final VmInterrupts interrupts;
    private final RegistrationCalls registrations;
    private final FakeMemorySlots memory;
    private boolean vfio;

    protected VmFile(VmInterrupts interrupts, FakeMemorySlots memory) {
        super(interrupts.host());
        this.interrupts = interrupts;
        this.registrations = new RegistrationCalls(interrupts);
        this.memory = memory;
    }

    protected static <F extends VmFile> Requests<F> requests(
            Answer unknown, LongFunction<@Nullable String> notModelled) {
        return new Requests<F>(unknown, notModelled)
                .in(Uapi.KVM_SET_USER_MEMORY_REGION, (vm, region) -> vm.memory().set(region))
                .in(Uapi.KVM_GET_DIRTY_LOG, (vm, request) -> vm.memory().takeLog(request))
                .inHeader(Uapi.KVM_SET_GSI_ROUTING, (vm, header, address) -> vm.registrations()
                        .setRouting(header, address))
                .in(Uapi.KVM_IRQFD, (vm, irqfd) -> vm.registrations().irqfd(irqfd))
                .in(Uapi.KVM_IOEVENTFD, (vm, ioeventfd) -> vm.registrations().ioeventfd(ioeventfd))
                .inOut(Uapi.KVM_CREATE_DEVICE, VmFile::createDevice);
    }

    final RegistrationCalls registrations() {
        return registrations;
    }

    protected final FakeMemorySlots memory() {
        return memory;
    }

    @Override
    protected void released() {
        interrupts.close();
    }

    @Override
    public boolean isOfOneProcess() {
        return true;
    }

    /** Returns the rule that refuses KVM_CREATE_DEVICE with an unknown type. */
    protected abstract Answer unknownDevice();

    /** Whether this architecture has a device type; not called for KVM-VFIO, which all architectures have. */
    protected boolean hasDevice(int type) {
        return false;
    }

    /** Creates a device of a type that {@link #hasDevice} accepts, and returns its descriptor. */
    protected int createDevice(int type) {
        return host.refuse(unknownDevice());
    }

    private int createDevice(ByteBuffer create) {
        int type = create.getInt(Uapi.KvmCreateDevice.TYPE);
        if (type != Uapi.KVM_DEV_TYPE_VFIO && !hasDevice(type)) {
            return host.refuse(unknownDevice());
        }
        if ((create.getInt(Uapi.KvmCreateDevice.FLAGS) & Uapi.KVM_CREATE_DEVICE_TEST) != 0) {
            host.note(InterruptAnswer.DEVICE_TEST);
            return 0;
        }
        int fd = type == Uapi.KVM_DEV_TYPE_VFIO ? createVfio() : createDevice(type);
        if (fd < 0) {
            return fd;
        }
        create.putInt(Uapi.KvmCreateDevice.FD, fd);
        return 0;
    }

    private int createVfio() {
        if (vfio) {
            return host.refuse(InterruptAnswer.DEVICE_SECOND);
        }
        int fd = host.install(new KvmVfioFile(interrupts, () -> vfio = false));
        vfio = fd >= 0;
        return fd;
    }
}
