/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.testing.JavaProcess;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The places of a message, and its end, in the ledger of the fake. */
class LedgerTest {
    private static final VcpuId VCPU = new VcpuId(0);
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final String NIC = "0000:3b:00.0";
    private static final String THIRD = "vector 3 of MSI-X of " + NIC;

    private final Undo made = new Undo();
    private FakeKernel fake = new FakeKernel(Profile.V6_18);
    private Kernel kernel = fake.open();
    private Vm vm = open();
    private Vcpu vcpu = vcpu();

    private void use(String profile) {
        made.close();
        fake = new FakeKernel(Profile.parse(profile));
        kernel = fake.open();
        vm = open();
        vcpu = vcpu();
    }

    private Vm open() {
        made.add(kernel);
        Vm opened = made.add(Vm.create(kernel));
        opened.x86().createIrqchip();
        return opened;
    }

    private Vcpu vcpu() {
        Vcpu created = made.add(vm.createVcpu(VCPU));
        created.x86().enableLapic();
        return created;
    }

    private FakePciDevice nic() {
        return fake.pciDevice(NIC, 7).msix(8).express().resettable().add();
    }

    private VfioDevice device() {
        VfioDevice opened = made.add(VfioDevice.open(kernel, PciAddress.parse(NIC), made.add(KvmVfio.create(vm))));
        opened.config().enableBusMaster();
        return opened;
    }

    /** Eventfds of 4 vectors, the last of them this one. */
    private List<EventFd> upTo(EventFd third) {
        List<EventFd> events = eventFds(3);
        events.add(third);
        return events;
    }

    private List<EventFd> eventFds(int count) {
        List<EventFd> events = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            events.add(made.add(EventFd.create(kernel)));
        }
        return events;
    }

    private Gsi route() {
        return vm.routes().add(MsiMessage.to(VCPU, VECTOR));
    }

    private List<String> waiting() {
        return fake.messages().waiting();
    }

    private void counts(long sent, long taken, long merged, long waiting, long ended, long lost) {
        assertThat(fake.messages().counts())
                .isEqualTo(new FakeMessages.Counts(sent, taken, merged, waiting, ended, lost));
        assertThat(fake.messages().brokenRules()).isEmpty();
    }

    @AfterEach
    void close() {
        made.close();
        assertThat(fake.messages().brokenRules()).isEmpty();
    }

    @Test
    void signalWaitsInTheCountThenInTheIrrAndTheNextOneIsMerged() {
        EventFd event = made.add(EventFd.create(kernel));
        String name = "eventfd " + Numbers.of(event.fd());
        event.signal();
        event.signal();
        assertThat(waiting()).containsExactly(name + ", in the count of " + name);
        counts(2, 0, 1, 1, 0, 0);
        made.add(vm.assignIrqfd(event, route()));
        assertThat(waiting()).containsExactly(name + ", in IRR of vcpu 0, vector 0x41");
        event.signal();
        counts(3, 0, 2, 1, 0, 0);
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void postedMessageWaitsUntilTheVcpuTakesIt(String profile) {
        use(profile);
        FakePciDevice nic = nic();
        VfioDevice device = device();
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, route()));
        device.msix(0, 4).arm(upTo(event));
        nic.sendMessage(3);
        assertThat(waiting()).containsExactly(THIRD + ", in the posted requests of vcpu 0, vector 0x41");
        nic.sendMessage(3);
        counts(2, 0, 1, 1, 0, 0);
        FakeVcpu guest = fake.vcpus().get(0);
        guest.load(1);
        guest.preempt();
        assertThat(waiting()).hasSize(1);
        guest.enterGuest();
        assertThat(waiting()).containsExactly(THIRD + ", in IRR of vcpu 0, vector 0x41");
        assertThat(guest.acknowledge()).contains(VECTOR);
        counts(2, 1, 1, 0, 0, 0);
        nic.sendMessage(3);
        guest.end();
        assertThat(waiting()).hasSize(1);
        assertThat(guest.takeInterrupt()).contains(VECTOR);
        counts(3, 2, 1, 0, 0, 0);
        assertThat(fake.lost()).isEmpty();
    }

    /** As at rest in each state of a vCPU: nothing waits whose way is open. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.1,amd-avic"})
    void postedMessageWaitsForNothingButItsVcpu(String profile) {
        use(profile);
        FakePciDevice nic = nic();
        VfioDevice device = device();
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, route()));
        device.msix(0, 4).arm(upTo(event));
        FakeVcpu guest = fake.vcpus().get(0);
        List<Runnable> states = List.of(
                () -> guest.load(1),
                guest::enterGuest,
                guest::takeInterrupt,
                guest::preempt,
                () -> guest.load(1),
                () -> takeAllAndBlock(guest),
                guest::preempt,
                () -> guest.load(2),
                () -> takeAllAndBlock(guest));
        for (Runnable state : states) {
            state.run();
            assertThat(fake.messages().brokenRules()).isEmpty();
            nic.sendMessage(3);
            assertThat(fake.messages().brokenRules()).isEmpty();
        }
    }

    private static void takeAllAndBlock(FakeVcpu guest) {
        guest.enterGuest();
        while (guest.takeInterrupt().isPresent()) {
            guest.enterGuest();
        }
        assertThat(guest.block()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void requestInIrrWakesAVcpuThatSleeps(String profile) {
        use(profile);
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, route()));
        FakeVcpu guest = fake.vcpus().get(0);
        guest.load(1);
        assertThat(guest.block()).isTrue();
        event.signal();
        counts(1, 0, 0, 1, 0, 0);
        assertThat(guest.state()).isNotEqualTo(FakeVcpu.State.BLOCKED);
    }

    @Test
    void messageOfMaskedVectorWaitsAsPendingBitUntilTheDeviceIsReset() {
        FakePciDevice nic = nic();
        VfioDevice device = device();
        EventFd event = made.add(EventFd.create(kernel));
        ArmedVectors armed = device.msix(0, 4).arm(upTo(event));
        armed.unwire(3);
        nic.sendMessage(3);
        armed.close();
        device.msix(0, 3).arm(eventFds(3));
        assertThat(fake.lost()).isEmpty();
        assertThat(waiting()).containsExactly(THIRD + ", in pending bit 3 of " + NIC);
        device.reset();
        counts(1, 0, 0, 0, 1, 0);
        assertThat(fake.messages().ended())
                .singleElement()
                .asString()
                .startsWith("the device was reset; source " + THIRD);
    }

    @Test
    void workerHasTheMessageUntilItRuns() {
        EventFd event = made.add(EventFd.create(kernel));
        event.signal();
        fake.holdWorkers();
        made.add(vm.assignIrqfd(event, route()));
        assertThat(waiting()).singleElement().asString().endsWith(", in a worker of KVM");
        fake.runWorkers();
        assertThat(fake.lost()).isEmpty();
        assertThat(waiting()).singleElement().asString().endsWith(", in IRR of vcpu 0, vector 0x41");
    }

    @Test
    void programHasWhatItReadUntilItSendsOrSignalsIt() {
        FakePciDevice nic = nic();
        VfioDevice device = device();
        EventFd event = made.add(EventFd.create(kernel));
        EventFd own = made.add(EventFd.create(kernel));
        device.msix(0, 4).arm(upTo(event));
        nic.sendMessage(3);
        assertThat(event.drain()).isOne();
        assertThat(waiting()).containsExactly(THIRD + ", in the program, which read its eventfd");
        own.signal();
        own.drain();
        counts(2, 1, 0, 1, 0, 0);
        event.signal();
        assertThat(waiting()).singleElement().asString().startsWith(THIRD + ", in the count of eventfd");
        event.drain();
        vm.signal(MsiMessage.to(VCPU, VECTOR));
        assertThat(waiting()).containsExactly(THIRD + ", in IRR of vcpu 0, vector 0x41");
        counts(2, 1, 0, 1, 0, 0);
        vm.signal(MsiMessage.to(VCPU, VECTOR));
        counts(3, 1, 0, 2, 0, 0);
    }

    /** KVM_SIGNAL_MSI sends the messages of one read: the last one of the calling thread. */
    @Test
    void programSendsTheMessagesOfItsOwnLastRead() throws InterruptedException {
        FakePciDevice nic = nic();
        FakePciDevice second =
                fake.pciDevice("0000:3c:00.0", 8).msix(1).express().add();
        VfioDevice device = device();
        VfioDevice beside = made.add(VfioDevice.open(kernel, second.address()));
        beside.config().enableBusMaster();
        List<EventFd> events = eventFds(4);
        device.msix(0, 4).arm(events);
        beside.msix(0, 1).arm(List.of(events.get(1)));
        nic.sendMessage(2);
        events.get(2).drain(); // held as the two of the last read are sent
        nic.sendMessage(0);
        nic.sendMessage(1);
        second.sendMessage(0);
        events.get(0).drain();
        events.get(1).drain();
        events.get(0).signal();
        nic.sendMessage(3);
        Thread other = new Thread(events.get(3)::drain);
        other.start();
        other.join();
        vm.signal(MsiMessage.to(VCPU, VECTOR));
        assertThat(waiting())
                .filteredOn(text -> text.endsWith("in IRR of vcpu 0, vector 0x41"))
                .extracting(text -> text.substring(0, 8))
                .as("both messages of the last read, and not that of the first")
                .containsExactlyInAnyOrder("vector 1", "vector 0");
    }

    @Test
    void messageThatTheProgramForgotIsLostWhenItsEventfdHasAnIrqfd() {
        FakePciDevice nic = nic();
        VfioDevice device = device();
        EventFd event = made.add(EventFd.create(kernel));
        Irqfd irqfd = made.add(vm.assignIrqfd(event, route()));
        device.msix(0, 4).arm(upTo(event));
        irqfd.mask();
        nic.sendMessage(3);
        event.drain();
        assertThat(fake.lost()).as("it may be masked").isEmpty();
        irqfd.unmask();
        int fd = Numbers.of(event.fd());
        assertThat(fake.lost())
                .containsExactly("the program read it from eventfd " + fd
                        + " and did not send it on, although the eventfd of its source has an irqfd; source " + THIRD
                        + ", last place the program, which read its eventfd");
        counts(1, 0, 0, 1, 0, 0);
        event.signal();
        assertThat(fake.lost()).isEmpty();
    }

    @Test
    void messageForTheProgramItselfIsNotForgotten() {
        FakePciDevice nic = nic();
        EventFd own = made.add(EventFd.create(kernel));
        ArmedVectors armed = device().msix(0, 4).arm(upTo(own));
        nic.sendMessage(3);
        own.drain();
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, route()));
        armed.set(3, event);
        assertThat(fake.lost()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void messageThatTheProgramReadEndsWithAResetOrTheDevice(boolean removes) {
        FakePciDevice nic = removes ? fake.pciDevice(NIC, 7).msix(8).express().add() : nic();
        EventFd event = made.add(EventFd.create(kernel));
        try (KvmVfio files = KvmVfio.create(vm);
                VfioDevice device = VfioDevice.open(kernel, PciAddress.parse(NIC), files)) {
            device.config().enableBusMaster();
            device.msix(0, 4).arm(upTo(event));
            nic.sendMessage(3);
            event.drain();
            if (!removes) {
                device.reset();
            }
        }
        if (removes) {
            nic.remove();
        }
        counts(1, 0, 0, 0, 1, 0);
        String how = removes ? "removed" : "reset";
        assertThat(fake.messages().ended())
                .singleElement()
                .asString()
                .startsWith("the device was " + how + "; source " + THIRD
                        + ", last place the program, which read its eventfd");
        event.signal();
        event.drain();
        counts(2, 1, 0, 0, 1, 0);
    }

    @Test
    void closedCountIsLostUnlessTheProgramDisarmedTheVector() {
        FakePciDevice nic = nic();
        VfioDevice device = device();
        for (boolean unwires : new boolean[] {false, true}) {
            EventFd event = EventFd.create(kernel);
            int fd = Numbers.of(event.fd());
            try (ArmedVectors armed = device.msix(0, 4).arm(upTo(event))) {
                nic.sendMessage(3);
                if (unwires) {
                    armed.unwire(3);
                } else {
                    armed.set(3, made.add(EventFd.create(kernel)));
                }
                fake.libc().close(fd);
            }
            assertThat(unwires ? fake.messages().ended() : fake.lost())
                    .containsExactly("its eventfd was closed; source " + THIRD + ", last place the count of eventfd "
                            + fd + ", call close of descriptor " + fd);
            fake.libc().eventfd(0, 0);
            event.close();
        }
        counts(2, 0, 0, 0, 1, 1);
    }

    @Test
    void signalWithoutRouteNamesItsCall() {
        EventFd event = made.add(EventFd.create(kernel));
        Gsi gsi = route();
        Irqfd irqfd = made.add(vm.assignIrqfd(event, gsi));
        vm.routes().removeLosingInterrupts(irqfd.gsi());
        event.signal();
        int fd = Numbers.of(event.fd());
        assertThat(fake.lost())
                .containsExactly("GSI " + gsi.number() + " was raised but has no route; source eventfd " + fd
                        + ", last place its source, call write of descriptor " + fd);
        counts(1, 0, 0, 0, 0, 1);
    }

    @Test
    void requestThatTheProgramDidNotSeeIsLostByKvmSetLapic() {
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, route()));
        var state = vcpu.x86().lapic();
        event.signal();
        vcpu.x86().setLapic(state);
        assertThat(fake.lost())
                .singleElement()
                .asString()
                .startsWith("KVM_SET_LAPIC cleared a request that came after KVM_GET_LAPIC; source eventfd")
                .contains(", last place IRR of vcpu 0, vector 0x41, call KVM_SET_LAPIC of descriptor ");
        event.signal();
        vcpu.x86().lapic();
        vcpu.x86().setLapic(state);
        counts(2, 1, 0, 0, 0, 1);
    }

    /** Hardware has the request, and KVM_SET_LAPIC replaces the IRR: the guest must not take it. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void postedRequestThatTheProgramDidNotSeeIsLostByKvmSetLapic(String profile) {
        use(profile);
        FakePciDevice nic = nic();
        VfioDevice device = device();
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, route()));
        device.msix(0, 4).arm(upTo(event));
        var state = vcpu.x86().lapic();
        nic.sendMessage(3);
        vcpu.x86().setLapic(state);
        FakeVcpu guest = fake.vcpus().get(0);
        guest.enterGuest();
        assertThat(guest.takeInterrupt()).isEmpty();
        assertThat(fake.lost())
                .singleElement()
                .asString()
                .startsWith("KVM_SET_LAPIC cleared a request that came after KVM_GET_LAPIC; source " + THIRD);
        counts(1, 0, 0, 0, 0, 1);
        nic.sendMessage(3);
        state = vcpu.x86().lapic();
        nic.sendMessage(3);
        vcpu.x86().setLapic(state);
        assertThat(fake.lost()).as("the state has the request").hasSize(1);
    }

    /** More sources than ids, unless those of closed eventfds are free again. */
    @Test
    void sourcesThatGoAreFolded() {
        Gsi gsi = route();
        for (int i = 0; i < 10_000; i++) {
            try (EventFd event = EventFd.create(kernel);
                    Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
                event.signal();
                assertThat(irqfd.isMasked()).isFalse();
            }
        }
        assertThat(waiting()).containsExactly("a source that is gone, in IRR of vcpu 0, vector 0x41");
        counts(10_000, 0, 9_999, 1, 0, 0);
    }

    @Test
    void kernelThatEndsWithMessagesIsNoError() {
        EventFd event = EventFd.create(kernel);
        made.add(vm.assignIrqfd(event, route()));
        event.signal();
        event.close();
        made.close();
        assertThat(fake.lost()).isEmpty();
        counts(1, 0, 0, 0, 1, 0);
    }

    @Test
    void manySourcesOfManyDevices() {
        fake.limitVectors(8 * 512);
        for (int i = 0; i < 8; i++) {
            String address = "0000:3b:0" + i + ".0";
            FakePciDevice nic = fake.pciDevice(address, 20 + i)
                    .msix(512)
                    .express()
                    .resettable()
                    .add();
            VfioDevice device = made.add(VfioDevice.open(
                    kernel, PciAddress.parse(address), made.add(KvmVfio.create(made.add(Vm.create(kernel))))));
            device.config().enableBusMaster();
            device.msix(0, 512).arm(eventFds(512));
            for (int vector = 0; vector < 512; vector++) {
                nic.sendMessage(vector);
                nic.sendMessage(vector);
            }
        }
        counts(8 * 1024, 0, 8 * 512, 8 * 512, 0, 0);
    }

    @Test
    void supplierThatThrowsLeavesTheKernelUsable() {
        EventFd event = made.add(EventFd.create(kernel));
        Irqfd irqfd = made.add(vm.assignIrqfd(event, route()));
        vm.routes().removeLosingInterrupts(irqfd.gsi());
        fake.messages().traceCallers(() -> {
            throw new IllegalArgumentException("no such thread");
        });
        event.signal();
        assertThat(fake.lost())
                .singleElement()
                .asString()
                .endsWith(", at a line that is not known: java.lang.IllegalArgumentException: no such thread");
        counts(1, 0, 0, 0, 0, 1);
    }

    @Test
    void requestThatKvmGetLapicReturnedIsTakenOnce() {
        EventFd event = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(event, route()));
        X86Lapic empty = vcpu.x86().lapic();
        event.signal();
        assertThat(vcpu.x86().lapic()).isNotEqualTo(empty);
        vcpu.x86().setLapic(empty);
        event.signal();
        vcpu.x86().setLapic(empty);
        counts(2, 1, 0, 0, 0, 1);
    }

    @Test
    void manyInterruptsThatWereNotSentHideNoLoss() {
        FakePciDevice nic = nic();
        device();
        for (int i = 0; i < 100; i++) {
            nic.sendMessage(3);
        }
        EventFd event = made.add(EventFd.create(kernel));
        Irqfd irqfd = made.add(vm.assignIrqfd(event, route()));
        vm.routes().removeLosingInterrupts(irqfd.gsi());
        event.signal();
        assertThat(fake.lost()).hasSize(65).anyMatch(sentence -> sentence.contains("source eventfd"));
    }

    @Test
    void messageOfARemovedDeviceEnds() {
        FakePciDevice nic = fake.pciDevice(NIC, 7).msix(8).express().add();
        EventFd event = made.add(EventFd.create(kernel));
        try (KvmVfio files = KvmVfio.create(vm);
                VfioDevice device = VfioDevice.open(kernel, PciAddress.parse(NIC), files)) {
            device.config().enableBusMaster();
            try (ArmedVectors armed = device.msix(0, 4).arm(upTo(event))) {
                armed.unwire(3);
                nic.sendMessage(3);
            }
        }
        assertThat(waiting()).as("a device without a reset").hasSize(1);
        nic.remove();
        assertThat(waiting()).isEmpty();
        counts(1, 0, 0, 0, 1, 0);
    }

    /** The table of requests reads annotations by reflection, which takes long, and a close holds the kernel's lock. */
    @Test
    void endOfAMessageDoesNotReadTheTableOfRequests() throws Exception {
        Process user = JavaProcess.start(List.of("-Xlog:class+load:stdout"), EndedMessageUser.class);
        String[] out = new String(user.getInputStream().readAllBytes(), StandardCharsets.UTF_8).split("closed\n");
        assertThat(out).hasSize(2);
        assertThat(out[0]).contains("io.kvmirq.fake.FakeKernel ").doesNotContain("io.kvmirq.uapi.UapiTable ");
        assertThat(out[1]).contains("last place IRR of vcpu 0, vector 0x41, call close of descriptor");
    }
}
