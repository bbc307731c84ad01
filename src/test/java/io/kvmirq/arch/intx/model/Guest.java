/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.vcpu.HostCpus;
import java.util.Optional;

/** A VM of one vCPU with a device: VFIO, a resampling irqfd, and a driver that serves the device at each interrupt. */
final class Guest {
    static final int LINE = 3;

    final IntxDevice device;
    final VfioIntx vfio;
    final IntxVcpu vcpu;
    final GuestLine line;
    final LineEvent resamplefd = new LineEvent();
    private final PhysicalLine physical;
    /** Interrupts at which the device requested service, and others. */
    int served;

    int spurious;

    Guest(PhysicalLine physical, IntxDevice.Kind kind) {
        this(physical, kind, false);
    }

    Guest(PhysicalLine physical, IntxDevice.Kind kind, boolean nointxmask) {
        this.physical = physical;
        device = new IntxDevice(physical, kind);
        vfio = VfioIntx.create(device, nointxmask);
        vcpu = new IntxVcpu(new HostCpus(0), 0);
        line = GuestLine.of(vcpu, LINE, Optional.of(vfio));
        line.resampler().add(resamplefd);
        vcpu.thread().load(0);
        vcpu.thread().enter();
    }

    /** Enables INTx. @return whether the line was granted */
    boolean start() {
        return vfio.enable(line::signal) && vfio.setUnmaskEvent(resamplefd);
    }

    /** Enables INTx with direct EOI. */
    boolean startDirect() {
        vfio.chooseDirect(line::signalMapped);
        return start();
    }

    /** The host's CPU takes what there is, and the workers of the kernel run. */
    void host() {
        for (int i = 0; i < 10 && physical.take(); i++) {
            line.inject();
        }
        line.inject();
    }

    /** The guest exits and enters, which takes its interrupts. @return whether one is in service */
    boolean take() {
        if (vcpu.hasInterrupt()) {
            vcpu.thread().exit();
            vcpu.thread().enter();
        }
        return vcpu.isInService(LINE);
    }

    /** The driver serves the device, and the guest ends the interrupt. */
    void end() {
        if (device.isRequesting()) {
            served++;
        } else {
            spurious++;
        }
        device.serve();
        vcpu.end(LINE);
    }

    /** Host and guest run until nothing happens. */
    void run() {
        host();
        while (take()) {
            end();
            host();
        }
    }
}
