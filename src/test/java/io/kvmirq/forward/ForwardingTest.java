/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.to;
import static io.kvmirq.forward.ForwardWorld.vector;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.RoutesExhaustedException;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VectorsDisturbedException;
import io.kvmirq.vfio.VectorsExhaustedException;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Forwarding: its calls are counted, and its interrupts are seen at the guest's LAPICs. */
class ForwardingTest {
    private final ForwardWorld world = new ForwardWorld("6.12");
    private final Forwarding forwarding = Forwarding.create(world.vm, world.device);

    @AfterEach
    void close() {
        forwarding.close();
        world.closeAndExpectNothingLeft();
    }

    private List<ForwardedIrq> four() {
        return forwarding.forwardAll(world.device.msix(0, 4), i -> to(i % 2, 0x30 + i));
    }

    private void send(int vector) {
        world.hardware.sendMessage(vector);
    }

    @Test
    void everyVectorReachesItsVcpu() {
        four();
        for (int i = 0; i < 4; i++) {
            send(i);
        }
        assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        assertThat(world.second.x86().isRequested(vector(0x31))).isTrue();
        assertThat(world.first.x86().isRequested(vector(0x32))).isTrue();
        assertThat(world.second.x86().isRequested(vector(0x33))).isTrue();
        assertThat(world.first.x86().isRequested(vector(0x31))).isFalse();
    }

    @Test
    void batchMakesOneRoutingCommitAndOneSetIrqs() {
        long commits = world.vm.routes().commits();
        long changes = world.device.irqChanges();
        four();
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(world.device.irqChanges() - changes).isEqualTo(1);
    }

    @Test
    void endMakesOneRoutingCommitAndOneSetIrqs() {
        four();
        long commits = world.vm.routes().commits();
        long changes = world.device.irqChanges();
        forwarding.close();
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(world.device.irqChanges() - changes).isEqualTo(1);
    }

    @Test
    void whatChangesNothingMakesNoCall() {
        ForwardedIrq irq = four().get(1);
        irq.mask();
        world.faults.listen();
        irq.mask();
        irq.reroute(to(1, 0x31));
        assertThat(world.faults.calls()).isEmpty();
        irq.unmask();
        world.faults.listen();
        irq.unmask();
        assertThat(world.faults.calls()).isEmpty();
    }

    /**
     * A signal is never without eventfd, irqfd and route. The end of its eventfd's file ends an irqfd; the last is
     * waited for.
     */
    @Test
    void orderIsRoutesIrqfdsDeviceAndBack() {
        world.faults.listen();
        forwarding.forwardAll(world.device.msix(0, 2), i -> message(0x30 + i));
        assertThat(world.faults.calls())
                .containsExactly(
                        "eventfdCreate", "eventfdCreate", "routesSet", "irqfdAssign", "irqfdAssign", "vfioIrqsSet");
        world.faults.listen();
        forwarding.close();
        assertThat(world.faults.calls())
                .containsExactly("vfioIrqsSet", "fdClose", "irqfdDeassign", "fdClose", "routesSet");
    }

    /** VFIO signals the eventfd as for a message of the device. */
    @Test
    void triggerGoesByVfio() {
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
        irq.trigger();
        assertThat(world.fake.messages().waiting())
                .as("the source is the vector, and not the program")
                .containsExactly("vector 0 of MSI-X of 0000:3b:00.0, in IRR of vcpu 0, vector 0x31");
    }

    @Test
    void maskedInterruptArrivesOnce() {
        ForwardedIrq irq = four().get(3);
        irq.mask();
        send(3);
        send(3);
        assertThat(world.second.x86().isRequested(vector(0x33))).isFalse();
        assertThat(irq.isMasked()).isTrue();
        irq.unmask();
        assertThat(world.second.x86().isRequested(vector(0x33))).isTrue();
        assertThat(irq.isMasked()).isFalse();
    }

    @Test
    void reroutedInterruptArrivesByItsNewMessage() {
        ForwardedIrq irq = four().get(0);
        irq.reroute(to(1, 0x80));
        send(0);
        assertThat(world.second.x86().isRequested(vector(0x80))).isTrue();
        assertThat(world.first.x86().isRequested(vector(0x30))).isFalse();
    }

    @Test
    void refusedRerouteLeavesTheMessage() {
        ForwardedIrq irq = four().get(0);
        world.faults.fail("routesSet", 1, Errno.ENOMEM);
        assertThatThrownBy(() -> irq.reroute(to(1, 0x80))).hasMessageContaining("ENOMEM");
        send(0);
        assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        irq.reroute(to(1, 0x80));
        send(0);
        assertThat(world.second.x86().isRequested(vector(0x80))).isTrue();
    }

    @Test
    void oneOfABatchEndsAlone() {
        List<ForwardedIrq> irqs = four();
        Gsi gsi = irqs.get(1).gsi().orElseThrow();
        irqs.get(1).close();
        irqs.get(1).close();
        assertThat(world.hardware.sendMessage(1)).isFalse();
        assertThat(world.vm.routes().of(gsi)).isEmpty();
        send(0);
        assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        assertThat(forwarding.irqs()).containsExactly(irqs.get(0), irqs.get(2), irqs.get(3));
        assertIllegalState(
                () -> irqs.get(1).mask(),
                "the forwarding of MSI-X 1 of 0000:3b:00.0 is closed: it was used after close(); create or open another");
        forwarding.forward(world.device.msix().get(1), message(0x41));
        send(1);
        assertThat(world.first.x86().isRequested(vector(0x41))).isTrue();
    }

    @Test
    void chosenGsiIsUsed() {
        Gsi gsi = new Gsi(100);
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(2), gsi, message(0x30));
        assertThat(irq.gsi()).contains(gsi);
        send(2);
        assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        irq.close();
        assertThat(world.vm.routes().of(gsi)).isEmpty();
    }

    /** A VMM that restores a guest has committed its routes. */
    @Test
    void routeThatIsThereIsUsedAndStays() {
        Gsi gsi = world.vm.routes().add(message(0x30));
        long commits = world.vm.routes().commits();
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(2), gsi, message(0x30));
        irq.close();
        assertThat(world.vm.routes().of(gsi)).hasSize(1);
        assertThat(world.vm.routes().commits()).isEqualTo(commits);
    }

    /** The route is the caller's, and so is its message. */
    @Test
    void routeOfTheCallerHasItsMessageAgainAtTheEnd() {
        Gsi gsi = world.vm.routes().add(message(0x30));
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(2), gsi, message(0x30));
        irq.reroute(to(1, 0x80));
        irq.close();
        assertThat(world.vm.routes().of(gsi)).containsExactly(new Route.Msi(gsi, message(0x30)));
    }

    @Test
    void gsiInUseIsRefused() {
        Gsi gsi = world.vm.routes().add(message(0x30));
        world.faults.listen();
        assertThatThrownBy(() -> forwarding.forward(world.device.msix().get(2), gsi, message(0x31)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("gsi 24 of vm (fd ")
                .hasMessageContaining(" is in use for [Msi")
                .hasMessageEndingWith("choose another one, or let one be allocated");
        assertThat(world.faults.calls()).isEmpty();
        try (EventFd event = EventFd.create(world.kernel);
                Irqfd irqfd = world.vm.assignIrqfd(event, gsi)) {
            assertThatThrownBy(() -> forwarding.forward(world.device.msix().get(2), gsi, message(0x30)))
                    .as("%s", irqfd)
                    .hasMessageContaining(" is in use for [Msi");
        }
    }

    @Test
    void tooFewGsisAreToldBeforeAnythingIsTouched() {
        world.vm.routes().change(edit -> {
            for (int gsi = 27; gsi < 4080; gsi++) {
                edit.replace(new Gsi(gsi), message(0x20));
            }
            return edit;
        });
        world.faults.listen();
        assertThatThrownBy(this::four)
                .isInstanceOf(RoutesExhaustedException.class)
                .hasMessageMatching(
                        "4 messages need a GSI each, but vm \\(fd \\d+\\) has 3 left: request fewer, or remove routes"
                                + " first");
        assertThat(world.faults.calls()).isEmpty();
    }

    @Test
    void tooFewDescriptorsAreToldAndNothingIsTouched() {
        int limit = world.lowestFreeDescriptor() + 2;
        world.fake.limitDescriptors(limit);
        world.faults.listen();
        assertThatThrownBy(this::four)
                .hasMessage("forward eventfd 3 of 4 for 0000:3b:00.0: EMFILE (RLIMIT_NOFILE of this process is "
                        + limit + ", and this needs " + (limit + 2)
                        + ": raise it before starting the process, ulimit -n "
                        + (limit + 2) + " or more, systemd LimitNOFILE=)");
        assertThat(world.faults.calls())
                .containsExactly("eventfdCreate", "eventfdCreate", "eventfdCreate", "fdClose", "fdClose");
        world.fake.limitDescriptors(1024);
        four();
    }

    @Test
    void tooFewVectorsOfTheHostAreToldAndNothingIsLeft() {
        world.fake.limitVectors(3);
        long commits = world.vm.routes().commits();
        assertThatThrownBy(this::four)
                .isInstanceOf(VectorsExhaustedException.class)
                .hasMessageContaining("3");
        assertThat(world.vm.routes().commits() - commits).isEqualTo(2);
        assertThat(forwarding.irqs()).isEmpty();
        forwarding.forwardAll(world.device.msix(0, 3), i -> message(0x30 + i));
    }

    @Test
    void vectorsThatCannotBeAddedAreToldBeforeAnythingIsTouched() {
        try (ForwardWorld old = new ForwardWorld("6.1");
                EventFd users = EventFd.create(old.kernel);
                ArmedVectors armed = old.device.msix(0, 1).arm(List.of(users));
                Forwarding few = Forwarding.create(old.vm, old.device)) {
            few.takeOver(old.device.msix(0, 1), i -> message(0x30 + i));
            old.faults.listen();
            assertThatThrownBy(() -> few.forward(old.device.msix().get(2), message(0x32)))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageStartingWith("MSI-X 2 of 0000:3b:00.0 is beyond the 1 vectors that are enabled")
                    .hasMessageEndingWith("what another one enabled: enable all vectors there");
            assertThat(old.faults.calls()).isEmpty();
            assertThat(armed.enabled()).isEqualTo(1);
        }
    }

    /** Linux 6.1 adds no vector to those that are enabled, so that the first call enables all. */
    @Test
    void allVectorsAreEnabledWhereNoneCanBeAdded() {
        try (ForwardWorld old = new ForwardWorld("6.1");
                Forwarding forwarding = Forwarding.create(old.vm, old.device)) {
            forwarding.forwardAll(old.device.msix(1, 2), i -> message(0x31 + i));
            long changes = old.device.irqChanges();
            forwarding.forward(old.device.msix().get(7), message(0x37));
            forwarding.forward(old.device.msix().get(0), message(0x30));
            assertThat(old.device.irqChanges() - changes).isEqualTo(2);
            assertThat(old.first.x86().isRequested(vector(0x31))).isFalse();
            for (int sent : new int[] {0, 1, 2, 7}) {
                old.hardware.sendMessage(sent);
                assertThat(old.first.x86().isRequested(vector(0x30 + sent))).isTrue();
            }
        }
    }

    /** A host with too few vectors for all: more are enabled anew, and each that was enabled is signalled. */
    @Test
    void vectorsThatAreEnabledAnewAreSignalledOnce() {
        try (ForwardWorld old = new ForwardWorld("6.1");
                Forwarding few = Forwarding.create(old.vm, old.device)) {
            old.fake.limitVectors(4);
            few.forwardAll(old.device.msix(0, 2), i -> message(0x30 + i));
            assertThat(old.first.x86().isRequested(vector(0x31))).isFalse();
            few.forward(old.device.msix().get(3), message(0x33));
            assertThat(old.first.x86().isRequested(vector(0x30))).isTrue();
            assertThat(old.first.x86().isRequested(vector(0x31))).isTrue();
            assertThat(old.first.x86().isRequested(vector(0x33))).isFalse();
            old.hardware.sendMessage(3);
            assertThat(old.first.x86().isRequested(vector(0x33))).isTrue();
        }
    }

    @Test
    void vectorsThatTheHostDoesNotHaveDisturbTheOthersAndLoseNothing() {
        try (ForwardWorld old = new ForwardWorld("6.1");
                Forwarding few = Forwarding.create(old.vm, old.device)) {
            old.fake.limitVectors(4);
            few.forwardAll(old.device.msix(0, 2), i -> message(0x30 + i));
            assertThatThrownBy(() -> few.forward(old.device.msix().get(5), message(0x35)))
                    .isInstanceOf(VectorsDisturbedException.class)
                    .hasCauseInstanceOf(VectorsExhaustedException.class)
                    .hasMessageContaining("had no eventfd for a moment and have their former ones again");
            assertThat(few.irqs()).hasSize(2);
            assertThat(old.first.x86().isRequested(vector(0x31))).isTrue();
        }
    }

    /** A device uses each vector of MSI that is enabled: no more are than were asked for. */
    @Test
    void onlyThoseOfMsiAreEnabledThatWereAskedFor() {
        try (ForwardWorld old = new ForwardWorld("6.1");
                Forwarding few = Forwarding.create(old.vm, old.device)) {
            few.forward(old.device.msi(0, 1).get(0), message(0x30));
            assertThat(((ArmedVectors) old.device.msi(0, 1).get(0).inTheWay().orElseThrow()).enabled())
                    .isEqualTo(1);
            few.forward(old.device.msi(1, 1).get(0), message(0x31));
            assertThat(old.first.x86().isRequested(vector(0x30))).isTrue();
            assertThat(old.first.x86().isRequested(vector(0x31))).isFalse();
        }
    }

    @Test
    void vectorsAreAddedWhereTheKernelCan() {
        four();
        forwarding.forwardAll(world.device.msix(4, 2), i -> message(0x50 + i));
        send(5);
        assertThat(world.first.x86().isRequested(vector(0x51))).isTrue();
    }

    @Test
    void lineIsMaskedUntilTheGuestsEoi() {
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        assertThat(line.mechanism()).isEqualTo(Mechanism.RESAMPLE);
        assertThatThrownBy(() -> line.reroute(message(0x30)))
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessageContaining("is a line and has no message");
        world.hardware.requestService();
        assertThat(world.vm.x86().ioapic().isHigh(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number())))
                .isTrue();
    }

    @Test
    void kindsExcludeEachOther() {
        forwarding.forward(world.device.msix().get(0), message(0x30));
        world.faults.listen();
        assertThatThrownBy(() -> forwarding.forward(world.device.intx(), PIN))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("a device uses one kind at a time");
        assertThatThrownBy(() -> forwarding.forward(world.device.msi(0, 1).get(0), message(0x30)))
                .isInstanceOf(IllegalStateException.class);
        assertThat(world.faults.calls()).isEmpty();
    }

    @Test
    void lineWithoutRouteIsRefused() {
        assertThatThrownBy(() -> forwarding.forward(world.device.intx(), new Gsi(200)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("gsi 200 of vm");
    }

    /** KVM sees the end of a pin's interrupt only. */
    @Test
    void lineOnAMessageIsRefused() {
        Gsi gsi = world.vm.routes().add(message(0x30));
        assertThatThrownBy(() -> forwarding.forward(world.device.intx(), gsi))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("is routed to a message, for which KVM sees no EOI");
    }

    @Test
    void closedDeviceIsNotPosted() {
        ForwardedIrq irq = four().get(0);
        world.device.close();
        assertThat(irq.predicted().text()).startsWith("not posted because 0000:3b:00.0 is closed");
    }

    @Test
    void otherDevicesInterruptIsRefused() {
        MsiMessage message = message(0x30);
        try (ForwardWorld other = new ForwardWorld("6.12")) {
            assertThatThrownBy(() -> forwarding.forward(other.device.msix().get(0), message))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("belongs to another device handle");
            assertThatThrownBy(() -> Forwarding.create(world.vm, other.device))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("belong to two kernels");
        }
    }
}
