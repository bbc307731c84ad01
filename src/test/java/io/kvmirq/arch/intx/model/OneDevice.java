/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;

/** A device on a line of its own, and the signals of its trigger. */
final class OneDevice {
    final PhysicalLine line = new PhysicalLine(LineController.GIC);
    final IntxDevice device;
    final VfioIntx vfio;
    int signals;

    OneDevice(Kind kind) {
        this(kind, false);
    }

    OneDevice(Kind kind, boolean nointxmask) {
        device = new IntxDevice(line, kind);
        vfio = VfioIntx.create(device, nointxmask);
    }

    OneDevice enabled() {
        assertThat(vfio.enable(this::signal)).isTrue();
        return this;
    }

    void signal() {
        signals++;
    }

    void interrupt() {
        device.request();
        line.take();
    }

    boolean isMaskedInHardware() {
        return device.isDisabled() || line.isDisabled();
    }
}
