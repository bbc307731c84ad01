/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiArm64;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.Set;

/** The descriptor of a VM on arm64; source: {@code kvm_vm_ioctl()}, {@code kvm_arch_vm_ioctl()} in arch/arm64/kvm/arm.c. */
final class ArmVmFile extends FakeFile {
    /** KVM_ARM_VM_SMCCC_CTRL. */
    private static final int SMCCC = 0;
    /** What can be enabled: MANUAL_DIRTY_LOG_PROTECT2, ARM_NISV_TO_USER, HALT_POLL, rings, MTE, SYSTEM_SUSPEND, chunks. */
    private static final Set<Integer> CAPABILITIES = Set.of(168, 177, 182, 192, 205, 217, 223, 225, 228);

    private final ArmVm vm;
    private final RegistrationCalls registrations;
    private final ArmLines lines;
    private final MemorySlots memory;
    private boolean vfio;

    /** @param addressBits of the guest's physical addresses */
    ArmVmFile(FakeKernel kernel, int addressBits) {
        super(kernel);
        this.vm = new ArmVm(kernel, addressBits);
        this.registrations = new RegistrationCalls(vm);
        this.lines = new ArmLines(vm);
        this.memory = new MemorySlots(
                kernel, new MemorySlots.Limits(ArmCapabilities.SLOTS, addressBits, Rule.ARM_MEMORY_BEYOND));
    }

    @Override
    void released() {
        vm.close();
    }

    @Override
    boolean isOfOneProcess() {
        return true;
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_CHECK_EXTENSION) {
            if (argument != Uapi.KVM_CAP_MSI_DEVID) {
                return ArmCapabilities.check(kernel, argument);
            }
            return vm.hasIts() ? 1 : 0;
        }
        if (request == Uapi.KVM_CREATE_VCPU) {
            return createVcpu(argument);
        }
        if (request == Uapi.KVM_CREATE_IRQCHIP) {
            return kernel.refuse(Rule.ARM_NO_GICV2);
        }
        if (request == UapiArm64.KVM_ARM_PREFERRED_TARGET) {
            return preferredTarget(argument);
        }
        return withStructure(request, argument);
    }

    private int withStructure(long request, long argument) {
        if (request == Uapi.KVM_SET_USER_MEMORY_REGION) {
            return copied(argument, Uapi.KvmUserspaceMemoryRegion.SIZE, memory::set);
        }
        if (request == Uapi.KVM_ENABLE_CAP) {
            return copied(argument, Uapi.KvmEnableCap.SIZE, this::enable);
        }
        if (request == Uapi.KVM_SET_GSI_ROUTING) {
            return copied(argument, Uapi.KvmIrqRouting.SIZE, header -> registrations.setRouting(header, argument));
        }
        if (request == Uapi.KVM_IRQFD) {
            return copied(argument, Uapi.KvmIrqfd.SIZE, registrations::irqfd);
        }
        if (request == Uapi.KVM_IOEVENTFD) {
            return copied(argument, Uapi.KvmIoeventfd.SIZE, registrations::ioeventfd);
        }
        if (request == Uapi.KVM_SIGNAL_MSI) {
            return copied(argument, Uapi.KvmMsi.SIZE, this::signalMsi);
        }
        if (request == Uapi.KVM_IRQ_LINE) {
            return copied(argument, Uapi.KvmIrqLevel.SIZE, lines::set);
        }
        if (request == Uapi.KVM_IRQ_LINE_STATUS) {
            return copied(argument, Uapi.KvmIrqLevel.SIZE, line -> setLineForStatus(line, argument));
        }
        if (request == Uapi.KVM_CREATE_DEVICE) {
            return copied(argument, Uapi.KvmCreateDevice.SIZE, create -> createDevice(create, argument));
        }
        boolean attribute = request == Uapi.KVM_SET_DEVICE_ATTR || request == Uapi.KVM_HAS_DEVICE_ATTR;
        if (attribute && kernel.profile().isSince(6, 12)) {
            return copied(argument, Uapi.KvmDeviceAttr.SIZE, this::attribute);
        }
        return ArmRequests.refuse(kernel, ArmRequests.OF_VM, request, Rule.ARM_VM_UNKNOWN_REQUEST);
    }

    // The VM and its vCPUs

    private int attribute(ByteBuffer attribute) {
        if (attribute.getInt(Uapi.KvmDeviceAttr.GROUP) == SMCCC) {
            throw new NotModelledException("filters of a guest's SMCCC calls");
        }
        return kernel.refuse(Rule.ARM_VM_ATTRIBUTE);
    }

    private int enable(ByteBuffer capability) {
        int number = capability.getInt(Uapi.KvmEnableCap.CAP);
        if (CAPABILITIES.contains(number)) {
            throw new NotModelledException("enabling capability " + number);
        }
        boolean flags = capability.getInt(Uapi.KvmEnableCap.FLAGS) != 0;
        return kernel.refuse(flags ? Rule.ARM_CAP_FLAGS : Rule.ARM_CAP_UNKNOWN);
    }

    private int preferredTarget(long argument) {
        ByteBuffer target = ByteBuffer.allocate(UapiArm64.KvmVcpuInit.SIZE)
                .order(ByteOrder.nativeOrder())
                .putInt(UapiArm64.KvmVcpuInit.TARGET, UapiArm64.KVM_ARM_TARGET_GENERIC_V8);
        return kernel.memory().copyOut(argument, target, UapiArm64.KvmVcpuInit.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
    }

    private int createVcpu(long argument) {
        long id = argument;
        if (!kernel.profile().isSince(6, 12)) {
            kernel.note(Rule.ARM_VCPU_ID_TRUNCATED);
            id = Integer.toUnsignedLong((int) argument);
        }
        if (id < 0 || id >= ArmCapabilities.MAX_VCPUS) {
            return kernel.refuse(Rule.ARM_VCPU_ID);
        }
        Optional<FakeVgic> vgic = vm.vgic();
        if (vgic.filter(FakeVgic::isInitialized).isPresent()) {
            return kernel.refuse(Rule.ARM_VCPU_AFTER_INIT);
        }
        Optional<Rule> noPlace = vgic.flatMap(one -> one.places().take());
        if (noPlace.isPresent()) {
            return kernel.refuse(noPlace.get());
        }
        if (vm.vcpu((int) id).isPresent()) {
            return kernel.refuse(Rule.VCPU_EXISTS);
        }
        ArmVcpu vcpu = new ArmVcpu(vm, (int) id);
        int fd = kernel.install(new ArmVcpuFile(kernel, vcpu));
        if (fd >= 0) {
            vm.vcpus().add(vcpu);
        }
        return fd;
    }

    // Injection

    private int setLineForStatus(ByteBuffer line, long argument) {
        int refused = lines.set(line);
        if (refused < 0) {
            return refused;
        }
        // Nobody writes a status: what was asked goes back.
        kernel.note(Rule.ARM_LINE_NO_STATUS);
        return kernel.memory().copyOut(argument, line, Uapi.KvmIrqLevel.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
    }

    private int signalMsi(ByteBuffer msi) {
        if (vm.vgic().isEmpty()) {
            return kernel.refuse(Rule.ARM_MSI_NEEDS_VGIC);
        }
        int flags = msi.getInt(Uapi.KvmMsi.FLAGS);
        if ((flags & ~Uapi.KVM_MSI_VALID_DEVID) != 0) {
            return kernel.refuse(Rule.MSI_FLAGS);
        }
        if (!vm.hasIts()) {
            return kernel.refuse(Rule.ARM_MSI_NEEDS_ITS);
        }
        if ((flags & Uapi.KVM_MSI_VALID_DEVID) == 0) {
            return kernel.refuse(Rule.ARM_MSI_NEEDS_DEVICE);
        }
        long doorbell = Integer.toUnsignedLong(msi.getInt(Uapi.KvmMsi.ADDRESS_LO))
                | (long) msi.getInt(Uapi.KvmMsi.ADDRESS_HI) << Integer.SIZE;
        return kernel.refuse(vm.its(doorbell).isPresent() ? Rule.ARM_MSI_ITS_OFF : Rule.ARM_MSI_DOORBELL);
    }

    // Devices

    private int createDevice(ByteBuffer create, long argument) {
        int type = create.getInt(Uapi.KvmCreateDevice.TYPE);
        boolean known = type == Uapi.KVM_DEV_TYPE_VFIO
                || type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3
                || type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_ITS;
        if (!known) {
            return kernel.refuse(Rule.ARM_DEVICE_TYPE);
        }
        if ((create.getInt(Uapi.KvmCreateDevice.FLAGS) & Uapi.KVM_CREATE_DEVICE_TEST) != 0) {
            kernel.note(Rule.DEVICE_TEST);
            return 0;
        }
        int fd =
                switch (type) {
                    case Uapi.KVM_DEV_TYPE_VFIO -> createVfio();
                    case UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3 -> createVgic();
                    default -> kernel.install(new ItsFile(kernel, vm.createIts()));
                };
        if (fd < 0) {
            return fd;
        }
        create.putInt(Uapi.KvmCreateDevice.FD, fd);
        return kernel.memory().copyOut(argument, create, Uapi.KvmCreateDevice.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
    }

    private int createVgic() {
        return vm.vgic().isPresent()
                ? kernel.refuse(Rule.VGIC_SECOND)
                : kernel.install(new VgicFile(kernel, vm.createVgic()));
    }

    private int createVfio() {
        if (vfio) {
            return kernel.refuse(Rule.DEVICE_SECOND);
        }
        int fd = kernel.install(new DeviceFile(kernel, () -> vfio = false));
        vfio = fd >= 0;
        return fd;
    }
}
