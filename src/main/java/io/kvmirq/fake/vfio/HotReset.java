/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.PciAddress;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.rules.VfioRule;
import io.kvmirq.uapi.UapiVfio.VfioPciDependentDevice;
import io.kvmirq.uapi.UapiVfio.VfioPciHotReset;
import io.kvmirq.uapi.UapiVfio.VfioPciHotResetInfo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * The reset of a PCI bus. A device on a root bus has none, as no bridge resets it. Source: {@code
 * vfio_pci_ioctl_pci_hot_reset()} in drivers/vfio/pci/vfio_pci_core.c.
 */
final class HotReset {
    private static final int ROOT_BUS = 0;

    private final Host host;
    private final VfioPci device;
    private final VfioHost vfio;

    HotReset(Host host, VfioPci device, VfioHost vfio) {
        this.host = host;
        this.device = device;
        this.vfio = vfio;
    }

    private boolean isImpossible() {
        return device.function().address().bus() == ROOT_BUS;
    }

    private List<PciFunction> affected() {
        return vfio.onBusOf(device.function());
    }

    int info(long address) {
        return host.copied(address, VfioPciHotResetInfo.SIZE, info -> {
            long argsz = Integer.toUnsignedLong(info.getInt(VfioPciHotResetInfo.ARGSZ));
            if (argsz < VfioPciHotResetInfo.SIZE) {
                return host.refuse(VfioRule.VFIO_HOT_RESET_ARGUMENTS);
            }
            if (isImpossible()) {
                return host.refuse(VfioRule.VFIO_HOT_RESET_ROOT_BUS);
            }
            List<PciFunction> affected = affected();
            long room = (argsz - VfioPciHotResetInfo.SIZE) / VfioPciDependentDevice.SIZE;
            boolean filled = room >= affected.size();
            int written = filled || host.build().isSince(6, 6) ? (int) Math.min(room, affected.size()) : 0;
            for (int i = 0; i < written; i++) {
                long at = address + VfioPciHotResetInfo.SIZE + (long) i * VfioPciDependentDevice.SIZE;
                int refused = host.copyOut(at, describe(info, affected.get(i)), VfioPciDependentDevice.SIZE);
                if (refused < 0) {
                    return refused;
                }
            }
            info.putInt(VfioPciHotResetInfo.FLAGS, 0).putInt(VfioPciHotResetInfo.COUNT, affected.size());
            int refused = host.copyOut(address, info, VfioPciHotResetInfo.SIZE);
            return refused < 0 || filled ? refused : host.refuse(VfioRule.VFIO_HOT_RESET_ROOM);
        });
    }

    private static ByteBuffer describe(ByteBuffer info, PciFunction function) {
        PciAddress address = function.address();
        return ByteBuffer.allocate(VfioPciDependentDevice.SIZE)
                .order(info.order())
                .putInt(VfioPciDependentDevice.GROUP_ID, function.group())
                .putShort(VfioPciDependentDevice.SEGMENT, (short) address.domain())
                .put(VfioPciDependentDevice.BUS, (byte) address.bus())
                .put(VfioPciDependentDevice.DEVFN, (byte) address.requesterId());
    }

    int reset(long address) {
        return host.copied(address, VfioPciHotReset.SIZE, reset -> {
            int argsz = reset.getInt(VfioPciHotReset.ARGSZ);
            int count = reset.getInt(VfioPciHotReset.COUNT);
            if (Integer.compareUnsigned(argsz, VfioPciHotReset.SIZE) < 0
                    || reset.getInt(VfioPciHotReset.FLAGS) != 0
                    || count == 0 && host.build().isSince(6, 6)) {
                return host.refuse(VfioRule.VFIO_HOT_RESET_ARGUMENTS);
            }
            if (isImpossible()) {
                return host.refuse(VfioRule.VFIO_HOT_RESET_ROOT_BUS);
            }
            if (count == 0 || Integer.compareUnsigned(count, affected().size()) > 0) {
                return host.refuse(VfioRule.VFIO_HOT_RESET_ARGUMENTS);
            }
            return host.copied(address + VfioPciHotReset.GROUP_FDS, count * Integer.BYTES, this::resetGroups);
        });
    }

    private int resetGroups(ByteBuffer descriptors) {
        List<VfioGroup> groups = new ArrayList<>();
        for (int at = 0; at < descriptors.capacity(); at += Integer.BYTES) {
            FakeFile file = host.file(descriptors.getInt(at));
            if (file == null) {
                return host.refuse(VfioRule.VFIO_HOT_RESET_FD);
            }
            if (!(file instanceof GroupFile group)) {
                return host.refuse(VfioRule.VFIO_HOT_RESET_NOT_A_GROUP);
            }
            groups.add(group.group());
        }
        List<VfioPci> owned = vfio.boundAmong(affected());
        if (owned.size() < affected().size() || !owned.stream().allMatch(one -> groups.contains(one.group()))) {
            return host.refuse(VfioRule.VFIO_HOT_RESET_OWNER);
        }
        owned.forEach(VfioPci::reset);
        return 0;
    }
}
