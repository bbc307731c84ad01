/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.List;
import org.assertj.core.api.ThrowableAssert;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** INTx of a device by the typed calls: the same on the fake and on a real device. */
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.vfio.TestDevice#lines")
class VfioLineTest {
    private static final Duration LONG = Duration.ofHours(1);

    @AutoClose
    private final Undo undo = new Undo();

    private final TestDevice hardware;
    private final Kernel kernel;
    private final VfioDevice device;
    private final EventFd event;
    private final ArmedLine line;

    VfioLineTest(TestDevice hardware) {
        this.hardware = hardware;
        hardware.address();
        this.kernel = undo.add(hardware.kernel());
        this.device = undo.add(VfioDevice.open(kernel, hardware.address()));
        hardware.prepare(device);
        this.event = event();
        this.line = device.intx().arm(event);
    }

    private EventFd event() {
        return undo.add(EventFd.create(kernel));
    }

    private void arrives() {
        assertThat(event.await(LONG)).isTrue();
        assertThat(event.drain()).isEqualTo(1);
    }

    /** A device that asserts its line signals once, and again only after an unmask. */
    @Test
    void lineMasksItselfUntilItIsUnmasked() {
        hardware.request(device);
        arrives();
        assertThat(event.drain()).isZero();
        line.unmask();
        arrives();
        line.unmaskIf(false);
        assertThat(event.drain()).isZero();
        line.unmaskIf(true);
        arrives();
        hardware.serve(device);
        line.unmask();
        assertThat(event.drain()).isZero();
        line.trigger();
        arrives();
    }

    @Test
    void maskHoldsTheLineBack() {
        line.mask();
        line.mask();
        hardware.request(device);
        assertThat(event.drain()).isZero();
        line.unmask();
        arrives();
        hardware.serve(device);
        line.unmask();
        line.maskIf(false);
        hardware.request(device);
        arrives();
        hardware.serve(device);
        line.unmask();
        line.maskIf(true);
        hardware.request(device);
        assertThat(event.drain()).isZero();
        hardware.serve(device);
    }

    /** As an irqfd's resample eventfd does after the guest's EOI. */
    @Test
    void eventFdUnmasks() {
        EventFd first = event();
        EventFd second = event();
        line.unmaskBy(first);
        line.unmaskBy(second);
        hardware.request(device);
        arrives();
        second.signal();
        arrives();
        line.stopUnmaskBy();
        line.stopUnmaskBy();
        second.signal();
        assertThat(event.drain()).isZero();
        hardware.serve(device);
        line.unmask();
    }

    /** The eventfd's last file would take the registration along and leave the line masked. */
    @Test
    void unmaskEventFdIsLeased() {
        EventFd unmask = EventFd.create(kernel);
        line.unmaskBy(unmask);
        var lease = unmask.fd().lease();
        try (EventFd same = EventFd.adopt(kernel, lease.number(), Ownership.BORROWED)) {
            lease.close();
            unmask.close();
            hardware.request(device);
            arrives();
            same.signal();
            arrives();
        }
        hardware.serve(device);
    }

    @Test
    void detachedLineIsArmedAgain() {
        EventFd next = event();
        line.unwire();
        line.set(next);
        hardware.request(device);
        assertThat(next.await(LONG)).isTrue();
        assertThat(event.drain()).isZero();
        hardware.serve(device);
    }

    /** The kernel masks a line that has no eventfd, and a new eventfd leaves the mask. */
    @Test
    void interruptOfADetachedLineIsSignalledToTheNextEventFd() {
        EventFd next = event();
        EventFd unmask = event();
        line.unmaskBy(unmask);
        line.unwire();
        line.unwire();
        hardware.request(device);
        unmask.signal();
        line.set(next);
        assertThat(next.await(LONG)).isTrue();
        next.drain();
        assertThat(event.drain()).isZero();
        unmask.signal();
        assertThat(next.await(LONG)).isTrue();
        hardware.serve(device);
    }

    /** Kernels before the fix of CVE-2024-26812 signal the eventfd that is not there. */
    @Test
    void detachedLineIsNotSignalledByACall() {
        EventFd other = event();
        line.unwire();
        for (ThrowableAssert.ThrowingCallable call : List.<ThrowableAssert.ThrowingCallable>of(
                line::trigger,
                () -> line.triggerIf(true),
                line::unmask,
                () -> line.unmaskIf(true),
                () -> line.unmaskBy(other))) {
            assertThatThrownBy(call)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("has no eventfd: call set first");
        }
        line.mask();
        line.stopUnmaskBy();
    }

    /** Each signal would raise the next one, for ever. */
    @Test
    void lineDoesNotUnmaskItself() {
        EventFd unmask = event();
        assertThatThrownBy(() -> line.unmaskBy(event))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("cannot be both the trigger of");
        line.unmaskBy(unmask);
        assertThatThrownBy(() -> line.set(unmask)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void lineOfPciIsNotMaskedByAnEventFd() {
        EventFd mask = event();
        assertThatThrownBy(() -> line.maskBy(mask))
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessageContaining("cannot be masked by an eventfd, only unmasked: call mask()");
    }

    @Test
    void disarmedLineRefusesByName() {
        line.close();
        line.close();
        assertThatThrownBy(line::mask)
                .hasMessageContaining("armed INTx of vfio device " + hardware.address())
                .hasMessageContaining("is closed: it was used after close(); create or open another");
        try (ArmedLine again = device.intx().arm(event)) {
            again.trigger();
            arrives();
        }
    }
}
