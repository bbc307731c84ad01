/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.arch.intx.model.GuestLine;
import io.kvmirq.arch.intx.model.IntxDevice;
import io.kvmirq.arch.intx.model.IntxVcpu;
import io.kvmirq.arch.intx.model.LineEvent;
import io.kvmirq.arch.intx.model.PhysicalLine;
import io.kvmirq.arch.intx.model.VfioIntx;
import io.kvmirq.arch.vcpu.Host;
import java.util.Optional;

/**
 * A PCI device on a physical line, and its driver in a VM of one vCPU. The driver serves the device at each interrupt.
 */
final class IntxGuest {
    private final PhysicalLine physical;
    private final IntxDevice device;
    private final VfioIntx vfio;
    private final IntxVcpu vcpu;
    private final int number;
    private final GuestLine line;
    private final LineEvent resamplefd = new LineEvent();
    private int served;

    IntxGuest(PhysicalLine physical) {
        this(physical, new IntxVcpu(new Host(0), 0), 0);
        vcpu.thread().load(0);
    }

    private IntxGuest(PhysicalLine physical, IntxVcpu vcpu, int number) {
        this.physical = physical;
        this.device = new IntxDevice(physical, IntxDevice.Kind.PCI_2_3);
        this.vfio = VfioIntx.of(device, false);
        this.vcpu = vcpu;
        this.number = number;
        this.line = GuestLine.of(vcpu, number, Optional.of(vfio));
        line.resampler().add(resamplefd);
    }

    /** Another device of the same VM on the same physical line, with a pin of its own. */
    IntxGuest another() {
        return new IntxGuest(physical, vcpu, number + 1);
    }

    IntxDevice device() {
        return device;
    }

    VfioIntx vfio() {
        return vfio;
    }

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

    /** The vCPU runs until the driver has no interrupt. @return how many requests it served */
    int run() {
        int before = served;
        line.inject();
        while (vcpu.hasInterrupt() || vcpu.isInService(number)) {
            vcpu.thread().enter();
            if (vcpu.isInService(number)) {
                served += device.isRequesting() ? 1 : 0;
                device.serve();
                vcpu.end(number);
            }
            vcpu.thread().exit();
            physical.take();
            line.inject();
        }
        return served - before;
    }
}
