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
        OneDevice world = new OneDevice(kind).enabled();
        world.device.request();
        assertThat(world.line.take()).isTrue();
        assertThat(world.line.take()).isFalse();
        assertThat(world.signals).isEqualTo(1);
        assertThat(world.vfio.isMasked()).isTrue();
        assertThat(world.isMaskedInHardware()).isTrue();
        assertThat(world.device.isDisabled()).isEqualTo(kind == Kind.PCI_2_3);
        assertThat(world.line.isDisabled()).isNotEqualTo(kind == Kind.PCI_2_3);
        assertThat(world.vfio.masksAtDevice()).isEqualTo(kind == Kind.PCI_2_3);
    }

    @ParameterizedTest
    @EnumSource
    void unmaskOfAQuietDeviceUnmasks(Kind kind) {
        OneDevice world = new OneDevice(kind).enabled();
        world.interrupt();
        world.device.serve();
        world.vfio.unmask();
        assertThat(world.vfio.isMasked()).isFalse();
        assertThat(world.isMaskedInHardware()).isFalse();
        world.device.request();
        assertThat(world.line.take()).isTrue();
        assertThat(world.signals).isEqualTo(2);
    }

    /** The device asserted while it was masked: no edge follows, and the guest is signalled all the same. */
    @ParameterizedTest
    @EnumSource
    void unmaskOfARequestingDeviceSignalsAgain(Kind kind) {
        OneDevice world = new OneDevice(kind).enabled();
        world.interrupt();
        world.vfio.unmask();
        boolean atDevice = kind == Kind.PCI_2_3;
        assertThat(world.signals).isEqualTo(atDevice ? 2 : 1);
        assertThat(world.vfio.isMasked()).isEqualTo(atDevice);
        assertThat(world.line.take()).isNotEqualTo(atDevice);
        assertThat(world.signals).isEqualTo(2);
        assertThat(world.vfio.isMasked()).isTrue();
    }

    @Test
    void interruptOfAnotherDeviceIsNotClaimed() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        assertThat(world.vfio.handle()).isEqualTo(Taken.NONE);
        assertThat(world.signals).isZero();
        world.device.request();
        world.vfio.mask();
        assertThat(world.vfio.handle()).isEqualTo(Taken.NONE);
        assertThat(world.signals).isZero();
    }

    /** vfio-pci claims every interrupt of an exclusive line; vfio-platform not one that comes when it is masked. */
    @ParameterizedTest
    @CsvSource({"PCI, HANDLED, 1", "PLATFORM, NONE, 0"})
    void lateHandlerDoesNotDisableTwice(Kind kind, Taken taken, int signals) {
        OneDevice world = new OneDevice(kind).enabled();
        world.vfio.mask();
        assertThat(world.vfio.handle()).isEqualTo(taken);
        assertThat(world.signals).isEqualTo(signals);
        world.vfio.unmask();
        assertThat(world.line.isDisabled()).isFalse();
    }

    @ParameterizedTest
    @EnumSource
    void userMasksAndUnmasks(Kind kind) {
        OneDevice world = new OneDevice(kind).enabled();
        world.vfio.mask();
        world.vfio.mask();
        world.device.request();
        assertThat(world.isMaskedInHardware()).isTrue();
        assertThat(world.line.take()).isFalse();
        world.device.serve();
        world.vfio.unmask();
        world.vfio.unmask();
        assertThat(world.vfio.isMasked()).isFalse();
        assertThat(world.isMaskedInHardware()).isFalse();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void noSignalPassesWhileTheGuestSetsDisIntx(Kind kind) {
        OneDevice world = new OneDevice(kind).enabled();
        world.vfio.writeDisIntx(true);
        assertThat(world.vfio.isMasked()).isTrue();
        assertThat(world.isMaskedInHardware()).isTrue();
        world.vfio.loopback();
        world.device.request();
        assertThat(world.line.take()).isFalse();
        assertThat(world.signals).isZero();
    }

    /** An unmask is dropped while the guest has set DisINTx. When the guest clears it, that unmasks. */
    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void clearingDisIntxUnmasksWhatWasResampledMeanwhile(Kind kind) {
        OneDevice world = new OneDevice(kind).enabled();
        world.interrupt();
        world.vfio.writeDisIntx(true);
        world.device.serve();
        world.vfio.unmask();
        assertThat(world.vfio.isMasked()).isTrue();
        assertThat(world.isMaskedInHardware()).isTrue();
        world.vfio.writeDisIntx(false);
        assertThat(world.vfio.isMasked()).isFalse();
        assertThat(world.isMaskedInHardware()).isFalse();
    }

    @Test
    void clearingDisIntxSignalsADeviceThatStillRequests() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.writeDisIntx(true);
        world.device.request();
        world.vfio.writeDisIntx(false);
        assertThat(world.signals).isEqualTo(1);
        assertThat(world.vfio.isMasked()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void writingDisIntxAgainChangesNothing(boolean disabled) {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.writeDisIntx(disabled);
        boolean masked = world.vfio.isMasked();
        world.vfio.writeDisIntx(disabled);
        assertThat(world.vfio.isMasked()).isEqualTo(masked).isEqualTo(disabled);
        world.vfio.mask();
        world.vfio.writeDisIntx(disabled);
        assertThat(world.vfio.isMasked()).isTrue();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void enablingStartsMaskedIfTheGuestSetDisIntx(Kind kind) {
        OneDevice world = new OneDevice(kind);
        world.vfio.writeDisIntx(true);
        world.enabled();
        world.device.request();
        assertThat(world.vfio.isMasked()).isTrue();
        assertThat(world.line.take()).isFalse();
        world.vfio.writeDisIntx(false);
        world.line.take();
        assertThat(world.signals).isEqualTo(1);
    }

    @Test
    void enablingClearsADisIntxThatTheGuestDoesNotSee() {
        OneDevice world = new OneDevice(Kind.PCI_2_3);
        world.vfio.mask();
        assertThat(world.device.isDisabled()).isTrue();
        world.enabled();
        assertThat(world.device.isDisabled()).isFalse();
    }

    @Test
    void nointxmaskMasksAtTheController() {
        OneDevice world = new OneDevice(Kind.PCI_2_3, true).enabled();
        world.interrupt();
        assertThat(world.line.isDisabled()).isTrue();
        assertThat(world.device.isDisabled()).isFalse();
    }
}
