/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Undo;
import java.time.Duration;
import java.util.List;
import org.assertj.core.api.ThrowableAssert;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** INTx of a device by the typed calls: the same on the fake and on a real device. */
class VfioLineTest {
    private static final Duration LONG = Duration.ofSeconds(20);

    private final Undo undo = new Undo();

    @AfterEach
    void close() {
        undo.close();
    }

    /** A device whose INTx is armed. */
    private final class Setup {
        final Kernel kernel;
        final VfioDevice device;
        final EventFd event;
        final ArmedLine line;

        Setup(TestDevice hardware) {
            hardware.address();
            this.kernel = undo.add(hardware.kernel());
            this.device = undo.add(VfioDevice.open(kernel, hardware.address()));
            hardware.prepare(device);
            this.event = event();
            this.line = device.intx().arm(event);
        }

        EventFd event() {
            return undo.add(EventFd.create(kernel));
        }

        void arrives() {
            assertThat(event.await(LONG)).isTrue();
            assertThat(event.drain()).isEqualTo(1);
        }
    }

    /** A device that asserts its line signals once, and again only after an unmask. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void lineMasksItselfUntilItIsUnmasked(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        hardware.request(setup.device);
        setup.arrives();
        assertThat(setup.event.drain()).isZero();
        setup.line.unmask();
        setup.arrives();
        setup.line.unmaskIf(false);
        assertThat(setup.event.drain()).isZero();
        setup.line.unmaskIf(true);
        setup.arrives();
        hardware.serve(setup.device);
        setup.line.unmask();
        assertThat(setup.event.drain()).isZero();
        setup.line.trigger();
        setup.arrives();
    }

    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void maskHoldsTheLineBack(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        setup.line.mask();
        setup.line.mask();
        hardware.request(setup.device);
        assertThat(setup.event.drain()).isZero();
        setup.line.unmask();
        setup.arrives();
        hardware.serve(setup.device);
        setup.line.unmask();
        setup.line.maskIf(false);
        hardware.request(setup.device);
        setup.arrives();
        hardware.serve(setup.device);
        setup.line.unmask();
        setup.line.maskIf(true);
        hardware.request(setup.device);
        assertThat(setup.event.drain()).isZero();
        hardware.serve(setup.device);
    }

    /** As an irqfd's resample eventfd does after the guest's EOI. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void eventFdUnmasks(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        EventFd first = setup.event();
        EventFd second = setup.event();
        setup.line.unmaskBy(first);
        setup.line.unmaskBy(second);
        hardware.request(setup.device);
        setup.arrives();
        second.signal();
        setup.arrives();
        setup.line.stopUnmaskBy();
        setup.line.stopUnmaskBy();
        second.signal();
        assertThat(setup.event.drain()).isZero();
        hardware.serve(setup.device);
        setup.line.unmask();
    }

    /** The eventfd's last file would take the registration along and leave the line masked. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void unmaskEventFdIsLeased(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        EventFd unmask = EventFd.create(setup.kernel);
        setup.line.unmaskBy(unmask);
        var lease = unmask.fd().lease();
        try (EventFd same = EventFd.adopt(setup.kernel, lease.number(), io.kvmirq.kernel.Ownership.BORROWED)) {
            lease.close();
            unmask.close();
            hardware.request(setup.device);
            setup.arrives();
            same.signal();
            setup.arrives();
        }
        hardware.serve(setup.device);
    }

    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void detachedLineIsArmedAgain(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        EventFd next = setup.event();
        setup.line.detach();
        setup.line.set(next);
        hardware.request(setup.device);
        assertThat(next.await(LONG)).isTrue();
        assertThat(setup.event.drain()).isZero();
        hardware.serve(setup.device);
    }

    /** The kernel masks a line that has no eventfd, and a new eventfd leaves the mask. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void interruptOfADetachedLineIsSignalledToTheNextEventFd(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        EventFd next = setup.event();
        EventFd unmask = setup.event();
        setup.line.unmaskBy(unmask);
        setup.line.detach();
        setup.line.detach();
        hardware.request(setup.device);
        unmask.signal();
        setup.line.set(next);
        assertThat(next.await(LONG)).isTrue();
        next.drain();
        assertThat(setup.event.drain()).isZero();
        unmask.signal();
        assertThat(next.await(LONG)).isTrue();
        hardware.serve(setup.device);
    }

    /** Kernels before the fix of CVE-2024-26812 signal the eventfd that is not there. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void detachedLineIsNotSignalledByACall(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        EventFd other = setup.event();
        setup.line.detach();
        for (ThrowableAssert.ThrowingCallable call : List.<ThrowableAssert.ThrowingCallable>of(
                setup.line::trigger,
                () -> setup.line.triggerIf(true),
                setup.line::unmask,
                () -> setup.line.unmaskIf(true),
                () -> setup.line.unmaskBy(other))) {
            assertThatThrownBy(call)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("has no eventfd: call set first");
        }
        setup.line.mask();
        setup.line.stopUnmaskBy();
    }

    /** Each signal would raise the next one, for ever. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void lineDoesNotUnmaskItself(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        EventFd unmask = setup.event();
        assertThatThrownBy(() -> setup.line.unmaskBy(setup.event))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("cannot be both the interrupt of");
        setup.line.unmaskBy(unmask);
        assertThatThrownBy(() -> setup.line.set(unmask)).isInstanceOf(IllegalArgumentException.class);
    }

    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void lineOfPciIsNotMaskedByAnEventFd(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        EventFd event = setup.event();
        assertThatThrownBy(() -> setup.line.maskBy(event))
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessageContaining("cannot be masked by an eventfd, only unmasked: call mask()");
    }

    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void disarmedLineRefusesByName(TestDevice hardware) {
        Setup setup = new Setup(hardware);
        setup.line.close();
        setup.line.close();
        assertThatThrownBy(setup.line::mask)
                .hasMessageContaining("armed INTx of vfio device " + hardware.address())
                .hasMessageContaining("is disarmed: arm it again");
        try (ArmedLine again = setup.device.intx().arm(setup.event)) {
            again.trigger();
            setup.arrives();
        }
    }
}
