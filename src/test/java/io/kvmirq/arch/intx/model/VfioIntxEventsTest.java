/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import org.junit.jupiter.api.Test;

/** The trigger, and the eventfd that unmasks. */
class VfioIntxEventsTest {
    @Test
    void newTriggerKeepsTheMask() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
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
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        one.vfio.unwire();
        one.device.request();
        assertThat(one.line.take()).isTrue();
        assertThat(one.vfio.isMasked()).isTrue();
        assertThat(one.signals).isZero();
    }

    @Test
    void unmaskEventUnmasks() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        assertThat(one.vfio.setUnmaskEvent(unmask)).isTrue();
        one.vfio.mask();
        unmask.signal();
        assertThat(one.vfio.isMasked()).isFalse();
        assertThat(unmask.isSignalled()).isFalse();
    }

    @Test
    void unmaskEventThatIsSignalledBeforeUnmasksAtOnce() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        unmask.signal();
        one.vfio.mask();
        one.vfio.setUnmaskEvent(unmask);
        assertThat(one.vfio.isMasked()).isFalse();
    }

    @Test
    void secondUnmaskEventIsBusy() {
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
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
        OneDevice one = new OneDevice(Kind.PCI_2_3).enabled();
        LineEvent unmask = new LineEvent();
        one.vfio.setUnmaskEvent(unmask);
        one.interrupt();
        one.vfio.mask();
        one.device.serve();
        unmask.signal();
        assertThat(one.vfio.isMasked()).isFalse();
    }
}
