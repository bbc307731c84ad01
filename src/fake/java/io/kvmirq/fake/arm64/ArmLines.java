/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.explain.ArmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/** KVM_IRQ_LINE, whose word holds kind, vCPU and number. Source: {@code kvm_vm_ioctl_irq_line()} in arm.c. */
final class ArmLines {
    private static final int NUMBER = 0xffff;
    private static final int VCPU = 0xff;
    private static final int KIND = 0xf;
    /** KVM_ARM_IRQ_CPU_IRQ and KVM_ARM_IRQ_CPU_FIQ. */
    private static final int LAST_PIN_OF_CPU = 1;

    private final KernelOfFile host;
    private final FakeArmVm vm;
    private final boolean byId;
    /** Whether the call initializes a GICv2 before it checks vCPU and number, as newer kernels do. */
    private final boolean initializesFirst;

    ArmLines(FakeArmVm vm) {
        this.host = vm.host();
        this.vm = vm;
        this.byId = host.build().isSince(6, 12);
        this.initializesFirst = host.build().isSince(7, 1);
    }

    int set(ByteBuffer line) {
        int word = line.getInt(Uapi.KvmIrqLevel.IRQ);
        int number = word & NUMBER;
        int vcpu = (word >>> UapiArm64.KVM_ARM_IRQ_VCPU2_SHIFT) * (VCPU + 1)
                | word >>> UapiArm64.KVM_ARM_IRQ_VCPU_SHIFT & VCPU;
        boolean up = line.getInt(Uapi.KvmIrqLevel.LEVEL) != 0;
        return switch (word >>> UapiArm64.KVM_ARM_IRQ_TYPE_SHIFT & KIND) {
            case UapiArm64.KVM_ARM_IRQ_TYPE_CPU -> setPin(vcpu, number);
            case UapiArm64.KVM_ARM_IRQ_TYPE_PPI -> setPrivate(vcpu, number, up);
            case UapiArm64.KVM_ARM_IRQ_TYPE_SPI -> setShared(number, up);
            default -> host.refuse(ArmAnswer.ARM_LINE_KIND);
        };
    }

    /** Sets the IRQ or FIQ input of a vCPU, for an interrupt controller in the VMM. */
    private int setPin(int which, int number) {
        if (vm.vgic().isPresent()) {
            return host.refuse(ArmAnswer.ARM_LINE_HAS_VGIC);
        }
        return vcpu(which).isEmpty() || number > LAST_PIN_OF_CPU ? host.refuse(ArmAnswer.ARM_LINE_NUMBER) : 0;
    }

    private int setPrivate(int which, int number, boolean up) {
        FakeVgic vgic = vm.vgic().orElse(null);
        if (vgic == null) {
            return host.refuse(ArmAnswer.ARM_LINE_NEEDS_VGIC);
        }
        if (initializesFirst && !vgic.initializeByUse()) {
            return host.refuse(ArmAnswer.ARM_LINE_BEFORE_INIT);
        }
        ArmVcpu vcpu = vcpu(which).orElse(null);
        if (vcpu == null || number < InterruptId.FIRST_PPI || number >= InterruptId.FIRST_SPI) {
            return host.refuse(ArmAnswer.ARM_LINE_NUMBER);
        }
        if (!vgic.initializeByUse()) {
            return host.refuse(ArmAnswer.ARM_LINE_BEFORE_INIT);
        }
        // 6.1 uses the id of this vCPU as an index, and looks up a vCPU again.
        ArmVcpu meant = vcpu(byId ? which : vcpu.id()).orElse(null);
        if (meant == null) {
            return host.refuse(ArmAnswer.ARM_LINE_VCPU_TWICE);
        }
        vgic.inject(vm.vcpus().indexOf(meant), number, up);
        return 0;
    }

    /** Finds a vCPU by id; on 6.1 by its index in creation order. */
    private Optional<ArmVcpu> vcpu(int which) {
        if (byId) {
            return vm.vcpu(which);
        }
        host.note(ArmAnswer.ARM_LINE_VCPU_BY_INDEX);
        List<ArmVcpu> vcpus = vm.vcpus();
        return which < vcpus.size() ? Optional.of(vcpus.get(which)) : Optional.empty();
    }

    private int setShared(int number, boolean up) {
        FakeVgic vgic = vm.vgic().orElse(null);
        if (vgic == null) {
            return host.refuse(ArmAnswer.ARM_LINE_NEEDS_VGIC);
        }
        if (initializesFirst && !vgic.initializeByUse()) {
            return host.refuse(ArmAnswer.ARM_LINE_BEFORE_INIT);
        }
        if (number < InterruptId.FIRST_SPI) {
            return host.refuse(ArmAnswer.ARM_LINE_NUMBER);
        }
        if (!vgic.initializeByUse()) {
            return host.refuse(ArmAnswer.ARM_LINE_BEFORE_INIT);
        }
        if (!vgic.isShared(number)) {
            return host.refuse(ArmAnswer.ARM_LINE_NUMBER);
        }
        vgic.inject(0, number, up);
        return 0;
    }
}
