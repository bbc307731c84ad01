/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.Optional;

/** A VGICv2's descriptor; source: {@code kvm_arm_vgic_v2_ops} in arch/arm64/kvm/vgic/vgic-kvm-device.c. */
final class GicV2File extends VgicDeviceFile {
    private static final int VCPU = 0xff;

    private final GicV2Registers registers;

    GicV2File(KernelOfFile host, FakeVgic vgic) {
        super(host, vgic);
        this.registers = new GicV2Registers(vgic);
    }

    private Optional<ArmVcpu> vcpu(Attribute attribute) {
        return vgic.vm().vcpu((int) (attribute.number() >>> Integer.SIZE) & VCPU);
    }

    private static boolean isRegister(Attribute attribute) {
        return attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS
                || attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS;
    }

    @Override
    protected int has(Attribute attribute) {
        if (isRegister(attribute) && vcpu(attribute).isEmpty()) {
            return host.refuse(VgicAnswer.VGIC_NO_VCPU);
        }
        int offset = (int) attribute.number();
        boolean has =
                switch (attribute.group()) {
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR ->
                        attribute.number() == UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST
                                || attribute.number() == UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS -> true;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL ->
                        attribute.number() == UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT;
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS -> registers.exists(offset);
                    case UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS -> GicV2CpuInterface.exists(host, offset);
                    default -> false;
                };
        return has ? 0 : host.refuse(VgicAnswer.VGIC_ATTRIBUTE);
    }

    @Override
    protected int get(Attribute attribute) {
        if (isRegister(attribute)) {
            return register(attribute, true);
        }
        if (attribute.group() != UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR) {
            return common(attribute, true);
        }
        if (attribute.number() == UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST) {
            return put(attribute, vgic.places().distributor(), Long.BYTES);
        }
        if (attribute.number() == UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION) {
            // The index is copied in before the kind of VGIC is checked: kvm_vgic_addr().
            return host.copied(attribute.address(), Long.BYTES, index -> host.refuse(VgicAnswer.VGIC_ATTRIBUTE));
        }
        return attribute.number() == UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU
                ? put(attribute, vgic.places().cpuInterface(), Long.BYTES)
                : host.refuse(VgicAnswer.VGIC_ATTRIBUTE);
    }

    @Override
    protected int set(Attribute attribute) {
        if (isRegister(attribute)) {
            return register(attribute, false);
        }
        return attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR
                ? host.copied(attribute.address(), Long.BYTES, to -> setPlace(attribute.number(), to.getLong(0)))
                : common(attribute, false);
    }

    private int setPlace(long type, long to) {
        if (type == UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST) {
            return host.refuse(vgic.places().setDistributor(to, VgicPlaces.PAGE_OF_GICV2));
        }
        return type == UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU
                ? host.refuse(vgic.places().setCpuInterface(to))
                : host.refuse(VgicAnswer.VGIC_ATTRIBUTE);
    }

    /** Accesses a register. As in the kernel: finds the vCPU, then copies the value in, then initializes the GICv2. */
    private int register(Attribute attribute, boolean get) {
        ArmVcpu vcpu = vcpu(attribute).orElse(null);
        if (vcpu == null) {
            return host.refuse(VgicAnswer.VGIC_NO_VCPU);
        }
        ByteBuffer next = get ? value(0) : host.memory().copyIn(attribute.address(), Integer.BYTES);
        if (next == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        vgic.initializeByUse();
        int index = vgic.vm().vcpus().indexOf(vcpu);
        int offset = (int) attribute.number();
        boolean ofVcpu = attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS;
        if (get) {
            int word = ofVcpu ? vgic.gicV2Interface(index).read(offset) : registers.read(index, offset);
            return put(attribute, word, Integer.BYTES);
        }
        if (ofVcpu) {
            vgic.gicV2Interface(index).write(offset, next.getInt(0));
            return 0;
        }
        return host.refuse(registers.write(index, offset, next.getInt(0)));
    }
}
