/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import java.util.Optional;

/** The answers of vfio-pci to requests on a device; source: drivers/vfio/pci/vfio_pci_core.c. */
final class PciRequests {
    /** The size of struct vfio_device_info before 6.6. */
    private static final int INFO_BEFORE = 20;

    private static final int REGION_SHIFT = 40;
    private static final int ROM_REGION = 6;
    /** The end of fd in struct vfio_device_ioeventfd. */
    private static final int IOEVENTFD_LEAST = 28;

    private final Host host;
    private final VfioPci device;
    private final Requests<DeviceFile> requests;

    PciRequests(Host host, VfioPci device, VfioHost vfio) {
        this.host = host;
        this.device = device;
        HotReset hotReset = new HotReset(host, device, vfio);
        this.requests = new Requests<DeviceFile>(VfioAnswer.VFIO_UNKNOWN_REQUEST, number -> null)
                .value(UapiVfio.VFIO_DEVICE_GET_INFO, (file, address) -> info(address))
                .value(UapiVfio.VFIO_DEVICE_GET_REGION_INFO, (file, address) -> regionInfo(address))
                .value(UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, (file, address) -> irqInfo(address))
                .value(UapiVfio.VFIO_DEVICE_SET_IRQS, (file, address) -> setIrqs(address))
                .value(UapiVfio.VFIO_DEVICE_RESET, (file, none) -> reset())
                .value(UapiVfio.VFIO_DEVICE_IOEVENTFD, (file, address) -> ioEventFd(address))
                .value(UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, (file, address) -> hotReset.info(file, address))
                .value(UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, (file, address) -> hotReset.reset(file, address));
    }

    int answer(DeviceFile file, long request, long argument) {
        return requests.answer(file, request, argument);
    }

    // What the device has

    private int info(long address) {
        int size = host.build().isSince(6, 6) ? VfioDeviceInfo.SIZE : INFO_BEFORE;
        return device.info(
                address,
                size,
                UapiVfio.VFIO_DEVICE_FLAGS_PCI,
                UapiVfio.VFIO_PCI_NUM_REGIONS,
                UapiVfio.VFIO_PCI_NUM_IRQS);
    }

    private int regionInfo(long address) {
        return host.copied(address, VfioRegionInfo.SIZE, info -> {
            int index = info.getInt(VfioRegionInfo.INDEX);
            boolean config = index == UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX;
            if (Integer.compareUnsigned(info.getInt(VfioRegionInfo.ARGSZ), VfioRegionInfo.SIZE) < 0
                    || !config && Integer.compareUnsigned(index, ROM_REGION) > 0) {
                return host.refuse(VfioAnswer.VFIO_INFO_ARGUMENTS);
            }
            int readWrite = UapiVfio.VFIO_REGION_INFO_FLAG_READ | UapiVfio.VFIO_REGION_INFO_FLAG_WRITE;
            int size = config ? device.config().size() : device.bars().size(index);
            int flags = readWrite | (config ? 0 : UapiVfio.VFIO_REGION_INFO_FLAG_MMAP);
            info.putInt(VfioRegionInfo.FLAGS, size == 0 ? 0 : flags)
                    .putLong(VfioRegionInfo.LENGTH, size)
                    .putLong(VfioRegionInfo.OFFSET, (long) index << REGION_SHIFT);
            return host.copyOut(address, info, VfioRegionInfo.SIZE);
        });
    }

    private int irqInfo(long address) {
        return host.copied(address, VfioIrqInfo.SIZE, info -> {
            int index = info.getInt(VfioIrqInfo.INDEX);
            if (Integer.compareUnsigned(info.getInt(VfioIrqInfo.ARGSZ), VfioIrqInfo.SIZE) < 0
                    || Integer.compareUnsigned(index, UapiVfio.VFIO_PCI_NUM_IRQS) >= 0
                    || index == UapiVfio.VFIO_PCI_ERR_IRQ_INDEX && device.interrupts(index) == 0) {
                return host.refuse(VfioIrqAnswer.VFIO_IRQ_INFO_ARGUMENTS);
            }
            info.putInt(VfioIrqInfo.FLAGS, irqFlags(index)).putInt(VfioIrqInfo.COUNT, device.interrupts(index));
            return host.copyOut(address, info, VfioIrqInfo.SIZE);
        });
    }

    private int irqFlags(int index) {
        host.note(VfioIrqAnswer.VFIO_IRQ_FLAGS);
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
        return IrqSet.read(
                host, UapiVfio.VFIO_PCI_NUM_IRQS, device::interrupts, address, set -> new IrqActions(host, device)
                        .apply(set));
    }

    private int reset() {
        if (!device.resets()) {
            return host.refuse(VfioAnswer.VFIO_RESET_IMPOSSIBLE);
        }
        device.reset();
        return 0;
    }

    /** Whatever is wrong with the arguments, and with a range outside of the BARs, which have no bytes. */
    private int ioEventFd(long address) {
        return host.copied(address, IOEVENTFD_LEAST, given -> host.refuse(VfioAnswer.VFIO_IOEVENTFD_RANGE));
    }

    // Regions: configuration space, and BARs

    private static int region(long offset) {
        return (int) (offset >>> REGION_SHIFT);
    }

    Optional<ByteBuffer> memory(long offset, int length) {
        return device.bars().mapped(region(offset), at(offset), length);
    }

    private Optional<Answer> refuses(long length, long offset) {
        if (region(offset) != UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX) {
            if (at(offset) >= device.bars().size(region(offset))) {
                return Optional.of(VfioAnswer.VFIO_REGION_EMPTY);
            }
            device.bars().requireInside(region(offset), at(offset), length);
            return Optional.empty();
        }
        return length > device.config().size() - at(offset)
                ? Optional.of(VfioAnswer.VFIO_CONFIG_RANGE)
                : Optional.empty();
    }

    private static long at(long offset) {
        return offset & (1L << REGION_SHIFT) - 1;
    }

    long read(long to, long length, long offset) {
        if (length < 0) {
            return host.refuse(FileAnswer.FAULT);
        }
        Optional<Answer> outside = refuses(length, offset);
        if (length == 0 || outside.isPresent()) {
            return length == 0 ? 0 : host.refuse(outside);
        }
        int at = (int) at(offset);
        boolean config = region(offset) == UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX;
        ByteBuffer value = ByteBuffer.allocate((int) length);
        for (int i = 0; i < length; i++) {
            value.put(
                    i,
                    config ? (byte) device.config().read(at + i) : device.bars().read(region(offset), at + i));
        }
        int refused = host.copyOut(to, value, (int) length);
        return refused < 0 ? refused : length;
    }

    long write(long from, long length, long offset) {
        if (length < 0) {
            return host.refuse(FileAnswer.FAULT);
        }
        Optional<Answer> outside = refuses(length, offset);
        if (length == 0 || outside.isPresent()) {
            return length == 0 ? 0 : host.refuse(outside);
        }
        ByteBuffer value = host.memory().copyIn(from, (int) length);
        if (value == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        if (region(offset) != UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX) {
            for (int i = 0; i < length; i++) {
                device.bars().write(region(offset), at(offset) + i, value.get(i));
            }
            return length;
        }
        int low = value.get(0) & 0xff;
        device.config().write((int) at(offset), (int) length, length == 1 ? low : value.getShort(0) & 0xffff);
        return length;
    }
}
