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
        OneDevice world = new OneDevice(Kind.PCI_2_3);
        world.vfio.enableMessages(InterruptMode.MSIX);
        world.vfio.mask();
        assertThat(world.device.isDisabled()).isTrue();
        assertThat(world.vfio.isMasked()).isFalse();
        world.vfio.unmask();
        assertThat(world.device.isDisabled()).isFalse();
        world.vfio.writeDisIntx(true);
        assertThat(world.device.isDisabled()).isTrue();
        OneDevice old = new OneDevice(Kind.PCI);
        old.vfio.mask();
        old.vfio.unmask();
        assertThat(old.line.isDisabled()).isFalse();
        assertThat(old.vfio.isMasked()).isFalse();
    }

    @Test
    void disablingFreesTheLineAndTheEvents() {
        OneDevice world = new OneDevice(Kind.PCI).enabled();
        LineEvent unmask = new LineEvent();
        world.vfio.setUnmaskEvent(unmask);
        world.vfio.disable();
        assertThat(world.vfio.mode()).isEqualTo(InterruptMode.NONE);
        assertThat(world.line.handlers()).isZero();
        unmask.signal();
        assertThat(unmask.isSignalled()).isTrue();
        world.enabled();
        assertThat(world.vfio.mode()).isEqualTo(InterruptMode.INTX);
        assertThat(world.vfio.setUnmaskEvent(unmask)).isTrue();
    }

    @ParameterizedTest
    @CsvSource({"PCI_2_3, false, true", "PCI_2_3, true, false", "PCI, false, false", "PLATFORM, false, false"})
    void onlyADeviceThatMasksItselfSharesItsLine(Kind kind, boolean nointxmask, boolean shared) {
        OneDevice world = new OneDevice(kind, nointxmask).enabled();
        IntxDevice other = new IntxDevice(world.line, kind);
        VfioIntx second = VfioIntx.create(other, nointxmask);
        assertThat(second.enable(world::signal)).isEqualTo(shared);
        assertThat(second.mode()).isEqualTo(shared ? InterruptMode.INTX : InterruptMode.NONE);
        assertThat(world.line.handlers()).isEqualTo(shared ? 2 : 1);
    }

    @Test
    void closingSetsDisIntx() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.writeDisIntx(true);
        world.device.request();
        world.vfio.close();
        assertThat(world.vfio.mode()).isEqualTo(InterruptMode.NONE);
        assertThat(world.line.isHigh()).isFalse();
        world.enabled();
        assertThat(world.vfio.isMasked()).isFalse();
        OneDevice old = new OneDevice(Kind.PCI);
        old.vfio.enableMessages(InterruptMode.MSI);
        old.vfio.close();
        assertThat(old.vfio.mode()).isEqualTo(InterruptMode.NONE);
    }

    @ParameterizedTest
    @CsvSource({"PCI_2_3, MSI", "PCI_2_3, MSIX", "PCI, MSI", "PCI, MSIX"})
    void deviceThatUsesMessagesDoesNotAssertItsLine(Kind kind, InterruptMode mode) {
        OneDevice world = new OneDevice(kind);
        world.vfio.enableMessages(mode);
        world.device.request();
        assertThat(world.line.isHigh()).isFalse();
        assertThat(world.device.isDisabled()).isEqualTo(kind == Kind.PCI_2_3);
        world.vfio.unmask();
        assertThat(world.line.isHigh()).isFalse();
        world.vfio.disableMessages();
        assertThat(world.line.isHigh()).isTrue();
        assertThat(world.device.isDisabled()).isFalse();
    }

    /** pci_intx_for_msi. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void disablingMessagesClearsDisIntx(boolean nointxmask) {
        OneDevice world = new OneDevice(Kind.PCI_2_3, nointxmask);
        world.device.disable(true);
        world.vfio.enableMessages(InterruptMode.MSI);
        world.vfio.disableMessages();
        assertThat(world.device.isDisabled()).isFalse();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void closingDisablesMessages(Kind kind) {
        OneDevice world = new OneDevice(kind);
        world.vfio.enableMessages(InterruptMode.MSI);
        world.device.request();
        world.vfio.close();
        assertThat(world.device.isDisabled()).isEqualTo(kind == Kind.PCI_2_3);
        world.enabled();
        assertThat(world.line.isHigh()).isTrue();
    }

    @Test
    void removedDeviceLeavesItsLine() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        assertIllegalState(world.vfio::remove, "the device is in mode INTX: expected NONE; disable that mode first");
        world.vfio.disable();
        world.device.request();
        assertThat(world.line.isHigh()).isTrue();
        world.vfio.remove();
        assertThat(world.line.isHigh()).isFalse();
        assertThat(world.line.add(() -> Taken.NONE))
                .as("the number of its handler")
                .isZero();
    }

    @Test
    void refusalGivesTheGateBack() {
        OneDevice world = new OneDevice(Kind.PCI_2_3);
        assertThatIllegalStateException().isThrownBy(world.vfio::disable);
        world.enabled();
        assertThatIllegalStateException().isThrownBy(() -> world.vfio.enable(world::signal));
        world.vfio.mask();
        assertThat(world.vfio.isMasked()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void closedDeviceKeepsDisIntxUntilItIsUsedAgain(boolean nointxmask) {
        OneDevice world = new OneDevice(Kind.PCI_2_3, nointxmask).enabled();
        LineEvent unmask = new LineEvent();
        world.vfio.setUnmaskEvent(unmask);
        world.vfio.close();
        unmask.signal();
        world.vfio.unmask();
        world.vfio.writeDisIntx(true);
        world.vfio.writeDisIntx(false);
        assertThat(world.device.isDisabled()).isTrue();
        world.enabled();
        assertThat(world.device.isDisabled()).isFalse();
        world.vfio.mask();
        assertThat(world.vfio.isMasked()).isTrue();
        world.vfio.close();
        world.vfio.enableMessages(InterruptMode.MSI);
        world.vfio.disableMessages();
        assertThat(world.device.isDisabled()).isFalse();
        world.vfio.close();
        world.vfio.mask();
        assertThat(world.device.isDisabled()).isTrue();
    }

    @Test
    void nextUserSetsDisIntxBeforeAModeIsEnabled() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.close();
        world.vfio.open();
        assertThat(world.device.isDisabled()).isFalse();
        world.vfio.mask();
        assertThat(world.device.isDisabled()).isTrue();
        world.vfio.open();
        assertThat(world.device.isDisabled()).as("open already").isTrue();
        world.vfio.writeDisIntx(true);
        world.enabled();
        assertThat(world.vfio.isMasked()).isTrue();
    }

    @Test
    void oneModeAtATime() {
        OneDevice world = new OneDevice(Kind.PCI_2_3);
        assertIllegalState(world.vfio::disable, "the device is in mode NONE: expected INTX; enable it first");
        assertThatIllegalStateException().isThrownBy(world.vfio::loopback);
        assertIllegalState(
                () -> world.vfio.trigger(world::signal), "the device is in mode NONE: expected INTX; enable it first");
        assertThatIllegalStateException().isThrownBy(world.vfio::unwire);
        assertThatIllegalStateException().isThrownBy(() -> world.vfio.setUnmaskEvent(new LineEvent()));
        assertThatIllegalStateException().isThrownBy(world.vfio::disableMessages);
        world.vfio.enableMessages(InterruptMode.MSI);
        assertIllegalState(
                () -> world.vfio.enable(world::signal),
                "the device is in mode MSI: expected NONE; disable that mode first");
        assertThatIllegalStateException().isThrownBy(() -> world.vfio.enableMessages(InterruptMode.MSIX));
        world.vfio.disableMessages();
        world.vfio.enableMessages(InterruptMode.MSIX);
        world.vfio.disableMessages();
        world.enabled();
        assertThatIllegalStateException().isThrownBy(() -> world.vfio.enable(world::signal));
        assertThatIllegalStateException().isThrownBy(() -> world.vfio.enableMessages(InterruptMode.MSI));
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
        OneDevice world = new OneDevice(Kind.PCI_2_3);
        assertIllegalState(
                () -> VfioIntx.create(world.device, false), "the device has a VfioIntx already: use that one");
    }
}
