/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.RulesSeen;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaMap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.nio.ByteBuffer;

/** Uses VFIO on a fake kernel by raw calls. */
final class VfioUser implements AutoCloseable {
    static final String NAME = "0000:00:02.0";
    static final int INTX = UapiVfio.VFIO_PCI_INTX_IRQ_INDEX;
    static final int MSI = UapiVfio.VFIO_PCI_MSI_IRQ_INDEX;
    static final int MSIX = UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX;
    static final int ERR = UapiVfio.VFIO_PCI_ERR_IRQ_INDEX;
    static final int REQ = UapiVfio.VFIO_PCI_REQ_IRQ_INDEX;
    static final int NONE = UapiVfio.VFIO_IRQ_SET_DATA_NONE;
    static final int BOOL = UapiVfio.VFIO_IRQ_SET_DATA_BOOL;
    static final int EVENTFD = UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD;
    static final int MASK = UapiVfio.VFIO_IRQ_SET_ACTION_MASK;
    static final int UNMASK = UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK;
    static final int TRIGGER = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;
    static final long COMMAND = 7L << 40 | 4;
    static final int DIS_INTX = 1 << 10;
    static final int MASTER = 4;

    final FakeKernel kernel;

    VfioUser(FakeKernel kernel) {
        this.kernel = kernel;
    }

    VfioUser(String profile) {
        this(new FakeKernel(Profile.of(profile)));
    }

    /** Every refusal is to be explained. */
    @Override
    public void close() {
        RulesSeen.addRefusals(kernel);
    }

    static int refused(Errno errno) {
        return -errno.number();
    }

    int open(String path) {
        return kernel.open(Buffers.cString(path), 0);
    }

    int ioctl(int fd, long request, ByteBuffer structure) {
        return kernel.ioctl(fd, request, kernel.addressOf(structure));
    }

    int ioctl(int fd, long request, long value) {
        return kernel.ioctl(fd, request, value);
    }

    static ByteBuffer number(int value) {
        return Buffers.allocate(Integer.BYTES).putInt(0, value);
    }

    // Containers and groups

    int container() {
        return open("/dev/vfio/vfio");
    }

    int setContainer(int group, int container) {
        return ioctl(group, UapiVfio.VFIO_GROUP_SET_CONTAINER, number(container));
    }

    int deviceFd(int group, String name) {
        return kernel.ioctl(group, UapiVfio.VFIO_GROUP_GET_DEVICE_FD, kernel.addressOf(text(name)));
    }

    private static ByteBuffer text(String text) {
        ByteBuffer buffer = Buffers.allocate(text.length() + 1);
        for (int i = 0; i < text.length(); i++) {
            buffer.put(i, (byte) text.charAt(i));
        }
        return buffer;
    }

    /** Opens the device through a group and a container of its own. */
    int device(int group) {
        return device(group, NAME);
    }

    int device(int group, String name) {
        int container = container();
        return device(container, open("/dev/vfio/" + group), name);
    }

    /** Opens a device of an open group with a container of its own. */
    int deviceOf(int group, String name) {
        return device(container(), group, name);
    }

    private int device(int container, int group, String name) {
        assertThat(setContainer(group, container)).isZero();
        assertThat(ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU))
                .isZero();
        int device = deviceFd(group, name);
        assertThat(device).isPositive();
        return device;
    }

    static ByteBuffer map(int argsz, int flags, long vaddr, long iova, long size) {
        return Buffers.allocate(VfioIommuType1DmaMap.SIZE)
                .putInt(VfioIommuType1DmaMap.ARGSZ, argsz)
                .putInt(VfioIommuType1DmaMap.FLAGS, flags)
                .putLong(VfioIommuType1DmaMap.VADDR, vaddr)
                .putLong(VfioIommuType1DmaMap.IOVA, iova)
                .putLong(VfioIommuType1DmaMap.LENGTH, size);
    }

    static ByteBuffer unmap(int argsz, int flags, long iova, long size) {
        return Buffers.allocate(VfioIommuType1DmaUnmap.SIZE)
                .putInt(VfioIommuType1DmaUnmap.ARGSZ, argsz)
                .putInt(VfioIommuType1DmaUnmap.FLAGS, flags)
                .putLong(VfioIommuType1DmaUnmap.IOVA, iova)
                .putLong(VfioIommuType1DmaUnmap.LENGTH, size);
    }

    // Interrupts

    static ByteBuffer irqSet(int argsz, int flags, int index, int start, int count, int... fds) {
        ByteBuffer set = Buffers.allocate(VfioIrqSet.SIZE + fds.length * Integer.BYTES)
                .putInt(VfioIrqSet.ARGSZ, argsz)
                .putInt(VfioIrqSet.FLAGS, flags)
                .putInt(VfioIrqSet.INDEX, index)
                .putInt(VfioIrqSet.START, start)
                .putInt(VfioIrqSet.COUNT, count);
        for (int i = 0; i < fds.length; i++) {
            set.putInt(VfioIrqSet.DATA + i * Integer.BYTES, fds[i]);
        }
        return set;
    }

    /** VFIO_DEVICE_SET_IRQS with an argsz that is right for these descriptors. */
    int setIrqs(int device, int flags, int index, int start, int count, int... fds) {
        int argsz = VfioIrqSet.SIZE + fds.length * Integer.BYTES;
        return ioctl(device, UapiVfio.VFIO_DEVICE_SET_IRQS, irqSet(argsz, flags, index, start, count, fds));
    }

    /** TRIGGER with an eventfd each. */
    int arm(int device, int index, int start, int... fds) {
        return setIrqs(device, TRIGGER | EVENTFD, index, start, fds.length, fds);
    }

    int disable(int device, int index) {
        return setIrqs(device, TRIGGER | NONE, index, 0, 0);
    }

    int event() {
        return kernel.eventfd(0, Uapi.O_NONBLOCK | Uapi.O_CLOEXEC);
    }

    /** Takes the count of an eventfd; 0 if it is not signalled. */
    long take(int event) {
        ByteBuffer count = Buffers.allocate(Long.BYTES);
        long read = kernel.read(event, kernel.addressOf(count), Long.BYTES);
        return read == refused(Errno.EAGAIN) ? 0 : count.getLong(0);
    }

    void signal(int event) {
        ByteBuffer one = Buffers.allocate(Long.BYTES).putLong(0, 1);
        assertThat(kernel.write(event, kernel.addressOf(one), Long.BYTES)).isEqualTo(Long.BYTES);
    }

    void writeCommand(int device, int command) {
        ByteBuffer value = Buffers.allocate(Short.BYTES).putShort(0, (short) command);
        assertThat(kernel.pwrite(device, kernel.addressOf(value), Short.BYTES, COMMAND))
                .isEqualTo(Short.BYTES);
    }

    int readWord(int device, long at) {
        ByteBuffer value = Buffers.allocate(Short.BYTES);
        assertThat(kernel.pread(device, kernel.addressOf(value), Short.BYTES, at))
                .isEqualTo(Short.BYTES);
        return value.getShort(0) & 0xffff;
    }
}
