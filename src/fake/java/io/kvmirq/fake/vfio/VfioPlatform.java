/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.util.List;
import java.util.Optional;
import java.util.function.IntSupplier;

/**
 * A platform device bound to vfio-platform. Each index is one interrupt, and the device has no regions. The caller of
 * each method holds the kernel's lock. Source: drivers/vfio/platform/vfio_platform_common.c, vfio_platform_irq.c.
 */
public final class VfioPlatform extends FakeVfioDevice {
    private static final int INFO_SIZE = VfioDeviceInfo.NUM_IRQS + Integer.BYTES;

    private final List<PlatformIrq> irqs;
    private final boolean resets;
    private final Requests<DeviceFile> requests = new Requests<DeviceFile>(
                    VfioAnswer.VFIO_UNKNOWN_REQUEST, number -> null)
            .value(UapiVfio.VFIO_DEVICE_GET_INFO, (file, address) -> info(address))
            .value(UapiVfio.VFIO_DEVICE_GET_REGION_INFO, (file, address) -> regionInfo(address))
            .value(UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, (file, address) -> irqInfo(address))
            .value(UapiVfio.VFIO_DEVICE_SET_IRQS, (file, address) -> setIrqs(address))
            .value(UapiVfio.VFIO_DEVICE_RESET, (file, none) -> reset());

    /** {@code levels}: whether the interrupt of each index is a level. {@code physicalIds}: allocates a host SPI. */
    VfioPlatform(
            KernelOfFile host,
            String name,
            VfioGroup group,
            int index,
            List<Boolean> levels,
            boolean resets,
            IntSupplier physicalIds) {
        super(host, name, group, index);
        this.irqs = levels.stream()
                .map(level -> new PlatformIrq(host, level, physicalIds.getAsInt()))
                .toList();
        this.resets = resets;
    }

    @Override
    String bus() {
        return "platform";
    }

    @Override
    boolean resets() {
        return resets;
    }

    @Override
    public Optional<HostLine> line(int irq, int subindex) {
        return irq >= 0 && irq < irqs.size() && subindex == 0
                ? Optional.of(irqs.get(irq).forwardable())
                : Optional.empty();
    }

    @Override
    void enable() {
        irqs.forEach(PlatformIrq::enable);
        if (resets) {
            irqs.forEach(PlatformIrq::serve);
        }
    }

    @Override
    void disable() {
        if (resets) {
            irqs.forEach(PlatformIrq::serve);
        }
        irqs.forEach(PlatformIrq::disable);
    }

    /** Returns false, because vfio-platform has no request interrupt. */
    @Override
    public boolean askBack() {
        return false;
    }

    // Requests of the user

    @Override
    int ioctl(DeviceFile file, long request, long argument) {
        return requests.answer(file, request, argument);
    }

    @Override
    long read(long to, long length, long offset) {
        return host.refuse(VfioAnswer.VFIO_PLATFORM_REGION);
    }

    @Override
    long write(long from, long length, long offset) {
        return host.refuse(VfioAnswer.VFIO_PLATFORM_REGION);
    }

    private int info(long address) {
        return info(address, INFO_SIZE, UapiVfio.VFIO_DEVICE_FLAGS_PLATFORM, 0, irqs.size());
    }

    private int regionInfo(long address) {
        return host.copied(address, VfioRegionInfo.SIZE, info -> host.refuse(VfioAnswer.VFIO_INFO_ARGUMENTS));
    }

    private int irqInfo(long address) {
        return host.copied(address, VfioIrqInfo.SIZE, info -> {
            int index = info.getInt(VfioIrqInfo.INDEX);
            if (Integer.compareUnsigned(info.getInt(VfioIrqInfo.ARGSZ), VfioIrqInfo.SIZE) < 0
                    || Integer.compareUnsigned(index, irqs.size()) >= 0) {
                return host.refuse(VfioIrqAnswer.VFIO_IRQ_INFO_ARGUMENTS);
            }
            info.putInt(VfioIrqInfo.FLAGS, irqs.get(index).flags()).putInt(VfioIrqInfo.COUNT, 1);
            return host.copyOut(address, info, VfioIrqInfo.SIZE);
        });
    }

    private int reset() {
        if (!resets) {
            return host.refuse(VfioAnswer.VFIO_RESET_IMPOSSIBLE);
        }
        irqs.forEach(PlatformIrq::serve);
        return 0;
    }

    /** Handles SET_IRQS. Checks the range against the number of indexes; the action checks the interrupt. */
    private int setIrqs(long address) {
        return IrqSet.read(host, irqs.size(), index -> irqs.size(), address, this::apply);
    }

    private int apply(IrqSet set) {
        PlatformIrq irq = irqs.get(set.index());
        return switch (set.action()) {
            case UapiVfio.VFIO_IRQ_SET_ACTION_MASK -> mask(irq, set, irq.masker(), irq::mask);
            case UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK -> mask(irq, set, irq.unmasker(), irq::unmask);
            case UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER -> trigger(irq, set);
            default -> host.refuse(VfioIrqAnswer.VFIO_IRQS_ACTION);
        };
    }

    private static boolean isOne(IrqSet set) {
        return set.start() == 0 && set.count() == 1;
    }

    private int mask(PlatformIrq irq, IrqSet set, EventAction byEvent, Runnable action) {
        if (!isOne(set)) {
            return host.refuse(VfioIrqAnswer.VFIO_PLATFORM_ONE);
        }
        if (!irq.isLevel()) {
            return host.refuse(VfioIrqAnswer.VFIO_PLATFORM_EDGE);
        }
        if (set.isEventfd()) {
            if (set.fd(0) < 0) {
                byEvent.clear();
                return 0;
            }
            return IrqSet.onEvent(
                    host,
                    set.fd(0),
                    event -> byEvent.set(event) ? 0 : host.refuse(VfioIrqAnswer.VFIO_PLATFORM_EVENTFD));
        }
        if (set.isChosen(0)) {
            action.run();
        }
        return 0;
    }

    /** Sets a trigger. The old eventfd is removed before the new one is checked. */
    private int trigger(PlatformIrq irq, IrqSet set) {
        if (set.count() == 0 && set.isNone()) {
            irq.unwire();
            return 0;
        }
        if (!isOne(set)) {
            return host.refuse(VfioIrqAnswer.VFIO_PLATFORM_ONE);
        }
        if (set.isEventfd()) {
            irq.unwire();
            return set.fd(0) < 0
                    ? 0
                    : IrqSet.onEvent(host, set.fd(0), event -> {
                        irq.wire(event);
                        return 0;
                    });
        }
        if (set.isChosen(0)) {
            irq.loopback();
        }
        return 0;
    }

    // Steps of the device

    private PlatformIrq irq(int index, boolean level) {
        if (index < 0 || index >= irqs.size() || irqs.get(index).isLevel() != level) {
            throw new IllegalArgumentException("interrupt " + index + " of " + name() + " is no "
                    + (level ? "level" : "edge") + ": add the device with one at this index");
        }
        return irqs.get(index);
    }

    public void request(int index) {
        irq(index, true).request();
    }

    public void serve(int index) {
        irq(index, true).serve();
    }

    public boolean pulse(int index) {
        return irq(index, false).pulse();
    }
}
