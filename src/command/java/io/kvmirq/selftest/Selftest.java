/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.kernel.Kernel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Runs scenarios, each on its own VM. One thread calls {@link #run}. Any thread may call {@link #stop}, for example a
 * shutdown hook.
 */
public final class Selftest {
    private static final String NO_PINS = "a split irqchip has no in-kernel pins";

    private final Kernel kernel;
    private final Irqchip irqchip;
    private final int count;
    private final SelftestListener journal;
    private final Patience patience;
    private final AtomicReference<@Nullable Guest> running = new AtomicReference<>();
    private volatile boolean stopped;

    /** @param count the round trips of each scenario that repeats them, at least 1 */
    public Selftest(Kernel kernel, Irqchip irqchip, int count, SelftestListener journal) {
        this(kernel, irqchip, count, journal, Patience.USUAL.time());
    }

    Selftest(Kernel kernel, Irqchip irqchip, int count, SelftestListener journal, Duration patience) {
        if (count < 1) {
            throw new IllegalArgumentException("count " + count + " is out of range: expected at least 1 round trip");
        }
        this.kernel = kernel;
        this.irqchip = irqchip;
        this.count = count;
        this.journal = journal;
        this.patience = new Patience(patience, this::isOver);
    }

    private boolean isOver() {
        @Nullable Guest guest = running.get();
        return stopped || guest != null && guest.isDead();
    }

    /**
     * Runs the scenarios in order. A failure does not end the run; only {@link #stop} does.
     *
     * @throws CouldNotRunException for a scenario that a limit of this process ended, or a failure of Java
     */
    public List<Result> run(List<Scenario> scenarios) {
        List<Result> results = new ArrayList<>();
        for (Scenario scenario : scenarios) {
            if (stopped) {
                break;
            }
            journal.begin(scenario);
            Result result = scenario.needsPins() && irqchip == Irqchip.SPLIT
                    ? Result.skipped(scenario, NO_PINS)
                    : run(scenario);
            if (!stopped) {
                journal.end(result);
                results.add(result);
            }
        }
        return results;
    }

    private Result run(Scenario scenario) {
        RoundTrips tally = new RoundTrips();
        Optional<String> failure = Optional.empty();
        Optional<String> skipped = Optional.empty();
        try {
            Scenarios scenarios = new Scenarios(kernel, irqchip, count, journal, patience, tally);
            if (!irqchip.runsGuest() || irqchip == Irqchip.VGIC && scenario == Scenario.GUESTLESS) {
                skipped = new PendingScenarios(kernel, count, journal, patience, tally).run(scenario);
            } else if (scenario == Scenario.GUESTLESS) {
                scenarios.guestless();
            } else {
                onGuest(scenario, scenarios);
            }
            tally.requireNothingLost();
        } catch (RuntimeException | Error e) {
            failure = Optional.of(SelftestFailure.failure(e));
        }
        return new Result(scenario, tally.sent(), tally.answered(), tally.latency(), failure, skipped);
    }

    private void onGuest(Scenario scenario, Scenarios scenarios) {
        try (Guest guest = new Guest(kernel, irqchip)) {
            running.set(guest);
            // Partner of stop(), which sets the flag, then reads the guest. Here: set the guest, then read the flag.
            if (stopped) {
                return;
            }
            onGuest(scenario, scenarios, guest);
        } finally {
            running.set(null);
        }
    }

    /** A vCPU that has ended explains every failure. */
    private static void onGuest(Scenario scenario, Scenarios scenarios, Guest guest) {
        try {
            switch (scenario) {
                case EDGE -> scenarios.edge(guest);
                case LEVEL -> scenarios.level(guest);
                case MANY -> scenarios.many(guest);
                case MASK -> scenarios.mask(guest);
                case REROUTE -> scenarios.reroute(guest);
                case GUESTLESS -> throw new AssertionError(scenario);
            }
        } catch (SelftestFailedException e) {
            guest.requireAlive();
            throw e;
        }
        guest.requireAlive();
    }

    /** Stops the running vCPU, joins its thread, and prevents further scenarios. */
    public void stop() {
        stopped = true;
        @Nullable Guest guest = running.get();
        if (guest != null) {
            guest.close();
        }
    }
}
