/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioInfoCapHeader;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.stream.IntStream;

/** The requests of vfio-pci on a device. Source: drivers/vfio/pci/vfio_pci_core.c. */
final class PciRequests {
    /** The size of struct vfio_device_info before 6.6. */
    private static final int INFO_BEFORE = 20;

    private static final int REGION_SHIFT = 40;

    /** The byte that is read where no device decodes the access. */
    private static final byte NOTHING = -1;

    private final KernelOfFile host;
    private final VfioPci device;
    private final Requests<DeviceFile> requests;

    PciRequests(KernelOfFile host, VfioPci device, PciHost vfio) {
        this.host = host;
        this.device = device;
        HotReset hotReset = new HotReset(host, device, vfio);
        this.requests = new Requests<DeviceFile>(VfioAnswer.VFIO_UNKNOWN_REQUEST, number -> null)
                .value(UapiVfio.VFIO_DEVICE_GET_INFO, (file, address) -> info(address))
                .value(UapiVfio.VFIO_DEVICE_GET_REGION_INFO, (file, address) -> regionInfo(address))
                .value(UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, (file, address) -> irqInfo(address))
                .value(UapiVfio.VFIO_DEVICE_SET_IRQS, (file, address) -> setIrqs(address))
                .value(UapiVfio.VFIO_DEVICE_RESET, (file, none) -> reset())
                .value(UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, (file, address) -> hotReset.info(file, address))
                .value(UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, (file, address) -> hotReset.reset(file, address));
    }

    int answer(DeviceFile file, long request, long argument) {
        return requests.answer(file, request, argument);
    }

    // Parts of the device

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
                    || Integer.compareUnsigned(index, UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX) > 0) {
                return host.refuse(VfioAnswer.VFIO_INFO_ARGUMENTS);
            }
            int size = config ? device.config().size() : device.bars().size(index);
            info.putInt(VfioRegionInfo.FLAGS, size == 0 ? 0 : regionFlags(index))
                    .putInt(VfioRegionInfo.CAP_OFFSET, 0)
                    .putLong(VfioRegionInfo.LENGTH, size)
                    .putLong(VfioRegionInfo.OFFSET, (long) index << REGION_SHIFT);
            int refused = !config && device.bars().hasTable(index) ? addCapability(address, info) : 0;
            return refused < 0 ? refused : host.copyOut(address, info, VfioRegionInfo.SIZE);
        });
    }

    private int regionFlags(int index) {
        int readWrite = UapiVfio.VFIO_REGION_INFO_FLAG_READ | UapiVfio.VFIO_REGION_INFO_FLAG_WRITE;
        boolean mappable =
                index != UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX && device.bars().isMappable(index);
        return readWrite | (mappable ? UapiVfio.VFIO_REGION_INFO_FLAG_MMAP : 0);
    }

    /** Adds the capability that the whole BAR can be mapped, with the MSI-X table ({@code msix_mmappable_cap()}). */
    private int addCapability(long address, ByteBuffer info) {
        int whole = VfioRegionInfo.SIZE + VfioInfoCapHeader.SIZE;
        info.putInt(VfioRegionInfo.FLAGS, info.getInt(VfioRegionInfo.FLAGS) | UapiVfio.VFIO_REGION_INFO_FLAG_CAPS);
        if (Integer.compareUnsigned(info.getInt(VfioRegionInfo.ARGSZ), whole) < 0) {
            info.putInt(VfioRegionInfo.ARGSZ, whole);
            return 0;
        }
        info.putInt(VfioRegionInfo.CAP_OFFSET, VfioRegionInfo.SIZE);
        ByteBuffer capability = ByteBuffer.allocate(VfioInfoCapHeader.SIZE)
                .order(info.order())
                .putShort(VfioInfoCapHeader.ID, (short) UapiVfio.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE)
                .putShort(VfioInfoCapHeader.VERSION, (short) 1);
        return host.copyOut(address + VfioRegionInfo.SIZE, capability, VfioInfoCapHeader.SIZE);
    }

    private int irqInfo(long address) {
        return host.copied(address, VfioIrqInfo.SIZE, info -> {
            int index = info.getInt(VfioIrqInfo.INDEX);
            int count = device.interrupts(index);
            if (Integer.compareUnsigned(info.getInt(VfioIrqInfo.ARGSZ), VfioIrqInfo.SIZE) < 0
                    || Integer.compareUnsigned(index, UapiVfio.VFIO_PCI_NUM_IRQS) >= 0
                    || index == UapiVfio.VFIO_PCI_ERR_IRQ_INDEX && count == 0) {
                return host.refuse(VfioIrqAnswer.VFIO_IRQ_INFO_ARGUMENTS);
            }
            info.putInt(VfioIrqInfo.FLAGS, irqFlags(index, count)).putInt(VfioIrqInfo.COUNT, count);
            return host.copyOut(address, info, VfioIrqInfo.SIZE);
        });
    }

    private int irqFlags(int index, int count) {
        host.note(VfioIrqAnswer.VFIO_IRQ_FLAGS);
        if (index == UapiVfio.VFIO_PCI_INTX_IRQ_INDEX) {
            return UapiVfio.VFIO_IRQ_INFO_EVENTFD | UapiVfio.VFIO_IRQ_INFO_MASKABLE | UapiVfio.VFIO_IRQ_INFO_AUTOMASKED;
        }
        boolean dynamic = index == UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX
                && count != 0
                && MessageVectors.isDynamic(host, InterruptMode.MSIX);
        return UapiVfio.VFIO_IRQ_INFO_EVENTFD | (dynamic ? 0 : UapiVfio.VFIO_IRQ_INFO_NORESIZE);
    }

    // Steps of the VMM

    private int setIrqs(long address) {
        return IrqSet.read(
                host, UapiVfio.VFIO_PCI_NUM_IRQS, device::interrupts, address, set -> new IrqActions(host, device)
                        .apply(set));
    }

    private int reset() {
        if (!device.resets()) {
            return host.refuse(VfioAnswer.VFIO_RESET_IMPOSSIBLE);
        }
        if (device.isLocked()) {
            return host.refuse(VfioAnswer.RESET_BUSY);
        }
        device.reset();
        return 0;
    }

    // Regions: configuration space, and BARs

    static int region(long offset) {
        return (int) (offset >>> REGION_SHIFT);
    }

    Optional<ByteBuffer> memory(long offset, int length) {
        return device.bars().mapped(region(offset), at(offset), length);
    }

    static long at(long offset) {
        return offset & (1L << REGION_SHIFT) - 1;
    }

    private static boolean isConfig(long offset) {
        return region(offset) == UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX;
    }

    private Optional<Answer> refuses(long length, long offset) {
        if (isConfig(offset)) {
            return device.config().isOutside(at(offset), length)
                    ? Optional.of(VfioAnswer.VFIO_CONFIG_RANGE)
                    : Optional.empty();
        }
        return at(offset) >= device.bars().size(region(offset))
                ? Optional.of(VfioAnswer.VFIO_REGION_EMPTY)
                : Optional.empty();
    }

    long read(long to, long length, long offset) {
        if (length < 0) {
            return host.refuse(FileAnswer.FAULT);
        }
        Optional<Answer> outside = refuses(length, offset);
        if (length == 0 || outside.isPresent()) {
            return length == 0 ? 0 : host.refuse(outside);
        }
        return isConfig(offset)
                ? device.config().read(host, to, (int) length, (int) at(offset))
                : readBar(to, length, region(offset), (int) at(offset));
    }

    long write(long from, long length, long offset) {
        if (length < 0) {
            return host.refuse(FileAnswer.FAULT);
        }
        Optional<Answer> outside = refuses(length, offset);
        if (length == 0 || outside.isPresent()) {
            return length == 0 ? 0 : host.refuse(outside);
        }
        return isConfig(offset)
                ? device.config().write(host, from, (int) length, (int) at(offset))
                : writeBar(from, length, region(offset), (int) at(offset));
    }

    /** Whether an access is refused, because it is to memory that the device does not decode now. */
    private boolean isOff(int bar, int at, int length) {
        return !device.isEnabled(bar)
                && IntStream.range(at, at + length)
                        .anyMatch(byteAt -> !device.bars().isExcluded(bar, byteAt));
    }

    /** Reads at most to the end of the BAR. */
    private long readBar(long to, long length, int bar, int at) {
        int count = (int) Math.min(length, device.bars().size(bar) - at);
        boolean answers = device.answers(bar);
        if (isOff(bar, at, count)) {
            return host.refuse(VfioAnswer.REGION_READ_DISABLED);
        }
        ByteBuffer value = ByteBuffer.allocate(count);
        for (int i = 0; i < count; i++) {
            boolean reaches = answers && !device.bars().isExcluded(bar, at + i);
            value.put(i, reaches ? device.bars().read(bar, at + i) : NOTHING);
        }
        int refused = host.copyOut(to, value, count);
        return refused < 0 ? refused : count;
    }

    private long writeBar(long from, long length, int bar, int at) {
        int count = (int) Math.min(length, device.bars().size(bar) - at);
        if (isOff(bar, at, count)) {
            return host.refuse(VfioAnswer.REGION_READ_DISABLED);
        }
        ByteBuffer value = host.memory().copyIn(from, count);
        if (value == null) {
            return host.refuse(FileAnswer.FAULT);
        }
        boolean answers = device.answers(bar);
        for (int i = 0; i < count; i++) {
            if (answers && !device.bars().isExcluded(bar, at + i)) {
                device.bars().write(bar, at + i, value.get(i));
            }
        }
        return count;
    }
}
