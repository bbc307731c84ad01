/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.KvmDeviceFile;
import io.kvmirq.uapi.UapiArm64;

/** The common part of a VGIC's descriptors; source: {@code vgic_set_common_attr()} in vgic-kvm-device.c. */
abstract class VgicDeviceFile extends KvmDeviceFile {
    final FakeVgic vgic;

    VgicDeviceFile(KernelOfFile host, FakeVgic vgic) {
        super(host, true);
        this.vgic = vgic;
    }

    /** Handles the attributes for the number of interrupts and for init. */
    final int common(Attribute attribute, boolean get) {
        if (attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS) {
            return get ? put(attribute, vgic.interrupts(), Integer.BYTES) : setInterrupts(attribute);
        }
        boolean init = attribute.group() == UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL
                && attribute.number() == UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT;
        if (get || !init) {
            return host.refuse(VgicAnswer.VGIC_ATTRIBUTE);
        }
        vgic.initialize();
        return 0;
    }

    private int setInterrupts(Attribute attribute) {
        return host.copied(
                attribute.address(), Integer.BYTES, count -> host.refuse(vgic.setInterrupts(count.getInt(0))));
    }
}
