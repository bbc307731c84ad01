/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.rules.KernelRule;
import io.kvmirq.uapi.Uapi;

/** The KVM-VFIO device of a VM, on a host without VFIO; source: virt/kvm/vfio.c. */
final class KvmVfioFile extends KvmDeviceFile {
    private final Runnable gone;

    /** @param gone called when the last descriptor is closed */
    KvmVfioFile(Host host, Runnable gone) {
        super(host, false);
        this.gone = gone;
    }

    @Override
    protected int has(Attribute attribute) {
        boolean known = attribute.group() == Uapi.KVM_DEV_VFIO_FILE
                && (attribute.number() == Uapi.KVM_DEV_VFIO_FILE_ADD
                        || attribute.number() == Uapi.KVM_DEV_VFIO_FILE_DEL);
        return known ? 0 : host.refuse(KernelRule.VFIO_ATTRIBUTE);
    }

    @Override
    protected int set(Attribute attribute) {
        int refused = has(attribute);
        return refused < 0
                ? refused
                : host.copied(
                        attribute.address(),
                        Integer.BYTES,
                        file -> setFile(attribute.number() == Uapi.KVM_DEV_VFIO_FILE_ADD, file.getInt(0)));
    }

    private int setFile(boolean add, int fd) {
        if (host.file(fd) == null) {
            return host.refuse(KernelRule.VFIO_FILE_FD);
        }
        return host.refuse(add ? KernelRule.VFIO_NOT_A_VFIO_FILE : KernelRule.VFIO_FILE_UNKNOWN);
    }

    @Override
    protected void released() {
        gone.run();
    }
}
