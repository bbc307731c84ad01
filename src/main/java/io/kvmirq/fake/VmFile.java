/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;

/** A VM's descriptor; source: {@code kvm_vm_ioctl()} in virt/kvm/kvm_main.c, {@code kvm_arch_vm_ioctl()} in x86.c. */
final class VmFile extends FakeFile {
    private static final int EBADF = -Errno.EBADF.number();
    private static final int EBUSY = -Errno.EBUSY.number();
    private static final int EEXIST = -Errno.EEXIST.number();
    private static final int EFAULT = -Errno.EFAULT.number();
    private static final int EINVAL = -Errno.EINVAL.number();
    private static final int ENODEV = -Errno.ENODEV.number();
    private static final int ENOENT = -Errno.ENOENT.number();
    private static final int ENXIO = -Errno.ENXIO.number();

    private static final int MAX_VCPU_IDS = 4096;
    private static final int MAX_GSI = 4096;
    private static final int MAX_ROUTES = 4096;
    private static final int X2APIC_SUPPRESS_EOI = 4;
    private static final int X2APIC_NO_SUPPRESS_EOI = 8;
    /** Three pages below 4 GiB. */
    private static final long LAST_TSS_ADDRESS = 0xffff_d000L;

    private static final int IOEVENTFD_FLAGS = 0x1f;

    private final FakeKernel kernel;
    private final FakeVm vm = new FakeVm();
    private final MemorySlots memory = new MemorySlots();
    private final TreeSet<Integer> vcpus = new TreeSet<>();
    private boolean device;

    VmFile(FakeKernel kernel) {
        this.kernel = kernel;
    }

    FakeVm vm() {
        return vm;
    }

    MemorySlots memory() {
        return memory;
    }

    void deviceGone() {
        device = false;
    }

    @Override
    void released() {
        vm.close();
    }

    @Override
    int ioctl(long request, long argument) {
        if (request == Uapi.KVM_CHECK_EXTENSION) {
            int value = Capabilities.check(kernel.profile(), argument);
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
            return Long.compareUnsigned(argument, LAST_TSS_ADDRESS) > 0 ? EINVAL : 0;
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
            return copied(argument, Uapi.KvmIrqRouting.SIZE, header -> setRouting(header, argument));
        }
        if (request == Uapi.KVM_IRQFD) {
            return copied(argument, Uapi.KvmIrqfd.SIZE, this::irqfd);
        }
        if (request == Uapi.KVM_IOEVENTFD) {
            return copied(argument, Uapi.KvmIoeventfd.SIZE, this::ioeventfd);
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
        return unknown(UapiTable.FileKind.VM, request, -Errno.ENOTTY.number());
    }

    private interface OnStructure {
        int apply(ByteBuffer structure);
    }

    /** The structure is copied before anything about it is checked. */
    private int copied(long argument, int size, OnStructure call) {
        ByteBuffer structure = kernel.memory().copyIn(argument, size);
        return structure == null ? EFAULT : call.apply(structure);
    }

    // vCPUs and irqchips

    private int createVcpu(long id) {
        if (id < 0 || id >= MAX_VCPU_IDS) {
            return EINVAL;
        }
        if (!vcpus.add((int) id)) {
            // Seen only after the vCPU was made, which looked at all others.
            vm.redrawMap();
            return EEXIST;
        }
        Optional<FakeLapic> lapic =
                vm.irqchip() == FakeVm.Irqchip.NONE ? Optional.empty() : Optional.of(vm.addLapic((int) id));
        return kernel.install(new VcpuDescriptor(kernel, this, lapic));
    }

    private int createIrqchip() {
        if (vm.irqchip() != FakeVm.Irqchip.NONE) {
            return EEXIST;
        }
        if (!vcpus.isEmpty()) {
            return EINVAL;
        }
        vm.createIrqchip(FakeVm.Irqchip.FULL);
        return 0;
    }

    private int enable(ByteBuffer capability) {
        if (capability.getInt(Uapi.KvmEnableCap.FLAGS) != 0) {
            return EINVAL;
        }
        long argument = capability.getLong(Uapi.KvmEnableCap.ARGS);
        return switch (capability.getInt(Uapi.KvmEnableCap.CAP)) {
            case Uapi.KVM_CAP_SPLIT_IRQCHIP -> enableSplit(argument);
            case Uapi.KVM_CAP_X2APIC_API -> enableX2apic(argument);
            default -> EINVAL;
        };
    }

    private int enableSplit(long pins) {
        if (pins < 0 || pins > MAX_GSI) {
            return EINVAL;
        }
        if (vm.irqchip() != FakeVm.Irqchip.NONE || !vcpus.isEmpty()) {
            return EEXIST;
        }
        vm.createIrqchip(FakeVm.Irqchip.SPLIT);
        return 0;
    }

    private int enableX2apic(long bits) {
        boolean suppress = (bits & X2APIC_SUPPRESS_EOI) != 0;
        if ((bits & ~(long) kernel.profile().x2apicBits()) != 0
                || suppress && (bits & X2APIC_NO_SUPPRESS_EOI) != 0
                || suppress && vm.irqchip() != FakeVm.Irqchip.SPLIT) {
            return EINVAL;
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
        return kernel.memory().copyOut(argument, chip, Uapi.KvmIrqchip.SIZE) ? 0 : EFAULT;
    }

    private int setIrqchip(ByteBuffer chip) {
        int refused = refuseChip(chip);
        int id = chip.getInt(Uapi.KvmIrqchip.CHIP_ID);
        if (refused == 0 && id < 2) {
            vm.pic(id).restore(chip, Uapi.KvmIrqchip.CHIP);
        } else if (refused == 0) {
            vm.ioapic().restore(chip, Uapi.KvmIrqchip.CHIP);
        }
        if (refused != ENXIO) {
            vm.cascade();
        }
        return refused;
    }

    private int refuseChip(ByteBuffer chip) {
        if (vm.irqchip() != FakeVm.Irqchip.FULL) {
            return ENXIO;
        }
        int id = chip.getInt(Uapi.KvmIrqchip.CHIP_ID);
        return id < 0 || id > 2 ? EINVAL : 0;
    }

    // Routes

    private int setRouting(ByteBuffer header, long argument) {
        int count = header.getInt(Uapi.KvmIrqRouting.NR);
        if (vm.irqchip() == FakeVm.Irqchip.NONE
                || count < 0
                || count > MAX_ROUTES
                || header.getInt(Uapi.KvmIrqRouting.FLAGS) != 0) {
            return EINVAL;
        }
        ByteBuffer entries =
                kernel.memory().copyIn(argument + Uapi.KvmIrqRouting.SIZE, count * Uapi.KvmIrqRoutingEntry.SIZE);
        if (entries == null) {
            return EFAULT;
        }
        Map<Integer, List<FakeVm.Target>> next = new HashMap<>();
        for (int i = 0; i < count; i++) {
            if (!add(entries, i * Uapi.KvmIrqRoutingEntry.SIZE, next)) {
                return EINVAL;
            }
        }
        vm.setRoutes(next);
        return 0;
    }

    private boolean add(ByteBuffer entries, int at, Map<Integer, List<FakeVm.Target>> next) {
        int gsi = entries.getInt(at + Uapi.KvmIrqRoutingEntry.GSI);
        int flags = entries.getInt(at + Uapi.KvmIrqRoutingEntry.FLAGS);
        if (gsi < 0 || gsi >= MAX_GSI) {
            return false;
        }
        Optional<FakeVm.Target> target =
                switch (entries.getInt(at + Uapi.KvmIrqRoutingEntry.TYPE)) {
                    case Uapi.KVM_IRQ_ROUTING_MSI ->
                        (flags & ~Uapi.KVM_MSI_VALID_DEVID) == 0 ? message(entries, at) : Optional.empty();
                    case Uapi.KVM_IRQ_ROUTING_IRQCHIP -> flags == 0 ? pin(entries, at) : Optional.empty();
                    default -> Optional.empty();
                };
        List<FakeVm.Target> there = next.computeIfAbsent(gsi, absent -> new ArrayList<>(2));
        if (target.isEmpty() || there.stream().anyMatch(other -> conflict(other, target.get()))) {
            return false;
        }
        return there.add(target.get());
    }

    private static boolean conflict(FakeVm.Target one, FakeVm.Target other) {
        return one.message() || other.message() || one.chip() == other.chip();
    }

    private Optional<FakeVm.Target> message(ByteBuffer entries, int at) {
        long low = Integer.toUnsignedLong(entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO));
        int high = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_HI);
        if (vm.longApicIds() && (high & 0xff) != 0) {
            return Optional.empty();
        }
        int data = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_DATA);
        return Optional.of(new FakeVm.Target(true, 0, 0, (long) high << 32 | low, data));
    }

    private Optional<FakeVm.Target> pin(ByteBuffer entries, int at) {
        int chip = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP);
        int pin = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN);
        boolean exists = vm.irqchip() == FakeVm.Irqchip.FULL
                && chip >= 0
                && chip <= 2
                && pin >= 0
                && pin < (chip == 2 ? FakeIoapic.PINS : FakePic.PINS);
        return exists ? Optional.of(new FakeVm.Target(false, chip, pin, 0, 0)) : Optional.empty();
    }

    // Registrations

    private int irqfd(ByteBuffer irqfd) {
        int flags = irqfd.getInt(Uapi.KvmIrqfd.FLAGS);
        if ((flags & ~(Uapi.KVM_IRQFD_FLAG_DEASSIGN | Uapi.KVM_IRQFD_FLAG_RESAMPLE)) != 0) {
            return EINVAL;
        }
        int gsi = irqfd.getInt(Uapi.KvmIrqfd.GSI);
        int fd = irqfd.getInt(Uapi.KvmIrqfd.FD);
        if ((flags & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0) {
            int refused = refuseEventfd(fd);
            kernel.eventfd(fd).ifPresent(event -> vm.deassign(event, gsi));
            return refused;
        }
        boolean resample = (flags & Uapi.KVM_IRQFD_FLAG_RESAMPLE) != 0;
        if (vm.irqchip() == FakeVm.Irqchip.NONE || resample && vm.irqchip() != FakeVm.Irqchip.FULL) {
            return EINVAL;
        }
        return assign(fd, gsi, resample, irqfd.getInt(Uapi.KvmIrqfd.RESAMPLEFD));
    }

    private int assign(int fd, int gsi, boolean resample, int resampleFd) {
        int refused = refuseEventfd(fd);
        if (refused == 0 && resample) {
            refused = refuseEventfd(resampleFd);
        }
        if (refused < 0) {
            return refused;
        }
        EventFile event = kernel.eventfd(fd).orElseThrow();
        if (event.isBusy(vm)) {
            return EBUSY;
        }
        vm.add(new FakeIrqfd(vm, event, gsi, resample ? kernel.eventfd(resampleFd) : Optional.empty()));
        return 0;
    }

    private int refuseEventfd(int fd) {
        Optional<FakeFile> file = kernel.file(fd);
        if (file.isEmpty()) {
            return EBADF;
        }
        return file.get() instanceof EventFile ? 0 : EINVAL;
    }

    private int ioeventfd(ByteBuffer argument) {
        int flags = argument.getInt(Uapi.KvmIoeventfd.FLAGS);
        int length = argument.getInt(Uapi.KvmIoeventfd.LEN);
        long address = argument.getLong(Uapi.KvmIoeventfd.ADDR);
        int fd = argument.getInt(Uapi.KvmIoeventfd.FD);
        boolean match = (flags & Uapi.KVM_IOEVENTFD_FLAG_DATAMATCH) != 0;
        boolean assign = (flags & Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN) == 0;
        if (assign) {
            boolean lengthKnown = length == 0 || length == 1 || length == 2 || length == 4 || length == 8;
            boolean wraps = Long.compareUnsigned(address + length, address) < 0;
            if (!lengthKnown || wraps || (flags & ~IOEVENTFD_FLAGS) != 0 || length == 0 && match) {
                return EINVAL;
            }
        }
        int refused = refuseEventfd(fd);
        if (refused < 0) {
            return refused;
        }
        FakeIoEventFd one = new FakeIoEventFd(
                kernel.eventfd(fd).orElseThrow(),
                FakeIoEventFd.Bus.of(flags),
                address,
                length,
                !match,
                match ? argument.getLong(Uapi.KvmIoeventfd.DATAMATCH) : 0);
        if (!assign) {
            return vm.ioEventFds().remove(one) ? 0 : ENOENT;
        }
        if (vm.ioEventFds().stream().anyMatch(one::collides)) {
            return EEXIST;
        }
        vm.ioEventFds().add(one);
        return 0;
    }

    // Injection

    private int signalMsi(ByteBuffer msi) {
        int high = msi.getInt(Uapi.KvmMsi.ADDRESS_HI);
        if (vm.irqchip() == FakeVm.Irqchip.NONE
                || (msi.getInt(Uapi.KvmMsi.FLAGS) & ~Uapi.KVM_MSI_VALID_DEVID) != 0
                || vm.longApicIds() && (high & 0xff) != 0) {
            return EINVAL;
        }
        long address = (long) high << 32 | Integer.toUnsignedLong(msi.getInt(Uapi.KvmMsi.ADDRESS_LO));
        int result = vm.signal(address, msi.getInt(Uapi.KvmMsi.DATA));
        return result;
    }

    private int setLine(ByteBuffer line, boolean status, long argument) {
        if (vm.irqchip() == FakeVm.Irqchip.NONE) {
            return ENXIO;
        }
        boolean level = line.getInt(Uapi.KvmIrqLevel.LEVEL) != 0;
        int result = vm.setIrq(line.getInt(Uapi.KvmIrqLevel.IRQ), FakeVm.SOURCE_USERSPACE, level, status);
        if (!status) {
            return 0;
        }
        line.putInt(Uapi.KvmIrqLevel.IRQ, result);
        return kernel.memory().copyOut(argument, line, Uapi.KvmIrqLevel.SIZE) ? 0 : EFAULT;
    }

    private int createDevice(ByteBuffer create, long argument) {
        if (create.getInt(Uapi.KvmCreateDevice.TYPE) != Uapi.KVM_DEV_TYPE_VFIO) {
            return ENODEV;
        }
        if ((create.getInt(Uapi.KvmCreateDevice.FLAGS) & Uapi.KVM_CREATE_DEVICE_TEST) != 0) {
            return 0;
        }
        if (device) {
            return EBUSY;
        }
        int fd = kernel.install(new DeviceFile(kernel, this));
        if (fd < 0) {
            return fd;
        }
        device = true;
        create.putInt(Uapi.KvmCreateDevice.FD, fd);
        return kernel.memory().copyOut(argument, create, Uapi.KvmCreateDevice.SIZE) ? 0 : EFAULT;
    }
}
