/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.IntxDevice;
import io.kvmirq.arch.intx.model.LineController;
import io.kvmirq.arch.intx.model.PhysicalLine;
import io.kvmirq.arch.intx.model.VfioIntx;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.UapiVfio;

/**
 * One interrupt of a platform device, with its own line: level-triggered, masked by its handler, or edge-triggered.
 * Source: {@code struct vfio_platform_irq} in drivers/vfio/platform/vfio_platform_irq.c.
 */
final class PlatformIrq {
    private final KernelOfFile host;
    private final boolean level;
    private final PhysicalLine line;
    private final IntxDevice device;
    private final VfioIntx intx;
    private final ForwardableLine forwardable;
    private final EventAction mask = new EventAction(this::mask);
    private final EventAction unmask = new EventAction(this::unmask);
    /** Whether an edge came while there was no trigger. */
    private boolean latched;

    PlatformIrq(KernelOfFile host, boolean level, int physicalId) {
        this.host = host;
        this.level = level;
        this.line = new PhysicalLine(host.build().arm64() ? LineController.GIC : LineController.IOAPIC);
        this.device = new IntxDevice(line, IntxDevice.Kind.PLATFORM);
        this.intx = VfioIntx.create(device, false);
        this.forwardable = new ForwardableLine(host, physicalId, intx, this::settle);
    }

    boolean isLevel() {
        return level;
    }

    int flags() {
        return UapiVfio.VFIO_IRQ_INFO_EVENTFD
                | (level ? UapiVfio.VFIO_IRQ_INFO_MASKABLE | UapiVfio.VFIO_IRQ_INFO_AUTOMASKED : 0);
    }

    ForwardableLine forwardable() {
        return forwardable;
    }

    EventAction masker() {
        return mask;
    }

    EventAction unmasker() {
        return unmask;
    }

    /** Prepares the line as the device is opened: it has its handler, and is disabled until it has a trigger. */
    void enable() {
        if (!intx.enable(() -> {})) {
            throw new IllegalStateException("the line of a platform device is its own");
        }
        intx.unwire();
    }

    void disable() {
        mask.clear();
        unmask.clear();
        forwardable.setTrigger(null);
        intx.close();
    }

    void unwire() {
        forwardable.setTrigger(null);
        intx.unwire();
    }

    void wire(EventFile event) {
        forwardable.setTrigger(event);
        intx.trigger(() -> event.signal(1));
        if (latched) {
            host.note(VfioIrqAnswer.VFIO_PLATFORM_EDGE_LATCHED);
            latched = false;
            event.signal(1);
        }
        settle();
    }

    void mask() {
        intx.mask();
    }

    void unmask() {
        intx.unmask();
        settle();
    }

    /** Runs the handler, as if the device had interrupted. */
    void loopback() {
        if (level) {
            intx.loopback();
        } else {
            signalEdge();
        }
    }

    /** @return whether an eventfd was signalled */
    private boolean signalEdge() {
        EventFile to = forwardable.trigger();
        if (to != null) {
            to.signal(1);
        }
        return to != null;
    }

    private void settle() {
        host.work().begin();
        try {
            boolean taken = line.take();
            while (taken) {
                taken = line.take();
            }
        } finally {
            host.work().end();
        }
    }

    // Steps of the device

    void request() {
        device.request();
        settle();
    }

    void serve() {
        device.serve();
    }

    boolean pulse() {
        boolean signalled = signalEdge();
        latched = !signalled;
        return signalled;
    }
}
