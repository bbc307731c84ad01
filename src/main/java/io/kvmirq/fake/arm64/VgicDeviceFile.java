/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.KvmDeviceFile;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** What the descriptors of all VGICs have; source: {@code vgic_set_common_attr()} in vgic-kvm-device.c. */
abstract class VgicDeviceFile extends KvmDeviceFile {
    final FakeVgic vgic;

    VgicDeviceFile(Host host, FakeVgic vgic) {
        super(host, true);
        this.vgic = vgic;
    }

    static ByteBuffer value(long value) {
        return ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder()).putLong(0, value);
    }

    final int put(Attribute attribute, long value, int size) {
        return host.copyOut(attribute.address(), value(value), size);
    }

    /** The number of interrupts, and init. */
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
