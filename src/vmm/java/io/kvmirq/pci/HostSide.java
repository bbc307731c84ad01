/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.IrqKind;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.DeviceNotResetException;
import io.kvmirq.vfio.DmaRange;
import io.kvmirq.vfio.DmaSpace;
import io.kvmirq.vfio.NoticeIrq;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.Optional;

/** The host's side of a passed-through device: its DMA, its notices and its resets. The device's lock guards it. */
final class HostSide {
    private final VfioDevice device;
    /** Whether the kernel refused to reset the device, so that it must not be a bus master before its next reset. */
    private boolean stale;

    HostSide(VfioDevice device) {
        this.device = device;
    }

    static boolean has(VfioDevice device, IrqKind kind) {
        return device.info().irqs().stream().anyMatch(irq -> irq.kind() == kind && irq.count() > 0);
    }

    /** @param space the DMA space, empty for the space that was created with the device */
    void share(List<GuestMemory> memory, Optional<DmaSpace> space, Undo undo) {
        if (!memory.isEmpty()) {
            DmaSpace used = space.orElseGet(device::dma);
            List<DmaRange> ranges = used.ranges();
            memory.forEach(region -> requireInside(ranges, region));
            memory.forEach(region -> undo.add(used.map(region.guestAddress(), region.mapping())));
        }
    }

    private static void requireInside(List<DmaRange> ranges, GuestMemory memory) {
        long first = memory.guestAddress();
        long last = first + memory.mapping().length() - 1;
        if (ranges.stream().noneMatch(range -> range.contains(first, last))) {
            throw new IllegalArgumentException(memory + " has addresses that the IOMMU does not translate, such as"
                    + " those of messages: add memory only in the ranges " + ranges);
        }
    }

    /** Listens for the device's errors, and for the host's requests to return it. */
    void listen(EventLoop loop, Runnable failed, Runnable askedBack, Undo undo) {
        if (has(device, IrqKind.ERROR)) {
            listen(loop, device.err(), failed, undo);
        }
        if (has(device, IrqKind.REQUEST)) {
            listen(loop, device.req(), askedBack, undo);
        }
    }

    private void listen(EventLoop loop, NoticeIrq irq, Runnable step, Undo undo) {
        EventFd event = undo.add(EventFd.create(device.fd().kernel()));
        undo.add(loop.register(event, signals -> step.run()));
        undo.add(irq.arm(event));
    }

    boolean isStale() {
        return stale;
    }

    /** Resets the device, so that registers written by a former guest cause no DMA in the next one. */
    void reset(GuestConfig config) {
        try {
            device.resetOrStop();
            stale = false;
        } catch (DeviceNotResetException e) {
            stale = e.isResettable();
            throw e;
        } finally {
            config.letMaster(!stale);
        }
    }
}
