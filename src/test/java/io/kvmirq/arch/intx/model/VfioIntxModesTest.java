/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import io.kvmirq.arch.intx.model.PhysicalLine.Taken;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The modes of a device: enabled, disabled, closed, removed, and with messages. */
class VfioIntxModesTest {
    @Test
    void inAnotherModeMasksMirrorDisIntx() {
        OneDevice one = new OneDevice(Kind.PCI_2_3);
        one.vfio.enableMessages(InterruptMode.MSIX);
        one.vfio.mask();
        assertThat(one.device.isDisabled()).isTrue();
        assertThat(one.vfio.isMasked()).isFalse();
        one.vfio.unmask();
        assertThat(one.device.isDisabled()).isFalse();
        one.vfio.writeDisIntx(true);
        assertThat(one.device.isDisabled()).isTrue();
        OneDevice old = new OneDevice(Kind.PCI);
        old.vfio.mask();
        old.vfio.unmask();
        assertThat(old.line.isDisabled()).isFalse();
        assertThat(old.vfio.isMasked()).isFalse();
    }

    @Test
    void disablingFreesTheLineAndTheEvents() {
        OneDevice one = new OneDevice(Kind.PCI).enabled();
        LineEvent unmask = new LineEvent();
        one.vfio.setUnmaskEvent(unmask);
        one.vfio.disable();
        assertThat(one.vfio.mode()).isEqualTo(InterruptMode.NONE);
        assertThat(one.line.handlers()).isZero();
        unmask.signal();
        assertThat(unmask.isSignalled()).isTrue();
        one.enabled();
        assertThat(one.vfio.mode()).isEqualTo(InterruptMode.INTX);
        assertThat(one.vfio.setUnmaskEvent(unmask)).isTrue();
    }

    @ParameterizedTest
    @CsvSource({"PCI_2_3, false, true", "PCI_2_3, true, false", "PCI, false, false", "PLATFORM, false, false"})
    void onlyADeviceThatMasksItselfSharesItsLine(Kind kind, boolean nointxmask, boolean shared) {
        OneDevice one = new OneDevice(kind, nointxmask).enabled();
        IntxDevice other = new IntxDevice(one.line, kind);
        VfioIntx second = VfioIntx.of(other, nointxmask);
        assertThat(second.enable(one::signal)).isEqualTo(shared);
        assertThat(second.mode()).isEqualTo(shared ? InterruptMode.INTX : InterruptMode.NONE);
        assertThat(one.line.handlers()).isEqualTo(shared ? 2 : 1);
    }

    @Test
    void closingSetsDisIntx() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.vfio.writeDisIntx(true);
        one.device.request();
        one.vfio.close();
        assertThat(one.vfio.mode()).isEqualTo(InterruptMode.NONE);
        assertThat(one.line.isHigh()).isFalse();
        one.enabled();
        assertThat(one.vfio.isMasked()).isFalse();
        OneDevice old = new OneDevice(Kind.PCI);
        old.vfio.enableMessages(InterruptMode.MSI);
        old.vfio.close();
        assertThat(old.vfio.mode()).isEqualTo(InterruptMode.NONE);
    }

    @ParameterizedTest
    @CsvSource({"PCI_2_3, MSI", "PCI_2_3, MSIX", "PCI, MSI", "PCI, MSIX"})
    void deviceThatUsesMessagesDoesNotAssertItsLine(Kind kind, InterruptMode mode) {
        OneDevice one = new OneDevice(kind);
        one.vfio.enableMessages(mode);
        one.device.request();
        assertThat(one.line.isHigh()).isFalse();
        assertThat(one.device.isDisabled()).isEqualTo(kind == Kind.PCI_2_3);
        one.vfio.unmask();
        assertThat(one.line.isHigh()).isFalse();
        one.vfio.disableMessages();
        assertThat(one.line.isHigh()).isTrue();
        assertThat(one.device.isDisabled()).isFalse();
    }

    /** pci_intx_for_msi. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void disablingMessagesClearsDisIntx(boolean nointxmask) {
        OneDevice one = new OneDevice(Kind.PCI_2_3, nointxmask);
        one.device.disable(true);
        one.vfio.enableMessages(InterruptMode.MSI);
        one.vfio.disableMessages();
        assertThat(one.device.isDisabled()).isFalse();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void closingDisablesMessages(Kind kind) {
        OneDevice one = new OneDevice(kind);
        one.vfio.enableMessages(InterruptMode.MSI);
        one.device.request();
        one.vfio.close();
        assertThat(one.device.isDisabled()).isEqualTo(kind == Kind.PCI_2_3);
        one.enabled();
        assertThat(one.line.isHigh()).isTrue();
    }

    @Test
    void removedDeviceLeavesItsLine() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        assertIllegalState(one.vfio::remove, "the device is in mode INTX: expected NONE; disable that mode first");
        one.vfio.disable();
        one.device.request();
        assertThat(one.line.isHigh()).isTrue();
        one.vfio.remove();
        assertThat(one.line.isHigh()).isFalse();
        assertThat(one.line.add(() -> Taken.NONE))
                .as("the number of its handler")
                .isZero();
    }

    @Test
    void refusalGivesTheGateBack() {
        OneDevice one = new OneDevice(Kind.PCI_2_3);
        assertThatIllegalStateException().isThrownBy(one.vfio::disable);
        one.enabled();
        assertThatIllegalStateException().isThrownBy(() -> one.vfio.enable(one::signal));
        one.vfio.mask();
        assertThat(one.vfio.isMasked()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void closedDeviceKeepsDisIntxUntilItIsUsedAgain(boolean nointxmask) {
        OneDevice one = new OneDevice(Kind.PCI_2_3, nointxmask).enabled();
        LineEvent unmask = new LineEvent();
        one.vfio.setUnmaskEvent(unmask);
        one.vfio.close();
        unmask.signal();
        one.vfio.unmask();
        one.vfio.writeDisIntx(true);
        one.vfio.writeDisIntx(false);
        assertThat(one.device.isDisabled()).isTrue();
        one.enabled();
        assertThat(one.device.isDisabled()).isFalse();
        one.vfio.mask();
        assertThat(one.vfio.isMasked()).isTrue();
        one.vfio.close();
        one.vfio.enableMessages(InterruptMode.MSI);
        one.vfio.disableMessages();
        assertThat(one.device.isDisabled()).isFalse();
        one.vfio.close();
        one.vfio.mask();
        assertThat(one.device.isDisabled()).isTrue();
    }

    @Test
    void nextUserSetsDisIntxBeforeAModeIsEnabled() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.vfio.close();
        one.vfio.open();
        assertThat(one.device.isDisabled()).isFalse();
        one.vfio.mask();
        assertThat(one.device.isDisabled()).isTrue();
        one.vfio.open();
        assertThat(one.device.isDisabled()).as("open already").isTrue();
        one.vfio.writeDisIntx(true);
        one.enabled();
        assertThat(one.vfio.isMasked()).isTrue();
    }

    @Test
    void oneModeAtATime() {
        OneDevice one = new OneDevice(Kind.PCI_2_3);
        assertIllegalState(one.vfio::disable, "the device is in mode NONE: expected INTX; enable it first");
        assertThatIllegalStateException().isThrownBy(one.vfio::loopback);
        assertIllegalState(
                () -> one.vfio.trigger(one::signal), "the device is in mode NONE: expected INTX; enable it first");
        assertThatIllegalStateException().isThrownBy(one.vfio::unwire);
        assertThatIllegalStateException().isThrownBy(() -> one.vfio.setUnmaskEvent(new LineEvent()));
        assertThatIllegalStateException().isThrownBy(one.vfio::disableMessages);
        one.vfio.enableMessages(InterruptMode.MSI);
        assertIllegalState(
                () -> one.vfio.enable(one::signal),
                "the device is in mode MSI: expected NONE; disable that mode first");
        assertThatIllegalStateException().isThrownBy(() -> one.vfio.enableMessages(InterruptMode.MSIX));
        one.vfio.disableMessages();
        one.vfio.enableMessages(InterruptMode.MSIX);
        one.vfio.disableMessages();
        one.enabled();
        assertThatIllegalStateException().isThrownBy(() -> one.vfio.enable(one::signal));
        assertThatIllegalStateException().isThrownBy(() -> one.vfio.enableMessages(InterruptMode.MSI));
    }

    @ParameterizedTest
    @EnumSource(names = {"NONE", "INTX"})
    void otherModesHaveNoMessages(InterruptMode mode) {
        assertIllegalArgument(
                () -> new OneDevice(Kind.PCI_2_3).vfio.enableMessages(mode),
                "mode " + mode + " has no messages: expected MSI or MSIX");
    }

    @Test
    void deviceHasOneVfio() {
        OneDevice one = new OneDevice(Kind.PCI_2_3);
        assertIllegalState(() -> VfioIntx.of(one.device, false), "the device has a VfioIntx already: use that one");
    }
}
