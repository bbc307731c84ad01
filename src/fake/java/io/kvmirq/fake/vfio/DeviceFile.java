/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.IommufdAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.VfioLines;
import io.kvmirq.fake.file.Work;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceAttachIommufdPt;
import io.kvmirq.uapi.UapiVfio.VfioDeviceBindIommufd;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A file of a device. Its group opened it, or it is the device's own (cdev) and works after BIND_IOMMUFD. Source:
 * drivers/vfio/vfio_main.c, device_cdev.c.
 */
final class DeviceFile extends FakeFile {
    /** The sizes of the structures before 6.15 added PASIDs and 6.17 added tokens. */
    private static final int BIND_LEAST = 16;

    private static final int ATTACH_LEAST = 12;

    private final FakeVfioDevice device;
    /** The group that opened the file; null for the device's own file. */
    private final @Nullable GroupFile group;

    /** Whether the device is open through this file. */
    private boolean granted;

    private long position;

    DeviceFile(KernelOfFile host, FakeVfioDevice device, @Nullable GroupFile group) {
        super(host, READ | WRITE | CAN_READ | CAN_WRITE | PREAD | PWRITE);
        this.device = device;
        this.group = group;
        device.hold();
        if (group != null) {
            group.use();
            device.open();
            granted = true;
        }
    }

    @Override
    public int ioctl(long request, long argument) {
        Work work = host.work();
        work.begin();
        try {
            return answer(request, argument);
        } finally {
            work.end();
        }
    }

    private int answer(long request, long argument) {
        if (request == UapiVfio.VFIO_DEVICE_BIND_IOMMUFD && host.build().cdev()) {
            return bind(argument);
        }
        if (!granted) {
            return host.refuse(IommufdAnswer.VFIO_NOT_BOUND);
        }
        if (group == null && request == UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT) {
            return attach(argument);
        }
        if (group == null && request == UapiVfio.VFIO_DEVICE_DETACH_IOMMUFD_PT) {
            throw new NotModelledException("VFIO_DEVICE_DETACH_IOMMUFD_PT");
        }
        if (request == UapiVfio.VFIO_DEVICE_FEATURE || request == UapiVfio.VFIO_DEVICE_IOEVENTFD) {
            throw new NotModelledException(
                    request == UapiVfio.VFIO_DEVICE_FEATURE ? "VFIO_DEVICE_FEATURE" : "VFIO_DEVICE_IOEVENTFD");
        }
        return device.ioctl(this, request, argument);
    }

    /** Since 6.6 KVM accepts a device file, even if its group opened it or it is not bound yet. */
    @Override
    public boolean isVfio() {
        return host.build().isSince(6, 6);
    }

    @Override
    public Optional<VfioLines> device() {
        return granted ? Optional.of(device) : Optional.empty();
    }

    /** Reads at the file position, which starts in the first region. */
    @Override
    public long read(long to, long length) {
        return moved(pread(to, length, position));
    }

    @Override
    public long write(long from, long length) {
        return moved(pwrite(from, length, position));
    }

    private long moved(long result) {
        if (result > 0 && device.movesPosition()) {
            position += result;
        }
        return result;
    }

    @Override
    public Optional<ByteBuffer> shared(long offset, int length, boolean copies) {
        return granted && !copies ? device.memory(offset, length) : Optional.empty();
    }

    @Override
    public Answer refusesMapping() {
        return VfioAnswer.VFIO_REGION_MAP;
    }

    @Override
    public long pread(long to, long length, long offset) {
        return granted ? device.read(to, length, offset) : host.refuse(IommufdAnswer.VFIO_NOT_BOUND);
    }

    @Override
    public long pwrite(long from, long length, long offset) {
        Work work = host.work();
        work.begin();
        try {
            return granted ? device.write(from, length, offset) : host.refuse(IommufdAnswer.VFIO_NOT_BOUND);
        } finally {
            work.end();
        }
    }

    @Override
    protected void released() {
        if (granted) {
            device.close();
        }
        if (group != null) {
            group.unuse();
        } else if (granted) {
            device.group().removeCdev();
        }
        device.unhold();
    }

    /** Whether the device is open through its own file. Then hot reset uses iommufd. */
    boolean isCdev() {
        return group == null;
    }

    // The device's own file

    private boolean hasToken() {
        return host.build().isSince(6, 17);
    }

    private int bind(long address) {
        int size = hasToken() ? VfioDeviceBindIommufd.SIZE : BIND_LEAST;
        if (hasToken()) {
            return IommuRequests.sized(
                    host, address, BIND_LEAST, size, IommufdAnswer.VFIO_BIND_ARGUMENTS, bind -> bind(address, bind));
        }
        return host.copied(
                address,
                size,
                bind -> Integer.compareUnsigned(bind.getInt(VfioDeviceBindIommufd.ARGSZ), size) < 0
                        ? host.refuse(IommufdAnswer.VFIO_BIND_ARGUMENTS)
                        : bind(address, bind));
    }

    private int bind(long address, ByteBuffer bind) {
        int flags = bind.getInt(VfioDeviceBindIommufd.FLAGS);
        int fd = bind.getInt(VfioDeviceBindIommufd.IOMMUFD);
        int known = hasToken() ? UapiVfio.VFIO_DEVICE_BIND_FLAG_TOKEN : 0;
        if ((flags & ~known) != 0 || fd < 0) {
            return host.refuse(IommufdAnswer.VFIO_BIND_ARGUMENTS);
        }
        if (group != null) {
            return host.refuse(IommufdAnswer.VFIO_BIND_OF_GROUP);
        }
        if (device.group().isOpen()) {
            return host.refuse(IommufdAnswer.VFIO_BIND_GROUP_OPEN);
        }
        if (granted) {
            return host.refuse(IommufdAnswer.VFIO_BIND_TWICE);
        }
        if (flags != 0) {
            throw new NotModelledException("VFIO_DEVICE_BIND_IOMMUFD with a token");
        }
        FakeFile file = host.file(fd);
        if (!(file instanceof IommuFile iommufd)) {
            return host.refuse(file == null ? IommufdAnswer.VFIO_BIND_FD : IommufdAnswer.VFIO_BIND_NOT_AN_IOMMUFD);
        }
        return device.isOpen() ? host.refuse(IommufdAnswer.VFIO_BIND_TWICE) : bind(address, bind, iommufd);
    }

    private int bind(long address, ByteBuffer bind, IommuFile iommufd) {
        int refused = device.bind(iommufd);
        BoundDevice bound = device.bound();
        if (refused < 0 || bound == null) {
            return refused;
        }
        device.open();
        ByteBuffer id = ByteBuffer.allocate(Integer.BYTES).order(bind.order()).putInt(0, bound.id());
        refused = host.copyOut(address + VfioDeviceBindIommufd.OUT_DEVID, id, Integer.BYTES);
        if (refused < 0) {
            device.close();
            return refused;
        }
        granted = true;
        device.group().addCdev();
        return 0;
    }

    /** Checks argsz and flags. Returns a negative errno or 0. */
    private int refusesArguments(ByteBuffer given) {
        long argsz = Integer.toUnsignedLong(given.getInt(VfioDeviceAttachIommufdPt.ARGSZ));
        int flags = given.getInt(VfioDeviceAttachIommufdPt.FLAGS);
        int known = host.build().isSince(6, 15) ? UapiVfio.VFIO_DEVICE_ATTACH_PASID : 0;
        if (argsz < ATTACH_LEAST || (flags & ~known) != 0) {
            return host.refuse(IommufdAnswer.VFIO_ATTACH_ARGUMENTS);
        }
        if (flags != 0) {
            throw new NotModelledException("a PASID of a VFIO device");
        }
        return 0;
    }

    private int attach(long address) {
        return host.copied(address, ATTACH_LEAST, attach -> {
            int refused = refusesArguments(attach);
            BoundDevice bound = device.bound();
            if (refused < 0 || bound == null) {
                return refused;
            }
            refused = bound.iommufd().attach(bound, attach.getInt(VfioDeviceAttachIommufdPt.PT_ID));
            if (refused < 0) {
                return refused;
            }
            bound.tableId().ifPresent(id -> attach.putInt(VfioDeviceAttachIommufdPt.PT_ID, id));
            refused = host.copyOut(address, attach, ATTACH_LEAST);
            if (refused < 0) {
                bound.iommufd().detach(bound);
            }
            return refused;
        });
    }
}
