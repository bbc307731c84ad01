/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import io.kvmirq.uapi.UapiVfio.VfioPciHotReset;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A device that was opened, and the descriptors through which it was. For one thread. */
public final class OpenedDevice {
    public static final int INTX = UapiVfio.VFIO_PCI_INTX_IRQ_INDEX;
    public static final int MSI = UapiVfio.VFIO_PCI_MSI_IRQ_INDEX;
    public static final int MSIX = UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX;
    public static final int ERR = UapiVfio.VFIO_PCI_ERR_IRQ_INDEX;
    public static final int REQ = UapiVfio.VFIO_PCI_REQ_IRQ_INDEX;
    public static final int NONE = UapiVfio.VFIO_IRQ_SET_DATA_NONE;
    public static final int BOOL = UapiVfio.VFIO_IRQ_SET_DATA_BOOL;
    public static final int EVENTFD = UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD;
    public static final int MASK = UapiVfio.VFIO_IRQ_SET_ACTION_MASK;
    public static final int UNMASK = UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK;
    public static final int TRIGGER = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;

    public static final int COMMAND = 4;
    public static final int STATUS = 6;
    public static final int MASTER = 4;
    public static final int DIS_INTX = 1 << 10;
    /** STATUS: the device requests service. */
    public static final int INTX_PENDING = 1 << 3;
    /** I/O space, memory space, bus master. */
    private static final int ALL_ON = 7;

    private final VfioWorld world;
    public final int container;
    public final int group;
    public final int fd;
    public final Hardware hardware;

    OpenedDevice(VfioWorld world, int container, int group, int fd, Hardware hardware) {
        this.world = world;
        this.container = container;
        this.group = group;
        this.fd = fd;
        this.hardware = hardware;
    }

    /** Closes it and lets go of its group, so that it can be opened again. */
    public void close() {
        world.world.close(fd);
        world.world.close(group);
        world.world.close(container);
    }

    // Interrupts

    /** VFIO_DEVICE_SET_IRQS by the typed primitive, with a descriptor or a number of 4 bytes each. */
    public int setIrqs(int flags, int index, int start, int count, int... fds) {
        int header = KernelBackend.VFIO_IRQS_HEADER_SIZE;
        ByteBuffer set = Buffers.allocate(header + fds.length * Integer.BYTES);
        for (int i = 0; i < fds.length; i++) {
            set.putInt(header + i * Integer.BYTES, fds[i]);
        }
        return world.kernel().vfioIrqsSet(fd, flags, index, start, count, set);
    }

    /** VFIO_DEVICE_SET_IRQS with any argsz, which the kernel believes. */
    public int raw(int argsz, int flags, int index, int start, int count, int... data) {
        ByteBuffer set = Buffers.allocate(VfioIrqSet.SIZE + data.length * Integer.BYTES);
        Structs.put(set, 0, "vfio_irq_set", argsz, flags, index, start, count);
        for (int i = 0; i < data.length; i++) {
            set.putInt(VfioIrqSet.DATA + i * Integer.BYTES, data[i]);
        }
        return world.ioctl(fd, UapiVfio.VFIO_DEVICE_SET_IRQS, set);
    }

    /** With a byte for each interrupt. */
    public int bytes(int action, int index, int start, int... values) {
        int header = KernelBackend.VFIO_IRQS_HEADER_SIZE;
        ByteBuffer set = Buffers.allocate(header + values.length);
        for (int i = 0; i < values.length; i++) {
            set.put(header + i, (byte) values[i]);
        }
        return world.kernel().vfioIrqsSet(fd, action | BOOL, index, start, values.length, set);
    }

    /** An action on the one interrupt of INTx. */
    public int intx(int action) {
        return setIrqs(action | NONE, INTX, 0, 1);
    }

    public int unmaskBy(int event) {
        return setIrqs(UNMASK | EVENTFD, INTX, 0, 1, event);
    }

    public int arm(int index, int start, int... fds) {
        return setIrqs(TRIGGER | EVENTFD, index, start, fds.length, fds);
    }

    public int loopback(int index, int start, int count) {
        return setIrqs(TRIGGER | NONE, index, start, count);
    }

    public int disable(int index) {
        return setIrqs(TRIGGER | NONE, index, 0, 0);
    }

    /** Which of the vectors have an eventfd, by their loopback. */
    public List<Integer> armed(int index, int... events) {
        assertOk(loopback(index, 0, events.length));
        List<Integer> armed = new ArrayList<>();
        for (int i = 0; i < events.length; i++) {
            if (world.take(events[i]) != 0) {
                armed.add(i);
            }
        }
        return armed;
    }

    /** Flags and count, or the name of an errno. */
    public String irqInfo(int index) {
        ByteBuffer info = Buffers.allocate(KernelBackend.VFIO_IRQ_SIZE);
        int result = world.kernel().vfioIrqInfo(fd, index, info);
        return result < 0
                ? new Errno(-result).toString()
                : info.getInt(KernelBackend.VFIO_IRQ_FLAGS) + " " + info.getInt(KernelBackend.VFIO_IRQ_COUNT);
    }

    /** VFIO_DEVICE_GET_IRQ_INFO with any argsz. */
    public int irqInfo(int argsz, int index) {
        return world.ioctl(fd, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, Structs.of("vfio_irq_info", argsz, 0, index));
    }

    /** VFIO_DEVICE_PCI_HOT_RESET with the groups of the bus. */
    public int hotReset(int flags, int... groups) {
        int argsz = VfioPciHotReset.SIZE + groups.length * Integer.BYTES;
        ByteBuffer reset = Structs.put(Buffers.allocate(argsz), 0, "vfio_pci_hot_reset", argsz, flags, groups.length);
        for (int i = 0; i < groups.length; i++) {
            reset.putInt(VfioPciHotReset.GROUP_FDS + i * Integer.BYTES, groups[i]);
        }
        return world.ioctl(fd, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, reset);
    }

    // Regions

    /** VFIO_DEVICE_GET_REGION_INFO. */
    public int region(int argsz, int index, ByteBuffer info) {
        info.putInt(VfioRegionInfo.ARGSZ, argsz).putInt(VfioRegionInfo.INDEX, index);
        return world.ioctl(fd, UapiVfio.VFIO_DEVICE_GET_REGION_INFO, info);
    }

    private long config() {
        ByteBuffer info = Buffers.allocate(VfioRegionInfo.SIZE);
        assertOk(region(VfioRegionInfo.SIZE, UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX, info));
        return info.getLong(VfioRegionInfo.OFFSET);
    }

    public int readConfig(int at) {
        return (int) readConfig(at, Short.BYTES);
    }

    /** Reads 1, 2, 4 or 8 bytes; the value is unsigned. */
    public long readConfig(int at, int width) {
        return readRegion(config() + at, width);
    }

    public void writeConfig(int at, int width, long value) {
        assertThat(writeRegion(config() + at, width, value)).isEqualTo(width);
    }

    public void writeCommand(int command) {
        writeConfig(COMMAND, Short.BYTES, command);
    }

    /** Reads 1, 2, 4 or 8 bytes of the device's file. */
    long readRegion(long offset, int width) {
        ByteBuffer value = Buffers.allocate(Long.BYTES);
        assertThat(world.libc().pread(fd, value.slice(0, width), offset)).isEqualTo(width);
        return value.getLong(0);
    }

    /** Returns the number of bytes, or a negative errno. */
    long writeRegion(long offset, int width, long value) {
        return world.libc()
                .pwrite(fd, Buffers.allocate(Long.BYTES).putLong(0, value).slice(0, width), offset);
    }

    /** The capabilities of the list, from their id to their place. */
    Map<Integer, Integer> capabilities() {
        Map<Integer, Integer> capabilities = new TreeMap<>();
        for (int at = (int) readConfig(0x34, 1); at != 0; at = readConfig(at) >>> Byte.SIZE) {
            capabilities.put(readConfig(at) & 0xff, at);
        }
        return capabilities;
    }

    /** Lets the device answer and send messages. */
    public void start() {
        writeCommand(ALL_ON);
        hardware.start();
    }
}
