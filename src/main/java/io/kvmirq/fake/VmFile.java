/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;

/** The descriptor of a VM on x86; source: {@code kvm_vm_ioctl()} in virt/kvm/kvm_main.c, {@code kvm_arch_vm_ioctl()} in x86.c. */
final class VmFile extends FakeFile {

    /** Three pages below 4 GiB. */
    private static final long LAST_TSS_ADDRESS = 0xffff_d000L;

    private final FakeVm vm;
    private final RegistrationCalls registrations;
    private final MemorySlots memory;
    private final TreeSet<Integer> vcpus = new TreeSet<>();
    private final IrqchipCalls chips;
    private boolean device;

    VmFile(FakeKernel kernel) {
        super(kernel);
        this.vm = new FakeVm(kernel);
        this.registrations = new RegistrationCalls(vm);
        this.memory = new MemorySlots(kernel, MemorySlots.Limits.X86);
        this.chips = new IrqchipCalls(kernel, vm, vcpus);
    }

    FakeVm vm() {
        return vm;
    }

    MemorySlots memory() {
        return memory;
    }

    @Override
    List<String> facts() {
        return vm.irqchip().facts(!vcpus.isEmpty());
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
            return argument == Uapi.KVM_CAP_X2APIC_API ? value & chips.x2apicBits() : value;
        }
        if (request == Uapi.KVM_CREATE_VCPU) {
            return createVcpu(argument);
        }
        if (request == Uapi.KVM_CREATE_IRQCHIP) {
            return chips.create();
        }
        if (request == Uapi.KVM_SET_BOOT_CPU_ID) {
            return chips.setBootVcpu(argument);
        }
        if (request == Uapi.KVM_GET_STATS_FD) {
            return kernel.install(new StatsFile(kernel, ""));
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
        if (request == Uapi.KVM_SET_USER_MEMORY_REGION2) {
            return kernel.profile().isSince(6, 8)
                    ? copied(argument, Uapi.KvmUserspaceMemoryRegion2.SIZE, memory::set2)
                    : kernel.refuse(Rule.VM_UNKNOWN_REQUEST);
        }
        if (request == Uapi.KVM_ENABLE_CAP) {
            return copied(argument, Uapi.KvmEnableCap.SIZE, chips::enable);
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
            return copied(argument, Uapi.KvmIrqchip.SIZE, chip -> chips.get(chip, argument));
        }
        if (request == Uapi.KVM_SET_IRQCHIP) {
            return copied(argument, Uapi.KvmIrqchip.SIZE, chips::set);
        }
        if (request == Uapi.KVM_CREATE_PIT2) {
            return copied(argument, Uapi.KvmPitConfig.SIZE, config -> chips.createPit());
        }
        if (request == Uapi.KVM_CREATE_DEVICE) {
            return copied(argument, Uapi.KvmCreateDevice.SIZE, create -> createDevice(create, argument));
        }
        return unknown(UapiTable.FileKind.VM, request, Rule.VM_UNKNOWN_REQUEST);
    }

    // vCPUs

    private int createVcpu(long argument) {
        long id = argument;
        if (argument >>> 32 != 0 && !kernel.profile().isSince(6, 11)) {
            kernel.note(Rule.VCPU_ID_HALF_BEFORE);
            id = argument & 0xffff_ffffL;
        }
        if (id < 0 || id >= Capabilities.vcpuIds(kernel.profile())) {
            return kernel.refuse(Rule.VCPU_ID);
        }
        if (!vcpus.add((int) id)) {
            // Seen only after the vCPU was made, which looked at all others.
            vm.lapics().redrawMap();
            return kernel.refuse(Rule.VCPU_EXISTS);
        }
        Optional<FakeLapic> lapic = vm.irqchip() == FakeVm.Irqchip.NONE
                ? Optional.empty()
                : Optional.of(vm.lapics().add((int) id));
        int fd = kernel.install(new VcpuDescriptor(kernel, this, (int) id, lapic));
        if (fd < 0) {
            vcpus.remove((int) id);
            lapic.ifPresent(vm.lapics()::remove);
        }
        return fd;
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
        if (interrupt.isInvalid(vm.lapics().hasLongIds())) {
            return kernel.refuse(Rule.MSI_HIGH_ADDRESS);
        }
        int taken = vm.lapics().deliver(interrupt);
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
