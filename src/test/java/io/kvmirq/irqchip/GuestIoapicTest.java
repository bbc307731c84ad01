/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Lines of devices at an IOAPIC of this process; what a guest sees of it is in {@code IoapicContract}. */
class GuestIoapicTest {
    private static final String NIC = "0000:3b:00.0";
    private static final int PIN = 11;
    private static final Gsi GSI = new Gsi(PIN);
    private static final InterruptVector VECTOR = new InterruptVector(0x51);
    private static final int LEVEL = 1 << 15;
    private static final int REMOTE_IRR = 1 << 14;
    private static final int MASKED = 1 << 16;
    private static final int SELECT = 0;
    private static final int WINDOW = 0x10;
    private static final int EOI = 0x40;

    private final Undo parts = new Undo();
    private final FakeKernel fake = new FakeKernel(Profile.parse("amd-avic"));
    private final FakePciDevice hardware =
            fake.pciDevice(NIC, 7).intx().resettable().add();
    private final Faults faults = new Faults();
    private final Kernel kernel = parts.add(Kernel.over(faults.over(fake.backend())));
    private final Vm vm = parts.add(Vm.create(kernel));
    private final Vcpu vcpu;
    private final GuestIoapic ioapic;
    private final List<String> asked = new ArrayList<>();

    GuestIoapicTest() {
        vm.x86().createSplitIrqchip(GuestIoapic.PINS);
        vcpu = parts.add(vm.createVcpu(new VcpuId(0)));
        vcpu.x86().enableLapic();
        ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
    }

    @AfterEach
    void close() {
        parts.close();
    }

    private void redirect(int entry) {
        ioapic.write(SELECT, 4, 0x10 + 2 * PIN);
        ioapic.write(WINDOW, 4, entry);
    }

    private boolean awaitsEoi() {
        return (ioapic.entry(PIN) & REMOTE_IRR) != 0;
    }

    @Test
    void pinIsHighWhileOneSourceDrivesIt() {
        redirect(LEVEL | VECTOR.number());
        Userspace.Injector first = ioapic.source();
        Userspace.Injector second = ioapic.source();
        first.line(GSI, true);
        second.line(GSI, true);
        first.line(GSI, false);
        first.line(GSI, false);
        ioapic.line(GSI, false);
        assertThat(ioapic.isHigh(PIN)).isTrue();
        ioapic.endOfInterrupt(VECTOR);
        assertThat(awaitsEoi()).as("sent again").isTrue();
        second.line(GSI, false);
        assertThat(ioapic.isHigh(PIN)).isFalse();
        ioapic.endOfInterrupt(VECTOR);
        assertThat(awaitsEoi()).isFalse();
    }

    @Test
    void edgeIsThatOfThePinAndNotOfEachSource() {
        redirect(VECTOR.number() | MASKED);
        ioapic.source().line(GSI, true);
        redirect(VECTOR.number());
        Userspace.Injector second = ioapic.source();
        second.line(GSI, true);
        assertThat(vcpu.x86().isRequested(VECTOR)).as("it was high already").isFalse();
        second.line(GSI, false);
        second.line(GSI, true);
        assertThat(vcpu.x86().isRequested(VECTOR)).isFalse();
    }

    /** Bit 14 is read-only, except that a pin that becomes edge-triggered awaits no EOI. */
    @Test
    void guestClearsRemoteIrrOnlyByAnEdge() {
        redirect(LEVEL | VECTOR.number());
        ioapic.line(GSI, true);
        ioapic.line(GSI, false);
        redirect(LEVEL | VECTOR.number());
        assertThat(awaitsEoi()).isTrue();
        redirect(VECTOR.number());
        redirect(LEVEL | VECTOR.number());
        assertThat(awaitsEoi()).isFalse();
    }

    @ParameterizedTest
    @ValueSource(strings = {"ENXIO", "EINVAL"})
    void kernelThatReadsNoIoapicHasNone(String refusal) {
        faults.fail("irqchipGet", 1, refusal.equals("ENXIO") ? Errno.ENXIO : Errno.EINVAL);
        try (Vm other = Vm.create(kernel)) {
            assertThat(new GuestIoapic(other, 1).pins()).isOne();
        }
        assertThat(faults.unused()).isEmpty();
    }

    /** A guest may end the interrupt at once, and KVM tells the VMM of it by the route. */
    @Test
    void levelIsRoutedBeforeItsFirstMessage() {
        redirect(LEVEL | VECTOR.number());
        faults.listen();
        ioapic.line(GSI, true);
        assertThat(faults.calls()).containsExactly("routesSet", "msiSignal");
    }

    /** KVM tells the VMM of the EOI of those vectors alone that the routes of pins have. */
    @Test
    void levelIsRoutedWhenItIsSentAndAnEdgeIsNot() {
        redirect(VECTOR.number());
        ioapic.line(GSI, true);
        ioapic.line(GSI, false);
        assertThat(vm.routes().of(GSI)).isEmpty();
        redirect(LEVEL | VECTOR.number());
        assertThat(vm.routes().of(GSI)).isEmpty();
        ioapic.line(GSI, true);
        assertThat(vm.routes().of(GSI))
                .containsExactly(new Route.Msi(GSI, new MsiMessage(0xfee0_0000L, VECTOR.number() | LEVEL | 1 << 14)));
        long commits = vm.routes().commits();
        ioapic.endOfInterrupt(VECTOR);
        redirect(LEVEL | VECTOR.number() | MASKED);
        redirect(LEVEL | VECTOR.number());
        assertThat(vm.routes().commits()).as("the same message").isEqualTo(commits);
    }

    /** Bits 14:8 of a destination, which some hypervisors offer, would need KVM's wide ids. */
    @Test
    void destinationsAreThoseOfTheMessage() {
        ioapic.write(SELECT, 4, 0x10 + 2 * PIN + 1);
        ioapic.write(WINDOW, 4, 0x2a02_0000);
        redirect(LEVEL | 1 << 11 | 1 << 8 | VECTOR.number());
        ioapic.line(GSI, true);
        assertThat(vm.routes().of(GSI))
                .containsExactly(
                        new Route.Msi(GSI, new MsiMessage(0xfee2_a004L, VECTOR.number() | 1 << 8 | LEVEL | 1 << 14)));
    }

    /** An EOI would never come. The line is looked at again when a source drives it again. */
    @Test
    void levelThatNoLapicAcceptedAwaitsNoEoiAndIsSentAgain() {
        Vcpu second = parts.add(vm.createVcpu(new VcpuId(1)));
        ioapic.write(SELECT, 4, 0x10 + 2 * PIN + 1);
        ioapic.write(WINDOW, 4, 1 << 24);
        redirect(LEVEL | VECTOR.number());
        ioapic.line(GSI, true);
        assertThat(awaitsEoi()).as("a LAPIC that is off accepts nothing").isFalse();
        second.x86().enableLapic();
        ioapic.line(GSI, true);
        assertThat(awaitsEoi()).isTrue();
        assertThat(second.x86().isRequested(VECTOR)).isTrue();
        ioapic.line(GSI, false);
        assertThat(ioapic.isHigh(PIN)).isFalse();
    }

    @Test
    void eoiRegisterEndsAsTheLapicDoes() {
        redirect(LEVEL | VECTOR.number());
        ioapic.line(GSI, true);
        ioapic.line(GSI, false);
        ioapic.write(EOI, 4, VECTOR.number() + 1);
        assertThat(awaitsEoi()).isTrue();
        ioapic.write(EOI, 4, VECTOR.number());
        assertThat(awaitsEoi()).isFalse();
    }

    /** A high line must be seen again before the next interrupt: the device may have been served. */
    @Test
    void thoseThatDriveAPinAreAskedAtItsEndAndWhenItsMaskEnds() {
        ioapic.addEndListener(GSI, () -> {
            asked.add("asked");
            ioapic.line(GSI, false);
        });
        redirect(LEVEL | VECTOR.number());
        ioapic.line(GSI, true);
        ioapic.endOfInterrupt(VECTOR);
        assertThat(asked).hasSize(1);
        assertThat(awaitsEoi()).isFalse();
        redirect(LEVEL | VECTOR.number() | MASKED);
        ioapic.line(GSI, true);
        redirect(LEVEL | VECTOR.number());
        assertThat(asked).hasSize(2);
        assertThat(awaitsEoi()).as("a line that was only not looked at").isFalse();
    }

    @Test
    void lineThatListenersLeaveHighInterruptsWhenItsMaskEnds() {
        ioapic.addEndListener(GSI, () -> asked.add("asked"));
        redirect(LEVEL | VECTOR.number() | MASKED);
        ioapic.line(GSI, true);
        redirect(LEVEL | VECTOR.number());
        assertThat(asked).hasSize(1);
        assertThat(awaitsEoi()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(ints = {0, GuestIoapic.PINS - 1})
    void firstAndLastPinAreSettledAndEnd(int pin) {
        ioapic.write(SELECT, 4, 0x10 + 2 * pin);
        ioapic.write(WINDOW, 4, LEVEL | VECTOR.number());
        Vm other = parts.add(Vm.create(kernel));
        other.x86().createSplitIrqchip(GuestIoapic.PINS);
        parts.add(other.createVcpu(new VcpuId(0))).x86().enableLapic();
        GuestIoapic restored = new GuestIoapic(other, GuestIoapic.PINS);
        Userspace.Injector device = restored.source();
        device.line(new Gsi(pin), true);
        restored.restore(ioapic.state());
        restored.settle();
        assertThat(restored.entry(pin)).isEqualTo(LEVEL | REMOTE_IRR | VECTOR.number());
        device.line(new Gsi(pin), false);
        restored.endOfInterrupt(VECTOR);
        assertThat(restored.entry(pin)).isEqualTo(LEVEL | VECTOR.number());
    }

    @Test
    void restoreReplacesTheLinesOfItsOwnSource() {
        byte[] low = ioapic.state();
        ioapic.line(GSI, true);
        byte[] high = ioapic.state();
        ioapic.restore(high);
        ioapic.line(GSI, false);
        assertThat(ioapic.isHigh(PIN)).isFalse();
        ioapic.line(GSI, true);
        ioapic.restore(low);
        assertThat(ioapic.isHigh(PIN)).isFalse();
    }

    @Test
    void eoiReachesOtherListenersAfterOneFails() {
        ioapic.addEndListener(GSI, () -> {
            throw new IllegalStateException("closed");
        });
        ioapic.addEndListener(GSI, () -> asked.add("asked"));
        redirect(LEVEL | VECTOR.number());
        ioapic.line(GSI, true);
        ioapic.line(GSI, false);
        assertThatThrownBy(() -> ioapic.endOfInterrupt(VECTOR)).hasMessage("closed");
        assertThat(asked).hasSize(1);
        assertThat(awaitsEoi()).isFalse();
    }

    @Test
    void resetMasksAllPinsAndKeepsTheLines() {
        redirect(LEVEL | VECTOR.number());
        ioapic.line(GSI, true);
        ioapic.reset();
        assertThat(ioapic.entry(PIN)).isEqualTo(MASKED);
        assertThat(ioapic.isHigh(PIN)).isTrue();
        redirect(LEVEL | VECTOR.number());
        assertThat(awaitsEoi()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(longs = {-4, 4, 8, 0x14, 0x30, 0x44, 0x100, Long.MIN_VALUE})
    void otherAddressesAreNothing(long at) {
        ioapic.write(at, 4, 0x10 + 2 * PIN);
        assertThat(ioapic.read(at, 4)).isZero();
        assertThat(ioapic.read(SELECT, 4)).isZero();
    }

    @Test
    void accessOfOneByteIsTheLowOne() {
        ioapic.write(SELECT, 1, 0xffff_ff10 + 2 * PIN);
        ioapic.write(WINDOW, 2, 0x1234_0000 | LEVEL | VECTOR.number());
        assertThat(ioapic.read(WINDOW, 4)).isEqualTo(LEVEL | VECTOR.number());
        assertThat(ioapic.read(WINDOW, 1)).isEqualTo(VECTOR.number());
    }

    @Test
    void gsiThatIsNoPinIsRefused() {
        assertThatThrownBy(() -> ioapic.line(new Gsi(24), true))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(new Gsi(24) + " is not a pin of this IOAPIC, which has 0 to 23");
        assertThatThrownBy(() -> new GuestIoapic(vm, 0)).hasMessage("an IOAPIC of 0 pins: expected 1 to 120");
    }

    // Lines that are high until the guest's EOI

    private Userspace.Injector raised() {
        Userspace.Injector device = ioapic.source();
        assertThat(device.raiseUntilEoi(GSI, () -> {
                    assertThat(Thread.holdsLock(ioapic)).isFalse();
                    asked.add("ended, high: " + ioapic.isHigh(PIN));
                }))
                .isTrue();
        return device;
    }

    @Test
    void eoiLowersARaisedLineOnce() {
        redirect(LEVEL | VECTOR.number());
        raised();
        ioapic.endOfInterrupt(new InterruptVector(VECTOR.number() + 1));
        assertThat(awaitsEoi()).isTrue();
        assertThat(asked).isEmpty();
        ioapic.endOfInterrupt(VECTOR);
        ioapic.endOfInterrupt(VECTOR);
        assertThat(asked).containsExactly("ended, high: false");
        assertThat(awaitsEoi()).isFalse();
    }

    @Test
    void lineThatARaisedDeviceRaisesAgainInterruptsOnceMore() {
        redirect(LEVEL | VECTOR.number());
        Userspace.Injector device = ioapic.source();
        faults.listen();
        device.raiseUntilEoi(GSI, () -> device.raiseUntilEoi(GSI, () -> asked.add("ended")));
        ioapic.endOfInterrupt(VECTOR);
        assertThat(faults.count("msiSignal")).isEqualTo(2);
        ioapic.write(EOI, 4, VECTOR.number());
        assertThat(asked).hasSize(1);
        assertThat(faults.count("msiSignal")).isEqualTo(2);
    }

    @Test
    void eoiLeavesTheLineOfAnEmulatedDeviceHigh() {
        redirect(LEVEL | VECTOR.number());
        ioapic.line(GSI, true);
        raised();
        ioapic.endOfInterrupt(VECTOR);
        assertThat(asked).containsExactly("ended, high: true");
        assertThat(awaitsEoi()).isTrue();
    }

    @Test
    void injectorThatLowersARaisedLineEndsIt() {
        redirect(LEVEL | VECTOR.number());
        Userspace.Injector device = raised();
        raised();
        device.line(GSI, false);
        assertThat(asked).as("the other source stays").containsExactly("ended, high: true");
        device.line(GSI, false);
        assertThat(asked).hasSize(1);
    }

    /** Linux serves a device of a threaded handler after the EOI, while the pin is masked. */
    @ParameterizedTest
    @ValueSource(ints = {LEVEL, 0})
    void raisedLineIsAskedWhenTheMaskOfItsPinEnds(int trigger) {
        redirect(trigger | VECTOR.number() | MASKED);
        raised();
        redirect(trigger | VECTOR.number() | MASKED);
        assertThat(asked).isEmpty();
        redirect(trigger | VECTOR.number());
        assertThat(asked).containsExactly("ended, high: false");
        assertThat(vcpu.x86().isRequested(VECTOR)).isFalse();
    }

    @Test
    void raisedLineIsAnEdgeOfAnEdgeTriggeredPin() {
        redirect(VECTOR.number());
        raised();
        assertThat(asked).containsExactly("ended, high: false");
        assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
    }

    @Test
    void raisedLineOfAPinThatBecomesEdgeTriggeredEnds() {
        redirect(LEVEL | VECTOR.number());
        raised();
        redirect(VECTOR.number());
        assertThat(asked).hasSize(1);
    }

    @Test
    void raisedLineThatTheKernelRefusesEndsWithTheNextWrite() {
        redirect(LEVEL | VECTOR.number());
        faults.fail("msiSignal", 1, Errno.ENOMEM);
        assertThatThrownBy(this::raised).hasMessageContaining("ENOMEM");
        assertThat(asked).isEmpty();
        redirect(LEVEL | VECTOR.number());
        assertThat(asked).containsExactly("ended, high: false");
    }

    @Test
    void raisedLineOutlivesAResetAndIsNoState() {
        byte[] low = ioapic.state();
        ioapic.raiseUntilEoi(GSI, () -> asked.add("ended"));
        assertThat(ioapic.state()).isEqualTo(low);
        ioapic.reset();
        assertThat(ioapic.isHigh(PIN)).isTrue();
        redirect(LEVEL | VECTOR.number());
        assertThat(asked).hasSize(1);
    }

    // One IOAPIC of a VM

    @Test
    void secondIoapicOfAVmIsRefused() {
        assertThatThrownBy(() -> new GuestIoapic(vm, GuestIoapic.PINS))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(
                        vm + " has a GuestIoapic, whose routes a second one would replace: use that one, and reset()"
                                + " it with the guest");
    }

    @Test
    void otherNumberOfPinsThanOfTheSplitIrqchipIsRefusedAndClaimsNothing() {
        try (Vm other = Vm.create(kernel)) {
            other.x86().createSplitIrqchip(16);
            assertThatThrownBy(() -> new GuestIoapic(other, 24))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("an IOAPIC of 24 pins for " + other
                            + ", whose createSplitIrqchip had 16: create both with the same number");
            assertThat(new GuestIoapic(other, 16).pins()).isEqualTo(16);
        }
    }

    @Test
    void pinsOfAnAdoptedVmAreNotKnown() {
        try (Vm made = Vm.create(kernel);
                Fd.Lease lease = made.fd().lease()) {
            made.x86().createSplitIrqchip(16);
            Vm adopted = Vm.adopt(kernel, lease.number(), Ownership.BORROWED, List.of(), new Gsi(16));
            assertThat(new GuestIoapic(adopted, 24).pins()).isEqualTo(24);
            adopted.close();
        }
    }

    /** INTx where KVM has no pins to resample: the device masked its line, and the guest's EOI unmasks it. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void lineOfADeviceArrivesAgainUntilTheGuestServesIt(boolean listens) {
        EventLoop loop = parts.add(EventLoop.create(kernel));
        VfioDevice device = parts.add(VfioDevice.open(kernel, PciAddress.parse(NIC), parts.add(KvmVfio.create(vm))));
        Forwarding forwarding = parts.add(Forwarding.builder(vm, device)
                .userspace(Userspace.of(loop, ioapic.source()))
                .build());
        redirect(LEVEL | VECTOR.number());
        ForwardedIrq line = forwarding.forward(device.intx(), GSI);
        if (listens) {
            ioapic.addEndListener(GSI, line::endOfInterrupt); // as users did
        }
        hardware.requestService();
        loop.poll(Duration.ZERO);
        assertThat(awaitsEoi()).isTrue();
        ioapic.endOfInterrupt(VECTOR);
        assertThat(ioapic.isHigh(PIN)).isFalse();
        loop.poll(Duration.ZERO);
        assertThat(awaitsEoi()).as("the device still asserts its line").isTrue();
        hardware.serve();
        ioapic.endOfInterrupt(VECTOR);
        assertThat(ioapic.isHigh(PIN)).isFalse();
        assertThat(awaitsEoi()).isFalse();
        hardware.requestService();
        loop.poll(Duration.ZERO);
        assertThat(awaitsEoi()).isTrue();
        line.close();
        assertThat(ioapic.isHigh(PIN)).isFalse();
    }
}
