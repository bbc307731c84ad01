/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The handler of direct EOI. */
class VfioIntxDirectTest {
    @Test
    void directEoiSignalsAndMasksNothing() {
        OneDevice one = new OneDevice(Kind.PLATFORM).enabled();
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
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.interrupt();
        LineEvent mapped = new LineEvent();
        one.vfio.chooseDirect(mapped);
        one.device.serve();
        one.vfio.unmask();
        one.interrupt();
        assertThat(one.signals).isEqualTo(1);
        assertThat(mapped.isSignalled()).isTrue();
    }

    @Test
    void nextUserOfAClosedDeviceStartsWithTheAutomaticMask() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent ofOldVm = new LineEvent();
        one.vfio.chooseDirect(ofOldVm);
        one.vfio.close();
        assertThat(one.vfio.isDirect()).isFalse();
        one.enabled();
        one.interrupt();
        assertThat(one.signals).isEqualTo(1);
        assertThat(ofOldVm.isSignalled()).isFalse();
        assertThat(one.line.isActive()).isFalse();
    }

    @Test
    void disablingKeepsTheChoice() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.vfio.chooseDirect(one::signal);
        one.vfio.disable();
        assertThat(one.vfio.isDirect()).isTrue();
    }

    /** Without an EOI to come, the interrupt would stay active. */
    @Test
    void directEoiLeavesNoInterruptActiveThatReachesNoGuest() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.vfio.chooseDirect(one::signal);
        one.vfio.unwire();
        one.interrupt();
        assertThat(one.line.isActive()).isFalse();
        assertThat(one.vfio.isMasked()).isTrue();
    }

    /** A second signal goes to the trigger, whose EOI unmasks. */
    @Test
    void directEoiSignalsTheTriggerAgainAfterAMask() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
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
        OneDevice one = new OneDevice(Kind.PLATFORM).enabled();
        one.vfio.chooseDirect(one::signal);
        one.interrupt();
        one.vfio.disable();
        assertThat(one.line.isActive()).isFalse();
    }

    /** The way in which the interrupt was forwarded counts, not the handler that is chosen at the end. */
    @Test
    void disablingDeactivatesWhatWasForwardedBeforeAnotherChoice() {
        OneDevice one = new OneDevice(Kind.PLATFORM).enabled();
        one.vfio.chooseDirect(one::signal);
        one.interrupt();
        one.vfio.chooseAutoMask();
        one.vfio.disable();
        assertThat(one.line.isActive()).isFalse();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void disablingDeactivatesNoInterruptThatAnotherDeviceForwarded(boolean masked) {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
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

    @Test
    void handlerThatThrowsGivesTheLineBack() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
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
    void ioapicHasNoDirectEoi() {
        VfioIntx vfio = VfioIntx.of(new IntxDevice(new PhysicalLine(LineController.IOAPIC), Kind.PCI_2_3), false);
        assertIllegalState(
                () -> vfio.chooseDirect(() -> {}),
                "an IOAPIC ends an interrupt when the handlers return: direct EOI needs a line of a GIC");
        assertThat(vfio.isDirect()).isFalse();
    }
}
