/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioGroupStatus;
import java.nio.ByteBuffer;
import java.util.Optional;

/** /dev/vfio/N, which can be open once at a time. Source: drivers/vfio/group.c. */
final class GroupFile extends FakeFile {
    private static final int LONGEST_NAME = 4096;

    private static final Requests<GroupFile> REQUESTS = new Requests<GroupFile>(
                    VfioAnswer.VFIO_UNKNOWN_REQUEST, number -> null)
            .value(UapiVfio.VFIO_GROUP_GET_STATUS, GroupFile::status)
            .value(UapiVfio.VFIO_GROUP_SET_CONTAINER, GroupFile::setContainer)
            .value(UapiVfio.VFIO_GROUP_UNSET_CONTAINER, (file, none) -> file.unsetContainer())
            .value(UapiVfio.VFIO_GROUP_GET_DEVICE_FD, GroupFile::device);

    private final VfioGroup group;

    GroupFile(KernelOfFile host, VfioGroup group) {
        super(host);
        this.group = group;
        group.setOpen(true);
    }

    @Override
    public int ioctl(long request, long argument) {
        return REQUESTS.answer(this, request, argument);
    }

    @Override
    public boolean isVfio() {
        return true;
    }

    @Override
    protected void released() {
        group.detach();
        group.setOpen(false);
    }

    private int status(long address) {
        return host.copied(address, VfioGroupStatus.SIZE, status -> {
            if (Integer.compareUnsigned(status.getInt(VfioGroupStatus.ARGSZ), VfioGroupStatus.SIZE) < 0) {
                return host.refuse(VfioAnswer.VFIO_INFO_ARGUMENTS);
            }
            if (group.devices().isEmpty()) {
                return host.refuse(VfioAnswer.VFIO_GROUP_GONE);
            }
            boolean attached = group.hasIommu();
            int viable = attached || group.isViable() ? UapiVfio.VFIO_GROUP_FLAGS_VIABLE : 0;
            status.putInt(VfioGroupStatus.FLAGS, viable | (attached ? UapiVfio.VFIO_GROUP_FLAGS_CONTAINER_SET : 0));
            return host.copyOut(address, status, VfioGroupStatus.SIZE);
        });
    }

    private int setContainer(long address) {
        return host.copied(address, UapiVfio.VfioContainer.SIZE, descriptor -> setContainer(descriptor));
    }

    private int setContainer(ByteBuffer descriptor) {
        FakeFile file = host.file(descriptor.getInt(UapiVfio.VfioContainer.FD));
        if (file == null) {
            return host.refuse(VfioAnswer.VFIO_CONTAINER_FD);
        }
        if (group.hasIommu()) {
            return host.refuse(VfioAnswer.VFIO_CONTAINER_SET);
        }
        if (group.devices().isEmpty()) {
            return host.refuse(VfioAnswer.VFIO_GROUP_GONE);
        }
        if (file instanceof IommuFile) {
            throw new NotModelledException("VFIO_GROUP_SET_CONTAINER of an iommufd");
        }
        if (!(file instanceof ContainerFile container)) {
            return host.refuse(
                    host.build().isSince(6, 2)
                            ? VfioAnswer.VFIO_NOT_A_CONTAINER
                            : VfioAnswer.VFIO_NOT_A_CONTAINER_BEFORE);
        }
        if (!group.isViable()) {
            return host.refuse(VfioAnswer.VFIO_GROUP_NOT_VIABLE);
        }
        group.attach(container);
        return 0;
    }

    private int unsetContainer() {
        if (!group.hasIommu()) {
            return host.refuse(VfioAnswer.VFIO_NO_CONTAINER);
        }
        if (group.container() != null && group.isUsed()) {
            return host.refuse(VfioAnswer.VFIO_CONTAINER_IN_USE);
        }
        group.detach();
        return 0;
    }

    private int device(long address) {
        String name = host.memory().text(address, LONGEST_NAME);
        if (name == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        if (name.indexOf(' ') >= 0
                && group.find(name.substring(0, name.indexOf(' '))).isPresent()) {
            throw new NotModelledException("VFIO_GROUP_GET_DEVICE_FD with arguments after the name of the device");
        }
        Optional<FakeVfioDevice> device = group.find(name);
        if (device.isEmpty()) {
            return host.refuse(VfioAnswer.VFIO_DEVICE_NAME);
        }
        if (host.isFull()) {
            return host.refuse(FileAnswer.FD_TABLE_FULL);
        }
        ContainerFile container = group.container();
        return container == null || !container.hasIommu()
                ? host.refuse(VfioAnswer.VFIO_DEVICE_NO_IOMMU)
                : host.install(new DeviceFile(host, device.get(), this));
    }

    VfioGroup group() {
        return group;
    }

    /** A file of one of the group's devices was opened. */
    void use() {
        addReference();
        group.use();
    }

    /** A file of one of the group's devices was released. */
    void unuse() {
        group.unuse();
        closed();
    }
}
