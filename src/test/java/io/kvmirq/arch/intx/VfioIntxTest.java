/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.kvmirq.arch.intx.IntxDevice.Kind;
import io.kvmirq.arch.intx.PhysicalLine.Taken;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The table of events: with DisINTx, and without. */
class VfioIntxTest {
    /** A device on a line of its own, and the signals of its trigger. */
    private static final class One {
        final PhysicalLine line = new PhysicalLine(LineController.GIC);
        final IntxDevice device;
        final VfioIntx vfio;
        int signals;

        One(Kind kind) {
            this(kind, false);
        }

        One(Kind kind, boolean nointxmask) {
            device = new IntxDevice(line, kind);
            vfio = VfioIntx.of(device, nointxmask);
        }

        One enabled() {
            assertThat(vfio.enable(this::signal)).isTrue();
            return this;
        }

        void signal() {
            signals++;
        }

        boolean isMaskedInHardware() {
            return device.isDisabled() || line.isDisabled();
        }
    }

    @ParameterizedTest
    @EnumSource
    void interruptMasksAndSignalsOnce(Kind kind) {
        One one = new One(kind).enabled();
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
        One one = new One(kind).enabled();
        one.device.request();
        one.line.take();
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
        One one = new One(kind).enabled();
        one.device.request();
        one.line.take();
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
        One one = new One(Kind.PCI_2_3).enabled();
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
        One one = new One(kind).enabled();
        one.vfio.mask();
        assertThat(one.vfio.handle()).isEqualTo(taken);
        assertThat(one.signals).isEqualTo(signals);
        one.vfio.unmask();
        assertThat(one.line.isDisabled()).isFalse();
    }

    @ParameterizedTest
    @EnumSource
    void userMasksAndUnmasks(Kind kind) {
        One one = new One(kind).enabled();
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
        One one = new One(kind).enabled();
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
        One one = new One(kind).enabled();
        one.device.request();
        one.line.take();
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
        One one = new One(Kind.PCI_2_3).enabled();
        one.vfio.writeDisIntx(true);
        one.device.request();
        one.vfio.writeDisIntx(false);
        assertThat(one.signals).isEqualTo(1);
        assertThat(one.vfio.isMasked()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void writingDisIntxAgainChangesNothing(boolean disabled) {
        One one = new One(Kind.PCI_2_3).enabled();
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
        One one = new One(kind);
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
        One one = new One(Kind.PCI_2_3);
        one.vfio.mask();
        assertThat(one.device.isDisabled()).isTrue();
        one.enabled();
        assertThat(one.device.isDisabled()).isFalse();
    }

    @Test
    void inAnotherModeMasksMirrorDisIntx() {
        One one = new One(Kind.PCI_2_3);
        one.vfio.enableMessages(InterruptMode.MSIX);
        one.vfio.mask();
        assertThat(one.device.isDisabled()).isTrue();
        assertThat(one.vfio.isMasked()).isFalse();
        one.vfio.unmask();
        assertThat(one.device.isDisabled()).isFalse();
        one.vfio.writeDisIntx(true);
        assertThat(one.device.isDisabled()).isTrue();
        One old = new One(Kind.PCI);
        old.vfio.mask();
        old.vfio.unmask();
        assertThat(old.line.isDisabled()).isFalse();
        assertThat(old.vfio.isMasked()).isFalse();
    }

    @Test
    void newTriggerKeepsTheMask() {
        One one = new One(Kind.PCI_2_3).enabled();
        LineEvent next = new LineEvent();
        one.vfio.mask();
        one.vfio.trigger(next);
        assertThat(one.vfio.isMasked()).isTrue();
        one.vfio.loopback();
        assertThat(one.signals).isZero();
        assertThat(next.isSignalled()).isTrue();
    }

    @Test
    void withoutATriggerNothingIsSignalled() {
        One one = new One(Kind.PCI_2_3).enabled();
        one.vfio.detach();
        one.device.request();
        assertThat(one.line.take()).isTrue();
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.signals).isZero();
    }

    @ParameterizedTest
    @CsvSource({"PCI_2_3, false", "PCI, false", "PLATFORM, true"})
    void loopbackMasksAPlatformDevice(Kind kind, boolean masks) {
        One one = new One(kind).enabled();
        one.vfio.loopback();
        assertThat(one.signals).isEqualTo(1);
        assertThat(one.vfio.isMasked()).isEqualTo(masks);
    }

    /** The guest's EOI would deactivate the next interrupt. */
    @Test
    void loopbackMasksAPlatformDeviceWithDirectEoiToo() {
        One one = new One(Kind.PLATFORM).enabled();
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
    void unmaskEventUnmasks() {
        One one = new One(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        assertThat(one.vfio.setUnmaskEvent(unmask)).isTrue();
        one.vfio.mask();
        unmask.signal();
        assertThat(one.vfio.isMasked()).isFalse();
        assertThat(unmask.isSignalled()).isFalse();
    }

    @Test
    void unmaskEventThatIsSignalledBeforeUnmasksAtOnce() {
        One one = new One(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        unmask.signal();
        one.vfio.mask();
        one.vfio.setUnmaskEvent(unmask);
        assertThat(one.vfio.isMasked()).isFalse();
    }

    @Test
    void secondUnmaskEventIsBusy() {
        One one = new One(Kind.PCI_2_3).enabled();
        LineEvent first = new LineEvent();
        assertThat(one.vfio.setUnmaskEvent(first)).isTrue();
        assertThat(one.vfio.setUnmaskEvent(new LineEvent())).isFalse();
        one.vfio.clearUnmaskEvent();
        one.vfio.clearUnmaskEvent();
        one.vfio.mask();
        first.signal();
        assertThat(first.isSignalled()).isTrue();
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.vfio.setUnmaskEvent(new LineEvent())).isTrue();
    }

    /** One bool: the resample of an earlier interrupt ends the mask of the user. */
    @Test
    void unmaskEventEndsTheUsersMask() {
        One one = new One(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        one.vfio.setUnmaskEvent(unmask);
        one.device.request();
        one.line.take();
        one.vfio.mask();
        one.device.serve();
        unmask.signal();
        assertThat(one.vfio.isMasked()).isFalse();
    }

    @Test
    void disablingFreesTheLineAndTheEvents() {
        One one = new One(Kind.PCI).enabled();
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
        One one = new One(kind, nointxmask).enabled();
        IntxDevice other = new IntxDevice(one.line, kind);
        VfioIntx second = VfioIntx.of(other, nointxmask);
        assertThat(second.enable(one::signal)).isEqualTo(shared);
        assertThat(second.mode()).isEqualTo(shared ? InterruptMode.INTX : InterruptMode.NONE);
        assertThat(one.line.handlers()).isEqualTo(shared ? 2 : 1);
    }

    @Test
    void nointxmaskMasksAtTheController() {
        One one = new One(Kind.PCI_2_3, true).enabled();
        one.device.request();
        one.line.take();
        assertThat(one.line.isDisabled()).isTrue();
        assertThat(one.device.isDisabled()).isFalse();
    }

    @Test
    void closingSetsDisIntx() {
        One one = new One(Kind.PCI_2_3).enabled();
        one.vfio.writeDisIntx(true);
        one.device.request();
        one.vfio.close();
        assertThat(one.vfio.mode()).isEqualTo(InterruptMode.NONE);
        assertThat(one.line.isHigh()).isFalse();
        one.enabled();
        assertThat(one.vfio.isMasked()).isFalse();
        One old = new One(Kind.PCI);
        old.vfio.enableMessages(InterruptMode.MSI);
        old.vfio.close();
        assertThat(old.vfio.mode()).isEqualTo(InterruptMode.NONE);
    }

    // Messages

    @ParameterizedTest
    @CsvSource({"PCI_2_3, MSI", "PCI_2_3, MSIX", "PCI, MSI", "PCI, MSIX"})
    void deviceThatUsesMessagesDoesNotAssertItsLine(Kind kind, InterruptMode mode) {
        One one = new One(kind);
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
        One one = new One(Kind.PCI_2_3, nointxmask);
        one.device.disable(true);
        one.vfio.enableMessages(InterruptMode.MSI);
        one.vfio.disableMessages();
        assertThat(one.device.isDisabled()).isFalse();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void closingDisablesMessages(Kind kind) {
        One one = new One(kind);
        one.vfio.enableMessages(InterruptMode.MSI);
        one.device.request();
        one.vfio.close();
        assertThat(one.device.isDisabled()).isEqualTo(kind == Kind.PCI_2_3);
        one.enabled();
        assertThat(one.line.isHigh()).isTrue();
    }

    @Test
    void platformDeviceHasNoMessages() {
        assertThatIllegalStateException()
                .isThrownBy(() -> new One(Kind.PLATFORM).vfio.enableMessages(InterruptMode.MSI))
                .withMessage("a platform device has no messages: enable its line instead");
    }

    @Test
    void removedDeviceLeavesItsLine() {
        One one = new One(Kind.PCI_2_3).enabled();
        assertThatIllegalStateException()
                .isThrownBy(one.vfio::remove)
                .withMessage("the device is in mode INTX: expected NONE; disable that mode first");
        one.vfio.disable();
        one.device.request();
        assertThat(one.line.isHigh()).isTrue();
        one.vfio.remove();
        assertThat(one.line.isHigh()).isFalse();
        assertThat(one.line.add(() -> Taken.NONE))
                .as("the number of its handler")
                .isZero();
    }

    // Direct EOI

    @Test
    void directEoiSignalsAndMasksNothing() {
        One one = new One(Kind.PLATFORM).enabled();
        LineEvent mapped = new LineEvent();
        one.vfio.chooseDirect(mapped);
        assertThat(one.vfio.isDirect()).isTrue();
        one.device.request();
        assertThat(one.line.take()).isTrue();
        assertThat(mapped.isSignalled()).isTrue();
        assertThat(one.signals).isZero();
        assertThat(one.vfio.isMasked()).isFalse();
        assertThat(one.line.isActive()).isTrue();
        one.vfio.chooseAutoMask();
        assertThat(one.vfio.isDirect()).isFalse();
        one.vfio.deactivate();
        one.line.take();
        assertThat(one.signals).isEqualTo(1);
    }

    /** The interrupt that is in flight unmasks at its EOI, and the next one is direct. */
    @Test
    void directEoiIsChosenWhileTheDeviceIsMasked() {
        One one = new One(Kind.PCI_2_3).enabled();
        one.device.request();
        one.line.take();
        LineEvent mapped = new LineEvent();
        one.vfio.chooseDirect(mapped);
        one.device.serve();
        one.vfio.unmask();
        one.device.request();
        one.line.take();
        assertThat(one.signals).isEqualTo(1);
        assertThat(mapped.isSignalled()).isTrue();
    }

    @Test
    void nextUserOfAClosedDeviceStartsWithTheAutomaticMask() {
        One one = new One(Kind.PCI_2_3).enabled();
        LineEvent ofOldVm = new LineEvent();
        one.vfio.chooseDirect(ofOldVm);
        one.vfio.close();
        assertThat(one.vfio.isDirect()).isFalse();
        one.enabled();
        one.device.request();
        one.line.take();
        assertThat(one.signals).isEqualTo(1);
        assertThat(ofOldVm.isSignalled()).isFalse();
        assertThat(one.line.isActive()).isFalse();
    }

    @Test
    void disablingKeepsTheChoice() {
        One one = new One(Kind.PCI_2_3).enabled();
        one.vfio.chooseDirect(one::signal);
        one.vfio.disable();
        assertThat(one.vfio.isDirect()).isTrue();
    }

    /** Without an EOI to come, the interrupt would stay active. */
    @Test
    void directEoiLeavesNoInterruptActiveThatReachesNoGuest() {
        One one = new One(Kind.PCI_2_3).enabled();
        one.vfio.chooseDirect(one::signal);
        one.vfio.detach();
        one.device.request();
        one.line.take();
        assertThat(one.line.isActive()).isFalse();
        assertThat(one.vfio.isMasked()).isTrue();
    }

    /** A second signal goes to the trigger, whose EOI unmasks. */
    @Test
    void directEoiSignalsTheTriggerAgainAfterAMask() {
        One one = new One(Kind.PCI_2_3).enabled();
        LineEvent mapped = new LineEvent();
        one.vfio.chooseDirect(mapped);
        one.vfio.mask();
        one.device.request();
        one.vfio.unmask();
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.signals).isEqualTo(1);
        assertThat(mapped.isSignalled()).isFalse();
        assertThat(one.line.take()).isFalse();
    }

    @Test
    void disablingDirectEoiDeactivatesTheInterrupt() {
        One one = new One(Kind.PLATFORM).enabled();
        one.vfio.chooseDirect(one::signal);
        one.device.request();
        one.line.take();
        one.vfio.disable();
        assertThat(one.line.isActive()).isFalse();
    }

    /** What counts is how the interrupt was forwarded, not which handler is chosen at the end. */
    @Test
    void disablingDeactivatesWhatWasForwardedBeforeAnotherChoice() {
        One one = new One(Kind.PLATFORM).enabled();
        one.vfio.chooseDirect(one::signal);
        one.device.request();
        one.line.take();
        one.vfio.chooseAutoMask();
        one.vfio.disable();
        assertThat(one.line.isActive()).isFalse();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void disablingDeactivatesNoInterruptThatAnotherDeviceForwarded(boolean masked) {
        One one = new One(Kind.PCI_2_3).enabled();
        VfioIntx other = VfioIntx.of(new IntxDevice(one.line, Kind.PCI_2_3), false);
        other.enable(one::signal);
        one.vfio.chooseDirect(one::signal);
        other.chooseDirect(one::signal);
        if (masked) {
            one.vfio.mask();
        }
        other.device.request();
        one.line.take();
        one.vfio.disable();
        assertThat(one.line.isActive()).isTrue();
        other.disable();
        assertThat(one.line.isActive()).isFalse();
    }

    // Locks

    @Test
    void handlerThatThrowsGivesTheLineBack() {
        One one = new One(Kind.PCI_2_3).enabled();
        one.vfio.chooseDirect(() -> {
            throw new UnsupportedOperationException("a signal");
        });
        one.device.request();
        assertThatExceptionOfType(UnsupportedOperationException.class).isThrownBy(one.line::take);
        assertThat(one.line.isActive()).isFalse();
        one.vfio.chooseAutoMask();
        assertThat(one.line.take()).isTrue();
        assertThat(one.signals).isEqualTo(1);
    }

    @Test
    void refusalGivesTheGateBack() {
        One one = new One(Kind.PCI_2_3);
        assertThatIllegalStateException().isThrownBy(one.vfio::disable);
        one.enabled();
        assertThatIllegalStateException().isThrownBy(() -> one.vfio.enable(one::signal));
        one.vfio.mask();
        assertThat(one.vfio.isMasked()).isTrue();
    }

    // Platform: a mask is nested in the trigger

    @Test
    void maskOfAPlatformDeviceSurvivesItsTriggers() {
        One one = new One(Kind.PLATFORM);
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
        One one = new One(Kind.PLATFORM).enabled();
        one.vfio.detach();
        one.vfio.detach();
        assertThat(one.line.isDisabled()).isTrue();
        one.vfio.mask();
        one.vfio.trigger(one::signal);
        one.vfio.trigger(one::signal);
        assertThat(one.line.isDisabled()).isTrue();
        one.vfio.unmask();
        assertThat(one.line.isDisabled()).isFalse();
    }

    // Closed

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void closedDeviceKeepsDisIntxUntilItIsUsedAgain(boolean nointxmask) {
        One one = new One(Kind.PCI_2_3, nointxmask).enabled();
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

    // Bad input

    @Test
    void oneModeAtATime() {
        One one = new One(Kind.PCI_2_3);
        assertThatIllegalStateException()
                .isThrownBy(one.vfio::disable)
                .withMessage("the device is in mode NONE: expected INTX; enable it first");
        assertThatIllegalStateException().isThrownBy(one.vfio::loopback);
        assertThatIllegalStateException()
                .isThrownBy(() -> one.vfio.trigger(one::signal))
                .withMessage("the device is in mode NONE: expected INTX; enable it first");
        assertThatIllegalStateException().isThrownBy(one.vfio::detach);
        assertThatIllegalStateException().isThrownBy(() -> one.vfio.setUnmaskEvent(new LineEvent()));
        assertThatIllegalStateException().isThrownBy(one.vfio::disableMessages);
        one.vfio.enableMessages(InterruptMode.MSI);
        assertThatIllegalStateException()
                .isThrownBy(() -> one.vfio.enable(one::signal))
                .withMessage("the device is in mode MSI: expected NONE; disable that mode first");
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
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new One(Kind.PCI_2_3).vfio.enableMessages(mode))
                .withMessage("mode " + mode + " has no messages: expected MSI or MSIX");
    }

    @Test
    void ioapicHasNoDirectEoi() {
        VfioIntx vfio = VfioIntx.of(new IntxDevice(new PhysicalLine(LineController.IOAPIC), Kind.PCI_2_3), false);
        assertThatIllegalStateException()
                .isThrownBy(() -> vfio.chooseDirect(() -> {}))
                .withMessage("an IOAPIC ends an interrupt when the handlers return: direct EOI needs a line of a GIC");
        assertThat(vfio.isDirect()).isFalse();
    }

    @Test
    void deviceHasOneVfio() {
        One one = new One(Kind.PCI_2_3);
        assertThatIllegalStateException()
                .isThrownBy(() -> VfioIntx.of(one.device, false))
                .withMessage("the device has a VfioIntx already: use that one");
    }

    @Test
    void platformDeviceHasNoDisIntx() {
        assertThatIllegalStateException()
                .isThrownBy(() -> new One(Kind.PLATFORM).vfio.writeDisIntx(true))
                .withMessage("a platform device has no DisINTx: mask it instead");
    }
}
