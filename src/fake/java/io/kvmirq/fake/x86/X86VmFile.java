/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.intx.model.PinSources;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.kvm.FakeMemorySlots;
import io.kvmirq.fake.kvm.FakeRoutes;
import io.kvmirq.fake.kvm.VmFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;

/** A VM's descriptor on x86; source: {@code kvm_arch_vm_ioctl()} in arch/x86/kvm/x86.c. */
final class X86VmFile extends VmFile {
    /** The last address that leaves three pages below 4 GiB. */
    private static final long LAST_TSS_ADDRESS = 0xffff_d000L;

    /** KVM_USER_MEM_SLOTS. */
    private static final int SLOTS = 32764;
    /** The largest number of physical address bits. Most processors have fewer and refuse more. */
    private static final int ADDRESS_BITS = 52;

    private static final Requests<X86VmFile> REQUESTS = VmFile.<X86VmFile>requests(
                    FileAnswer.VM_UNKNOWN_REQUEST, number -> Requests.name(UapiTable.FileKind.VM, number))
            .value(Uapi.KVM_CHECK_EXTENSION, X86VmFile::check)
            .value(Uapi.KVM_CREATE_VCPU, X86VmFile::createVcpu)
            .value(Uapi.KVM_CREATE_IRQCHIP, (vm, argument) -> vm.chips.create())
            .value(Uapi.KVM_SET_BOOT_CPU_ID, (vm, id) -> vm.chips.setBootVcpu(id))
            .value(Uapi.KVM_SET_TSS_ADDR, X86VmFile::setTss)
            .value(Uapi.KVM_SET_IDENTITY_MAP_ADDR, X86VmFile::setIdentityMap)
            .value(Uapi.KVM_SET_USER_MEMORY_REGION2, X86VmFile::setMemory2)
            .in(Uapi.KVM_ENABLE_CAP, (vm, capability) -> vm.chips.enable(capability))
            .in(Uapi.KVM_SIGNAL_MSI, X86VmFile::signalMsi)
            .in(Uapi.KVM_IRQ_LINE, (vm, line) -> vm.setLine(line, false))
            .inOut(Uapi.KVM_IRQ_LINE_STATUS, (vm, line) -> vm.setLine(line, true))
            .inOut(Uapi.KVM_GET_IRQCHIP, (vm, chip) -> vm.chips.get(chip))
            .in(Uapi.KVM_SET_IRQCHIP, (vm, chip) -> vm.chips.set(chip))
            .in(Uapi.KVM_CREATE_PIT2, (vm, config) -> vm.chips.createPit(config))
            .out(Uapi.KVM_GET_PIT2, (vm, state) -> vm.timers.getPit(state))
            .value(Uapi.KVM_REINJECT_CONTROL, X86VmFile::reinject)
            .in(Uapi.KVM_SET_PIT2, (vm, state) -> vm.timers.setPit(state))
            .out(Uapi.KVM_GET_CLOCK, (vm, clock) -> vm.timers.getClock(clock))
            .in(Uapi.KVM_SET_CLOCK, (vm, clock) -> vm.timers.setClock(clock))
            .value(Uapi.KVM_GET_TSC_KHZ, (vm, argument) -> vm.vm.settings().tscRate())
            .value(Uapi.KVM_SET_TSC_KHZ, (vm, rate) -> vm.vm.settings().setTscRate(rate, !vm.vcpus.isEmpty()));

    /** Requests that a kernel without CONFIG_KVM_IOAPIC lacks. */
    private static final Set<Long> OF_FULL_IRQCHIP = Set.of(
            Uapi.KVM_CREATE_IRQCHIP,
            Uapi.KVM_GET_IRQCHIP,
            Uapi.KVM_SET_IRQCHIP,
            Uapi.KVM_CREATE_PIT,
            Uapi.KVM_GET_PIT,
            Uapi.KVM_SET_PIT,
            Uapi.KVM_CREATE_PIT2,
            Uapi.KVM_GET_PIT2,
            Uapi.KVM_SET_PIT2,
            Uapi.KVM_REINJECT_CONTROL);

    private final X86Vm vm;
    private final TreeSet<Integer> vcpus = new TreeSet<>();
    private final IrqchipCalls chips;
    private final TimerCalls timers;

    X86VmFile(KernelOfFile host) {
        this(new X86Vm(host));
    }

    private X86VmFile(X86Vm vm) {
        super(vm, new FakeMemorySlots(vm.host(), limits(vm.host())));
        this.vm = vm;
        this.chips = new IrqchipCalls(vm, vcpus);
        this.timers = new TimerCalls(vm);
    }

    private static FakeMemorySlots.Limits limits(KernelOfFile host) {
        int spaces = X86Capabilities.addressSpaces(host.build());
        return new FakeMemorySlots.Limits(SLOTS, spaces, ADDRESS_BITS, VmAnswer.MEMORY_BEYOND);
    }

    @Override
    public List<String> facts() {
        return vm.irqchip().facts(!vcpus.isEmpty());
    }

    @Override
    public int ioctl(long request, long argument) {
        return !host.build().fullIrqchip() && OF_FULL_IRQCHIP.contains(request)
                ? host.refuse(VmAnswer.IRQCHIP_NOT_BUILT_IN)
                : REQUESTS.answer(this, request, argument);
    }

    /** KVM_REINJECT_CONTROL, whose request number contains no size. */
    private int reinject(long address) {
        return host.copied(address, Uapi.KvmReinjectControl.SIZE, control -> timers.reinject(control));
    }

    private int check(long capability) {
        int value = X86Capabilities.check(host, capability);
        return capability == Uapi.KVM_CAP_X2APIC_API ? value & chips.x2apicBits() : value;
    }

    private int setTss(long address) {
        return Long.compareUnsigned(address, LAST_TSS_ADDRESS) > 0 ? host.refuse(VmAnswer.VM_TSS_ADDRESS) : 0;
    }

    /** KVM_SET_IDENTITY_MAP_ADDR. Checks for vCPUs before it reads the argument. */
    private int setIdentityMap(long address) {
        return vcpus.isEmpty()
                ? host.copied(address, Long.BYTES, guestAddress -> 0)
                : host.refuse(VmAnswer.VM_IDENTITY_MAP);
    }

    private int setMemory2(long address) {
        return host.build().isSince(6, 8)
                ? host.copied(address, Uapi.KvmUserspaceMemoryRegion2.SIZE, memory()::set2)
                : host.refuse(FileAnswer.VM_UNKNOWN_REQUEST);
    }

    @Override
    protected Answer unknownDevice() {
        return InterruptAnswer.DEVICE_TYPE;
    }

    // vCPUs

    private int createVcpu(long argument) {
        long id = argument;
        if (argument >>> 32 != 0 && !host.build().isSince(6, 11)) {
            host.note(VmAnswer.VCPU_ID_HALF_BEFORE);
            id = argument & 0xffff_ffffL;
        }
        int ids = X86Capabilities.vcpuIds(host.build());
        boolean many = vcpus.size() >= X86Capabilities.maxVcpus(host.build());
        if (id < 0 || id >= ids || many || id >= vm.limitVcpuIds(ids)) {
            return host.refuse(VmAnswer.VCPU_ID);
        }
        if (vm.lapics().refuses((int) id)) {
            return host.refuse(VmAnswer.VCPU_ID_AVIC_BEFORE);
        }
        if (!vcpus.add((int) id)) {
            // The kernel notices the duplicate id only after it recalculated the APIC map for the new vCPU.
            vm.lapics().recalculateApicMap();
            return host.refuse(VmAnswer.VCPU_EXISTS);
        }
        Optional<FakeLapic> lapic = vm.irqchip() == X86Vm.Irqchip.NONE
                ? Optional.empty()
                : Optional.of(vm.lapics().add((int) id));
        X86VcpuFile vcpu = new X86VcpuFile(vm, memory(), (int) id, lapic);
        int fd = host.install(vcpu);
        if (fd < 0) {
            vcpus.remove((int) id);
            lapic.ifPresent(vm.lapics()::remove);
        } else {
            vm.addHolder();
            host.ledger().arrivals().begin((int) id);
            vcpu.begin();
        }
        return fd;
    }

    // Injection

    private int signalMsi(ByteBuffer msi) {
        if (vm.irqchip() == X86Vm.Irqchip.NONE) {
            return host.refuse(InterruptAnswer.MSI_NEEDS_IRQCHIP);
        }
        if ((msi.getInt(Uapi.KvmMsi.FLAGS) & ~Uapi.KVM_MSI_VALID_DEVID) != 0) {
            return host.refuse(InterruptAnswer.MSI_FLAGS);
        }
        ApicMessage interrupt = vm.message(
                FakeRoutes.address(msi.getInt(Uapi.KvmMsi.ADDRESS_LO), msi.getInt(Uapi.KvmMsi.ADDRESS_HI)),
                msi.getInt(Uapi.KvmMsi.DATA),
                OptionalInt.empty());
        if (interrupt.isInvalid(vm.lapics().has32BitIds())) {
            return host.refuse(InterruptAnswer.MSI_HIGH_ADDRESS);
        }
        host.ledger().sendByProgram();
        int taken = vm.lapics().deliver(interrupt);
        host.ledger().sentByProgram();
        return taken < 0 ? host.refuse(InterruptAnswer.MSI_NOBODY) : taken;
    }

    private int setLine(ByteBuffer line, boolean status) {
        if (vm.irqchip() == X86Vm.Irqchip.NONE) {
            return host.refuse(InterruptAnswer.LINE_NEEDS_IRQCHIP);
        }
        boolean level = line.getInt(Uapi.KvmIrqLevel.LEVEL) != 0;
        int result = vm.setIrq(line.getInt(Uapi.KvmIrqLevel.IRQ), PinSources.USERSPACE, level, status);
        line.putInt(Uapi.KvmIrqLevel.IRQ, result);
        return 0;
    }
}
