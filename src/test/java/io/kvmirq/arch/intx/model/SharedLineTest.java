/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Two devices, each of a VM, on one line: what starves and what conflicts, with exact counts. */
class SharedLineTest {
    private static final int ROUNDS = 1_000;

    private final PhysicalLine line = new PhysicalLine(LineController.GIC);
    private final Guest a = new Guest(line, Kind.PCI_2_3);
    private final Guest b = new Guest(line, Kind.PCI_2_3);

    @Test
    void autoMaskServesBothDevicesOnce() {
        assertThat(a.start()).isTrue();
        assertThat(b.start()).isTrue();
        for (int i = 0; i < ROUNDS; i++) {
            a.device.request();
            b.device.request();
            a.run();
            b.run();
        }
        assertThat(a.served).isEqualTo(ROUNDS);
        assertThat(b.served).isEqualTo(ROUNDS);
        assertThat(a.spurious + b.spurious).isZero();
        assertThat(line.isHigh()).isFalse();
    }

    /**
     * In each round A requests, the host takes it, B requests, and B's guest runs. A's vCPU runs in each {@code
     * roundsOfA}th round; 0 is never.
     */
    private void play(int roundsOfA) {
        for (int i = 1; i <= ROUNDS; i++) {
            a.device.request();
            a.host();
            b.device.request();
            b.run();
            if (roundsOfA > 0 && i % roundsOfA == 0) {
                a.run();
            }
            b.run();
        }
    }

    @ParameterizedTest
    @CsvSource({"0", "1", "10"})
    void autoMaskServesBHoweverLateAIs(int roundsOfA) {
        a.start();
        b.start();
        play(roundsOfA);
        assertThat(b.served).isEqualTo(ROUNDS);
        assertThat(b.spurious).isZero();
        assertThat(a.served).isEqualTo(roundsOfA == 0 ? 0 : ROUNDS / roundsOfA);
    }

    /** B is served once for each EOI of A: not at all while A's vCPU is stopped. */
    @ParameterizedTest
    @CsvSource({"0, 0", "1, 1000", "10, 100", "100, 10"})
    void directEoiOfAStarvesB(int roundsOfA, int served) {
        a.startDirect();
        b.start();
        play(roundsOfA);
        assertThat(b.served).isEqualTo(served);
        assertThat(b.device.isRequesting()).isEqualTo(roundsOfA == 0);
    }

    /** The handler of direct EOI does not ask whose interrupt it is. */
    @Test
    void directEoiOfATakesTheInterruptsOfB() {
        a.startDirect();
        b.start();
        for (int i = 0; i < ROUNDS; i++) {
            b.device.request();
            b.run();
            a.run();
        }
        assertThat(b.served).isEqualTo(ROUNDS);
        assertThat(a.served).isZero();
        assertThat(a.spurious).isEqualTo(ROUNDS);
    }

    @ParameterizedTest
    @EnumSource
    void directEoiOnALineOfItsOwnServesEachRequestOnce(Kind kind) {
        Guest alone = new Guest(new PhysicalLine(LineController.GIC), kind);
        assertThat(alone.startDirect()).isTrue();
        for (int i = 0; i < ROUNDS; i++) {
            alone.device.request();
            alone.run();
            assertThat(alone.vfio.isMasked()).isFalse();
        }
        assertThat(alone.served).isEqualTo(ROUNDS);
        assertThat(alone.spurious).isZero();
    }

    /** A's VM ends before its EOI. The close of the device deactivates the interrupt; only then B is served. */
    @Test
    void killedVmFreesTheLine() {
        a.startDirect();
        b.start();
        a.device.request();
        a.host();
        b.device.request();
        b.run();
        assertThat(b.served).isZero();
        a.vfio.close();
        b.run();
        assertThat(b.served).isEqualTo(1);
        assertThat(line.isHigh()).isFalse();
    }

    @Test
    void guestThatIsTornDownFreesTheLineToo() {
        a.startDirect();
        b.start();
        a.device.request();
        a.host();
        a.take();
        b.device.request();
        a.line.destroy();
        assertThat(line.isInterrupting()).isTrue();
    }

    private void bothForward() {
        a.startDirect();
        b.startDirect();
        a.device.request();
        b.device.request();
        line.take();
        a.line.inject();
        b.line.inject();
        assertThat(a.take()).isTrue();
        assertThat(b.take()).isTrue();
    }

    /** Both VMs wait for the EOI of one interrupt. A's teardown, in any order, leaves it active for B. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void goneVmLeavesTheInterruptActiveForAnother(boolean closesFirst) {
        bothForward();
        if (closesFirst) {
            a.vfio.close();
        }
        a.line.destroy();
        a.vfio.close();
        assertThat(line.isActive()).isTrue();
        b.end();
        assertThat(line.isActive()).isFalse();
        assertThat(b.served).isEqualTo(1);
    }

    @Test
    void eoiOfOneOfTwoGuestsDeactivatesTheInterrupt() {
        bothForward();
        a.end();
        assertThat(line.isActive()).isFalse();
        b.end();
        b.run();
        assertThat(b.served).isEqualTo(1);
        assertThat(line.isHigh()).isFalse();
    }

    /** A's guest ends its interrupt after A's device is closed, while B's guest has one in service. */
    @Test
    void lateEoiDoesNotEndTheNextInterrupt() {
        a.startDirect();
        b.startDirect();
        a.device.request();
        line.take();
        a.line.inject();
        a.take();
        a.vfio.close();
        b.device.request();
        b.host();
        b.take();
        a.vcpu.end(Guest.LINE);
        assertThat(line.isActive()).isTrue();
        b.end();
        assertThat(line.isActive()).isFalse();
    }

    /** B interrupts while A's user masks A: A's handler of direct EOI signals nothing. */
    @Test
    void maskedDeviceWithDirectEoiIsNotSignalledForAnother() {
        a.startDirect();
        b.start();
        a.vfio.mask();
        b.device.request();
        line.take();
        assertThat(a.line.isRaised()).isFalse();
        assertThat(line.isActive()).isFalse();
        b.run();
        assertThat(b.served).isEqualTo(1);
    }

    /**
     * A's handler is gone and A still asserts: no handler claims the interrupts, and B's line is disabled too. A timer
     * polls the handlers ten times a second, which serves B at each poll.
     */
    @Test
    void deviceThatNoHandlerClaimsDisablesTheLineForAll() {
        a.start();
        b.start();
        a.vfio.disable();
        a.device.request();
        int interrupts = 0;
        while (line.take()) {
            interrupts++;
        }
        assertThat(interrupts).isEqualTo(100_000);
        assertThat(line.isStuck()).isTrue();
        b.device.request();
        b.run();
        assertThat(b.served).isZero();
        a.vfio.close();
        b.run();
        assertThat(b.served).isZero();
        for (int i = 1; i <= 3; i++) {
            assertThat(line.poll()).isTrue();
            b.run();
            assertThat(b.served).isEqualTo(i);
            b.device.request();
            b.run();
            assertThat(b.served).isEqualTo(i);
        }
        assertThat(line.isStuck()).isTrue();
    }

    /** A poll of a line with direct EOI: the guest's EOI has no interrupt to deactivate. */
    @Test
    void pollKeepsNoInterruptActive() {
        a.start();
        b.device.request();
        for (int i = 0; i < 100_000; i++) {
            line.take();
        }
        assertThat(line.isStuck()).isTrue();
        a.vfio.chooseDirect(a.line::signalMapped);
        assertThat(line.poll()).isTrue();
        assertThat(line.isActive()).isFalse();
        a.run();
        assertThat(a.spurious).isEqualTo(1);
    }

    /** A requests service while it uses MSI: its pin stays low, and B is served. */
    @Test
    void deviceThatUsesMessagesLeavesTheLineToOthers() {
        a.start();
        b.start();
        a.vfio.disable();
        a.vfio.enableMessages(InterruptMode.MSI);
        a.device.request();
        b.device.request();
        b.run();
        assertThat(b.served).isEqualTo(1);
        assertThat(line.isInterrupting()).isFalse();
        a.vfio.disableMessages();
        a.start();
        a.run();
        assertThat(a.served).isEqualTo(1);
    }

    // Exclusive

    private static boolean startExclusive(Guest guest) {
        return guest.vfio.enableExclusive(guest.line::signal) && guest.vfio.setUnmaskEvent(guest.resamplefd);
    }

    /** Two VMs race: the first to enable INTx runs, whichever it is. */
    @ParameterizedTest
    @CsvSource({"true", "false"})
    void onlyTheFirstVmGetsAnExclusiveLine(boolean aFirst) {
        Guest first = aFirst ? a : b;
        Guest second = aFirst ? b : a;
        assertThat(startExclusive(first)).isTrue();
        assertThat(startExclusive(second)).isFalse();
        assertThat(second.vfio.mode()).isEqualTo(InterruptMode.NONE);
        assertThat(second.start()).isFalse();
        first.device.request();
        first.run();
        assertThat(first.served).isEqualTo(1);
    }

    /** A switches to MSI and frees the line, B takes it, and A fails when it boots again with INTx. */
    @Test
    void vmOnMsiFailsAtItsNextReboot() {
        assertThat(startExclusive(a)).isTrue();
        a.vfio.disable();
        a.vfio.enableMessages(InterruptMode.MSI);
        assertThat(startExclusive(b)).isTrue();
        a.vfio.disableMessages();
        assertThat(startExclusive(a)).isFalse();
        assertThat(a.start()).isFalse();
        b.vfio.disable();
        assertThat(startExclusive(a)).isTrue();
    }

    /** One VM has both devices: the second one never gets an interrupt. */
    @Test
    void vmWithTwoDevicesOnTheLineCannotStart() {
        GuestLine second = GuestLine.of(a.vcpu, Guest.LINE + 1, Optional.of(b.vfio));
        assertThat(startExclusive(a)).isTrue();
        assertThat(b.vfio.enableExclusive(second::signal)).isFalse();
    }

    /** Without direct EOI all share: each of the three works. */
    @Test
    void sharedFallbackHasNoConflict() {
        assertThat(startExclusive(a)).isTrue();
        assertThat(b.start()).isFalse();
        a.vfio.disable();
        assertThat(a.start()).isTrue();
        a.vfio.disable();
        a.vfio.enableMessages(InterruptMode.MSI);
        assertThat(b.start()).isTrue();
        a.vfio.disableMessages();
        assertThat(a.start()).isTrue();
        Guest third = new Guest(line, Kind.PCI_2_3);
        assertThat(third.start()).isTrue();
        play(1);
        assertThat(b.served).isEqualTo(ROUNDS);
    }

    // Resampling

    @Test
    void spuriousUnmaskIsTolerated() {
        a.start();
        for (int i = 0; i < ROUNDS; i++) {
            a.resamplefd.signal();
        }
        a.device.request();
        a.resamplefd.signal();
        a.run();
        assertThat(a.served).isEqualTo(1);
        a.device.request();
        a.host();
        a.resamplefd.signal();
        a.run();
        assertThat(a.served).isEqualTo(2);
        assertThat(a.vfio.isMasked()).isFalse();
    }

    /** Each EOI signals both resamplefds: A's EOI unmasks B too, which stays masked and signals again. */
    @Test
    void twoResamplersOfOneGsiUnmaskEachOther() {
        a.start();
        assertThat(b.vfio.enable(a.line::signal)).isTrue();
        b.vfio.setUnmaskEvent(b.resamplefd);
        a.line.resampler().add(b.resamplefd);
        a.device.request();
        b.device.request();
        a.host();
        a.take();
        a.end();
        assertThat(a.vfio.isMasked()).isFalse();
        assertThat(b.vfio.isMasked()).isTrue();
        b.device.serve();
        a.run();
        assertThat(b.vfio.isMasked()).isFalse();
    }

    /** The guest serves nothing: VFIO signals it again at each EOI, and the device is not forgotten. */
    @Test
    void lineThatStaysHighInterruptsTheGuestAtEachEoi() {
        a.start();
        a.device.request();
        a.host();
        for (int i = 0; i < ROUNDS; i++) {
            assertThat(a.take()).isTrue();
            a.vcpu.end(Guest.LINE);
            a.host();
        }
        a.run();
        assertThat(a.served).isEqualTo(1);
        assertThat(a.take()).isFalse();
        assertThat(a.vfio.isMasked()).isFalse();
    }

    @ParameterizedTest
    @EnumSource
    void handlerIsSwitchedWhileTheDeviceWorks(Kind kind) {
        Guest alone = new Guest(new PhysicalLine(LineController.GIC), kind);
        alone.start();
        for (int i = 0; i < ROUNDS; i++) {
            alone.device.request();
            if (i % 3 == 0) {
                alone.host();
            }
            if (alone.vfio.isDirect()) {
                alone.vfio.chooseAutoMask();
            } else {
                alone.vfio.chooseDirect(alone.line::signalMapped);
            }
            alone.run();
        }
        assertThat(alone.served).isEqualTo(ROUNDS);
        assertThat(alone.spurious).isZero();
    }
}
