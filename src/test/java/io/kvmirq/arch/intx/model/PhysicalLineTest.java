/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import io.kvmirq.arch.intx.model.PhysicalLine.Taken;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class PhysicalLineTest {
    private final PhysicalLine line = new PhysicalLine(LineController.GIC);
    private final IntxDevice device = new IntxDevice(line, Kind.PCI_2_3);
    private int runs;
    private Taken answer = Taken.NONE;
    private final int first = line.add(() -> {
        runs++;
        return answer;
    });
    private final int second = line.add(() -> Taken.NONE);

    private void take(int interrupts) {
        for (int i = 0; i < interrupts; i++) {
            line.take();
        }
    }

    @Test
    void interruptsWhileADeviceAssertsIt() {
        assertThat(line.request(first, true, true)).isTrue();
        assertThat(line.take()).isFalse();
        device.request();
        assertThat(line.isHigh()).isTrue();
        assertThat(line.isInterrupting()).isTrue();
        assertThat(line.take()).isTrue();
        assertThat(line.take()).isTrue();
        device.serve();
        assertThat(line.isHigh()).isFalse();
        assertThat(line.take()).isFalse();
        assertThat(runs).isEqualTo(2);
    }

    @Test
    void isHighWhileOneOfItsDevicesAssertsIt() {
        IntxDevice other = new IntxDevice(line, Kind.PCI);
        other.request();
        assertThat(line.isHigh()).isTrue();
        device.request();
        other.serve();
        assertThat(line.isHigh()).isTrue();
        device.disable(true);
        assertThat(device.isRequesting()).isTrue();
        assertThat(device.isAsserting()).isFalse();
        assertThat(line.isHigh()).isFalse();
    }

    @Test
    void interruptsNoCpuWithoutAHandler() {
        device.request();
        assertThat(line.isInterrupting()).isFalse();
        assertThat(line.take()).isFalse();
    }

    @ParameterizedTest
    @CsvSource({"true, true, true", "true, false, false", "false, true, false", "false, false, false"})
    void onlySharedRequestsShare(boolean shared, boolean other, boolean granted) {
        assertThat(line.request(first, shared, true)).isTrue();
        assertThat(line.request(second, other, true)).isEqualTo(granted);
        assertThat(line.handlers()).isEqualTo(granted ? 2 : 1);
    }

    @Test
    void freedLineIsGrantedToAnother() {
        line.request(first, false, true);
        line.free(first);
        assertThat(line.handlers()).isZero();
        assertThat(line.request(second, false, true)).isTrue();
    }

    @Test
    void refusedRequestChangesNothing() {
        line.request(first, true, true);
        line.disable();
        assertThat(line.request(second, false, true)).isFalse();
        assertThat(line.isDisabled()).isTrue();
        assertThat(line.request(second, true, true)).isTrue();
        assertThat(line.isDisabled()).isTrue();
    }

    @Test
    void disablesAreCounted() {
        line.request(first, true, true);
        device.request();
        line.disable();
        line.disable();
        line.enable();
        assertThat(line.isInterrupting()).isFalse();
        line.enable();
        assertThat(line.isInterrupting()).isTrue();
        assertIllegalState(line::enable, "the line is enabled already: disable it first");
        assertThat(line.isDisabled()).isFalse();
    }

    @Test
    void firstHandlerMayLeaveTheLineDisabled() {
        line.request(first, false, false);
        device.request();
        assertThat(line.take()).isFalse();
        line.enable();
        assertThat(line.take()).isTrue();
    }

    /** The first handler enables a line that the last one of before left disabled. */
    @Test
    void firstHandlerFindsTheLineEnabled() {
        line.request(first, true, true);
        line.disable();
        line.disable();
        line.free(first);
        line.request(second, true, true);
        assertThat(line.isDisabled()).isFalse();
    }

    @Test
    void forwardedInterruptStaysActiveUntilItIsDeactivated() {
        answer = Taken.DIRECT;
        line.request(first, true, true);
        device.request();
        assertThat(line.take()).isTrue();
        assertThat(line.isActive()).isTrue();
        assertThat(line.take()).isFalse();
        line.deactivate(first);
        assertThat(line.isActive()).isFalse();
        assertThat(line.take()).isTrue();
    }

    @Test
    void handledInterruptIsDeactivatedByTheHost() {
        answer = Taken.HANDLED;
        line.request(first, true, true);
        device.request();
        line.take();
        assertThat(line.isActive()).isFalse();
    }

    /** An IOAPIC ends the interrupt when the handlers return, so that the line interrupts again. */
    @Test
    void ioapicForwardsNothing() {
        PhysicalLine ioapic = new PhysicalLine(LineController.IOAPIC);
        IntxDevice asserting = new IntxDevice(ioapic, Kind.PCI);
        ioapic.request(ioapic.add(() -> Taken.DIRECT), false, true);
        asserting.request();
        for (int i = 0; i < 5; i++) {
            assertThat(ioapic.take()).isTrue();
        }
        assertThat(ioapic.isActive()).isFalse();
        assertThat(ioapic.controller()).isEqualTo(LineController.IOAPIC);
    }

    /** Disabled if 99 901 of 100 000 interrupts are unhandled, not if 99 900 are. A new handler resets both counts. */
    @ParameterizedTest
    @CsvSource({"99, true", "100, false"})
    void lineIsDisabledForAllIfNoHandlerCares(int handled, boolean stuck) {
        line.request(first, true, true);
        device.request();
        take(99_999);
        line.request(second, true, true);
        for (int i = 0; i < 100_000; i++) {
            assertThat(line.isStuck()).isFalse();
            // The first interrupt is unhandled, so that all are counted.
            answer = i > 0 && i <= handled ? Taken.HANDLED : Taken.NONE;
            line.take();
        }
        assertThat(line.isStuck()).isEqualTo(stuck);
        assertThat(line.isInterrupting()).isEqualTo(!stuck);
    }

    @Test
    void handledInterruptsBeforeTheFirstUnhandledOneAreNotCounted() {
        line.request(first, true, true);
        device.request();
        answer = Taken.HANDLED;
        take(1_000);
        answer = Taken.NONE;
        take(99_999);
        assertThat(line.isStuck()).isFalse();
        line.take();
        assertThat(line.isStuck()).isTrue();
    }

    @Test
    void nextRequestEnablesALineThatNoHandlerCaredFor() {
        line.request(first, true, true);
        device.request();
        take(100_000);
        assertThat(line.isStuck()).isTrue();
        assertThat(line.request(second, false, true)).isFalse();
        assertThat(line.isStuck()).isTrue();
        assertThat(line.request(second, true, true)).isTrue();
        assertThat(line.isStuck()).isFalse();
        for (int i = 0; i < 100_000; i++) {
            assertThat(line.take()).isTrue();
        }
        assertThat(line.isStuck()).isTrue();
    }

    /** Neither a line that works, nor an exclusive one, nor one without a handler. */
    @Test
    void onlyASharedLineThatIsStuckIsPolled() {
        assertThat(line.poll()).isFalse();
        line.request(first, false, true);
        device.request();
        assertThat(line.poll()).isFalse();
        take(100_000);
        assertThat(line.isStuck()).isTrue();
        assertThat(line.poll()).isFalse();
        line.free(first);
        assertThat(line.poll()).isFalse();
        line.request(first, true, true);
        take(100_000);
        runs = 0;
        assertThat(line.poll()).isTrue();
        assertThat(runs).isEqualTo(1);
        assertThat(line.isStuck()).isTrue();
    }

    @Test
    void lineWithoutADeviceIsNotRequested() {
        PhysicalLine empty = new PhysicalLine(LineController.GIC);
        int handler = empty.add(() -> Taken.NONE);
        assertIllegalState(
                () -> empty.request(handler, true, true),
                "the line has no device: connect one before a handler requests the line");
    }

    @ParameterizedTest
    @CsvSource({"-1", "2"})
    void unknownHandlerIsRefused(int handler) {
        String sentence = "handler " + handler + " does not exist: expected a number that add returned";
        assertIllegalArgument(() -> line.request(handler, true, true), sentence);
        assertIllegalArgument(() -> line.free(handler), sentence);
    }

    @ParameterizedTest
    @CsvSource({"true", "false"})
    void handlerRequestsAndFreesOnce(boolean shared) {
        assertIllegalState(() -> line.free(first), "handler 0 does not have the line: request it first");
        line.request(first, shared, true);
        assertIllegalState(() -> line.request(first, shared, true), "handler 0 has the line already: free it first");
        line.free(first);
        assertThat(line.request(first, shared, true)).isTrue();
    }

    @Test
    void lineHasAtMost64Handlers() {
        for (int i = 2; i < Long.SIZE; i++) {
            assertThat(line.add(() -> Taken.NONE)).isEqualTo(i);
        }
        assertIllegalState(() -> line.add(() -> Taken.NONE), "the line has 64 handlers already: use another line");
        assertThat(line.request(63, true, true)).isTrue();
    }

    @Test
    void removedHandlerGivesItsNumberBack() {
        line.request(first, true, true);
        assertIllegalState(() -> line.remove(first), "handler 0 has the line: free it first");
        line.free(first);
        line.remove(first);
        assertThatIllegalArgumentException().isThrownBy(() -> line.request(first, true, true));
        answer = Taken.NONE;
        assertThat(line.add(() -> Taken.DIRECT)).isEqualTo(first);
        line.request(first, true, true);
        device.request();
        line.take();
        assertThat(line.isActive()).as("the new handler ran").isTrue();
    }

    @ParameterizedTest
    @EnumSource(names = "PLATFORM", mode = EnumSource.Mode.EXCLUDE)
    void platformDeviceSharesNoLineWithPci(Kind kind) {
        PhysicalLine platform = new PhysicalLine(LineController.GIC);
        new IntxDevice(platform, Kind.PLATFORM);
        assertIllegalArgument(
                () -> new IntxDevice(platform, kind),
                "a device of kind " + kind
                        + " cannot share the line with one of kind PLATFORM: give platform devices a line of"
                        + " their own");
        assertThatIllegalArgumentException().isThrownBy(() -> new IntxDevice(line, Kind.PLATFORM));
    }

    @ParameterizedTest
    @EnumSource(names = "PCI_2_3", mode = EnumSource.Mode.EXCLUDE)
    void onlyPci23HasDisIntx(Kind kind) {
        IntxDevice old = new IntxDevice(new PhysicalLine(LineController.GIC), kind);
        assertThat(old.isDisabled()).isFalse();
        assertIllegalState(
                () -> old.disable(true),
                "a device of kind " + kind
                        + " has no DisINTx: expected PCI_2_3; mask the line at the interrupt controller");
    }
}
