/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** An attribute of /dev/kvm, a VM, a vCPU or a device. {@code address} points to its value in the caller's memory. */
public record Attribute(int group, long number, long address) {
    /** @param structure {@code struct kvm_device_attr} */
    public static Attribute parse(ByteBuffer structure) {
        return new Attribute(
                structure.getInt(Uapi.KvmDeviceAttr.GROUP),
                structure.getLong(Uapi.KvmDeviceAttr.ATTR),
                structure.getLong(Uapi.KvmDeviceAttr.ADDR));
    }
}
