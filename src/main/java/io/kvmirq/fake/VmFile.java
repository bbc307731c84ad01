/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.TreeSet;

/** The descriptor of a VM on x86; source: {@code kvm_vm_ioctl()} in virt/kvm/kvm_main.c, {@code kvm_arch_vm_ioctl()} in x86.c. */
final class VmFile extends FakeFile {

    private static final int MAX_VCPU_IDS = 4096;
    private static final int X2APIC_SUPPRESS_EOI = 4;
    private static final int X2APIC_NO_SUPPRESS_EOI = 8;
    /** Three pages below 4 GiB. */
    private static final long LAST_TSS_ADDRESS = 0xffff_d000L;

    private final FakeVm vm;
    private final RegistrationCalls registrations;
    private final MemorySlots memory;
    private final TreeSet<Integer> vcpus = new TreeSet<>();
    private boolean device;

    VmFile(FakeKernel kernel) {
        super(kernel);
        this.vm = new FakeVm(kernel);
        this.registrations = new RegistrationCalls(vm);
        this.memory = new MemorySlots(kernel, MemorySlots.Limits.X86);
    }

    FakeVm vm() {
        return vm;
    }

    MemorySlots memory() {
        return memory;
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
            int value = Capabilities.check(kernel, argument);
            boolean split = vm.irqchip() == FakeVm.Irqchip.SPLIT;
            return argument == Uapi.KVM_CAP_X2APIC_API && !split ? value & ~X2APIC_SUPPRESS_EOI : value;
        }
        if (request == Uapi.KVM_CREATE_VCPU) {
            return createVcpu(argument);
        }
        if (request == Uapi.KVM_CREATE_IRQCHIP) {
            return createIrqchip();
        }
        if (request == Uapi.KVM_SET_TSS_ADDR) {
            return Long.compareUnsigned(argument, LAST_TSS_ADDRESS) > 0 ? kernel.refuse(Rule.VM_TSS_ADDRESS) : 0;
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
            return copied(argument, Uapi.KvmIrqLevel.SIZE, line -> setLine(line, false, argument));
        }
        if (request == Uapi.KVM_IRQ_LINE_STATUS) {
            return copied(argument, Uapi.KvmIrqLevel.SIZE, line -> setLine(line, true, argument));
        }
        if (request == Uapi.KVM_GET_IRQCHIP) {
            return copied(argument, Uapi.KvmIrqchip.SIZE, chip -> getIrqchip(chip, argument));
        }
        if (request == Uapi.KVM_SET_IRQCHIP) {
            return copied(argument, Uapi.KvmIrqchip.SIZE, this::setIrqchip);
        }
        if (request == Uapi.KVM_CREATE_DEVICE) {
            return copied(argument, Uapi.KvmCreateDevice.SIZE, create -> createDevice(create, argument));
        }
        return unknown(UapiTable.FileKind.VM, request, Rule.VM_UNKNOWN_REQUEST);
    }

    // vCPUs and irqchips

    private int createVcpu(long id) {
        if (id < 0 || id >= MAX_VCPU_IDS) {
            return kernel.refuse(Rule.VCPU_ID);
        }
        if (!vcpus.add((int) id)) {
            // Seen only after the vCPU was made, which looked at all others.
            vm.redrawMap();
            return kernel.refuse(Rule.VCPU_EXISTS);
        }
        Optional<FakeLapic> lapic =
                vm.irqchip() == FakeVm.Irqchip.NONE ? Optional.empty() : Optional.of(vm.addLapic((int) id));
        return kernel.install(new VcpuDescriptor(kernel, this, lapic));
    }

    private int createIrqchip() {
        if (vm.irqchip() != FakeVm.Irqchip.NONE) {
            return kernel.refuse(Rule.IRQCHIP_EXISTS);
        }
        if (!kernel.profile().hasFullIrqchip()) {
            return kernel.refuse(Rule.IRQCHIP_NOT_BUILT_IN);
        }
        if (!vcpus.isEmpty()) {
            return kernel.refuse(Rule.IRQCHIP_AFTER_VCPU);
        }
        vm.createIrqchip(FakeVm.Irqchip.FULL);
        return 0;
    }

    private int enable(ByteBuffer capability) {
        if (capability.getInt(Uapi.KvmEnableCap.FLAGS) != 0) {
            return kernel.refuse(Rule.CAP_FLAGS);
        }
        long argument = capability.getLong(Uapi.KvmEnableCap.ARGS);
        return switch (capability.getInt(Uapi.KvmEnableCap.CAP)) {
            case Uapi.KVM_CAP_SPLIT_IRQCHIP -> enableSplit(argument);
            case Uapi.KVM_CAP_X2APIC_API -> enableX2apic(argument);
            default -> kernel.refuse(Rule.CAP_UNKNOWN);
        };
    }

    private int enableSplit(long pins) {
        if (pins < 0 || pins > FakeRoutes.MAX_GSI) {
            return kernel.refuse(Rule.SPLIT_PINS);
        }
        if (vm.irqchip() != FakeVm.Irqchip.NONE || !vcpus.isEmpty()) {
            return kernel.refuse(Rule.SPLIT_EXISTS);
        }
        vm.createIrqchip(FakeVm.Irqchip.SPLIT);
        return 0;
    }

    private int enableX2apic(long bits) {
        boolean suppress = (bits & X2APIC_SUPPRESS_EOI) != 0;
        if ((bits & ~(long) kernel.profile().x2apicBits()) != 0) {
            return kernel.refuse((bits & ~0xfL) != 0 ? Rule.X2APIC_BITS : Rule.X2APIC_TWO_BITS_BEFORE);
        }
        if (suppress && (bits & X2APIC_NO_SUPPRESS_EOI) != 0) {
            return kernel.refuse(Rule.X2APIC_BOTH_SUPPRESS);
        }
        if (suppress && vm.irqchip() != FakeVm.Irqchip.SPLIT) {
            return kernel.refuse(Rule.X2APIC_SUPPRESS_SPLIT);
        }
        if ((bits & Uapi.KVM_X2APIC_API_USE_32BIT_IDS) != 0) {
            vm.useLongApicIds();
        }
        return 0;
    }

    private int getIrqchip(ByteBuffer chip, long argument) {
        int refused = refuseChip(chip);
        if (refused < 0) {
            return refused;
        }
        switch (chip.getInt(Uapi.KvmIrqchip.CHIP_ID)) {
            case 0, 1 -> vm.pic(chip.getInt(Uapi.KvmIrqchip.CHIP_ID)).save(chip, Uapi.KvmIrqchip.CHIP);
            default -> vm.ioapic().save(chip, Uapi.KvmIrqchip.CHIP);
        }
        return kernel.memory().copyOut(argument, chip, Uapi.KvmIrqchip.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
    }

    private int setIrqchip(ByteBuffer chip) {
        int refused = refuseChip(chip);
        int id = chip.getInt(Uapi.KvmIrqchip.CHIP_ID);
        if (refused == 0 && id < 2) {
            vm.pic(id).restore(chip, Uapi.KvmIrqchip.CHIP);
        } else if (refused == 0) {
            vm.ioapic().restore(chip, Uapi.KvmIrqchip.CHIP);
        }
        if (refused != Rule.CHIP_NEEDS_FULL.refusal()) {
            vm.cascade();
        }
        return refused;
    }

    private int refuseChip(ByteBuffer chip) {
        if (vm.irqchip() != FakeVm.Irqchip.FULL) {
            return kernel.refuse(Rule.CHIP_NEEDS_FULL);
        }
        int id = chip.getInt(Uapi.KvmIrqchip.CHIP_ID);
        return id < 0 || id > 2 ? kernel.refuse(Rule.CHIP_UNKNOWN) : 0;
    }

    // Injection

    private int signalMsi(ByteBuffer msi) {
        if (vm.irqchip() == FakeVm.Irqchip.NONE) {
            return kernel.refuse(Rule.MSI_NEEDS_IRQCHIP);
        }
        if ((msi.getInt(Uapi.KvmMsi.FLAGS) & ~Uapi.KVM_MSI_VALID_DEVID) != 0) {
            return kernel.refuse(Rule.MSI_FLAGS);
        }
        Interrupt interrupt = Interrupt.ofMessage(
                msi.getInt(Uapi.KvmMsi.ADDRESS_LO), msi.getInt(Uapi.KvmMsi.ADDRESS_HI), msi.getInt(Uapi.KvmMsi.DATA));
        if (interrupt.isInvalid(vm.longApicIds())) {
            return kernel.refuse(Rule.MSI_HIGH_ADDRESS);
        }
        int taken = vm.deliver(interrupt);
        return taken < 0 ? kernel.refuse(Rule.MSI_NOBODY) : taken;
    }

    private int setLine(ByteBuffer line, boolean status, long argument) {
        if (vm.irqchip() == FakeVm.Irqchip.NONE) {
            return kernel.refuse(Rule.LINE_NEEDS_IRQCHIP);
        }
        boolean level = line.getInt(Uapi.KvmIrqLevel.LEVEL) != 0;
        int result = vm.setIrq(line.getInt(Uapi.KvmIrqLevel.IRQ), VmInterrupts.SOURCE_USERSPACE, level, status);
        if (!status) {
            return 0;
        }
        line.putInt(Uapi.KvmIrqLevel.IRQ, result);
        return kernel.memory().copyOut(argument, line, Uapi.KvmIrqLevel.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
    }

    private int createDevice(ByteBuffer create, long argument) {
        if (create.getInt(Uapi.KvmCreateDevice.TYPE) != Uapi.KVM_DEV_TYPE_VFIO) {
            return kernel.refuse(Rule.DEVICE_TYPE);
        }
        if ((create.getInt(Uapi.KvmCreateDevice.FLAGS) & Uapi.KVM_CREATE_DEVICE_TEST) != 0) {
            kernel.note(Rule.DEVICE_TEST);
            return 0;
        }
        if (device) {
            return kernel.refuse(Rule.DEVICE_SECOND);
        }
        int fd = kernel.install(new DeviceFile(kernel, () -> device = false));
        if (fd < 0) {
            return fd;
        }
        device = true;
        create.putInt(Uapi.KvmCreateDevice.FD, fd);
        return kernel.memory().copyOut(argument, create, Uapi.KvmCreateDevice.SIZE) ? 0 : kernel.refuse(Rule.FAULT);
    }
}
