/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import io.kvmirq.PciAddress;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioPciDependentDevice;
import io.kvmirq.uapi.UapiVfio.VfioPciHotReset;
import io.kvmirq.uapi.UapiVfio.VfioPciHotResetInfo;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/**
 * The reset of a PCI bus with one device. A device on a root bus has none, as no bridge can reset it. Source: {@code
 * vfio_pci_ioctl_pci_hot_reset()} in drivers/vfio/pci/vfio_pci_core.c.
 */
record HotReset(KernelOfFile host, VfioPci device, PciHost vfio) {
    private static final int ROOT_BUS = 0;
    /** VFIO_PCI_DEVID_OWNED and VFIO_PCI_DEVID_NOT_OWNED of vfio.h. */
    private static final int OWNED = 0;

    private static final int NOT_OWNED = -1;

    private boolean isImpossible() {
        return device.function().address().bus() == ROOT_BUS;
    }

    private List<PciFunction> affected() {
        return vfio.onBusOf(device.function());
    }

    int info(DeviceFile file, long address) {
        return host.copied(address, VfioPciHotResetInfo.SIZE, info -> {
            long argsz = Integer.toUnsignedLong(info.getInt(VfioPciHotResetInfo.ARGSZ));
            if (argsz < VfioPciHotResetInfo.SIZE) {
                return host.refuse(VfioAnswer.VFIO_HOT_RESET_ARGUMENTS);
            }
            if (isImpossible()) {
                return host.refuse(VfioAnswer.VFIO_HOT_RESET_ROOT_BUS);
            }
            List<PciFunction> affected = affected();
            long room = (argsz - VfioPciHotResetInfo.SIZE) / VfioPciDependentDevice.SIZE;
            info.putInt(VfioPciHotResetInfo.FLAGS, 0).putInt(VfioPciHotResetInfo.COUNT, affected.size());
            if (room < affected.size()) {
                int refused = host.copyOut(address, info, VfioPciHotResetInfo.SIZE);
                return refused < 0 ? refused : host.refuse(VfioAnswer.VFIO_HOT_RESET_ROOM);
            }
            for (int i = 0; i < affected.size(); i++) {
                long at = address + VfioPciHotResetInfo.SIZE + (long) i * VfioPciDependentDevice.SIZE;
                int id = file.isCdev() ? id(affected.get(i)) : affected.get(i).group();
                int refused = host.copyOut(at, describe(info, affected.get(i), id), VfioPciDependentDevice.SIZE);
                if (refused < 0) {
                    return refused;
                }
            }
            int owned = affected.stream().noneMatch(function -> id(function) == NOT_OWNED)
                    ? UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED
                    : 0;
            int flags = file.isCdev() ? UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID | owned : 0;
            return host.copyOut(address, info.putInt(VfioPciHotResetInfo.FLAGS, flags), VfioPciHotResetInfo.SIZE);
        });
    }

    /** The device's id in the iommufd of the caller's device, or whether that iommufd owns its group. */
    private int id(PciFunction function) {
        BoundDevice own = device.bound();
        Optional<VfioPci> other = vfio.boundAmong(List.of(function)).stream().findFirst();
        if (own == null || other.isEmpty()) {
            return NOT_OWNED;
        }
        BoundDevice bound = other.get().bound();
        if (bound != null && bound.iommufd() == own.iommufd()) {
            return bound.id();
        }
        return own.iommufd().hasGroup(other.get().group()) ? OWNED : NOT_OWNED;
    }

    private static ByteBuffer describe(ByteBuffer info, PciFunction function, int id) {
        PciAddress address = function.address();
        return ByteBuffer.allocate(VfioPciDependentDevice.SIZE)
                .order(info.order())
                .putInt(VfioPciDependentDevice.GROUP_ID, id)
                .putShort(VfioPciDependentDevice.SEGMENT, (short) address.domain())
                .put(VfioPciDependentDevice.BUS, (byte) address.bus())
                .put(VfioPciDependentDevice.DEVFN, (byte) address.requesterId());
    }

    int reset(DeviceFile file, long address) {
        return host.copied(address, VfioPciHotReset.SIZE, reset -> {
            int argsz = reset.getInt(VfioPciHotReset.ARGSZ);
            int count = reset.getInt(VfioPciHotReset.COUNT);
            if (Integer.compareUnsigned(argsz, VfioPciHotReset.SIZE) < 0
                    || reset.getInt(VfioPciHotReset.FLAGS) != 0
                    || (count == 0) != file.isCdev() && host.build().isSince(6, 6)) {
                return host.refuse(VfioAnswer.VFIO_HOT_RESET_ARGUMENTS);
            }
            if (isImpossible()) {
                return host.refuse(VfioAnswer.VFIO_HOT_RESET_ROOT_BUS);
            }
            if (affected().size() > 1) {
                throw new NotModelledException("VFIO_DEVICE_PCI_HOT_RESET of a bus with several devices");
            }
            if (file.isCdev()) {
                return reset();
            }
            return count == 1
                    ? host.copied(address + VfioPciHotReset.GROUP_FDS, Integer.BYTES, fd -> resetOf(fd.getInt(0)))
                    : host.refuse(VfioAnswer.VFIO_HOT_RESET_ARGUMENTS);
        });
    }

    /** @param fd the group's descriptor, which proves that the caller owns the device */
    private int resetOf(int fd) {
        FakeFile file = host.file(fd);
        if (file == null) {
            return host.refuse(VfioAnswer.VFIO_HOT_RESET_FD);
        }
        if (!(file instanceof GroupFile of)) {
            return host.refuse(VfioAnswer.VFIO_HOT_RESET_NOT_A_GROUP);
        }
        return of.group() == device.group() ? reset() : host.refuse(VfioAnswer.VFIO_HOT_RESET_OWNER);
    }

    private int reset() {
        if (device.isLocked()) {
            return host.refuse(VfioAnswer.RESET_BUSY);
        }
        device.reset();
        return 0;
    }
}
