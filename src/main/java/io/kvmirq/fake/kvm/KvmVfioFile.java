/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.rules.KvmRule;
import io.kvmirq.uapi.Uapi;
import java.util.ArrayList;
import java.util.List;

/** The KVM-VFIO device of a VM. It holds the files that were added; source: virt/kvm/vfio.c. */
final class KvmVfioFile extends KvmDeviceFile {
    private final Runnable gone;
    private final List<FakeFile> files = new ArrayList<>();

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
        return known ? 0 : host.refuse(KvmRule.VFIO_ATTRIBUTE);
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
        FakeFile file = host.file(fd);
        if (file == null) {
            return host.refuse(KvmRule.VFIO_FILE_FD);
        }
        return add ? add(file) : delete(file);
    }

    private int add(FakeFile file) {
        if (!file.isVfio()) {
            return host.refuse(KvmRule.VFIO_NOT_A_VFIO_FILE);
        }
        if (files.contains(file)) {
            return host.refuse(KvmRule.VFIO_FILE_TWICE);
        }
        files.add(file);
        file.opened();
        return 0;
    }

    private int delete(FakeFile file) {
        if (!files.remove(file)) {
            return host.refuse(KvmRule.VFIO_FILE_UNKNOWN);
        }
        file.closed();
        return 0;
    }

    @Override
    protected void released() {
        files.forEach(FakeFile::closed);
        gone.run();
    }
}
