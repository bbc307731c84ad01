/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PlatformName;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePlatformDevice;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import org.junit.jupiter.api.Test;

/** A level interrupt of a platform device: the kernel keeps its mask and its eventfds until the device is closed. */
class VfioPlatformLineTest {
    private static final String NAME = "fff51000.ethernet";

    private final FakeKernel fake = TestDevice.fakeKernel("6.12,arm64");
    private final FakePlatformDevice hardware =
            fake.platformDevice(NAME, 3).level().edge().add();
    private final Kernel kernel = fake.open();
    private final VfioDevice device = VfioDevice.open(kernel, new PlatformName(NAME));
    private final LineIrq irq = device.platformIrq(0);
    private final EventFd event = EventFd.create(kernel);

    @Test
    void lineThatWasMaskedWhenItWasClosedSignalsAgain() {
        ArmedLine first = irq.arm(event);
        hardware.requestService(0);
        assertThat(event.drain()).isEqualTo(1);
        first.close();
        hardware.serve(0);
        irq.arm(event);
        hardware.requestService(0);
        assertThat(event.drain()).isEqualTo(1);
    }

    @Test
    void eventFdsThatActedOnAClosedLineAreGone() {
        EventFd unmask = EventFd.create(kernel);
        EventFd mask = EventFd.create(kernel);
        ArmedLine first = irq.arm(event);
        first.unmaskBy(unmask);
        first.maskBy(mask);
        first.close();
        ArmedLine second = irq.arm(event);
        second.unmaskBy(unmask);
        second.maskBy(mask);
        hardware.requestService(0);
        assertThat(event.drain()).isEqualTo(1);
        unmask.signal();
        assertThat(event.drain()).isEqualTo(1);
    }

    @Test
    void lineThatWasMaskedWhenItWasDetachedSignalsAgain() {
        EventFd next = EventFd.create(kernel);
        ArmedLine line = irq.arm(event);
        hardware.requestService(0);
        assertThat(event.drain()).isEqualTo(1);
        line.unwire();
        line.set(next);
        assertThat(next.drain()).isEqualTo(1);
    }

    @Test
    void edgeIsArmedAgain() {
        EventFd edge = EventFd.create(kernel);
        device.platformIrq(1).arm(edge).close();
        device.platformIrq(1).arm(edge);
        assertThat(hardware.pulse(1)).isTrue();
        assertThat(edge.drain()).isEqualTo(1);
    }
}
