/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.Faults;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@RealKvm(fullIrqchip = true)
@Tag("newest")
class SelftestTest {
    private static final int INTERRUPT = 1;

    private final Kernel kernel = Kernel.open();
    private final long fdsBefore;

    SelftestTest() {
        kernel.device();
        fdsBefore = Machine.openFds();
    }

    @AfterEach
    void nothingIsLeft() {
        assertThat(Machine.openFds()).as("open descriptors").isEqualTo(fdsBefore);
        assertThat(Thread.getAllStackTraces().keySet()).as("threads").noneMatch(thread -> thread.getName()
                .startsWith("kvmirq-selftest"));
        kernel.close();
    }

    @ParameterizedTest
    @EnumSource
    void everyScenarioPasses(Scenario scenario) {
        Heard heard = new Heard();
        List<Result> results = new Selftest(kernel, Irqchip.FULL, 200, heard).run(List.of(scenario));
        assertThat(results).singleElement().satisfies(result -> {
            assertThat(result.failure()).isEmpty();
            assertThat(result.sent()).isPositive();
            assertThat(result.lost()).isZero();
        });
        assertThat(heard.steps()).hasSizeGreaterThan(2);
    }

    /** Many VMMs keep the pins to themselves: messages arrive all the same. */
    @Test
    void splitIrqchipDoesAllButPins() {
        List<Result> results = new Selftest(kernel, Irqchip.SPLIT, 50, new Heard()).run(List.of(Scenario.values()));
        assertThat(results).hasSize(Scenario.values().length).allSatisfy(result -> {
            assertThat(result.failure()).isEmpty();
            assertThat(result.skipped().isPresent()).isEqualTo(result.scenario() == Scenario.LEVEL);
            assertThat(result.passed()).isNotEqualTo(result.skipped().isPresent());
        });
    }

    @Test
    void edgeCountsAndTimesEachRoundTrip() {
        Result result = new Selftest(kernel, Irqchip.FULL, 500, new Heard())
                .run(List.of(Scenario.EDGE))
                .get(0);
        assertThat(result.sent()).isEqualTo(500);
        assertThat(result.latency()).hasValueSatisfying(latency -> {
            assertThat(latency.min()).isPositive().isLessThanOrEqualTo(latency.p50());
            assertThat(latency.p50()).isLessThanOrEqualTo(latency.p99());
            assertThat(latency.p99()).isLessThanOrEqualTo(latency.max());
        });
    }

    /** A kernel that refuses is a finding of that scenario; the next one runs, and nothing is left of the first. */
    @Test
    void refusalFailsOneScenarioOnly() {
        Kernel refusing = Kernel.over(new Faults()
                .fail("irqfdAssign", 1, Errno.EBUSY)
                .over(Backends.ofThisMachine().open("jni")));
        List<Result> results =
                new Selftest(refusing, Irqchip.FULL, 1, new Heard()).run(List.of(Scenario.EDGE, Scenario.MASK));
        assertThat(results.get(0).failure())
                .hasValueSatisfying(failure -> assertThat(failure).contains("gsi=24: EBUSY (this eventfd already"));
        assertThat(results.get(1).passed()).isTrue();
        refusing.close();
    }

    @Test
    void lostSignalIsFoundByTheScenario() {
        Kernel losing = Kernel.over(new Faults()
                .shorten("routesSet", 1, 0)
                .over(Backends.ofThisMachine().open("jni")));
        Result result = new Selftest(losing, Irqchip.FULL, 3, new Heard(), Duration.ofMillis(500))
                .run(List.of(Scenario.GUESTLESS))
                .get(0);
        assertThat(result.passed()).isFalse();
        assertThat(result.lost()).isEqualTo(1);
        losing.close();
    }

    @Test
    void lostInterruptIsFound() {
        RoundTrips tally = new RoundTrips();
        tally.count(3, 2);
        assertThatThrownBy(tally::requireNothingLost)
                .isInstanceOf(SelftestFailedException.class)
                .hasMessage("sent 3 interrupts, 2 arrived");
    }

    @Test
    void guestWithoutAnswerPortIsToldApart() throws InterruptedException {
        try (Guest guest = new Guest(kernel, Irqchip.FULL);
                EventFd interrupt = EventFd.create(kernel)) {
            Gsi gsi = guest.route(INTERRUPT);
            try (Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi)) {
                guest.boot();
                guest.release();
                irqfd.event().signal();
                while (guest.handled(INTERRUPT) == 0) {
                    Thread.onSpinWait();
                }
                guest.join();
                assertThatThrownBy(guest::requireAlive)
                        .hasMessage("the guest wrote to port 0x80, which has no ioeventfd: was it closed too early?");
            }
        }
    }

    @Test
    void guestStopsAtAnyMoment() {
        new Guest(kernel, Irqchip.FULL).close();
        Guest booted = new Guest(kernel, Irqchip.FULL);
        booted.boot();
        booted.close();
        Guest running = new Guest(kernel, Irqchip.FULL);
        running.boot();
        running.release();
        running.close();
        running.close();
    }

    @Test
    void stopEndsARunningTest() throws InterruptedException {
        Selftest selftest = new Selftest(kernel, Irqchip.FULL, 10_000_000, new Heard());
        List<Result> results = new ArrayList<>();
        Thread running = new Thread(() -> results.addAll(selftest.run(List.of(Scenario.EDGE, Scenario.LEVEL))));
        running.start();
        while (Thread.getAllStackTraces().keySet().stream()
                .noneMatch(thread -> thread.getName().startsWith("kvmirq-selftest"))) {
            Thread.onSpinWait();
        }
        selftest.stop();
        running.join();
        assertThat(results).isEmpty();
    }

    @Test
    void stopAtTheBeginningOfAScenarioRunsNothing() {
        Selftest[] selftest = new Selftest[1];
        SelftestListener stopping = new SelftestListener() {
            @Override
            public void begin(Scenario scenario) {
                selftest[0].stop();
            }

            @Override
            public void step(String done, String answer) {
                throw new AssertionError(done);
            }

            @Override
            public void end(Result result) {
                throw new AssertionError(result);
            }
        };
        selftest[0] = new Selftest(kernel, Irqchip.FULL, 10_000_000, stopping);
        assertThat(selftest[0].run(List.of(Scenario.EDGE))).isEmpty();
    }

    @Test
    void guestStoppedBeforeItBootsDoesNotBoot() {
        Guest guest = new Guest(kernel, Irqchip.FULL);
        guest.close();
        assertThatThrownBy(guest::boot).hasMessage("the self-test was stopped");
    }

    @Test
    void countBelowOneIsRefused() {
        assertThatThrownBy(() -> new Selftest(kernel, Irqchip.FULL, 0, new Heard()))
                .hasMessage("count 0 is out of range: expected at least 1 round trip");
    }

    @Test
    void roundTripAllocatesNothing() {
        try (Guest guest = new Guest(kernel, Irqchip.FULL);
                EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel)) {
            Gsi gsi = guest.route(INTERRUPT);
            try (Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                    IoEventFd ioEventFd =
                            guest.vm().assignIoEventFd(IoAddress.port(GuestCode.PORT_ANSWER, 1), answer)) {
                guest.boot();
                guest.release();
                Device device = new Device(irqfd.event(), ioEventFd.event(), Patience.USUAL);
                RoundTrips tally = new RoundTrips();
                flow(device, tally, 5000);
                assertThat(Allocations.leastOf(() -> flow(device, tally, 5000))).isZero();
            }
        }
    }

    private static void flow(Device device, RoundTrips tally, int rounds) {
        for (int i = 0; i < rounds; i++) {
            long start = System.nanoTime();
            if (!device.roundTrip()) {
                throw new AssertionError("lost");
            }
            tally.time(System.nanoTime() - start);
        }
    }
}
