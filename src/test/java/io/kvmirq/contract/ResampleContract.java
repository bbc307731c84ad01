/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Level interrupts that are looked at again when the guest has ended them: irqfd_resampler in virt/kvm/eventfd.c. */
@ContractPerVendor
class ResampleContract extends KernelSuite {
    private static final int GSI = 5;
    /** IOAPIC_SUCCESSIVE_IRQ_MAX_COUNT of ioapic.c. */
    private static final int STORM = 10_000;

    private static final int RESAMPLE = Uapi.KVM_IRQFD_FLAG_RESAMPLE;
    private static final int DEASSIGN = Uapi.KVM_IRQFD_FLAG_DEASSIGN;

    private int vm;
    private int resample;

    @BeforeEach
    void setUp() {
        vm = world.fullVm();
        resample = world.eventfd();
    }

    private int level(int resample) {
        int event = world.eventfd();
        assertOk(kernel.irqfdAssignLevel(vm, event, resample, GSI));
        return event;
    }

    private void raise(int event) {
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the pin is high", () -> world.ioapicLine(vm, GSI));
    }

    // The order of checks

    @Test
    void eventfdIsCheckedBeforeTheResamplefd() {
        assertErrno(Errno.EBADF, world.irqfd(vm, -1, GSI, RESAMPLE, world.epollFd()));
        assertErrno(Errno.EINVAL, world.irqfd(vm, world.epollFd(), GSI, RESAMPLE, -1));
    }

    @Test
    void resamplefdIsCheckedBeforeTheEventfdIsBusy() {
        int event = world.eventfd();
        assertOk(kernel.irqfdAssign(vm, event, 10));
        assertErrno(Errno.EBADF, world.irqfd(vm, event, GSI, RESAMPLE, -1));
        assertErrno(Errno.EINVAL, world.irqfd(vm, event, GSI, RESAMPLE, world.epollFd()));
        assertErrno(Errno.EBUSY, world.irqfd(vm, event, GSI, RESAMPLE, world.eventfd()));
    }

    @Test
    void resamplefdIsReadOnlyWithTheFlag() {
        assertOk(world.irqfd(vm, world.eventfd(), GSI, 0, -1));
        assertOk(world.irqfd(vm, world.eventfd(), GSI, DEASSIGN, -1));
        assertOk(world.irqfd(vm, world.eventfd(), GSI, DEASSIGN | RESAMPLE, -1));
    }

    // What is taken

    @Test
    void unroutedGsiIsTaken() {
        assertOk(kernel.irqfdAssignLevel(vm, world.eventfd(), world.eventfd(), 100));
        assertOk(kernel.irqfdAssignLevel(vm, world.eventfd(), world.eventfd(), -1));
    }

    @Test
    void deassignNeedsNotSayResampleAndMayOnAPlainIrqfd() {
        int leveled = level(world.eventfd());
        assertOk(world.irqfd(vm, leveled, GSI, DEASSIGN, 0));
        assertOk(kernel.irqfdAssign(vm, leveled, GSI));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm, leveled, GSI));
        assertOk(world.irqfd(vm, leveled, GSI, DEASSIGN | RESAMPLE, 0));
        assertOk(kernel.irqfdAssign(vm, leveled, GSI));
    }

    // The line

    /** Intel's APICv takes it for an EOI of vector 0. */
    @Test
    void eoiOfNothingEndsPinsThatNoGuestHasSetUpWithApicv() {
        level(resample);
        String code = RealModeGuest.LAPIC_ON + asm(GuestAssembler.EOI + "out 0x82, al");
        new RealModeGuest(world, vm, code).runTo(RealModeGuest.READY);
        assertThat(world.drain(resample)).isEqualTo(world.isIntel() && world.virtualizesApics() ? 1 : 0);
    }

    /**
     * KVM scans the pins before it turns APICv on, and so leaves the VMCS with the EOI exit bitmap of an earlier scan: {@code
     * vcpu_enter_guest()} and {@code vmx_load_eoi_exitmap()}. The next scan mends it. Before 6.3 APICv stays off.
     */
    @Test
    void endOfAPinThatChangedWhileApicvWasOffIsMissed() {
        String x2apic = asm("mov ecx, 0x1b; rdmsr; or eax, 0xc00; wrmsr; out 0x82, al; sti; idle: hlt; jmp idle");
        RealModeGuest guest = new RealModeGuest(world, vm, asm("out 0x82, al") + x2apic);
        guest.handle(VECTOR, asm("out 0x83, al; " + GuestAssembler.EOI + "out 0x80, al; iret"));
        // Another id than the vCPU's inhibits APICv until x2APIC mode, which has no other.
        ByteBuffer lapic =
                world.lapic(guest.vcpu()).putInt(LapicPage.ID_AT, 1 << 24).putInt(LapicPage.SVR_AT, 0x1ff);
        assertOk(kernel.libc().ioctl(guest.vcpu(), Uapi.KVM_SET_LAPIC, lapic));
        guest.runTo(RealModeGuest.READY);
        routeToTheIoapic();
        int event = level(resample);
        guest.runTo(RealModeGuest.READY);
        raise(event);
        guest.answer();
        boolean isMissed = world.isIntel() && world.virtualizesApics() && world.isSince(6, 3);
        assertThat(world.drain(resample)).isEqualTo(isMissed ? 0 : 1);
    }

    @Test
    void signalRaisesTheLineAndNothingTellsTheDevice() {
        int event = level(resample);
        raise(event);
        assertThat(world.drain(event)).isZero();
        assertThat(world.drain(resample)).isZero();
    }

    @Test
    void preSignalledEventfdRaisesTheLine() {
        int event = world.eventfd();
        assertOk(kernel.eventfdSignal(event, 2));
        assertOk(kernel.irqfdAssignLevel(vm, event, world.eventfd(), GSI));
        eventually("the pin is high", () -> world.ioapicLine(vm, GSI));
        assertThat(world.drain(event)).isEqualTo(2);
    }

    /** Userspace and resampling irqfds are different sources of one line. */
    @Test
    void userspaceCannotLowerWhatAnIrqfdRaised() {
        raise(level(world.eventfd()));
        assertOk(kernel.lineSet(vm, GSI, 1));
        assertOk(kernel.lineSet(vm, GSI, 0));
        assertThat(world.ioapicLine(vm, GSI)).isTrue();
    }

    @Test
    void deassignOfTheLastLowersTheLineAndTellsNobody() {
        int event = level(resample);
        raise(event);
        assertOk(kernel.irqfdDeassign(vm, event, GSI));
        assertThat(world.ioapicLine(vm, GSI)).isFalse();
        assertThat(world.drain(resample)).isZero();
    }

    @Test
    void deassignOfTheLastLeavesWhatUserspaceRaised() {
        int event = level(world.eventfd());
        raise(event);
        assertOk(kernel.lineSet(vm, GSI, 1));
        assertOk(kernel.irqfdDeassign(vm, event, GSI));
        assertThat(world.ioapicLine(vm, GSI)).isTrue();
        assertOk(kernel.lineSet(vm, GSI, 0));
        assertThat(world.ioapicLine(vm, GSI)).isFalse();
    }

    @Test
    void deassignWithAnotherLeftKeepsTheLine() {
        int first = level(world.eventfd());
        int other = level(world.eventfd());
        raise(first);
        assertOk(kernel.irqfdDeassign(vm, first, GSI));
        assertThat(world.ioapicLine(vm, GSI)).isTrue();
        assertOk(kernel.irqfdDeassign(vm, other, GSI));
        assertThat(world.ioapicLine(vm, GSI)).isFalse();
    }

    @Test
    void plainIrqfdLeavesTheLineAsItIs() {
        int plain = world.eventfd();
        raise(level(world.eventfd()));
        assertOk(kernel.irqfdAssign(vm, plain, GSI));
        assertOk(kernel.eventfdSignal(plain, 1));
        assertOk(kernel.irqfdDeassign(vm, plain, GSI));
        assertThat(world.ioapicLine(vm, GSI)).isTrue();
    }

    // The end of the interrupt

    /** Pins of the IOAPIC alone: the PICs would interrupt the guest too. */
    private RealModeGuest guested() {
        routeToTheIoapic();
        return RealModeGuest.answering(world, vm);
    }

    private void routeToTheIoapic() {
        assertOk(world.setPinRoutes(vm, new PinRoute(GSI, IOAPIC, GSI, 0), new PinRoute(6, IOAPIC, 6, 0)));
        world.redirect(vm, GSI, LEVEL | VECTOR);
    }

    /**
     * The level interrupt of crosvm's broadcast_eoi. The host module kvm_pvm ends an interrupt when it injects it into
     * a real-mode guest.
     */
    @Test
    void resamplefdIsSilentUntilTheInterruptEndsThenFiresOnceAndTheLineDrops() {
        RealModeGuest guest = guested();
        raise(level(resample));
        assertThat(world.requested(guest.vcpu(), VECTOR)).isTrue();
        assertThat(world.redirection(vm, GSI) & REMOTE_IRR).isNotZero();
        assertThat(world.drain(resample)).isZero();
        guest.runTo(RealModeGuest.IN_SERVICE);
        boolean ended = !world.inService(guest.vcpu(), VECTOR);
        assertThat(ended).isEqualTo(world.isPvm());
        long fired = world.drain(resample);
        assertThat(fired).isEqualTo(ended ? 1 : 0);
        assertThat(world.ioapicLine(vm, GSI)).isEqualTo(!ended);
        guest.runTo(RealModeGuest.ENDED);
        assertThat(fired + world.drain(resample)).isEqualTo(1);
        assertThat(world.ioapicLine(vm, GSI)).isFalse();
        assertThat(world.redirection(vm, GSI) & REMOTE_IRR).isZero();
        assertThat(world.requested(guest.vcpu(), VECTOR)).isFalse();
    }

    /** With the split irqchip the guest exits for the EOI before it runs on: on kvm_pvm inside its handler. */
    @Test
    void splitIrqchipExitsForTheEoiBeforeTheGuestRunsOn() {
        int split = world.splitVm();
        assertOk(world.setMsiRoutes(split, new MsiRoute(GSI, MSI_ADDRESS, (int) LEVEL | VECTOR, 0)));
        int event = world.eventfd();
        assertOk(kernel.irqfdAssign(split, event, GSI));
        RealModeGuest guest = RealModeGuest.answering(world, split);
        for (int i = 0; i < 2; i++) {
            assertOk(kernel.eventfdSignal(event, 1));
            guest.runTo(RealModeGuest.IN_SERVICE);
            assertThat(world.inService(guest.vcpu(), VECTOR)).isEqualTo(!world.isPvm());
            guest.run(Uapi.KVM_EXIT_IOAPIC_EOI);
            assertThat(world.inService(guest.vcpu(), VECTOR)).isFalse();
            guest.runTo(RealModeGuest.ENDED);
        }
    }

    @Test
    void deviceThatStillWantsItGetsTheNextInterrupt() {
        RealModeGuest guest = guested();
        int event = level(resample);
        for (int i = 0; i < 3; i++) {
            raise(event);
            guest.answer();
            assertThat(world.drain(resample)).isEqualTo(1);
        }
    }

    /** A guest may program the pin as an edge. Its end is forwarded to the IOAPIC for the resamplefd alone. */
    @Test
    void endOfAnEdgeIsToldToo() {
        RealModeGuest guest = guested();
        world.redirect(vm, GSI, VECTOR);
        int event = level(resample);
        for (int i = 0; i < 3; i++) {
            assertOk(kernel.eventfdSignal(event, 1));
            eventually("the vector is requested", () -> world.requested(guest.vcpu(), VECTOR));
            guest.answer();
            assertThat(world.drain(resample)).isEqualTo(1);
        }
        assertOk(kernel.irqfdDeassign(vm, event, GSI));
        assertOk(kernel.lineSet(vm, GSI, 1));
        guest.answer();
        // The IOAPIC sends a pin that is high again if it hears of the end of a level interrupt.
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS, (int) LEVEL | VECTOR, 0, 0))
                .isOne();
        guest.answer();
        assertThat(world.requested(guest.vcpu(), VECTOR))
                .as("the last irqfd went: no end is forwarded")
                .isFalse();
    }

    @Test
    void signalsBeforeTheEndAreOneInterrupt() {
        RealModeGuest guest = guested();
        int event = level(resample);
        assertOk(kernel.eventfdSignal(event, 1));
        assertOk(kernel.eventfdSignal(event, 5));
        raise(event);
        guest.runTo(RealModeGuest.IN_SERVICE);
        // Deassigning another eventfd waits for all workers of irqfds that go, not of this one: a second one of it
        // does.
        int other = level(world.eventfd());
        assertOk(kernel.irqfdDeassign(vm, other, GSI));
        guest.runTo(RealModeGuest.ENDED);
        assertThat(world.drain(resample)).isEqualTo(1);
    }

    @Test
    void everyResamplefdOfTheGsiFires() {
        int shared = world.eventfd();
        int own = world.eventfd();
        RealModeGuest guest = guested();
        int event = level(shared);
        level(shared);
        level(own);
        raise(event);
        guest.answer();
        assertThat(world.drain(own)).isEqualTo(1);
        assertThat(world.drain(shared)).isEqualTo(2);
    }

    @Test
    void resamplefdFiresWhoeverRaisedTheLine() {
        RealModeGuest guest = guested();
        level(resample);
        assertOk(kernel.lineSet(vm, GSI, 1));
        assertOk(kernel.lineSet(vm, GSI, 0));
        guest.answer();
        assertThat(world.drain(resample)).isEqualTo(1);
    }

    @Test
    void lineThatUserspaceHoldsInterruptsAgainAtTheEoi() {
        RealModeGuest guest = guested();
        level(resample);
        assertOk(kernel.lineSet(vm, GSI, 1));
        guest.answer();
        assertThat(world.drain(resample)).isEqualTo(1);
        assertThat(world.redirection(vm, GSI) & REMOTE_IRR).isNotZero();
        assertOk(kernel.lineSet(vm, GSI, 0));
        guest.answer();
        assertThat(world.drain(resample)).isEqualTo(1);
    }

    /**
     * The delay is a hundredth of a second: a thread that is held up longer than that misses it, and looks at the next
     * one.
     */
    @Test
    void pinThatIsHighAtEachEndIsDelayedOnceInTenThousand() {
        RealModeGuest guest = guested();
        assertOk(kernel.lineSet(vm, GSI, 1));
        guest.answer();
        assertOk(kernel.lineSet(vm, GSI, 0));
        guest.answer();
        assertOk(kernel.lineSet(vm, GSI, 1));
        boolean delayed = false;
        for (int i = 1; !delayed && i <= 5 * STORM; i++) {
            guest.runTo(RealModeGuest.IN_SERVICE);
            delayed = isDelayed(guest, i);
            guest.runTo(RealModeGuest.ENDED);
            delayed |= isDelayed(guest, i);
        }
        assertThat(delayed).as("at the 10000th end after the pin was low").isTrue();
        guest.runTo(RealModeGuest.IN_SERVICE);
    }

    /** Whether the interrupt has ended and the pin, which is high, has not sent the next one. */
    private boolean isDelayed(RealModeGuest guest, int interrupts) {
        return interrupts % STORM == 0
                && (world.redirection(vm, GSI) & REMOTE_IRR) == 0
                && !world.requested(guest.vcpu(), VECTOR);
    }

    @Test
    void plainIrqfdsGetNoEoi() {
        int event = world.eventfd();
        RealModeGuest guest = guested();
        assertOk(kernel.irqfdAssign(vm, event, GSI));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the vector is requested", () -> world.requested(guest.vcpu(), VECTOR));
        guest.answer();
        assertThat(world.drain(event)).isZero();
        assertThat(world.ioapicLine(vm, GSI)).isFalse();
    }

    @Test
    void resamplefdOfAnotherGsiIsSilent() {
        int others = world.eventfd();
        RealModeGuest guest = guested();
        assertOk(kernel.irqfdAssignLevel(vm, world.eventfd(), others, 6));
        raise(level(resample));
        guest.answer();
        assertThat(world.drain(resample)).isEqualTo(1);
        assertThat(world.drain(others)).isZero();
    }

    /** When two GSIs feed one pin, the later one in the table gets its EOI. */
    @Test
    void pinBelongsToTheLastRouteOfTheTable() {
        int lower = world.eventfd();
        int higher = world.eventfd();
        RealModeGuest guest = guested();
        assertOk(kernel.irqfdAssignLevel(vm, world.eventfd(), lower, GSI));
        assertOk(kernel.irqfdAssignLevel(vm, world.eventfd(), higher, 30));
        assertOk(world.setPinRoutes(vm, new PinRoute(GSI, IOAPIC, GSI, 0), new PinRoute(30, IOAPIC, GSI, 0)));
        pulse(guest);
        assertThat(world.drain(lower)).isZero();
        assertThat(world.drain(higher)).isEqualTo(1);
        assertOk(world.setPinRoutes(vm, new PinRoute(30, IOAPIC, GSI, 0), new PinRoute(GSI, IOAPIC, GSI, 0)));
        pulse(guest);
        assertThat(world.drain(lower)).isEqualTo(1);
        assertThat(world.drain(higher)).isZero();
    }

    private void pulse(RealModeGuest guest) {
        assertOk(kernel.lineSet(vm, GSI, 1));
        assertOk(kernel.lineSet(vm, GSI, 0));
        guest.answer();
    }

    @Test
    void deassignedIrqfdHearsNothing() {
        RealModeGuest guest = guested();
        int event = level(resample);
        raise(event);
        assertOk(kernel.irqfdDeassign(vm, event, GSI));
        guest.answer();
        assertThat(world.drain(resample)).isZero();
        assertThat(world.ioapicLine(vm, GSI)).isFalse();
    }

    /** The kernel's own signals may fill a counter to the top, where a write may not. */
    @Test
    void notificationFillsTheCounterToTheTop() {
        assertOk(kernel.eventfdSignal(resample, -2));
        RealModeGuest guest = guested();
        raise(level(resample));
        guest.answer();
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(resample, 1));
        assertErrno(Errno.EAGAIN, kernel.eventfdSignal(resample, 0));
        assertThat(world.polled(resample)).isEqualTo(Uapi.POLLIN | Uapi.POLLERR);
        assertThat(world.drain(resample)).isEqualTo(-1);
        assertThat(world.polled(resample)).isZero();
    }

    /** The loop, once around and ended by the deassign. */
    @Test
    void eventfdThatIsItsOwnResamplefdInterruptsAgainAtEachEoi() {
        int event = world.eventfd();
        RealModeGuest guest = guested();
        assertOk(kernel.irqfdAssignLevel(vm, event, event, GSI));
        raise(event);
        for (int i = 0; i < 3; i++) {
            guest.answer();
            eventually("the pin is high again", () -> world.ioapicLine(vm, GSI));
        }
        assertOk(kernel.irqfdDeassign(vm, event, GSI));
        assertThat(world.ioapicLine(vm, GSI)).isFalse();
    }

    @Test
    void irqfdThatTheEndNotifiesIsRaisedByIt() {
        RealModeGuest guest = guested();
        assertOk(kernel.irqfdAssign(vm, resample, 6));
        world.redirect(vm, 6, 0x40);
        raise(level(resample));
        guest.answer();
        assertOk(kernel.irqfdDeassign(vm, resample, 6));
        assertThat(world.requested(guest.vcpu(), 0x40)).isTrue();
        assertThat(world.drain(resample)).isZero();
    }
}
