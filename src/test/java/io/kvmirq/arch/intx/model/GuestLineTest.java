/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.kvmirq.arch.vcpu.HostCpus;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GuestLineTest {
    private static final int LINE = 5;

    private final IntxVcpu vcpu = new IntxVcpu(new HostCpus(0), 0);
    private final GuestLine line = GuestLine.of(vcpu, LINE, Optional.empty());
    private final List<String> events = new ArrayList<>();

    /** The guest exits, if it runs, and enters, which takes its interrupts. */
    private boolean take() {
        if (vcpu.isInGuest()) {
            vcpu.thread().exit();
        }
        vcpu.thread().load(0);
        vcpu.thread().enter();
        return vcpu.isInService(LINE);
    }

    @Test
    void irqfdIsInjectedByTheWorker() {
        line.signal();
        line.signal();
        assertThat(line.isRaised()).isTrue();
        assertThat(line.isHigh()).isFalse();
        line.inject();
        assertThat(line.isRaised()).isFalse();
        assertThat(line.isHigh()).isTrue();
        assertThat(vcpu.hasInterrupt()).isTrue();
        assertThat(take()).isTrue();
        assertThat(vcpu.hasInterrupt()).isFalse();
    }

    @Test
    void eoiLowersTheResamplingSourceThenSignalsEachResamplefd() {
        line.resampler().add(() -> events.add("first, high " + line.isHigh()));
        line.resampler().add(() -> events.add("second, high " + line.isHigh()));
        line.signal();
        line.inject();
        take();
        assertThat(events).isEmpty();
        vcpu.end(LINE);
        assertThat(events).containsExactly("first, high false", "second, high false");
        assertThat(vcpu.hasInterrupt()).isFalse();
    }

    /** Every EOI of the GSI signals, whatever raised it: a spurious unmask follows. */
    @Test
    void eoiOfAnotherSourceSignalsTheResamplefds() {
        line.resampler().add(() -> events.add("resampled"));
        line.set(PinSources.USERSPACE, true);
        take();
        line.set(PinSources.USERSPACE, false);
        vcpu.end(LINE);
        assertThat(events).containsExactly("resampled");
    }

    @Test
    void withoutAResamplefdTheSourceStaysHigh() {
        line.signal();
        line.inject();
        take();
        vcpu.end(LINE);
        assertThat(line.isHigh()).isTrue();
        assertThat(vcpu.hasInterrupt()).isTrue();
    }

    @Test
    void pinThatStaysHighInterruptsAgainAtEachEoi() {
        line.resampler().add(() -> events.add("resampled"));
        line.set(PinSources.USERSPACE, true);
        for (int i = 0; i < 3; i++) {
            assertThat(take()).isTrue();
            vcpu.end(LINE);
        }
        assertThat(events).hasSize(3);
        line.set(PinSources.USERSPACE, false);
        assertThat(take()).isTrue();
        vcpu.end(LINE);
        assertThat(take()).isFalse();
    }

    @Test
    void pinRequestsNothingBeforeTheEoi() {
        line.set(PinSources.USERSPACE, true);
        take();
        line.set(PinSources.USERSPACE, false);
        line.set(PinSources.USERSPACE, true);
        line.set(7, true);
        assertThat(vcpu.hasInterrupt()).isFalse();
    }

    /** A device that asserts again before the EOI ends raises the source anew, and the guest is interrupted again. */
    @Test
    void signalDuringTheEoiInterruptsAgain() {
        line.resampler().add(() -> {
            if (events.isEmpty()) {
                events.add("again");
                line.signal();
                line.inject();
            }
        });
        line.signal();
        line.inject();
        take();
        vcpu.end(LINE);
        assertThat(take()).isTrue();
        vcpu.end(LINE);
        assertThat(take()).isFalse();
    }

    @Test
    void lastResamplingIrqfdLowersTheSource() {
        Signal first = () -> {};
        Signal second = () -> {};
        assertThat(line.resampler().isEmpty()).isTrue();
        line.resampler().add(first);
        line.resampler().add(second);
        line.set(PinSources.RESAMPLE, true);
        assertThat(line.resampler().remove(first)).isFalse();
        assertThat(line.isHigh()).isTrue();
        assertThat(line.resampler().remove(second)).isTrue();
        assertThat(line.isHigh()).isFalse();
        assertThat(line.resampler().isEmpty()).isTrue();
    }

    /**
     * The last one lowers the source before another is added, whose interrupt would be lowered. An EOI lowers the
     * source and signals before an irqfd is removed and another is added.
     */
    @Test
    void sourceIsLoweredAndSignalledUnderTheLockOfTheResampler() {
        List<Resampler> held = new ArrayList<>();
        Resampler resampler = new Resampler(
                high -> held.stream().map(Thread::holdsLock).forEach(holds -> events.add(high + " " + holds)));
        held.add(resampler);
        Signal signal = () -> events.add("signalled " + Thread.holdsLock(held.get(0)));
        resampler.add(signal);
        resampler.acknowledge();
        assertThat(events).containsExactly("false true", "signalled true");
        resampler.remove(signal);
        assertThat(events).endsWith("false true").hasSize(3);
    }

    @Test
    void oneOfTwoEqualResamplingIrqfdsIsRemoved() {
        Signal twice = () -> events.add("resampled");
        line.resampler().add(twice);
        line.resampler().add(twice);
        assertThat(line.resampler().remove(twice)).isFalse();
        line.resampler().acknowledge();
        assertThat(events).hasSize(1);
        assertThat(line.resampler().remove(twice)).isTrue();
    }

    @Test
    void removedResamplingIrqfdIsNotSignalled() {
        Signal first = () -> events.add("first");
        line.resampler().add(first);
        line.resampler().add(() -> events.add("second"));
        line.resampler().remove(first);
        line.signal();
        line.inject();
        take();
        vcpu.end(LINE);
        assertThat(events).containsExactly("second");
    }

    @Test
    void interruptWakesAVcpuThatSleeps() {
        vcpu.thread().load(0);
        assertThat(vcpu.thread().block(true)).isTrue();
        line.set(PinSources.USERSPACE, true);
        assertThat(vcpu.thread().isAsleep()).isFalse();
        vcpu.thread().load(0);
        vcpu.thread().unblock();
        assertThat(take()).isTrue();
    }

    @Test
    void vcpuWithAnInterruptDoesNotSleep() {
        vcpu.thread().load(0);
        line.set(PinSources.USERSPACE, true);
        assertThat(vcpu.thread().block(true)).isFalse();
    }

    @Test
    void interruptKicksAVcpuOutOfItsGuest() {
        vcpu.thread().load(0);
        vcpu.thread().enter();
        line.set(PinSources.USERSPACE, true);
        assertThat(vcpu.thread().isInGuestMode()).isFalse();
    }

    // Mapped

    private final PhysicalLine physical = new PhysicalLine(LineController.GIC);
    private final IntxDevice device = new IntxDevice(physical, IntxDevice.Kind.PLATFORM);
    private final VfioIntx vfio = VfioIntx.create(device, false);
    private final GuestLine mapped = GuestLine.of(vcpu, LINE + 1, Optional.of(vfio));

    private void forward() {
        vfio.chooseDirect(mapped::signalMapped);
        vfio.enable(() -> {});
        device.request();
        physical.take();
    }

    @Test
    void eoiOfAMappedInterruptDeactivatesThePhysicalOne() {
        forward();
        mapped.inject();
        take();
        assertThat(vcpu.isInService(LINE + 1)).isTrue();
        assertThat(physical.isActive()).isTrue();
        device.serve();
        vcpu.end(LINE + 1);
        assertThat(physical.isActive()).isFalse();
        assertThat(mapped.isHigh()).isFalse();
        assertThat(vcpu.hasInterrupt()).isFalse();
    }

    /** The pin stays closed until both are done: an interrupt that comes meanwhile waits. */
    @Test
    void eoiDeactivatesThenResamplesThenOpensThePin() {
        mapped.resampler().add(() -> {
            mapped.signal();
            mapped.inject();
            events.add("active " + physical.isActive() + ", requested " + vcpu.hasInterrupt());
        });
        forward();
        mapped.inject();
        take();
        vcpu.end(LINE + 1);
        assertThat(events).containsExactly("active false, requested false");
        assertThat(vcpu.hasInterrupt()).isTrue();
    }

    @Test
    void eoiOfAnotherInterruptOfThePinDeactivatesNothing() {
        mapped.set(PinSources.USERSPACE, true);
        take();
        mapped.set(PinSources.USERSPACE, false);
        forward();
        mapped.inject();
        vcpu.end(LINE + 1);
        assertThat(physical.isActive()).isTrue();
        take();
        vcpu.end(LINE + 1);
        assertThat(physical.isActive()).isFalse();
    }

    /** Before the worker, before the guest took it, and before its EOI. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void goneVmLeavesNoInterruptActive(int when) {
        forward();
        if (when > 0) {
            mapped.inject();
        }
        if (when > 1) {
            take();
        }
        mapped.destroy();
        assertThat(physical.isActive()).isFalse();
        assertThat(mapped.isRaised()).isFalse();
    }

    @Test
    void goneVmDeactivatesNoInterruptOfAnother() {
        forward();
        line.destroy();
        GuestLine.of(vcpu, LINE + 2, Optional.of(vfio)).destroy();
        assertThat(physical.isActive()).isTrue();
    }

    @Test
    void mappedInterruptThatWaitsBehindAnotherIsDeactivatedWithTheVm() {
        mapped.set(PinSources.USERSPACE, true);
        forward();
        mapped.inject();
        mapped.destroy();
        assertThat(physical.isActive()).isFalse();
        assertThat(mapped.isHigh()).isTrue();
    }

    /** The worker holds the signal when the VM ends, or the handler signals after it. */
    @Test
    void interruptThatComesAfterTheVmIsGoneIsDeactivated() {
        mapped.destroy();
        forward();
        mapped.inject();
        assertThat(physical.isActive()).isFalse();
        assertThat(mapped.isHigh()).isFalse();
    }

    // Bad input

    @ParameterizedTest
    @ValueSource(ints = {-1, GuestLine.PHYSICAL, 64})
    void refusedSourceGivesTheLockBack(int source) {
        assertIllegalArgument(
                () -> line.set(source, true), "source " + source + " is not for callers: expected 0, 1 or 3-63");
        line.set(PinSources.USERSPACE, true);
        assertThat(line.isHigh()).isTrue();
    }

    @Test
    void negativeNumberOfPinsIsRefused() {
        assertIllegalArgument(() -> new PinSources(-1), "-1 pins are out of range: expected 0 or more");
    }

    @Test
    void directEoiNeedsAPhysicalLine() {
        assertIllegalState(line::signalMapped, "line 5 has no device: give it one for direct EOI");
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 64})
    void lineNumberOutOfRangeIsRefused(int number) {
        String sentence = "line " + number + " is out of range: expected 0-63";
        assertIllegalArgument(() -> GuestLine.of(vcpu, number, Optional.empty()), sentence);
        assertIllegalArgument(() -> vcpu.isInService(number), sentence);
        assertIllegalArgument(() -> vcpu.end(number), sentence);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 63})
    void lineNumbersReach63(int number) {
        GuestLine other = GuestLine.of(vcpu, number, Optional.empty());
        other.set(PinSources.USERSPACE, true);
        take();
        assertThat(vcpu.isInService(number)).isTrue();
    }

    @Test
    void lineNumberIsUsedOnce() {
        assertIllegalArgument(
                () -> GuestLine.of(vcpu, LINE, Optional.empty()), "vCPU 0 has a line 5 already: use another number");
    }

    /** Neither a guest that has exited nor one whose thread was preempted or sleeps. */
    @Test
    void onlyAGuestThatRunsEndsAnInterrupt() {
        line.set(PinSources.USERSPACE, true);
        take();
        line.set(PinSources.USERSPACE, false);
        vcpu.thread().exit();
        assertIllegalState(() -> vcpu.end(LINE), "the guest of vCPU 0 does not run: the vCPU has to enter first");
        vcpu.thread().preempt();
        assertThatIllegalStateException().isThrownBy(() -> vcpu.end(LINE));
        assertThat(vcpu.isInService(LINE)).isTrue();
        take();
        vcpu.thread().kick();
        vcpu.end(LINE);
        assertThat(vcpu.isInService(LINE)).isFalse();
    }

    @Test
    void onlyAnInterruptInServiceEnds() {
        take();
        assertIllegalState(
                () -> vcpu.end(LINE),
                "line 5 of vCPU 0 is not in service: the guest ends an interrupt only after it has taken it");
        assertIllegalArgument(() -> vcpu.end(LINE + 10), "vCPU 0 has no line 15: connect one first");
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 24})
    void pinOutOfRangeIsRefused(int pin) {
        PinSources pins = new PinSources(24);
        String sentence = "pin " + pin + " is out of range: expected 0-23";
        assertIllegalArgument(() -> pins.set(pin, 0, true), sentence);
        assertIllegalArgument(() -> pins.isHigh(pin), sentence);
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 64})
    void sourceOutOfRangeIsRefused(int source) {
        assertIllegalArgument(
                () -> new PinSources(1).set(0, source, true), "source " + source + " is out of range: expected 0-63");
    }

    @Test
    void pinIsHighWhileASourceIs() {
        PinSources pins = new PinSources(24);
        assertThat(pins.set(23, 0, false)).isFalse();
        assertThat(pins.set(23, 0, true)).isTrue();
        assertThat(pins.set(23, 63, true)).isTrue();
        assertThat(pins.isHigh(22)).isFalse();
        assertThat(pins.set(23, 0, false)).isTrue();
        assertThat(pins.isHigh(23)).isTrue();
        assertThat(pins.set(23, 63, false)).isFalse();
        assertThat(pins.isHigh(23)).isFalse();
    }

    @Test
    void eventKeepsOneSignalForItsListener() {
        LineEvent event = new LineEvent();
        event.signal();
        event.signal();
        event.listen(() -> events.add("signalled"));
        assertThat(events).hasSize(1);
        event.listen(() -> events.add("signalled"));
        assertThat(events).hasSize(1);
        event.signal();
        assertThat(events).hasSize(2);
        event.unlisten();
        event.signal();
        assertThat(events).hasSize(2);
        assertThat(event.isSignalled()).isTrue();
    }
}
