/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.arch.intx.GuestLine;
import io.kvmirq.arch.intx.IntxDevice;
import io.kvmirq.arch.intx.IntxVcpu;
import io.kvmirq.arch.intx.LineEvent;
import io.kvmirq.arch.intx.PhysicalLine;
import io.kvmirq.arch.intx.VfioIntx;
import io.kvmirq.arch.vcpu.Host;
import java.util.Optional;

/** A VM of one vCPU with a PCI device on a physical line. Its driver serves the device at each interrupt. */
final class IntxGuest {
    private static final int LINE = 0;

    private final PhysicalLine physical;
    private final IntxDevice device;
    private final VfioIntx vfio;
    private final IntxVcpu vcpu = new IntxVcpu(new Host(0), 0);
    private final GuestLine line;
    private final LineEvent resamplefd = new LineEvent();
    private int served;

    IntxGuest(PhysicalLine physical) {
        this.physical = physical;
        this.device = new IntxDevice(physical, IntxDevice.Kind.PCI_2_3);
        this.vfio = VfioIntx.of(device, false);
        this.line = GuestLine.of(vcpu, LINE, Optional.of(vfio));
        line.resampler().add(resamplefd);
        vcpu.thread().load(0);
    }

    IntxDevice device() {
        return device;
    }

    VfioIntx vfio() {
        return vfio;
    }

    /** How many requests the driver served. */
    int served() {
        return served;
    }

    /** Enables INTx. @return whether the line was granted */
    boolean start(boolean exclusive) {
        boolean granted = exclusive ? vfio.enableExclusive(line::signal) : vfio.enable(line::signal);
        if (granted) {
            vfio.setUnmaskEvent(resamplefd);
        }
        return granted;
    }

    void chooseDirect() {
        vfio.chooseDirect(line::signalMapped);
    }

    /** The vCPU runs until it has no interrupt. @return how many requests it served */
    int run() {
        int before = served;
        line.inject();
        while (vcpu.hasInterrupt()) {
            vcpu.thread().enter();
            vcpu.thread().exit();
            served += device.isRequesting() ? 1 : 0;
            device.serve();
            vcpu.end(LINE);
            physical.take();
            line.inject();
        }
        return served - before;
    }
}
