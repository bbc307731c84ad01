/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static io.kvmirq.vfio.TestDevice.VECTORS;
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
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The state after a VFIO_DEVICE_SET_IRQS that fails or is done in part. */
class VfioUndoTest {
    private final TestDevice.Fake hardware = TestDevice.fake("6.12");
    private final Faults faults = new Faults();
    private final Kernel kernel = Kernel.over(faults.over(hardware.fake.backend()));

    private VfioDevice open() {
        VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE);
        hardware.prepare(device);
        return device;
    }

    private List<EventFd> events(int count) {
        return Stream.generate(() -> EventFd.create(kernel)).limit(count).toList();
    }

    /** A descriptor of another kind: the fake has no /proc that would tell. */
    private EventFd noEventFd() {
        return EventFd.adopt(kernel, hardware.fake.backend().libc().epollCreate(0), Ownership.OWNED);
    }

    /** The kernel says by a positive result that it enabled nothing. */
    @Test
    void positiveResultMeansThatNothingIsArmed() {
        hardware.fake.limitVectors(3);
        VfioDevice device = open();
        List<EventFd> events = events(VECTORS);
        VectorsExhaustedException short3 = catchThrowableOfType(
                VectorsExhaustedException.class, () -> device.msix().arm(events));
        assertThat(short3.available()).isEqualTo(3);
        assertThat(short3)
                .hasMessageContaining(
                        "MSI-X 0-4: only vectors 0-2 are available on this host, and nothing was enabled");
        assertThat(hardware.device.sendMessage(0)).isFalse();
        try (ArmedVectors armed = device.msix(0, short3.available()).arm(events.subList(0, 3))) {
            assertThat(hardware.device.sendMessage(0)).isTrue();
            assertThat(armed.enabled()).isEqualTo(3);
        }
    }

    /** The eventfds of a refused arming are leased no longer: their descriptors go when they are closed. */
    @Test
    void refusedArmingLeasesNothing() {
        hardware.fake.limitVectors(0);
        VfioDevice device = open();
        EventFd event = EventFd.create(kernel);
        assertThatThrownBy(() -> device.msix(0, 1).arm(List.of(event)))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("ENOSPC");
        faults.listen();
        event.close();
        assertThat(faults.calls()).contains("fdClose");
    }

    /** The kernel detaches the vectors from the first one to the one that it refuses. */
    @Test
    void refusedChangeArmsTheFormerEventFdsAgain() {
        VfioDevice device = open();
        List<EventFd> events = events(VECTORS);
        List<EventFd> others = events(3);
        try (ArmedVectors armed = device.msix().arm(events);
                EventFd wrong = noEventFd()) {
            armed.unwire(1);
            VectorsDisturbedException failed = catchThrowableOfType(
                    VectorsDisturbedException.class,
                    () -> armed.set(0, List.of(others.get(0), others.get(1), wrong, others.get(2))));
            assertThat(failed).hasCauseInstanceOf(KernelException.class).hasMessageContaining("EINVAL");
            assertThat(failed.interrupted()).containsExactly(0, 2, 3);
            assertThat(failed.lost()).isEmpty();
            assertThat(failed)
                    .hasMessageContaining("; MSI-X [0, 2, 3] of vfio device 0000:00:02.0")
                    .hasMessageEndingWith("had no eventfd for a moment and have their former ones again")
                    .message()
                    .doesNotContain("detached");
            for (int i = 0; i < VECTORS; i++) {
                assertThat(hardware.device.sendMessage(i)).as("vector " + i).isEqualTo(i != 1);
                assertThat(events.get(i).drain()).isEqualTo(i == 1 ? 0 : 1);
            }
            assertThat(others).allSatisfy(other -> assertThat(other.drain()).isZero());
        }
    }

    /** A vector that the kernel refuses to arm again is named, and is not armed. */
    @Test
    void whatCannotBeArmedAgainIsLost() {
        VfioDevice device = open();
        List<EventFd> events = events(3);
        try (ArmedVectors armed = device.msix(0, 3).arm(events);
                EventFd wrong = noEventFd()) {
            faults.fail("vfioIrqsSet", 2, Errno.ENOMEM).fail("vfioIrqsSet", 4, Errno.ENOMEM);
            VectorsDisturbedException failed = catchThrowableOfType(
                    VectorsDisturbedException.class, () -> armed.set(0, List.of(events.get(0), events.get(1), wrong)));
            assertThat(failed.interrupted()).containsExactly(0, 1, 2);
            assertThat(failed.lost()).containsExactly(1);
            assertThat(failed).hasMessageEndingWith(", of which [1] could not be armed again: arm them");
            assertThat(armed.isSet(1)).isFalse();
            assertThat(hardware.device.sendMessage(0)).isTrue();
            armed.set(1, events.get(1));
            assertThat(events.get(1).drain()).as("kept by the table").isZero();
            assertThat(hardware.device.sendMessage(1)).isTrue();
        }
    }

    @Test
    void refusedChangeOfVectorsWithoutEventFdDisturbsNothing() {
        VfioDevice device = open();
        try (ArmedVectors armed = device.msix(0, 2).arm(events(2));
                EventFd wrong = noEventFd()) {
            armed.unwire(1);
            assertThatThrownBy(() -> armed.set(1, wrong)).isInstanceOf(KernelException.class);
        }
    }

    /** Growth without room: the window was consented to, and the former vectors are back. */
    @Test
    void refusedGrowthEnablesTheFormerVectorsAgain() {
        TestDevice.Fake old = TestDevice.fake("6.1");
        old.fake.limitVectors(3);
        try (Kernel its = old.kernel();
                VfioDevice device = VfioDevice.open(its, TestDevice.FAKE);
                EventFd first = EventFd.create(its);
                EventFd second = EventFd.create(its)) {
            old.prepare(device);
            ArmedVectors armed = device.msix(0, 1).arm(List.of(first));
            VectorsDisturbedException failed = catchThrowableOfType(
                    VectorsDisturbedException.class, () -> armed.growLosingInterrupts(3, List.of(second)));
            assertThat(failed.getCause())
                    .isInstanceOfSatisfying(
                            VectorsExhaustedException.class,
                            exhausted -> assertThat(exhausted.available()).isEqualTo(3));
            assertThat(failed.interrupted()).containsExactly(0);
            assertThat(armed.enabled()).isEqualTo(1);
            assertThat(old.device.sendMessage(0)).isTrue();
            armed.growLosingInterrupts(2, List.of(second));
            assertThat(old.device.sendMessage(0)).isTrue();
            assertThat(old.device.sendMessage(2)).isTrue();
            assertThat(first.drain()).isEqualTo(2);
        }
    }

    /** If nothing can be enabled again, the object says that it is disarmed. */
    @Test
    void growthThatLosesAllDisarms() {
        TestDevice.Fake old = TestDevice.fake("6.1");
        Faults later = new Faults();
        try (Kernel its = Kernel.over(later.over(old.fake.backend()));
                VfioDevice device = VfioDevice.open(its, TestDevice.FAKE);
                EventFd event = EventFd.create(its);
                EventFd next = EventFd.create(its)) {
            ArmedVectors armed = device.msix(0, 1).arm(List.of(event));
            later.fail("vfioIrqsSet", 2, Errno.ENOMEM).fail("vfioIrqsSet", 3, Errno.ENOMEM);
            VectorsDisturbedException failed = catchThrowableOfType(
                    VectorsDisturbedException.class, () -> armed.growLosingInterrupts(1, List.of(next)));
            assertThat(failed.lost()).containsExactly(0);
            assertThatThrownBy(() -> armed.trigger(0)).hasMessageContaining("is disarmed");
            device.msix(0, 1).arm(List.of(event)).close();
        }
    }

    /** The kernel takes a second unmask eventfd only after the first is gone. */
    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12"})
    void refusedUnmaskEventFdLeavesTheFormerOne(String profile) {
        TestDevice.Fake fake = TestDevice.fake(profile);
        try (Kernel its = fake.kernel();
                VfioDevice device = VfioDevice.open(its, TestDevice.FAKE);
                EventFd event = EventFd.create(its);
                EventFd unmask = EventFd.create(its);
                EventFd wrong = EventFd.adopt(its, fake.fake.backend().libc().epollCreate(0), Ownership.OWNED)) {
            ArmedLine line = device.intx().arm(event);
            line.unmaskBy(unmask);
            assertThatThrownBy(() -> line.unmaskBy(wrong))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("INTx unmask: EINVAL");
            fake.request(device);
            assertThat(event.drain()).isEqualTo(1);
            unmask.signal();
            assertThat(event.drain()).isEqualTo(1);
        }
    }

    /** An unmask eventfd of another program stands in the way. */
    @Test
    void foreignUnmaskEventFdIsExplained() {
        VfioDevice device = open();
        ArmedLine line = device.intx().arm(EventFd.create(kernel));
        line.unmaskBy(EventFd.create(kernel));
        var lease = device.fd().lease();
        VfioDevice same = VfioDevice.adopt(kernel, TestDevice.FAKE, lease.number(), Ownership.BORROWED);
        ArmedLine others = same.intx().arm(EventFd.create(kernel));
        EventFd mine = EventFd.create(kernel);
        assertThatThrownBy(() -> others.unmaskBy(mine))
                .hasMessageContaining("EBUSY (INTx has an unmask eventfd already)");
        lease.close();
    }

    /** A guest's EOI may signal the former eventfd while none is registered. */
    @Test
    void signalDuringTheReplacementUnmasks() {
        VfioDevice device = open();
        EventFd event = EventFd.create(kernel);
        EventFd former = EventFd.create(kernel);
        EventFd next = EventFd.create(kernel);
        ArmedLine line = device.intx().arm(event);
        line.unmaskBy(former);
        hardware.request(device);
        assertThat(event.drain()).isEqualTo(1);
        faults.delay("vfioIrqsSet", 2, former::signal);
        line.unmaskBy(next);
        assertThat(event.drain()).isEqualTo(1);
        assertThat(faults.unused()).isEmpty();
    }

    /** An unmask too many harms nothing, and one that is missed leaves the line masked for ever. */
    @Test
    void formerEventFdThatCannotBeLookedAtCountsAsSignalledAndIsLetGo() {
        VfioDevice device = open();
        EventFd event = EventFd.create(kernel);
        EventFd former = EventFd.create(kernel);
        ArmedLine line = device.intx().arm(event);
        line.unmaskBy(former);
        hardware.request(device);
        assertThat(event.drain()).isEqualTo(1);
        faults.delay("vfioIrqsSet", 2, former::signal).fail("fdWait", 1, Errno.EIO);
        line.unmaskBy(EventFd.create(kernel));
        assertThat(event.drain()).isEqualTo(1);
        former.close();
        assertThat(kernel.openHandles()).doesNotContain(former.toString());
    }

    /** A line that the user masked stays masked. */
    @Test
    void replacementAloneDoesNotUnmask() {
        VfioDevice device = open();
        EventFd event = EventFd.create(kernel);
        ArmedLine line = device.intx().arm(event);
        line.unmaskBy(EventFd.create(kernel));
        line.mask();
        hardware.request(device);
        line.unmaskBy(EventFd.create(kernel));
        assertThat(event.drain()).isZero();
    }

    @Test
    void lossOfTheFormerUnmaskEventFdIsSaid() {
        VfioDevice device = open();
        EventFd next = EventFd.create(kernel);
        ArmedLine line = device.intx().arm(EventFd.create(kernel));
        line.unmaskBy(EventFd.create(kernel));
        faults.fail("vfioIrqsSet", 2, Errno.ENOMEM).fail("vfioIrqsSet", 3, Errno.ENOMEM);
        assertThatThrownBy(() -> line.unmaskBy(next))
                .isInstanceOf(IllegalStateException.class)
                .hasCauseInstanceOf(KernelException.class)
                .hasMessageEndingWith(
                        "; the former eventfd could not be set again either: no eventfd unmasks the line now");
        line.unmaskBy(next);
    }
}
