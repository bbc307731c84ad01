/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.LiveProbesContract.host;
import static io.kvmirq.contract.LiveProbesContract.watch;
import static io.kvmirq.contract.World.IOAPIC;
import static io.kvmirq.contract.World.LEVEL;
import static io.kvmirq.contract.World.MASKED;
import static io.kvmirq.contract.World.MSI_ADDRESS;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.contract.CountedGuest.Conduct;
import io.kvmirq.contract.World.MsiRoute;
import io.kvmirq.contract.World.PinRoute;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * A search over set-ups of routes, chips, vCPUs and guests. The guest counts its interrupts itself: if it took all, the
 * stages must name no loss and no doubt; if it did not, they must name one, and the number that it did not take.
 */
@VfioContract
class LiveSearchContract extends VfioSuite {
    private static final int SETUPS = Integer.getInteger("kvmirq.test.live.setups", 96);
    private static final int AT_ONCE = 16;
    private static final int MOST = 8;
    private static final int PIN = 10;
    private static final int WHILE_UNASSIGNED = 5;
    private static final int ALL = 0xff;
    private static final int NONE = 77;
    private static final Pattern VECTORS = Pattern.compile("^in doubt taken: (\\d+) that no|; (\\d+) were merged");
    private static final Pattern SIGNALS =
            Pattern.compile("^loses [ \\w]+: (\\d+)|, (\\d+) (?:not raised|merged, or pending)");
    /** Signals that a LAPIC refuses, which the doubt of the stage taken counts too. */
    private static final Pattern REFUSED = Pattern.compile(", (\\d+) merged, or the LAPIC");

    private enum Route {
        MESSAGE,
        /** To all vCPUs. */
        BROADCAST,
        /** To a vCPU that is not there. */
        ABSENT,
        /** The pin of the IOAPIC. */
        PIN,
        /** The pins of the PIC and the IOAPIC, as KVM's default routes have them. */
        PINS,
        /** The GSI has no route. */
        NO_ROUTE;

        boolean isPin() {
            return this == PIN || this == PINS;
        }
    }

    private enum Meanwhile {
        NOTHING,
        /** The VMM closes its VM and makes another one. */
        RESTART,
        /** The irqfd is deassigned, the eventfd signalled, and the irqfd assigned again. */
        REASSIGN
    }

    private record Setup(
            Route route,
            boolean isSplit,
            boolean isLevel,
            boolean resamples,
            boolean isMasked,
            int vcpus,
            int vcpu,
            Conduct conduct,
            Meanwhile meanwhile,
            int signals) {
        static Setup of(SplittableRandom random) {
            Route route = pick(random, Route.values());
            boolean isLevel = route.isPin() && random.nextBoolean();
            int vcpus = 1 + random.nextInt(2);
            return new Setup(
                    route,
                    !route.isPin() && random.nextBoolean(),
                    isLevel,
                    isLevel && random.nextBoolean(),
                    route.isPin() && random.nextInt(4) == 0,
                    vcpus,
                    random.nextInt(vcpus),
                    random.nextInt(5) < 3 ? Conduct.TAKES : pick(random, Conduct.values()),
                    random.nextBoolean() ? Meanwhile.NOTHING : pick(random, Meanwhile.values()),
                    1 + random.nextInt(MOST));
        }

        private static <T> T pick(SplittableRandom random, T[] values) {
            return values[random.nextInt(values.length)];
        }

        /** Whether a guest that has taken so many takes the next signal. */
        boolean isTaken(int before) {
            return !isMasked
                    && route != Route.ABSENT
                    && route != Route.NO_ROUTE
                    && (conduct == Conduct.TAKES || conduct == Conduct.NO_EOI && before == 0);
        }

        /** The vCPUs that the signal addresses. */
        List<Integer> addressed() {
            return route == Route.BROADCAST && vcpus == 2
                    ? List.of(0, 1)
                    : List.of(route == Route.BROADCAST ? 0 : vcpu);
        }
    }

    @BeforeEach
    void requireProbes() throws IOException {
        LiveProbesContract.requireProbes(world);
        LiveLossesContract.requireInjectionByKvm();
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    /** A set-up that is watched beside others. They differ in their vectors, because one process has all VMs. */
    private final class Case {
        private final Setup setup;
        private final int vector;
        private final int event = world.eventfd();
        private final int resample = world.eventfd();
        private CountedGuest guest;
        private int sent;
        private int taken;

        Case(Setup setup, int vector) {
            this.setup = setup;
            this.vector = vector;
            this.guest = guest();
            assign();
        }

        private CountedGuest guest() {
            CountedGuest made = new CountedGuest(world, setup.isSplit, setup.vcpus, vector, setup.conduct);
            int destination = setup.route == Route.BROADCAST ? ALL : setup.route == Route.ABSENT ? NONE : setup.vcpu;
            switch (setup.route) {
                case MESSAGE, BROADCAST, ABSENT ->
                    assertOk(world.setMsiRoutes(
                            made.vm, new MsiRoute(PIN, MSI_ADDRESS | (long) destination << 12, vector, 0)));
                case PIN -> assertOk(world.setPinRoutes(made.vm, new PinRoute(PIN, IOAPIC, PIN, 0)));
                case NO_ROUTE -> assertOk(world.setMsiRoutes(made.vm));
                case PINS -> world.maskPics(made.vm);
            }
            if (setup.route.isPin()) {
                world.redirect(
                        made.vm,
                        PIN,
                        (long) setup.vcpu << 56 | (setup.isMasked ? MASKED : 0) | (setup.isLevel ? LEVEL : 0) | vector);
            }
            return made;
        }

        private void assign() {
            assertOk(
                    setup.resamples
                            ? kernel.irqfdAssignLevel(guest.vm, event, resample, PIN)
                            : kernel.irqfdAssign(guest.vm, event, PIN));
        }

        /** Waits for the worker. */
        private void deassign() {
            assertOk(kernel.irqfdDeassign(guest.vm, event, PIN));
        }

        private int takenNow() {
            return setup.addressed().stream().mapToInt(guest::taken).sum();
        }

        private void send(Runnable signal) {
            int before = takenNow();
            signal.run();
            sent++;
            if (setup.isTaken(before)) {
                int after = before + setup.addressed().size();
                eventually("the guest takes it", () -> takenNow() == after);
                if (setup.resamples && setup.conduct == Conduct.TAKES) {
                    eventually("the guest ends it", () -> world.drain(resample) > 0);
                }
            }
        }

        private void signals() {
            for (int i = 0; i < setup.signals; i++) {
                send(() -> assertOk(kernel.eventfdSignal(event, 1)));
            }
            deassign();
        }

        void run() {
            signals();
            if (setup.meanwhile == Meanwhile.REASSIGN) {
                assertOk(kernel.eventfdSignal(event, WHILE_UNASSIGNED));
                send(this::assign);
                signals();
            } else if (setup.meanwhile == Meanwhile.RESTART) {
                taken += takenNow();
                guest.close();
                guest = guest();
                assign();
                signals();
            }
            taken += takenNow();
        }

        private static long sum(List<String> lines, Pattern pattern) {
            return lines.stream()
                    .flatMap(line -> pattern.matcher(line).results())
                    .mapToLong(result -> Long.parseLong(result.group(1) == null ? result.group(2) : result.group(1)))
                    .sum();
        }

        /** Whether the lines name the number of vectors that the guest did not take. */
        private boolean isCounted(List<String> lines) {
            int vcpus = setup.addressed().size();
            long signals = sum(lines, SIGNALS)
                    + (lines.stream().anyMatch(line -> line.startsWith("taken 0 ")) ? 0 : sum(lines, REFUSED));
            long notNamed = (long) sent * vcpus - taken - signals * vcpus - sum(lines, VECTORS);
            // A worker raises an eventfd that is assigned, too: no probe counts that before the worker merges it.
            // A line that stays high without a resample: those that were not raised are in doubt, beside the one of
            // each
            // VM that is pending in a vCPU that takes nothing.
            boolean isHigh = setup.isLevel
                    && !setup.resamples
                    && (setup.conduct == Conduct.NOT_RUN || setup.conduct == Conduct.DEAF);
            int vms = setup.meanwhile == Meanwhile.RESTART ? 2 : 1;
            return notNamed == 0
                    || setup.meanwhile == Meanwhile.REASSIGN && notNamed == vcpus
                    || isHigh && notNamed > 0 && notNamed <= (long) vms * vcpus;
        }

        /** Closes all. Returns a sentence if the stages are wrong, and an empty one otherwise. */
        String verdict(Live live) throws IOException {
            guest.close();
            String id = "id " + LiveProbesContract.eventfdId(event) + ",";
            world.close(event);
            world.close(resample);
            System.out.println(setup);
            List<Stages> ours = live.stages().stream()
                    .filter(stages -> stages.stages().stream()
                            .anyMatch(stage -> stage.value().startsWith(id)))
                    .toList();
            List<String> lines = ours.stream()
                    .flatMap(stages -> LiveProbesContract.printed(stages).stream())
                    .toList();
            boolean isWhole = taken == sent * setup.addressed().size();
            boolean isNamed = ours.stream()
                    .anyMatch(stages ->
                            stages.loses().isPresent() || stages.doubt().isPresent());
            String wrong = ours.size() != 1
                    ? ours.size() + " stages"
                    : isWhole && isNamed
                            ? "false loss"
                            : !isWhole && !isNamed ? "unnamed loss" : isCounted(lines) ? "" : "another number";
            System.out.println("live search: guest " + taken + " of " + sent + ", " + (isNamed ? "named" : "not named")
                    + (wrong.isEmpty() ? "" : ", WRONG: " + wrong));
            return wrong;
        }
    }

    @Test
    void stagesNameALossWhereTheGuestMissesOneAndNowhereElse() throws IOException {
        long seed = Long.getLong("kvmirq.test.seed", System.nanoTime());
        SplittableRandom random = new SplittableRandom(seed);
        List<String> wrong = new ArrayList<>();
        for (int i = 0; i < SETUPS; i += AT_ONCE) {
            List<Case> cases = new ArrayList<>();
            for (int j = 0; j < Math.min(AT_ONCE, SETUPS - i); j++) {
                cases.add(new Case(Setup.of(random), World.VECTOR + j));
            }
            Live live;
            try (LiveWindow window = watch(List.of())) {
                cases.forEach(Case::run);
                live = LiveProbesContract.ended(window, host());
            }
            assertThat(live.missing()).isEmpty();
            for (Case wanted : cases) {
                String verdict = wanted.verdict(live);
                if (!verdict.isEmpty()) {
                    wrong.add(verdict + ": " + wanted.setup);
                }
            }
        }
        System.out.println("live search: seed " + seed + ", " + SETUPS + " set-ups, " + wrong.size() + " wrong");
        assertThat(wrong).as("seed " + seed).isEmpty();
    }
}
