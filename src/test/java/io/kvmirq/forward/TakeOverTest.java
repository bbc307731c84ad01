/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.NIC;
import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.vector;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Interrupts whose triggers the user, or another program, has set already. */
class TakeOverTest {
    private final ForwardWorld world = new ForwardWorld("6.12");
    private final VfioDevice device = world.device;
    private final Forwarding forwarding = Forwarding.create(world.vm, device);

    @AfterEach
    void nothingIsLeft() {
        world.faults.clear();
        forwarding.close();
        world.closeAndExpectNothingLeft();
    }

    @Test
    void takeOverReplacesTheTriggersOfTheUser() {
        try (EventFd theirs = EventFd.create(world.kernel);
                EventFd other = EventFd.create(world.kernel);
                ArmedVectors armed = device.msix(0, 2).arm(List.of(theirs, other))) {
            long changes = device.irqChanges();
            forwarding.takeOver(device.msix(0, 1), i -> message(0x30));
            assertThat(device.irqChanges() - changes).isEqualTo(1);
            world.hardware.sendMessage(0);
            world.hardware.sendMessage(1);
            assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
            assertThat(theirs.drain()).isZero();
            assertThat(other.drain()).isEqualTo(1);
            forwarding.close();
            world.hardware.sendMessage(1);
            assertThat(other.drain()).isEqualTo(1);
            assertThat(armed.isSet(0)).isFalse();
            assertThat(armed.isSet(1)).isTrue();
        }
    }

    @Test
    void takeOverReplacesTheTriggersOfAnotherProgramAndLeavesItsOthers() {
        try (EventFd theirs = EventFd.create(world.kernel);
                EventFd other = EventFd.create(world.kernel);
                Fd.Lease number = device.fd().lease();
                ArmedVectors armed = device.msix(0, 2).arm(List.of(theirs, other));
                VfioDevice adopted = VfioDevice.adopt(world.kernel, NIC, number.number(), Ownership.BORROWED)) {
            try (Forwarding second = Forwarding.create(world.vm, adopted)) {
                second.takeOver(adopted.msix(0, 1), i -> message(0x30));
                world.hardware.sendMessage(0);
                assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
                assertThat(theirs.drain()).isZero();
            }
            world.hardware.sendMessage(1);
            assertThat(other.drain()).isEqualTo(1);
            assertThat(world.hardware.sendMessage(0)).isFalse();
            assertThat(armed.enabled()).isEqualTo(2);
        }
    }

    /** A signal that waited in the eventfd arrives. */
    @Test
    void takeOverOfAWiredDeviceCallsNoVfioAndLosesNothing() {
        try (EventFd wired = EventFd.create(world.kernel);
                ArmedVectors armed = device.msix(0, 1).arm(List.of(wired))) {
            world.hardware.sendMessage(0);
            long changes = device.irqChanges();
            ForwardedIrq irq = forwarding
                    .takeOver(device.msix(0, 1), List.of(wired), i -> message(0x30))
                    .get(0);
            assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
            irq.close();
            assertThat(device.irqChanges()).isEqualTo(changes);
            world.hardware.sendMessage(0);
            assertThat(wired.drain()).isPositive();
            assertThat(armed.isSet(0)).isTrue();
        }
    }

    /** The other owner has disabled the device since, so the next forwarding enables it, and disables it again. */
    @Test
    void vectorThatAnotherOwnerWiredIsForgottenWithItsForwarding() {
        try (Fd.Lease number = device.fd().lease();
                VfioDevice adopted = VfioDevice.adopt(world.kernel, NIC, number.number(), Ownership.BORROWED);
                Forwarding second = Forwarding.create(world.vm, adopted)) {
            try (EventFd wired = EventFd.create(world.kernel);
                    ArmedVectors theirs = device.msix(0, 1).arm(List.of(wired))) {
                second.takeOver(adopted.msix(0, 1), List.of(wired), i -> message(0x30))
                        .forEach(ForwardedIrq::close);
                assertThat(theirs.isSet(0)).isTrue();
            }
            second.takeOver(adopted.msix(1, 1), i -> message(0x31)).forEach(ForwardedIrq::close);
            assertThat(adopted.msix(1, 1).get(0).enabledKind()).isEmpty();
        }
    }

    @Test
    void takeOverOfALineReplacesItsTriggerAndWhatUnmasksIt() {
        try (EventFd theirs = EventFd.create(world.kernel);
                EventFd unmask = EventFd.create(world.kernel);
                ArmedLine armed = device.intx().arm(theirs)) {
            armed.unmaskBy(unmask);
            forwarding.takeOver(device.intx(), PIN);
            world.hardware.requestService();
            assertThat(theirs.drain()).isZero();
            forwarding.close();
            world.hardware.serve();
        }
    }

    /** The line masked itself with the signal that is in the former eventfd: nobody else would unmask it. */
    @Test
    void takeOverOfALineThatMaskedItselfUnmasksIt() {
        try (EventFd theirs = EventFd.create(world.kernel)) {
            device.intx().arm(theirs);
            world.hardware.requestService();
            assertThat(theirs.drain()).isEqualTo(1);
            forwarding.takeOver(device.intx(), PIN);
            assertThat(world.vm.x86().ioapic().isHigh(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number())))
                    .isTrue();
        }
    }

    @Test
    void triggerOfAnotherKindIsNotTakenOver() {
        try (EventFd theirs = EventFd.create(world.kernel);
                ArmedVectors msi = device.msi(0, 1).arm(List.of(theirs))) {
            refused(Errno.EBUSY, () -> forwarding.takeOver(device.msix(0, 1), i -> message(0x30)));
            refused(Errno.EBUSY, () -> forwarding.takeOver(device.intx(), PIN));
            assertThat(msi.isSet(0)).isTrue();
        }
    }

    @Test
    void otherKindOfAnotherProgramIsEbusy() {
        try (EventFd theirs = EventFd.create(world.kernel);
                Fd.Lease number = device.fd().lease();
                ArmedVectors armed = device.msix(0, 1).arm(List.of(theirs));
                VfioDevice adopted = VfioDevice.adopt(world.kernel, NIC, number.number(), Ownership.BORROWED);
                Forwarding second = Forwarding.create(world.vm, adopted)) {
            assertThat(refused(Errno.EBUSY, () -> second.takeOver(adopted.intx(), PIN)))
                    .contains("EBUSY (it already has a trigger of another program, which uses MSI-X");
            assertThat(armed.isSet(0)).isTrue();
        }
    }

    @Test
    void vectorsOfAnotherForwardingAreNotTakenOver() {
        forwarding.forwardAll(device.msix(0, 2), i -> message(0x30 + i));
        try (Forwarding second = Forwarding.create(world.vm, device)) {
            refused(Errno.EBUSY, () -> second.takeOver(device.msix(1, 1), i -> message(0x40)));
        }
    }

    @Test
    void vectorsThatTheirUserClosedAreForwardedAgain() {
        List<EventFd> theirs = List.of(EventFd.create(world.kernel), EventFd.create(world.kernel));
        ArmedVectors armed = device.msix(0, 2).arm(theirs);
        forwarding.takeOver(device.msix(0, 1), i -> message(0x30));
        armed.close();
        theirs.forEach(EventFd::close);
        forwarding.irqs().get(0).close();
        forwarding.forward(device.msix().get(1), message(0x31));
        world.hardware.sendMessage(1);
        assertThat(world.first.x86().isRequested(vector(0x31))).isTrue();
    }
}
