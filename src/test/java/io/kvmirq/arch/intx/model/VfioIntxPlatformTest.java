/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Interrupts of a platform device: a mask is nested in the trigger. */
class VfioIntxPlatformTest {
    @ParameterizedTest
    @CsvSource({"PCI_2_3, false", "PCI, false", "PLATFORM, true"})
    void loopbackMasksAPlatformDevice(Kind kind, boolean masks) {
        OneDevice world = new OneDevice(kind).enabled();
        world.vfio.loopback();
        assertThat(world.signals).isEqualTo(1);
        assertThat(world.vfio.isMasked()).isEqualTo(masks);
    }

    /** The guest's EOI would deactivate the next interrupt. */
    @Test
    void loopbackMasksAPlatformDeviceWithDirectEoiToo() {
        OneDevice world = new OneDevice(Kind.PLATFORM).enabled();
        LineEvent mapped = new LineEvent();
        world.vfio.chooseDirect(mapped);
        world.vfio.loopback();
        assertThat(mapped.isSignalled()).isFalse();
        assertThat(world.signals).isEqualTo(1);
        assertThat(world.vfio.isMasked()).isTrue();
        world.vfio.loopback();
        assertThat(world.signals).isEqualTo(1);
    }

    @Test
    void platformDeviceHasNoMessages() {
        assertIllegalState(
                () -> new OneDevice(Kind.PLATFORM).vfio.enableMessages(InterruptMode.MSI),
                "a platform device has no messages: enable its line instead");
    }

    @Test
    void maskOfAPlatformDeviceSurvivesItsTriggers() {
        OneDevice world = new OneDevice(Kind.PLATFORM);
        world.vfio.mask();
        assertThat(world.vfio.isMasked()).isTrue();
        world.enabled();
        assertThat(world.line.isDisabled()).isTrue();
        world.vfio.disable();
        assertThat(world.vfio.isMasked()).isTrue();
        world.enabled();
        world.vfio.unmask();
        assertThat(world.line.isDisabled()).isFalse();
        world.vfio.disable();
        world.vfio.mask();
        world.vfio.unmask();
        assertThat(world.vfio.isMasked()).isFalse();
        world.vfio.mask();
        world.vfio.close();
        assertThat(world.vfio.isMasked()).isFalse();
    }

    @Test
    void lineOfAPlatformDeviceIsDisabledWithoutATrigger() {
        OneDevice world = new OneDevice(Kind.PLATFORM).enabled();
        world.vfio.unwire();
        world.vfio.unwire();
        assertThat(world.line.isDisabled()).isTrue();
        world.vfio.mask();
        world.vfio.trigger(world::signal);
        world.vfio.trigger(world::signal);
        assertThat(world.line.isDisabled()).isTrue();
        world.vfio.unmask();
        assertThat(world.line.isDisabled()).isFalse();
    }

    @Test
    void platformDeviceHasNoDisIntx() {
        assertIllegalState(
                () -> new OneDevice(Kind.PLATFORM).vfio.writeDisIntx(true),
                "a platform device has no DisINTx: mask it instead");
    }
}
