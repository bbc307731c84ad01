/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.FakeRoutes;
import io.kvmirq.fake.kvm.VmFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;

/** The file of an arm64 VM. Source: {@code kvm_arch_vm_ioctl()} in arch/arm64/kvm/arm.c. */
public final class ArmVmFile extends VmFile {
    /** KVM_ARM_VM_SMCCC_CTRL. */
    private static final int SMCCC = 0;
    /** Enabled on VMs: MANUAL_DIRTY_LOG_PROTECT2, NISV_TO_USER, HALT_POLL, rings, MTE, SYSTEM_SUSPEND, chunks. */
    private static final Set<Integer> CAPABILITIES = Set.of(168, 177, 182, 192, 205, 216, 223, 225, 228);
    /** KVM_CAP_ARM_SEA_TO_USER, since 6.19. */
    private static final int SEA_TO_USER = 245;

    private static final Requests<ArmVmFile> REQUESTS = VmFile.<ArmVmFile>requests(
                    ArmAnswer.ARM_VM_UNKNOWN_REQUEST, number -> ArmRequests.name(FileKind.VM, number))
            .value(Uapi.KVM_CHECK_EXTENSION, ArmVmFile::check)
            .value(Uapi.KVM_CREATE_VCPU, ArmVmFile::createVcpu)
            .value(Uapi.KVM_CREATE_IRQCHIP, (vm, argument) -> vm.createIrqchip())
            .out(UapiArm64.KVM_ARM_PREFERRED_TARGET, (vm, target) -> preferredTarget(target))
            .in(Uapi.KVM_ENABLE_CAP, ArmVmFile::enable)
            .in(Uapi.KVM_SIGNAL_MSI, ArmVmFile::signalMsi)
            .in(Uapi.KVM_IRQ_LINE, (vm, line) -> vm.lines.set(line))
            .inOut(Uapi.KVM_IRQ_LINE_STATUS, ArmVmFile::setLineForStatus)
            .value(Uapi.KVM_SET_DEVICE_ATTR, (vm, address) -> vm.attribute(Uapi.KVM_SET_DEVICE_ATTR, address))
            .value(Uapi.KVM_HAS_DEVICE_ATTR, (vm, address) -> vm.attribute(Uapi.KVM_HAS_DEVICE_ATTR, address));

    private final FakeArmVm vm;
    private final ArmLines lines;

    ArmVmFile(FakeArmVm vm) {
        super(vm, vm.memory());
        this.vm = vm;
        this.lines = new ArmLines(vm);
    }

    @Override
    public int ioctl(long request, long argument) {
        return REQUESTS.answer(this, request, argument);
    }

    /** Returns the guest that a test runs on a vCPU; empty if no vCPU has the id or the VGIC is not initialized. */
    public Optional<ArmGuest> guest(int id) {
        return vm.vgic().filter(FakeVgic::isInitialized).flatMap(vgic -> vm.vcpu(id)
                .map(vcpu -> vcpu.guest(vgic)));
    }

    // The VM and its vCPUs

    private int check(long capability) {
        if (capability == Uapi.KVM_CAP_MSI_DEVID) {
            return vm.hasIts() ? 1 : 0;
        }
        return ArmCapabilities.check(host, capability);
    }

    private int attribute(long request, long address) {
        return host.build().isSince(6, 12)
                ? host.copied(address, Uapi.KvmDeviceAttr.SIZE, this::refuseAttribute)
                : REQUESTS.refuse(this, request);
    }

    private int refuseAttribute(ByteBuffer attribute) {
        if (Attribute.parse(attribute).group() == SMCCC) {
            throw new NotModelledException("filters of a guest's SMCCC calls");
        }
        return host.refuse(ArmAnswer.ARM_VM_ATTRIBUTE);
    }

    private int enable(ByteBuffer capability) {
        int number = capability.getInt(Uapi.KvmEnableCap.CAP);
        if (CAPABILITIES.contains(number)
                || number == SEA_TO_USER && host.build().isSince(6, 19)) {
            throw new NotModelledException("enabling capability " + number);
        }
        boolean flags = capability.getInt(Uapi.KvmEnableCap.FLAGS) != 0;
        return host.refuse(flags ? ArmAnswer.ARM_CAP_FLAGS : ArmAnswer.ARM_CAP_UNKNOWN);
    }

    private static int preferredTarget(ByteBuffer target) {
        target.putInt(UapiArm64.KvmVcpuInit.TARGET, UapiArm64.KVM_ARM_TARGET_GENERIC_V8);
        return 0;
    }

    private int createVcpu(long argument) {
        long id = argument;
        if (!host.build().isSince(6, 12)) {
            host.note(ArmAnswer.ARM_VCPU_ID_TRUNCATED);
            id = Integer.toUnsignedLong((int) argument);
        }
        if (id < 0 || id >= VcpuId.MOST_OF_GICV3) {
            return host.refuse(ArmAnswer.ARM_VCPU_ID);
        }
        boolean gicv2 = ArmCapabilities.isGicV2(host);
        if (gicv2 && vm.vcpus().size() == VcpuId.MOST_OF_GICV2) {
            return host.refuse(VgicAnswer.GICV2_VCPUS);
        }
        Optional<FakeVgic> vgic = vm.vgic();
        if (vgic.filter(FakeVgic::isInitialized).isPresent()) {
            return host.refuse(ArmAnswer.ARM_VCPU_AFTER_INIT);
        }
        if (gicv2 && id >= VcpuId.MOST_OF_GICV2) {
            return host.refuse(VgicAnswer.GICV2_VCPUS);
        }
        ArmVcpu vcpu = new ArmVcpu(vm, (int) id);
        Optional<Answer> noPlace =
                vgic.flatMap(controller -> controller.places().take(vcpu));
        if (noPlace.isPresent()) {
            return host.refuse(noPlace);
        }
        if (vm.vcpu((int) id).isPresent()) {
            return host.refuse(VmAnswer.VCPU_EXISTS);
        }
        int fd = host.install(new ArmVcpuFile(vm, vcpu));
        if (fd >= 0) {
            vm.vcpus().add(vcpu);
            host.ledger().arrivals().begin((int) id);
        }
        return fd;
    }

    /** Creates a GICv2 without a descriptor. */
    private int createIrqchip() {
        if (!ArmCapabilities.isGicV2(host)) {
            return host.refuse(ArmAnswer.ARM_NO_GICV2);
        }
        if (vm.vgic().isPresent()) {
            return host.refuse(VgicAnswer.GICV2_SECOND);
        }
        vm.createVgic();
        return 0;
    }

    /** Ends the messages that wait when the VM is released, before its vLPIs are removed. */
    @Override
    protected void released() {
        vm.messages().close();
        super.released();
    }

    // Injection

    private int setLineForStatus(ByteBuffer line) {
        int refused = lines.set(line);
        if (refused == 0) {
            // The kernel writes no status: it copies the unchanged structure back.
            host.note(ArmAnswer.ARM_LINE_NO_STATUS);
        }
        return refused;
    }

    private int signalMsi(ByteBuffer msi) {
        if (vm.vgic().isEmpty()) {
            return host.refuse(ArmAnswer.ARM_MSI_NEEDS_VGIC);
        }
        int flags = msi.getInt(Uapi.KvmMsi.FLAGS);
        if ((flags & ~Uapi.KVM_MSI_VALID_DEVID) != 0) {
            return host.refuse(InterruptAnswer.MSI_FLAGS);
        }
        long doorbell = FakeRoutes.address(msi.getInt(Uapi.KvmMsi.ADDRESS_LO), msi.getInt(Uapi.KvmMsi.ADDRESS_HI));
        OptionalInt device = (flags & Uapi.KVM_MSI_VALID_DEVID) == 0
                ? OptionalInt.empty()
                : OptionalInt.of(msi.getInt(Uapi.KvmMsi.DEVID));
        host.ledger().sendByProgram();
        int sent = vm.send(new ArmMessage(doorbell, msi.getInt(Uapi.KvmMsi.DATA), device));
        host.ledger().sentByProgram();
        return sent;
    }

    // Devices

    @Override
    protected Answer unknownDevice() {
        return ArmAnswer.ARM_DEVICE_TYPE;
    }

    @Override
    protected boolean hasDevice(int type) {
        return ArmCapabilities.isGicV2(host)
                ? type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V2
                : type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3 || type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_ITS;
    }

    @Override
    protected int createDevice(int type) {
        if (type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_ITS) {
            return host.install(new ItsFile(vm, vm.createIts()));
        }
        if (vm.vgic().isPresent()) {
            return host.refuse(VgicAnswer.VGIC_SECOND);
        }
        FakeVgic vgic = vm.createVgic();
        return host.install(vgic.isGicV2() ? new GicV2File(host, vgic) : new VgicFile(host, vgic));
    }
}
