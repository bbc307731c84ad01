/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** An armed object tells what the kernel does, also without eventfds and after a failure. */
class VfioDisarmedTest {
    private TestDevice.Fake hardware = TestDevice.fake("6.12");
    private final Faults faults = new Faults();
    private Kernel kernel = Kernel.over(faults.over(hardware.fake.backend()));

    private VfioDevice open() {
        VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE);
        hardware.prepare(device);
        return device;
    }

    private EventFd event() {
        return EventFd.create(kernel);
    }

    @Test
    void disarmedVectorIsNotSet() {
        ArmedVectors armed = open().msix(0, 1).arm(List.of(event()));
        assertThat(armed.isSet(0)).isTrue();
        armed.close();
        assertThat(armed.isSet(0)).isFalse();
    }

    /** Nothing was interrupted, and yet the index is disabled now. */
    @Test
    void growthThatDisarmsSaysSoWhenNoVectorHadAnEventFd() {
        hardware = TestDevice.fake("6.1");
        kernel = Kernel.over(faults.over(hardware.fake.backend()));
        ArmedVectors armed = open().msix(0, 1).arm(List.of(event()));
        armed.unwire(0);
        EventFd next = event();
        faults.fail("vfioIrqsSet", 2, Errno.ENOMEM).fail("vfioIrqsSet", 3, Errno.ENOMEM);
        VectorsDisturbedException failed = catchThrowableOfType(
                VectorsDisturbedException.class, () -> armed.growLosingInterrupts(1, List.of(next)));
        assertThat(failed)
                .hasMessageContaining("; the former vectors were refused too, so armed MSI-X of vfio device")
                .hasMessageEndingWith(" is disarmed");
        assertThat(failed.lost()).isEmpty();
        assertThatThrownBy(() -> armed.set(0, next)).hasMessageContaining("is disarmed: arm it again");
    }

    /** The kernel looks at the new eventfd first. */
    @Test
    void refusedNoticeKeepsItsEventFd() {
        EventFd event = event();
        EventFd wrong = EventFd.adopt(kernel, hardware.fake.backend().libc().epollCreate(0), Ownership.OWNED);
        ArmedIrq request = open().req().arm(event);
        faults.listen();
        assertThatThrownBy(() -> request.set(wrong)).isInstanceOf(KernelException.class);
        assertThat(faults.calls()).containsExactly("vfioIrqsSet");
        assertThat(hardware.device.askBack()).isTrue();
        assertThat(event.drain()).isEqualTo(1);
    }

    /** Since 6.9 a refused change leaves INTx its eventfd: what is reported as lost is taken. */
    @Test
    void lostLineSignalsNothing() {
        EventFd event = event();
        EventFd next = event();
        VfioDevice device = open();
        ArmedLine line = device.intx().arm(event);
        faults.fail("vfioIrqsSet", 1, Errno.ENOMEM)
                .fail("vfioIrqsSet", 2, Errno.ENOMEM)
                .fail("vfioIrqsSet", 3, Errno.ENOMEM);
        VectorsDisturbedException failed = catchThrowableOfType(VectorsDisturbedException.class, () -> line.set(next));
        assertThat(failed.lost()).containsExactly(0);
        hardware.request(device);
        assertThat(event.drain()).isZero();
        line.set(next);
        assertThat(next.drain()).isEqualTo(1);
    }

    /** A vector may wait for its eventfd. */
    @Test
    void vectorsWithoutEventFdAreEnabled() {
        EventFd first = event();
        EventFd second = event();
        ArmedVectors armed = open().msix(0, 3).armSome(List.of(Optional.empty(), Optional.of(first), Optional.empty()));
        assertThat(armed.enabled()).isEqualTo(3);
        assertThat(List.of(armed.isSet(0), armed.isSet(1), armed.isSet(2))).containsExactly(false, true, false);
        assertThat(hardware.device.sendMessage(1)).isTrue();
        assertThat(hardware.device.sendMessage(2)).isFalse();
        armed.set(2, second);
        assertThat(second.drain()).as("kept by the table").isEqualTo(1);
    }

    @Test
    void oneEventFdOfTwoVectorsIsRefused() {
        EventFd event = event();
        VfioDevice device = open();
        assertThatThrownBy(() -> device.msix(0, 2).arm(List.of(event, event)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("cannot be used for two interrupts of armed MSI-X of vfio device");
        ArmedVectors armed = device.msix(0, 1).arm(List.of(event));
        assertThatThrownBy(() -> armed.set(1, event)).isInstanceOf(IllegalArgumentException.class);
        armed.set(0, event);
        armed.unwire(0);
        armed.set(1, event);
    }

    /** The kernel detaches before it refuses, and what it detached is another program's. */
    @Test
    void refusedArmingOfAnAdoptedDeviceMayHaveVictims() {
        VfioDevice device = open();
        var lease = device.fd().lease();
        VfioDevice same = VfioDevice.adopt(kernel, TestDevice.FAKE, lease.number(), Ownership.BORROWED);
        EventFd event = event();
        EventFd wrong = EventFd.adopt(kernel, hardware.fake.backend().libc().epollCreate(0), Ownership.OWNED);
        device.msix(0, 2).arm(List.of(event(), event()));
        assertThatThrownBy(() -> same.msix(0, 2).arm(List.of(event, wrong)))
                .isInstanceOf(VectorsDisturbedException.class)
                .hasMessageEndingWith("; what another program armed of them may have no eventfd now");
        assertThat(hardware.device.sendMessage(1)).isFalse();
        lease.close();
    }
}
