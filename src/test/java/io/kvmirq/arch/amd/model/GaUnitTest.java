/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.Golden;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import java.io.IOException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GaUnitTest {
    private static final int LOG_VECTOR = 0x55;

    private final HostCpu cpu;
    private final AvicVm vm;
    private final GaUnit unit;

    GaUnitTest() {
        HostCpus host = new HostCpus(5, 7);
        cpu = host.cpu(0);
        AvicHost avic = new AvicHost(host, AvicKernel.FROM_6_17, true);
        unit = new GaUnit(avic, new GaUnit.Setup(2, 3, LOG_VECTOR, true, true));
        vm = new AvicVm(avic, 4, 2, 0x1000);
    }

    @BeforeEach
    void set() {
        unit.set(0, 0x301, 0x22, 0x4100, true);
    }

    /** Posted to a vCPU that blocks. */
    private AvicVcpu sleeper(int index) {
        AvicVcpu vcpu = vm.vcpu(index);
        vcpu.thread().load(0);
        vcpu.thread().block(true);
        vm.irqfd(unit, 0).post(vcpu, new InterruptVector(0x41));
        return vcpu;
    }

    @Test
    void unitSendsTheHostInterruptOfARemappedEntry() {
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.REMAPPED);
        assertThat(unit.request(1)).isEqualTo(GaUnit.Outcome.BLOCKED);
    }

    /** The entry of an interrupt that is freed, or given to another device, is not used from the cache. */
    @Test
    void entryThatIsSetAgainIsInvalidated() {
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.REMAPPED);
        unit.set(0, 0, 0, 0x4100, false);
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.BLOCKED);
    }

    @Test
    void logEntryNamesVcpuAndDevice() throws IOException {
        sleeper(3);
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.LOGGED);
        assertThat(unit.log().words.get(unit.log().at(GaLogRing.ENTRIES)))
                .isEqualTo(Golden.named("galog-01").array()[0]);
    }

    @ParameterizedTest
    @ValueSource(strings = {"galog-01", "galog-02", "galog-04", "galog-05"})
    void pollerTakesEntriesOfGuestsThatDoNotRun(String golden) throws IOException {
        AvicVcpu vcpu = sleeper(3);
        GaLogRing log = unit.log();
        log.words.set(log.at(GaLogRing.ENTRIES), Golden.named(golden).array()[0]);
        log.words.set(log.at(GaLogRing.TAIL), 1);
        log.poll();
        assertThat(vcpu.thread().isAsleep()).isNotEqualTo(golden.equals("galog-01"));
        assertThat(log.words.get(log.at(GaLogRing.HEAD))).isEqualTo(1);
    }

    @Test
    void fullLogDropsEntriesUntilItIsRestarted() {
        AvicVcpu vcpu = sleeper(0);
        for (int round = 0; round < 3; round++) {
            assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.LOGGED);
            assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.LOGGED);
            assertThat(unit.log().isOverflown()).isFalse();
            assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.OVERFLOW);
            assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.OVERFLOW);
            assertThat(unit.log().isOverflown()).isTrue();
            cpu.takeInterrupt();
            assertThat(vcpu.thread().isAsleep()).isFalse();
            assertThat(unit.log().isOverflown()).isFalse();
        }
    }

    /** The unit stops logging at an overflow, also if there is room again, until Linux restarts the log. */
    @Test
    void roomWithoutARestartLogsNothing() {
        sleeper(0);
        for (int i = 0; i < 3; i++) {
            unit.request(0);
        }
        unit.log().poll();
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.OVERFLOW);
        cpu.takeInterrupt();
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.LOGGED);
    }

    /** The handler clears the bit before it takes entries. An overflow between the two stops the log until it is handled. */
    @Test
    void overflowWhileTheLogIsHandledInterruptsAnew() {
        sleeper(0);
        unit.request(0);
        unit.request(0);
        unit.log().clearInterrupt();
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.OVERFLOW);
        assertThat(unit.log().clearInterrupt() & GaLogRing.INTERRUPT).isEqualTo(GaLogRing.INTERRUPT);
    }

    @Test
    void oneInterruptIsSentForAllEntriesUntilItIsHandled() {
        sleeper(0);
        unit.request(0);
        assertThat(cpu.isInterrupted()).isTrue();
        cpu.takeInterrupt();
        assertThat(cpu.isInterrupted()).isFalse();
        unit.request(0);
        assertThat(cpu.isInterrupted()).isTrue();
    }

    /** The fields that need an invalidation are those of the cached copy; the others are those of memory. */
    @Test
    void cachedCopyIsUsedUntilTheInvalidation() {
        AvicVcpu first = sleeper(0);
        unit.request(0);
        long low = unit.low(0);
        long high = unit.high(0);
        AvicVcpu second = sleeper(1);
        // As between the write of the new entry and its invalidation.
        unit.log().words.set(unit.at(0, GaUnit.CACHED_LOW), low);
        unit.log().words.set(unit.at(0, GaUnit.CACHED_HIGH), high);
        cpu.takeInterrupt();
        unit.request(0);
        cpu.takeInterrupt();
        assertThat(second.hasInterrupt()).isFalse();
        assertThat(second.thread().isAsleep()).isFalse();
        assertThat(first.hasInterrupt()).isTrue();
    }

    @Test
    void invalidPageBlocksTheRequest() {
        sleeper(0);
        vm.destroy();
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.BLOCKED);
    }

    @Test
    void pageBehindTheLastOneOfAVmIsOfTheNextVm() {
        AvicVm next = new AvicVm(vm.avic(), 1, 1, 0x5000);
        next.irqfd(unit, 0).post(next.vcpu(0), new InterruptVector(0x41));
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.SILENT);
        assertThat(next.vcpu(0).hasInterrupt()).isTrue();
        next.destroy();
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.BLOCKED);
    }

    @Test
    void validIsKept() {
        unit.set(0, 0x300, 0x22, 0x4100, true);
        AvicIrqfd irqfd = vm.irqfd(unit, 0);
        irqfd.post(vm.vcpu(0), new InterruptVector(0x41));
        assertThat(LegacyIrte.VALID.isSet(unit.low(0))).isFalse();
        assertThat(unit.request(0)).isEqualTo(GaUnit.Outcome.BLOCKED);
        irqfd.unpost();
        assertThat(unit.low(0)).isEqualTo(0x300);
    }

    @Test
    void remappedEntryIsNotUpdated() {
        unit.update(0, 7, true);
        assertThat(unit.low(0)).isEqualTo(0x301);
    }

    @Test
    void argumentsAreChecked() {
        assertIllegalArgument(() -> unit.request(2), "entry 2 does not exist: expected 0-1, as the table was created");
        assertThatIllegalArgumentException().isThrownBy(() -> unit.low(-1));
        assertIllegalArgument(
                () -> unit.set(0, 0x381, 0x22, 0, true), "entry 0 is in guest mode: expected bit 7 to be 0");
        assertThatIllegalArgumentException().isThrownBy(() -> unit.set(0, 1, 0, 0x10000, true));
        AvicHost avic = new AvicHost(new HostCpus(0), AvicKernel.FROM_6_17, true);
        assertIllegalArgument(
                () -> new GaUnit(avic, new GaUnit.Setup(1, 1, LOG_VECTOR, true, true)),
                "a GA log of 1 entries is too small: expected 2 or more");
    }
}
