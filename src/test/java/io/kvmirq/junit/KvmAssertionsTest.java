/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static io.kvmirq.junit.KvmAssertions.assertThat;
import static io.kvmirq.junit.KvmAssertions.exactly;
import static io.kvmirq.junit.KvmAssertions.notAtAll;
import static io.kvmirq.junit.KvmAssertions.once;
import static io.kvmirq.junit.KvmAssertions.vector;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.opentest4j.AssertionFailedError;

/** {@link KvmAssertions}, on the fake kernel and on real KVM. */
class KvmAssertionsTest {
    private static final InterruptVector VECTOR = vector(0x33);

    @KvmTest(real = Real.IF_PRESENT)
    void countsExactlyAndSaysWhatCameInstead(KvmHost host) {
        host.interrupt(0, VECTOR).signal();
        host.interrupt(0, vector(0x44)).signal();
        assertThat(host.vcpu(0)).received(VECTOR, once()).received(vector(0x44), once());
        assertThatThrownBy(() -> assertThat(host.vcpu(0)).received(VECTOR, notAtAll()))
                .isInstanceOf(AssertionFailedError.class)
                .hasMessage("expected vcpu 0 to receive vector 0x33 never, but it received it once; it received vector"
                        + " 0x44 once")
                .satisfies(failure -> assertThat(failure.getStackTrace()[0].getClassName())
                        .isEqualTo(KvmAssertionsTest.class.getName()));
        assertThatThrownBy(() -> assertThat(host.vcpu(0)).received(VECTOR, exactly(2)))
                .isInstanceOfSatisfying(AssertionFailedError.class, failure -> {
                    assertThat(failure.getExpected().getStringRepresentation()).isEqualTo("2 times");
                    assertThat(failure.getActual().getStringRepresentation()).isEqualTo("once");
                });
    }

    @KvmTest(real = Real.IF_PRESENT, vcpus = 3)
    void aVectorOfAnotherVcpuSaysWhichGotIt(KvmHost host) {
        host.interrupt(2, VECTOR).signal();
        assertThat(host.vcpu(2)).received(VECTOR, once());
        assertThatThrownBy(() -> assertThat(host.vcpu(1)).received(VECTOR, once()))
                .hasMessage("expected vcpu 1 to receive vector 0x33 once, but it received it never; vcpu 2 received it"
                        + " once");
    }

    /** A VMM numbers its vCPUs as it likes. */
    @KvmTest
    void aVcpuOfAVmOfTheTestIsNamedToo(KvmHost host, Kernel kernel) {
        try (Vm own = Vm.create(kernel)) {
            own.x86().createSplitIrqchip(24);
            try (Vcpu nine = own.createVcpu(new VcpuId(9))) {
                nine.x86().enableLapic();
                own.signal(MsiMessage.to(new VcpuId(9), VECTOR));
                assertThatThrownBy(() -> assertThat(host.vcpu(0)).received(VECTOR, once()))
                        .hasMessageEndingWith("; vcpu 9 received it once");
            }
        }
    }

    @KvmTest(real = Real.IF_PRESENT, vcpus = 2)
    void aVcpuThatNeverExistedFailsAndNamesThoseThatDid(KvmHost host) {
        host.vm();
        assertThat(host.vcpu(1)).received(VECTOR, notAtAll());
        String only = host.isReal()
                ? "the kit's Vm has 2 vCPUs, but not vcpu 2: set vcpus of @KvmTest"
                : "no VM of this test has had a vcpu 2, only vcpu 0, vcpu 1";
        assertThatThrownBy(() -> assertThat(host.vcpu(2)).received(VECTOR, notAtAll()))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage(only);
        assertThatThrownBy(() -> host.vcpu(2).received(VECTOR)).hasMessage(only);
    }

    /** A VM made after the lookup and closed before the assertion. */
    @KvmTest(profiles = {"6.1", "6.12,arm64"})
    void aVcpuExistsFromItsCreationToTheEndOfTheTest(KvmHost host, Kernel kernel) throws InterruptedException {
        KvmVcpu later = host.vcpu(5);
        assertThatThrownBy(() -> assertThat(later).received(VECTOR, notAtAll()))
                .hasMessageStartingWith("no VM of this test has had a vCPU: ");
        Thread vmm = new Thread(() -> {
            try (Vm own = Vm.create(kernel);
                    Vcpu five = own.createVcpu(new VcpuId(5))) {
                five.id();
            }
        });
        vmm.start();
        vmm.join(); // the VM is closed
        assertThat(later).received(VECTOR, notAtAll());
    }

    /** The IRR has one bit for both, and a guest that runs takes one. */
    @KvmTest(profiles = {"6.1", "6.18", "vtd-posting", "amd-avic"})
    void onTheFakeEachDeliveryCountsThoughTheIrrHasOneBit(KvmHost host, VfioDevice nic, FakePciDevice device) {
        try (Forwarding forwarding = Forwarding.create(host.vm(), nic)) {
            ForwardedIrq irq = forwarding.forward(nic.msix(3, 1).get(0), MsiMessage.to(new VcpuId(0), VECTOR));
            assertThat(host).commits(1).calls("VFIO_DEVICE_SET_IRQS", 1);
            device.sendMessage(3);
            device.sendMessage(3);
            assertThat(host.vcpu(0)).received(VECTOR, exactly(2));
            irq.mask();
            device.sendMessage(3);
            assertThat(host.vcpu(0)).received(VECTOR, exactly(2));
            irq.unmask();
            assertThat(host.vcpu(0)).received(VECTOR, exactly(3));
            assertThat(host).lostNothing();
        }
    }

    @KvmTest(real = Real.IF_PRESENT)
    void aSignalOnAGsiWithoutARouteIsLost(KvmHost host, Vm vm, EventFd event) {
        var gsi = vm.routes().add(MsiMessage.to(new VcpuId(0), VECTOR));
        try (Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
            event.signal();
            assertThat(host.vcpu(0)).received(VECTOR, once());
            assertThat(host).lostNothing();
            vm.routes().removeLosingInterrupts(irqfd.gsi());
            event.signal();
        }
        assertThat(host.vcpu(0)).received(VECTOR, once());
        assertThatThrownBy(() -> assertThat(host).lostNothing())
                .hasMessageStartingWith("expected no interrupt to be lost; lost: GSI " + gsi.number() + " was raised")
                .hasMessageContaining("has no route");
    }

    @KvmTest
    void aDeviceThatCannotSendLoses(KvmHost host, FakePciDevice device) {
        device.sendMessage(3);
        assertThat(host.lost())
                .singleElement()
                .asString()
                .startsWith("vector 3 of 0000:03:00.0 was not sent: the device has bus mastering off, at"
                        + " KvmAssertionsTest.java:");
        host.vfio();
        device.sendMessage(3);
        assertThat(host.lost().get(1))
                .startsWith("vector 3 of 0000:03:00.0 was not sent: the device has MSI and MSI-X disabled, at Kvm");
    }

    @KvmTest
    void aLostMessageHasASourceAPlaceACallAndALine(KvmHost host, VfioDevice nic, FakePciDevice device) {
        EventFd event = EventFd.create(host.kernel());
        try (ArmedVectors armed = nic.msix(3, 1).arm(List.of(event))) {
            device.sendMessage(3);
            event.drain();
            device.sendMessage(3);
            armed.set(3, host.eventFd());
            event.close();
        }
        assertThatThrownBy(() -> assertThat(host).lostNothing())
                .hasMessageStartingWith(
                        "expected no interrupt to be lost; lost: its eventfd was closed; source vector 3 of"
                                + " MSI-X of 0000:03:00.0, last place the count of eventfd ")
                .hasMessageMatching(".*, call close of descriptor \\d+, at KvmAssertionsTest.java:\\d+");
    }

    @KvmTest(profiles = {"6.18", "vtd-posting"})
    void aDeliveryHasTheCallThatMadeIt(KvmHost host, VfioDevice nic, FakePciDevice device) {
        try (Forwarding forwarding = Forwarding.create(host.vm(), nic)) {
            ForwardedIrq irq = forwarding.forward(nic.msix(3, 1).get(0), MsiMessage.to(new VcpuId(0), VECTOR));
            irq.mask();
            device.sendMessage(3);
            irq.unmask();
            assertThat(host.vcpu(0)).received(VECTOR, once()).by("ForwardedIrq.unmask");
            device.sendMessage(3);
            assertThatThrownBy(() -> assertThat(host.vcpu(0))
                            .received(VECTOR, exactly(2))
                            .by("ForwardedIrq.unmask"))
                    .hasMessage("expected vcpu 0 to receive vector 0x33 by ForwardedIrq.unmask, but it received it by"
                            + " FakePciDevice.sendMessage, ForwardedIrq.unmask");
        }
    }

    @KvmTest(real = Real.IF_PRESENT, vcpus = 2)
    void aSignalOfTheTestIsTheCallOfItsDelivery(KvmHost host) {
        host.interrupt(1, VECTOR).signal();
        assertThat(host.vcpu(1)).received(VECTOR, once()).by("EventFd.signal");
        assertThatThrownBy(() -> assertThat(host.vcpu(1)).by("EventFd.signal"))
                .hasMessage("by(EventFd.signal) has no interrupt: call received(vector, times) first");
    }

    /** The kit's guest runs no vCPU of such a test. */
    @KvmTest(real = Real.IF_PRESENT)
    void aSignalWithoutARouteIsSeenAlsoWithoutTheGuestOfTheKit(KvmHost host, Kernel kernel) {
        try (Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.x86().createSplitIrqchip(24);
            Gsi gsi = vm.routes().add(MsiMessage.to(new VcpuId(0), VECTOR));
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
                vcpu.x86().enableLapic();
                event.signal();
                assertThat(host).lostNothing();
                vm.routes().removeLosingInterrupts(irqfd.gsi());
                event.signal();
            }
        }
        assertThatThrownBy(() -> assertThat(host).lostNothing())
                .hasMessageStartingWith("expected no interrupt to be lost; lost: GSI 24 was raised")
                .hasMessageMatching(".*has no route.* KvmAssertionsTest.java:\\d+");
    }

    /** A kernel that counts no interrupts, as real KVM. */
    @Test
    void withoutALedgerASignalWithoutARouteIsSeen() {
        KvmHost host = new KvmHost(
                Optional.empty(), new FakeKernel(Profile.V6_18).backend(), new Faults(), KvmHost.Plan.DEFAULT);
        aSignalWithoutARouteIsSeenAlsoWithoutTheGuestOfTheKit(host, host.kernel());
        assertThat(host.end()).isEmpty();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void waitsForWhatAThreadDoes(KvmHost host) throws InterruptedException {
        EventFd event = host.interrupt(0, VECTOR);
        EventFd turn = host.eventFd();
        Thread device = new Thread(() -> {
            turn.signal();
            LockSupport.parkNanos(20_000_000);
            event.signal();
        });
        device.start();
        while (turn.drain() == 0) {
            Thread.onSpinWait();
        }
        assertThat(host.vcpu(0)).received(VECTOR, once());
        device.join();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void threadsMayAssertAtOnce(KvmHost host) {
        host.interrupt(0, VECTOR).signal();
        IntStream.range(0, 500).parallel().forEach(i -> assertThat(host.vcpu(0)).received(VECTOR, once()));
    }

    @KvmTest(real = Real.IF_PRESENT)
    void callsOfTheTestCount(KvmHost host) {
        assertThat(host).calls("eventfd", 0);
        host.eventFd();
        EventFd.create(host.kernel()).close();
        assertThat(host).calls("eventfd", 1).calls("close", 1);
        assertThatThrownBy(() -> assertThat(host).commits(1))
                .hasMessage("expected 1 calls of KVM_SET_GSI_ROUTING, but the test made 0");
        assertThatThrownBy(() -> host.calls("KVM_IRQFX")).hasMessageContaining("near are");
    }

    @KvmTest(real = Real.IF_PRESENT)
    void aTestMayRunItsVcpuItself(KvmHost host, Vcpu vcpu, EventFd event) {
        assertThat(vcpu.x86().isRequested(VECTOR)).isFalse();
        host.interrupt(0, VECTOR).signal();
        assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
        if (host.isReal()) {
            assertThatThrownBy(() -> host.vcpu(0).received(VECTOR))
                    .hasMessage("on real KVM only the guest of the kit's own Vm counts interrupts: take no Vcpu as a"
                            + " parameter");
            assertThatThrownBy(host::fake)
                    .hasMessage("this test runs on real KVM, which has no FakeKernel: check isReal() first");
        } else {
            assertThat(host.vcpu(0).received(VECTOR)).isEqualTo(1);
        }
    }
}
