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
        OneDevice world = new OneDevice(Kind.PLATFORM).enabled();
        LineEvent mapped = new LineEvent();
        world.vfio.chooseDirect(mapped);
        assertThat(world.vfio.isDirect()).isTrue();
        world.device.request();
        assertThat(world.line.take()).isTrue();
        assertThat(mapped.isSignalled()).isTrue();
        assertThat(world.signals).isZero();
        assertThat(world.vfio.isMasked()).isFalse();
        assertThat(world.line.isActive()).isTrue();
        world.vfio.chooseAutoMask();
        assertThat(world.vfio.isDirect()).isFalse();
        world.vfio.deactivate();
        world.line.take();
        assertThat(world.signals).isEqualTo(1);
    }

    /** The interrupt that is in flight unmasks at its EOI, and the next one is direct. */
    @Test
    void directEoiIsChosenWhileTheDeviceIsMasked() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.interrupt();
        LineEvent mapped = new LineEvent();
        world.vfio.chooseDirect(mapped);
        world.device.serve();
        world.vfio.unmask();
        world.interrupt();
        assertThat(world.signals).isEqualTo(1);
        assertThat(mapped.isSignalled()).isTrue();
    }

    @Test
    void nextUserOfAClosedDeviceStartsWithTheAutomaticMask() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent ofOldVm = new LineEvent();
        world.vfio.chooseDirect(ofOldVm);
        world.vfio.close();
        assertThat(world.vfio.isDirect()).isFalse();
        world.enabled();
        world.interrupt();
        assertThat(world.signals).isEqualTo(1);
        assertThat(ofOldVm.isSignalled()).isFalse();
        assertThat(world.line.isActive()).isFalse();
    }

    @Test
    void disablingKeepsTheChoice() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.chooseDirect(world::signal);
        world.vfio.disable();
        assertThat(world.vfio.isDirect()).isTrue();
    }

    /** Without an EOI to come, the interrupt would stay active. */
    @Test
    void directEoiLeavesNoInterruptActiveThatReachesNoGuest() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.chooseDirect(world::signal);
        world.vfio.unwire();
        world.interrupt();
        assertThat(world.line.isActive()).isFalse();
        assertThat(world.vfio.isMasked()).isTrue();
    }

    /** A second signal goes to the trigger, whose EOI unmasks. */
    @Test
    void directEoiSignalsTheTriggerAgainAfterAMask() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent mapped = new LineEvent();
        world.vfio.chooseDirect(mapped);
        world.vfio.mask();
        world.device.request();
        world.vfio.unmask();
        assertThat(world.vfio.isMasked()).isTrue();
        assertThat(world.signals).isEqualTo(1);
        assertThat(mapped.isSignalled()).isFalse();
        assertThat(world.line.take()).isFalse();
    }

    @Test
    void disablingDirectEoiDeactivatesTheInterrupt() {
        OneDevice world = new OneDevice(Kind.PLATFORM).enabled();
        world.vfio.chooseDirect(world::signal);
        world.interrupt();
        world.vfio.disable();
        assertThat(world.line.isActive()).isFalse();
    }

    /** The way in which the interrupt was forwarded counts, not the handler that is chosen at the end. */
    @Test
    void disablingDeactivatesWhatWasForwardedBeforeAnotherChoice() {
        OneDevice world = new OneDevice(Kind.PLATFORM).enabled();
        world.vfio.chooseDirect(world::signal);
        world.interrupt();
        world.vfio.chooseAutoMask();
        world.vfio.disable();
        assertThat(world.line.isActive()).isFalse();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void disablingDeactivatesNoInterruptThatAnotherDeviceForwarded(boolean masked) {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        VfioIntx other = VfioIntx.create(new IntxDevice(world.line, Kind.PCI_2_3), false);
        other.enable(world::signal);
        world.vfio.chooseDirect(world::signal);
        other.chooseDirect(world::signal);
        if (masked) {
            world.vfio.mask();
        }
        other.device.request();
        world.line.take();
        world.vfio.disable();
        assertThat(world.line.isActive()).isTrue();
        other.disable();
        assertThat(world.line.isActive()).isFalse();
    }

    @Test
    void handlerThatThrowsGivesTheLineBack() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.chooseDirect(() -> {
            throw new UnsupportedOperationException("a signal");
        });
        world.device.request();
        assertThatExceptionOfType(UnsupportedOperationException.class).isThrownBy(world.line::take);
        assertThat(world.line.isActive()).isFalse();
        world.vfio.chooseAutoMask();
        assertThat(world.line.take()).isTrue();
        assertThat(world.signals).isEqualTo(1);
    }

    @Test
    void ioapicHasNoDirectEoi() {
        VfioIntx vfio = VfioIntx.create(new IntxDevice(new PhysicalLine(LineController.IOAPIC), Kind.PCI_2_3), false);
        assertIllegalState(
                () -> vfio.chooseDirect(() -> {}),
                "an IOAPIC ends an interrupt when the handlers return: direct EOI needs a line of a GIC");
        assertThat(vfio.isDirect()).isFalse();
    }
}
