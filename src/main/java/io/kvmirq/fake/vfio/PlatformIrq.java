/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.IntxDevice;
import io.kvmirq.arch.intx.LineController;
import io.kvmirq.arch.intx.PhysicalLine;
import io.kvmirq.arch.intx.VfioIntx;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.rules.VfioRule;
import io.kvmirq.uapi.UapiVfio;
import org.jspecify.annotations.Nullable;

/**
 * One interrupt of a platform device, which has a line of its own: a level, which its handler masks, or an edge. Source:
 * {@code struct vfio_platform_irq} in drivers/vfio/platform/vfio_platform_irq.c.
 */
final class PlatformIrq implements HostLine {
    private final Host host;
    private final boolean level;
    private final int physicalId;
    private final PhysicalLine line;
    private final IntxDevice device;
    private final VfioIntx intx;
    private final EventAction mask = new EventAction(this::mask);
    private final EventAction unmask = new EventAction(this::unmask);
    private @Nullable EventFile trigger;
    /** An edge that came while there was no trigger. */
    private boolean latched;

    PlatformIrq(Host host, boolean level, int physicalId) {
        this.host = host;
        this.level = level;
        this.physicalId = physicalId;
        this.line = new PhysicalLine(host.build().arm64() ? LineController.GIC : LineController.IOAPIC);
        this.device = new IntxDevice(line, IntxDevice.Kind.PLATFORM);
        this.intx = VfioIntx.of(device, false);
    }

    boolean isLevel() {
        return level;
    }

    int flags() {
        return UapiVfio.VFIO_IRQ_INFO_EVENTFD
                | (level ? UapiVfio.VFIO_IRQ_INFO_MASKABLE | UapiVfio.VFIO_IRQ_INFO_AUTOMASKED : 0);
    }

    EventAction masker() {
        return mask;
    }

    EventAction unmasker() {
        return unmask;
    }

    /** The device was opened: the line has its handler, and is disabled until there is a trigger. */
    void enable() {
        if (!intx.enable(() -> {})) {
            throw new IllegalStateException("the line of a platform device is its own");
        }
        intx.detach();
    }

    void disable() {
        mask.clear();
        unmask.clear();
        trigger = null;
        intx.close();
    }

    void detach() {
        trigger = null;
        intx.detach();
    }

    void attach(EventFile event) {
        trigger = event;
        intx.trigger(() -> event.signal(1));
        if (latched) {
            host.note(VfioRule.VFIO_PLATFORM_EDGE_LATCHED);
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
        } else if (trigger != null) {
            trigger.signal(1);
        }
    }

    // What KVM-VFIO does

    @Override
    public int physicalId() {
        return physicalId;
    }

    @Override
    public boolean isSignalled() {
        return trigger != null;
    }

    @Override
    public void forward() {
        intx.chooseDirect(() -> {
            EventFile to = trigger;
            if (to != null) {
                to.signal(1);
            }
        });
    }

    @Override
    public void unforward() {
        intx.chooseAutoMask();
        intx.endForwarded();
        settle();
    }

    @Override
    public void deactivate() {
        line.deactivate();
        settle();
    }

    private void settle() {
        boolean taken = line.take();
        while (taken) {
            taken = line.take();
        }
    }

    // What the device does

    void request() {
        device.request();
        settle();
    }

    void serve() {
        device.serve();
    }

    /** @return whether an eventfd was signalled */
    boolean pulse() {
        latched = trigger == null;
        loopback();
        return trigger != null;
    }
}
