/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import io.kvmirq.arch.intx.model.PhysicalLine.Taken;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Masks of a device, and DisINTx: with the bit, and without. */
class VfioIntxTest {
    @ParameterizedTest
    @EnumSource
    void interruptMasksAndSignalsOnce(Kind kind) {
        OneDevice one = new OneDevice(kind).enabled();
        one.device.request();
        assertThat(one.line.take()).isTrue();
        assertThat(one.line.take()).isFalse();
        assertThat(one.signals).isEqualTo(1);
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.isMaskedInHardware()).isTrue();
        assertThat(one.device.isDisabled()).isEqualTo(kind == Kind.PCI_2_3);
        assertThat(one.line.isDisabled()).isNotEqualTo(kind == Kind.PCI_2_3);
        assertThat(one.vfio.masksAtDevice()).isEqualTo(kind == Kind.PCI_2_3);
    }

    @ParameterizedTest
    @EnumSource
    void unmaskOfAQuietDeviceUnmasks(Kind kind) {
        OneDevice one = new OneDevice(kind).enabled();
        one.interrupt();
        one.device.serve();
        one.vfio.unmask();
        assertThat(one.vfio.isMasked()).isFalse();
        assertThat(one.isMaskedInHardware()).isFalse();
        one.device.request();
        assertThat(one.line.take()).isTrue();
        assertThat(one.signals).isEqualTo(2);
    }

    /** The device asserted while it was masked: no edge follows, and the guest is signalled all the same. */
    @ParameterizedTest
    @EnumSource
    void unmaskOfARequestingDeviceSignalsAgain(Kind kind) {
        OneDevice one = new OneDevice(kind).enabled();
        one.interrupt();
        one.vfio.unmask();
        boolean atDevice = kind == Kind.PCI_2_3;
        assertThat(one.signals).isEqualTo(atDevice ? 2 : 1);
        assertThat(one.vfio.isMasked()).isEqualTo(atDevice);
        assertThat(one.line.take()).isNotEqualTo(atDevice);
        assertThat(one.signals).isEqualTo(2);
        assertThat(one.vfio.isMasked()).isTrue();
    }

    @Test
    void interruptOfAnotherDeviceIsNotClaimed() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        assertThat(one.vfio.handle()).isEqualTo(Taken.NONE);
        assertThat(one.signals).isZero();
        one.device.request();
        one.vfio.mask();
        assertThat(one.vfio.handle()).isEqualTo(Taken.NONE);
        assertThat(one.signals).isZero();
    }

    /** vfio-pci claims every interrupt of an exclusive line; vfio-platform not one that comes when it is masked. */
    @ParameterizedTest
    @CsvSource({"PCI, HANDLED, 1", "PLATFORM, NONE, 0"})
    void lateHandlerDoesNotDisableTwice(Kind kind, Taken taken, int signals) {
        OneDevice one = new OneDevice(kind).enabled();
        one.vfio.mask();
        assertThat(one.vfio.handle()).isEqualTo(taken);
        assertThat(one.signals).isEqualTo(signals);
        one.vfio.unmask();
        assertThat(one.line.isDisabled()).isFalse();
    }

    @ParameterizedTest
    @EnumSource
    void userMasksAndUnmasks(Kind kind) {
        OneDevice one = new OneDevice(kind).enabled();
        one.vfio.mask();
        one.vfio.mask();
        one.device.request();
        assertThat(one.isMaskedInHardware()).isTrue();
        assertThat(one.line.take()).isFalse();
        one.device.serve();
        one.vfio.unmask();
        one.vfio.unmask();
        assertThat(one.vfio.isMasked()).isFalse();
        assertThat(one.isMaskedInHardware()).isFalse();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void noSignalPassesWhileTheGuestSetsDisIntx(Kind kind) {
        OneDevice one = new OneDevice(kind).enabled();
        one.vfio.writeDisIntx(true);
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.isMaskedInHardware()).isTrue();
        one.vfio.loopback();
        one.device.request();
        assertThat(one.line.take()).isFalse();
        assertThat(one.signals).isZero();
    }

    /** An unmask is dropped while the guest has set DisINTx. When the guest clears it, that unmasks. */
    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void clearingDisIntxUnmasksWhatWasResampledMeanwhile(Kind kind) {
        OneDevice one = new OneDevice(kind).enabled();
        one.interrupt();
        one.vfio.writeDisIntx(true);
        one.device.serve();
        one.vfio.unmask();
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.isMaskedInHardware()).isTrue();
        one.vfio.writeDisIntx(false);
        assertThat(one.vfio.isMasked()).isFalse();
        assertThat(one.isMaskedInHardware()).isFalse();
    }

    @Test
    void clearingDisIntxSignalsADeviceThatStillRequests() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.vfio.writeDisIntx(true);
        one.device.request();
        one.vfio.writeDisIntx(false);
        assertThat(one.signals).isEqualTo(1);
        assertThat(one.vfio.isMasked()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void writingDisIntxAgainChangesNothing(boolean disabled) {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.vfio.writeDisIntx(disabled);
        boolean masked = one.vfio.isMasked();
        one.vfio.writeDisIntx(disabled);
        assertThat(one.vfio.isMasked()).isEqualTo(masked).isEqualTo(disabled);
        one.vfio.mask();
        one.vfio.writeDisIntx(disabled);
        assertThat(one.vfio.isMasked()).isTrue();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void enablingStartsMaskedIfTheGuestSetDisIntx(Kind kind) {
        OneDevice one = new OneDevice(kind);
        one.vfio.writeDisIntx(true);
        one.enabled();
        one.device.request();
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.line.take()).isFalse();
        one.vfio.writeDisIntx(false);
        one.line.take();
        assertThat(one.signals).isEqualTo(1);
    }

    @Test
    void enablingClearsADisIntxThatTheGuestDoesNotSee() {
        OneDevice one = new OneDevice(Kind.PCI_2_3);
        one.vfio.mask();
        assertThat(one.device.isDisabled()).isTrue();
        one.enabled();
        assertThat(one.device.isDisabled()).isFalse();
    }

    @Test
    void nointxmaskMasksAtTheController() {
        OneDevice one = new OneDevice(Kind.PCI_2_3, true).enabled();
        one.interrupt();
        assertThat(one.line.isDisabled()).isTrue();
        assertThat(one.device.isDisabled()).isFalse();
    }
}
