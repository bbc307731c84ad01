/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import org.junit.jupiter.api.Test;

/** The trigger, and the eventfd that unmasks. */
class VfioIntxEventsTest {
    @Test
    void newTriggerKeepsTheMask() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent next = new LineEvent();
        world.vfio.mask();
        world.vfio.trigger(next);
        assertThat(world.vfio.isMasked()).isTrue();
        world.vfio.loopback();
        assertThat(world.signals).isZero();
        assertThat(next.isSignalled()).isTrue();
    }

    @Test
    void withoutATriggerNothingIsSignalled() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        world.vfio.unwire();
        world.device.request();
        assertThat(world.line.take()).isTrue();
        assertThat(world.vfio.isMasked()).isTrue();
        assertThat(world.signals).isZero();
    }

    @Test
    void unmaskEventUnmasks() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        assertThat(world.vfio.setUnmaskEvent(unmask)).isTrue();
        world.vfio.mask();
        unmask.signal();
        assertThat(world.vfio.isMasked()).isFalse();
        assertThat(unmask.isSignalled()).isFalse();
    }

    @Test
    void unmaskEventThatIsSignalledBeforeUnmasksAtOnce() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        unmask.signal();
        world.vfio.mask();
        world.vfio.setUnmaskEvent(unmask);
        assertThat(world.vfio.isMasked()).isFalse();
    }

    @Test
    void secondUnmaskEventIsBusy() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent first = new LineEvent();
        assertThat(world.vfio.setUnmaskEvent(first)).isTrue();
        assertThat(world.vfio.setUnmaskEvent(new LineEvent())).isFalse();
        world.vfio.clearUnmaskEvent();
        world.vfio.clearUnmaskEvent();
        world.vfio.mask();
        first.signal();
        assertThat(first.isSignalled()).isTrue();
        assertThat(world.vfio.isMasked()).isTrue();
        assertThat(world.vfio.setUnmaskEvent(new LineEvent())).isTrue();
    }

    /** One bool: the resample of an earlier interrupt ends the mask of the user. */
    @Test
    void unmaskEventEndsTheUsersMask() {
        OneDevice world = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        world.vfio.setUnmaskEvent(unmask);
        world.interrupt();
        world.vfio.mask();
        world.device.serve();
        unmask.signal();
        assertThat(world.vfio.isMasked()).isFalse();
    }
}
