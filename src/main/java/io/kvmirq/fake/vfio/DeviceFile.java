/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.InterruptMode;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.rules.FileRule;
import io.kvmirq.fake.rules.NotModelledException;
import io.kvmirq.fake.rules.VfioRule;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A PCI device that its group opened; source: drivers/vfio/pci/vfio_pci_core.c. */
final class DeviceFile extends FakeFile {
    /** Requests that vfio-pci may know and the fake does not. */
    private static final Set<Long> NOT_MODELLED = Set.of(
            UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
            UapiVfio.VFIO_DEVICE_PCI_HOT_RESET,
            UapiVfio.VFIO_DEVICE_IOEVENTFD,
            UapiVfio.VFIO_DEVICE_FEATURE,
            UapiVfio.VFIO_DEVICE_BIND_IOMMUFD,
            UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT,
            UapiVfio.VFIO_DEVICE_DETACH_IOMMUFD_PT);

    private static final Requests<DeviceFile> REQUESTS = new Requests<DeviceFile>(
                    VfioRule.VFIO_UNKNOWN_REQUEST, DeviceFile::notModelled)
            .value(UapiVfio.VFIO_DEVICE_GET_INFO, DeviceFile::info)
            .value(UapiVfio.VFIO_DEVICE_GET_REGION_INFO, DeviceFile::regionInfo)
            .value(UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, DeviceFile::irqInfo)
            .value(UapiVfio.VFIO_DEVICE_SET_IRQS, DeviceFile::setIrqs)
            .value(UapiVfio.VFIO_DEVICE_RESET, (file, none) -> file.reset());

    /** The end of num_irqs, and the size before 6.6. */
    private static final int INFO_LEAST = 16;

    private static final int INFO_BEFORE = 20;

    private static final int REGION_SHIFT = 40;
    private static final int ROM_REGION = 6;
    private static final int CONFIG_SIZE = 256;
    private static final int EXPRESS_CONFIG_SIZE = 4096;

    private final VfioPci device;
    private final GroupFile group;

    DeviceFile(Host host, VfioPci device, GroupFile group) {
        super(host);
        this.device = device;
        this.group = group;
        group.use();
        device.open();
    }

    private static @Nullable String notModelled(long request) {
        UapiTable.Request known = UapiTable.find(request, UapiTable.FileKind.VFIO_DEVICE);
        return known != null && NOT_MODELLED.contains(request) ? known.name() : null;
    }

    @Override
    public int ioctl(long request, long argument) {
        return REQUESTS.answer(this, request, argument);
    }

    /** Since 6.6 KVM accepts a device, also one that its group opened. */
    @Override
    public boolean isVfio() {
        return host.build().isSince(6, 6);
    }

    @Override
    protected void released() {
        device.close();
        group.unuse();
    }

    // What the device has

    private int info(long address) {
        return host.copied(address, INFO_LEAST, given -> {
            long argsz = Integer.toUnsignedLong(given.getInt(VfioDeviceInfo.ARGSZ));
            if (argsz < INFO_LEAST) {
                return host.refuse(VfioRule.VFIO_INFO_ARGUMENTS);
            }
            int reset = device.function().resets() ? UapiVfio.VFIO_DEVICE_FLAGS_RESET : 0;
            ByteBuffer info = ByteBuffer.allocate(VfioDeviceInfo.SIZE)
                    .order(given.order())
                    .put(0, given, 0, INFO_LEAST)
                    .putInt(VfioDeviceInfo.FLAGS, UapiVfio.VFIO_DEVICE_FLAGS_PCI | reset)
                    .putInt(VfioDeviceInfo.NUM_REGIONS, UapiVfio.VFIO_PCI_NUM_REGIONS)
                    .putInt(VfioDeviceInfo.NUM_IRQS, UapiVfio.VFIO_PCI_NUM_IRQS);
            int size = host.build().isSince(6, 6) ? VfioDeviceInfo.SIZE : INFO_BEFORE;
            return host.copyOut(address, info, (int) Math.min(argsz, size));
        });
    }

    private int regionInfo(long address) {
        return host.copied(address, VfioRegionInfo.SIZE, info -> {
            int index = info.getInt(VfioRegionInfo.INDEX);
            boolean config = index == UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX;
            if (Integer.compareUnsigned(info.getInt(VfioRegionInfo.ARGSZ), VfioRegionInfo.SIZE) < 0
                    || !config && Integer.compareUnsigned(index, ROM_REGION) > 0) {
                return host.refuse(VfioRule.VFIO_INFO_ARGUMENTS);
            }
            int readWrite = UapiVfio.VFIO_REGION_INFO_FLAG_READ | UapiVfio.VFIO_REGION_INFO_FLAG_WRITE;
            info.putInt(VfioRegionInfo.FLAGS, config ? readWrite : 0)
                    .putLong(VfioRegionInfo.LENGTH, config ? configSize() : 0)
                    .putLong(VfioRegionInfo.OFFSET, (long) index << REGION_SHIFT);
            return host.copyOut(address, info, VfioRegionInfo.SIZE);
        });
    }

    private int configSize() {
        return device.function().express() ? EXPRESS_CONFIG_SIZE : CONFIG_SIZE;
    }

    private int irqInfo(long address) {
        return host.copied(address, VfioIrqInfo.SIZE, info -> {
            int index = info.getInt(VfioIrqInfo.INDEX);
            if (Integer.compareUnsigned(info.getInt(VfioIrqInfo.ARGSZ), VfioIrqInfo.SIZE) < 0
                    || Integer.compareUnsigned(index, UapiVfio.VFIO_PCI_NUM_IRQS) >= 0
                    || index == UapiVfio.VFIO_PCI_ERR_IRQ_INDEX && device.interrupts(index) == 0) {
                return host.refuse(VfioRule.VFIO_IRQ_INFO_ARGUMENTS);
            }
            info.putInt(VfioIrqInfo.FLAGS, irqFlags(index)).putInt(VfioIrqInfo.COUNT, device.interrupts(index));
            return host.copyOut(address, info, VfioIrqInfo.SIZE);
        });
    }

    private int irqFlags(int index) {
        host.note(VfioRule.VFIO_IRQ_FLAGS);
        if (index == UapiVfio.VFIO_PCI_INTX_IRQ_INDEX) {
            return UapiVfio.VFIO_IRQ_INFO_EVENTFD | UapiVfio.VFIO_IRQ_INFO_MASKABLE | UapiVfio.VFIO_IRQ_INFO_AUTOMASKED;
        }
        boolean dynamic = index == UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX
                && device.interrupts(index) != 0
                && MessageVectors.isDynamic(host, InterruptMode.MSIX);
        return UapiVfio.VFIO_IRQ_INFO_EVENTFD | (dynamic ? 0 : UapiVfio.VFIO_IRQ_INFO_NORESIZE);
    }

    // What is done with it

    private int setIrqs(long address) {
        return IrqSet.read(host, device, address, set -> new IrqActions(host, device).apply(set));
    }

    private int reset() {
        if (!device.function().resets()) {
            return host.refuse(VfioRule.VFIO_RESET_IMPOSSIBLE);
        }
        device.reset();
        return 0;
    }

    private static int configAt(long length, long offset) {
        if (offset >>> REGION_SHIFT != UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX) {
            throw new NotModelledException("region " + (offset >>> REGION_SHIFT) + " of a VFIO device");
        }
        if (length != 1 && length != 2 && length != 4) {
            throw new NotModelledException("access to configuration space by " + length + " bytes");
        }
        return (int) Math.min(offset & (1L << REGION_SHIFT) - 1, Integer.MAX_VALUE);
    }

    @Override
    public long pread(long to, long length, long offset) {
        int at = configAt(length, offset);
        ByteBuffer value = ByteBuffer.allocate((int) length);
        for (int i = 0; i < length; i++) {
            value.put(i, (byte) device.config().read(at + i));
        }
        int refused = host.copyOut(to, value, (int) length);
        return refused < 0 ? refused : length;
    }

    @Override
    public long pwrite(long from, long length, long offset) {
        int at = configAt(length, offset);
        ByteBuffer value = host.memory().copyIn(from, (int) length);
        if (value == null) {
            return host.refuse(FileRule.FAULT);
        }
        int low = value.get(0) & 0xff;
        device.config().write(at, (int) length, length == 1 ? low : value.getShort(0) & 0xffff);
        return length;
    }
}
