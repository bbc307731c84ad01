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
        OneDevice one = new OneDevice(kind).enabled();
        one.vfio.loopback();
        assertThat(one.signals).isEqualTo(1);
        assertThat(one.vfio.isMasked()).isEqualTo(masks);
    }

    /** The guest's EOI would deactivate the next interrupt. */
    @Test
    void loopbackMasksAPlatformDeviceWithDirectEoiToo() {
        OneDevice one = new OneDevice(Kind.PLATFORM).enabled();
        LineEvent mapped = new LineEvent();
        one.vfio.chooseDirect(mapped);
        one.vfio.loopback();
        assertThat(mapped.isSignalled()).isFalse();
        assertThat(one.signals).isEqualTo(1);
        assertThat(one.vfio.isMasked()).isTrue();
        one.vfio.loopback();
        assertThat(one.signals).isEqualTo(1);
    }

    @Test
    void platformDeviceHasNoMessages() {
        assertIllegalState(
                () -> new OneDevice(Kind.PLATFORM).vfio.enableMessages(InterruptMode.MSI),
                "a platform device has no messages: enable its line instead");
    }

    @Test
    void maskOfAPlatformDeviceSurvivesItsTriggers() {
        OneDevice one = new OneDevice(Kind.PLATFORM);
        one.vfio.mask();
        assertThat(one.vfio.isMasked()).isTrue();
        one.enabled();
        assertThat(one.line.isDisabled()).isTrue();
        one.vfio.disable();
        assertThat(one.vfio.isMasked()).isTrue();
        one.enabled();
        one.vfio.unmask();
        assertThat(one.line.isDisabled()).isFalse();
        one.vfio.disable();
        one.vfio.mask();
        one.vfio.unmask();
        assertThat(one.vfio.isMasked()).isFalse();
        one.vfio.mask();
        one.vfio.close();
        assertThat(one.vfio.isMasked()).isFalse();
    }

    @Test
    void lineOfAPlatformDeviceIsDisabledWithoutATrigger() {
        OneDevice one = new OneDevice(Kind.PLATFORM).enabled();
        one.vfio.unwire();
        one.vfio.unwire();
        assertThat(one.line.isDisabled()).isTrue();
        one.vfio.mask();
        one.vfio.trigger(one::signal);
        one.vfio.trigger(one::signal);
        assertThat(one.line.isDisabled()).isTrue();
        one.vfio.unmask();
        assertThat(one.line.isDisabled()).isFalse();
    }

    @Test
    void platformDeviceHasNoDisIntx() {
        assertIllegalState(
                () -> new OneDevice(Kind.PLATFORM).vfio.writeDisIntx(true),
                "a platform device has no DisINTx: mask it instead");
    }
}
