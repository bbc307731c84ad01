/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;

import io.kvmirq.differential.Descriptors.Event;
import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Steps on containers, groups and devices of VFIO. The devices send nothing by themselves; a loopback signals what they
 * would, and every eventfd that may feed a GSI is settled after it.
 */
final class VfioSteps {
    private static final int INTX = UapiVfio.VFIO_PCI_INTX_IRQ_INDEX;
    private static final int MSI = UapiVfio.VFIO_PCI_MSI_IRQ_INDEX;
    private static final int MSIX = UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX;
    private static final int ERR = UapiVfio.VFIO_PCI_ERR_IRQ_INDEX;
    private static final int REQ = UapiVfio.VFIO_PCI_REQ_IRQ_INDEX;
    private static final int NONE = UapiVfio.VFIO_IRQ_SET_DATA_NONE;
    private static final int BOOL = UapiVfio.VFIO_IRQ_SET_DATA_BOOL;
    private static final int EVENTFD = UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD;
    private static final int MASK = UapiVfio.VFIO_IRQ_SET_ACTION_MASK;
    private static final int UNMASK = UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK;
    private static final int TRIGGER = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;
    private static final int ALL_UNMAP = UapiVfio.VFIO_DMA_UNMAP_FLAG_ALL;
    private static final int MOST_VECTORS = 4;

    /** Requests that a file answers without its argument, or with an argument at a bad address. */
    private static final long[] REQUESTS = {
        UapiVfio.VFIO_GET_API_VERSION,
        UapiVfio.VFIO_GROUP_GET_STATUS,
        UapiVfio.VFIO_GROUP_SET_CONTAINER,
        UapiVfio.VFIO_GROUP_GET_DEVICE_FD,
        UapiVfio.VFIO_DEVICE_GET_INFO,
        UapiVfio.VFIO_DEVICE_SET_IRQS,
        UapiVfio.VFIO_IOMMU_ENABLE,
        Uapi.KVM_GET_API_VERSION,
        Uapi.KVM_IRQFD
    };

    private final Draft draft;
    private final Values values;
    private final Descriptors fds;

    VfioSteps(Draft draft) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
    }

    /** Devices without a reset come more often, because the reset of a PCI Express function takes 100 ms. */
    private long device() {
        return values.rarely(3) ? Differential.RESETTABLE + values.below(2) : values.below(2);
    }

    private long pick(Kind kind) {
        return values.rarely(16) ? fds.anyVfio() : fds.pick(kind);
    }

    // Opening and closing

    /** A device that is open, most of the time, and KVM knows its group. */
    void begin() {
        long device = device();
        long container = fds.add(Kind.CONTAINER, fds.fresh());
        long group = fds.addOf(device, Kind.GROUP, fds.fresh());
        draft.step(call(Operation.OPEN_CONTAINER, container));
        draft.step(call(Operation.OPEN_GROUP, group, device));
        draft.step(call(Operation.SET_CONTAINER, group, container));
        draft.step(call(Operation.SET_IOMMU, container, UapiVfio.VFIO_TYPE1v2_IOMMU));
        draft.step(call(Operation.GET_DEVICE, fds.addOf(device, Kind.VFIO_DEVICE, fds.fresh()), group, device));
    }

    void open() {
        long device = device();
        switch ((int) values.below(4)) {
            case 0 -> draft.step(call(Operation.OPEN_CONTAINER, fds.add(Kind.CONTAINER, fds.fresh())));
            case 1 -> draft.step(call(Operation.OPEN_GROUP, fds.addOf(device, Kind.GROUP, fds.fresh()), device));
            default -> {
                long group = pick(Kind.GROUP);
                long named = values.rarely(8) ? device : fds.deviceOf(group, device);
                draft.step(call(Operation.GET_DEVICE, fds.addOf(named, Kind.VFIO_DEVICE, fds.fresh()), group, named));
            }
        }
    }

    void close() {
        draft.close(fds.anyVfio());
    }

    void dup() {
        long from = fds.anyVfio();
        long to = fds.fresh();
        draft.step(call(Operation.DUP, to, from));
        fds.addDuplicate(to, from);
    }

    void container() {
        long container = values.rarely(6) ? fds.pick(Kind.EVENTFD) : pick(Kind.CONTAINER);
        switch ((int) values.below(5)) {
            case 0 -> draft.step(call(Operation.UNSET_CONTAINER, pick(Kind.GROUP)));
            case 1 -> draft.step(call(Operation.SET_IOMMU, pick(Kind.CONTAINER), type()));
            case 2 -> draft.step(call(Operation.GROUP_STATUS, pick(Kind.GROUP)));
            default -> draft.step(call(Operation.SET_CONTAINER, pick(Kind.GROUP), container));
        }
    }

    /** Extensions that are no types among them. */
    private long type() {
        return values.rarely(3) ? values.of(2, 4, 8, 9) : UapiVfio.VFIO_TYPE1v2_IOMMU;
    }

    /** Addresses that no mapping may contain, and high ones where the IOMMU is known. */
    private long oddAddress() {
        return VfioSide.isIommuKnown()
                ? values.of(1, 0xfee00000L, 0xfcfffff000L, 0xfd00000000L, 0x10000000000L, 0x7ffffffff000L)
                : values.of(1, 0xfee00000L);
    }

    void mapping() {
        long container = pick(Kind.CONTAINER);
        boolean wraps = values.rarely(12);
        long iova = values.rarely(8) ? oddAddress() : 2 + values.below(6) << 12;
        long size = wraps ? -0x1000 : values.rarely(8) ? values.of(0, 1) : 1 + values.below(3) << 12;
        if (values.rarely(3)) {
            boolean all = values.rarely(5);
            long flags = all ? ALL_UNMAP : values.rarely(12) ? 8 : 0;
            draft.step(call(Operation.UNMAP_DMA, container, flags, all ? 0 : iova, all ? 0 : size));
        } else {
            draft.step(call(
                    Operation.MAP_DMA,
                    container,
                    values.rarely(8) ? values.of(0, 8) : values.of(1, 3, 3),
                    iova,
                    size,
                    values.user()));
        }
    }

    // What a device says and does

    void info() {
        long device = pick(Kind.VFIO_DEVICE);
        long argsz = values.rarely(6) ? values.of(0, 15, 31) : 64;
        draft.step(
                switch ((int) values.below(4)) {
                    case 0 -> call(Operation.DEVICE_INFO, device, argsz);
                    case 1 -> call(Operation.REGION_INFO, device, argsz, values.of(7, 7, 9, -1));
                    default -> call(Operation.IRQ_INFO, device, argsz, index(device));
                });
    }

    void reset() {
        draft.step(call(Operation.RESET, pick(Kind.VFIO_DEVICE)));
    }

    void ioctl() {
        draft.step(call(Operation.IOCTL, fds.anyVfio(), values.of(REQUESTS), Side.NOWHERE));
    }

    /** Mostly one that the device has interrupts of. */
    private long index(long device) {
        if (values.rarely(6)) {
            return values.of(0, 1, 2, 3, 4, 5, -1);
        }
        return switch ((int) fds.deviceOf(device, Differential.RESETTABLE)) {
            case 0 -> values.of(INTX, INTX, MSI, MSI, MSI, REQ);
            case 1 -> values.of(INTX, MSIX, MSIX, MSIX, MSIX, REQ);
            case 3 -> values.of(INTX, MSIX, MSIX, MSIX, ERR, REQ);
            default -> values.of(INTX, MSI, MSIX, MSIX, ERR, REQ);
        };
    }

    // Interrupts

    void set() {
        long device = pick(Kind.VFIO_DEVICE);
        long index = index(device);
        boolean mask = index == INTX ? values.rarely(2) : values.rarely(15);
        long action = values.rarely(25) ? values.of(0, MASK | TRIGGER) : mask ? values.of(MASK, UNMASK) : TRIGGER;
        long data = values.rarely(25) ? values.of(0, NONE | BOOL, 64) : values.of(NONE, NONE, BOOL, EVENTFD, EVENTFD);
        boolean many = index == MSIX || values.rarely(8);
        long start = values.rarely(4) ? values.of(1, 2, 3) : 0;
        long count = many ? values.below(MOST_VECTORS) : values.rarely(5) ? values.of(0, 2) : 1;
        set(device, index, action | data, values.rarely(30) ? values.of(1024, -1) : start, count);
    }

    /** A whole index armed, signalled and disabled, as what is armed at random is seldom what is signalled. */
    void use() {
        long device = pick(Kind.VFIO_DEVICE);
        long index = index(device);
        long count = index == MSIX ? 1 + values.below(MOST_VECTORS) : 1;
        set(device, index, TRIGGER | EVENTFD, 0, count);
        if (!values.rarely(3)) {
            set(device, index, TRIGGER | values.of(NONE, BOOL), 0, count);
        }
        if (index == INTX && !values.rarely(3)) {
            unmask(device);
        }
        if (values.rarely(3)) {
            set(device, index, TRIGGER | NONE, 0, 0);
        }
    }

    /** By an eventfd that is signalled then, or by a second one. */
    private void unmask(long device) {
        set(device, INTX, UNMASK | EVENTFD, 0, 1);
        if (values.rarely(2)) {
            set(device, INTX, UNMASK | EVENTFD, 0, 1);
        }
        long event = fds.pick(Kind.EVENTFD);
        List<Call> calls = new ArrayList<>(List.of(call(Operation.WRITE, event, 1, 8)));
        draft.settle(event, calls);
        draft.step(calls);
    }

    private void set(long device, long index, long flags, long start, long count) {
        long argsz = values.rarely(30) ? values.of(-21, -1, 100) : 0;
        List<Long> arguments = new ArrayList<>(List.of(device, index, flags, start, count, argsz));
        Set<Long> armed = fds.armed(device);
        for (int i = 0; i < count; i++) {
            if ((flags & EVENTFD) != 0) {
                long fd = descriptor();
                arguments.add(fd);
                armed.add(fd);
            } else if ((flags & BOOL) != 0) {
                arguments.add(values.below(2));
            }
        }
        List<Call> calls = new ArrayList<>(List.of(new Call(Operation.SET_IRQS, List.copyOf(arguments))));
        for (long fd : armed) {
            Event event = fds.event(fd);
            if (!event.assignments().isEmpty()) {
                draft.settle(fd, calls);
            }
        }
        draft.step(calls);
    }

    private long descriptor() {
        if (values.rarely(8)) {
            return values.rarely(3) ? -1 : values.rarely(2) ? fds.stale() : fds.anyVfio();
        }
        return values.rarely(10) ? values.of(-1, -2) : fds.pick(Kind.EVENTFD);
    }
}
