/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.contract.TestDevice.Place;
import io.kvmirq.differential.Draft.Step;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RulesSeen;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/** Makes the same calls on a real kernel and on a fake. For one thread. */
final class Differential implements AutoCloseable {
    /** How many calls a sequence has before its end is observed: on arm64, some 20 make vCPUs and interrupt controllers. */
    static final int LENGTH = Machine.isX86() ? 50 : 70;

    /**
     * How often a difference has to be seen again: the fake always answers the same, a kvm_pvm as the host's interrupts
     * come.
     */
    private static final int REPEATS = 50;

    /** The number of the first device with a reset. */
    static final int RESETTABLE = 2;

    private final Side real;
    private final Supplier<FakeKernel> fakes;
    private final List<Place> places;
    private final Coverage coverage = new Coverage();
    private long sequences;
    private long dependOnTime;

    /** The first call the two answered differently. */
    record Divergence(Call call, Answer real, Answer fake) {
        /** What stays while it is made small: the call, and the outcome of both answers. */
        String kind() {
            boolean results = real.isError() || fake.isError() || real.result() != fake.result();
            return call.operation() + " " + kind(real) + " " + kind(fake) + " " + results;
        }

        /** For a run to an exit, its kind: else a guest that computes without end may be left of another exit. */
        private String kind(Answer answer) {
            return call.operation() == Operation.CONTINUE
                    ? call.operation().outcome(answer)
                    : answer.isError() ? answer.text() : "ok";
        }

        @Override
        public String toString() {
            return call.operation() + ", real and fake: " + real.difference(fake);
        }
    }

    Differential(Libc real, Supplier<FakeKernel> fakes, List<Place> places) {
        this(new Side(real, places), fakes, places);
    }

    private Differential(Side real, Supplier<FakeKernel> fakes, List<Place> places) {
        this.real = real;
        this.fakes = fakes;
        this.places = places;
    }

    /** With VFIO where the devices of {@link VfioSide} are: there the fake has devices of the same shape. */
    static Differential ofThisMachine() {
        List<Place> places = VfioSide.devices().stream()
                .flatMap(device -> device.onThisMachine().stream())
                .toList();
        boolean has = places.size() == VfioSide.devices().size() && VfioSide.mayUseDevices();
        List<Place> all = has ? places : List.of();
        return new Differential(Backends.ofThisMachine().open("jni").libc(), () -> fake(all), all);
    }

    private static FakeKernel fake(List<Place> places) {
        FakeKernel fake = new FakeKernel(profile(!places.isEmpty()));
        for (int i = 0; i < places.size(); i++) {
            VfioSide.devices().get(i).addTo(fake, places.get(i));
        }
        return fake;
    }

    /** This machine's, with the IOMMU that translates for its devices. */
    private static Profile profile(boolean withVfio) {
        return withVfio && VfioSide.hasAmdVi()
                ? Profile.parse(Machine.profile().label() + ",amd-vi")
                : Machine.profile();
    }

    boolean hasVfio() {
        return !places.isEmpty();
    }

    Coverage coverage() {
        return coverage;
    }

    /** How many differences were not seen each time. */
    long dependOnTime() {
        return dependOnTime;
    }

    /** How many have been searched. */
    long sequences() {
        return sequences;
    }

    /** Runs calls from nothing to the first difference. */
    Optional<Divergence> run(List<Call> calls) {
        FakeKernel kernel = fakes.get();
        try (Side fake = new Side(kernel.backend().libc(), places)) {
            for (Call call : calls) {
                Optional<Answer> known = modelled(fake, call);
                if (known.isEmpty() && call.operation().isManyCalls()) {
                    return Optional.empty();
                }
                if (known.isEmpty()) {
                    continue;
                }
                Answer answer = known.get();
                Answer right = real.make(call);
                coverage.count(call.operation(), right);
                if (!right.equals(answer)) {
                    return Optional.of(new Divergence(call, right, answer));
                }
            }
            return Optional.empty();
        } finally {
            real.reset();
            RulesSeen.addSearched(kernel);
        }
    }

    /** The fake answers first: what it does not model has changed nothing, and is not asked on the real kernel. */
    private Optional<Answer> modelled(Side fake, Call call) {
        try {
            return Optional.of(fake.make(call));
        } catch (NotModelledException e) {
            coverage.countNotModelled(call.operation(), call.operation().isManyCalls());
            return Optional.empty();
        }
    }

    static List<Call> calls(List<Step> steps) {
        return steps.stream().flatMap(step -> step.calls().stream()).toList();
    }

    /** Runs a seed's sequence; a difference comes back as a test to paste, unless it depends on time. */
    Optional<String> search(long seed) {
        sequences++;
        List<Step> steps = Generator.sequence(seed, LENGTH, !places.isEmpty());
        Optional<Divergence> found = run(calls(steps));
        if (found.isEmpty()) {
            return Optional.empty();
        }
        Differential quiet = new Differential(real, fakes, places);
        for (int i = 0; i < REPEATS; i++) {
            Optional<Divergence> again = quiet.run(calls(steps));
            if (again.isEmpty() || !again.get().kind().equals(found.get().kind())) {
                dependOnTime++;
                return Optional.empty();
            }
        }
        return Optional.of(quiet.test(seed, new Shrinker(quiet::run).shrink(steps), found.get()));
    }

    /** @param first the difference that was found */
    private String test(long seed, List<Call> calls, Divergence first) {
        List<String> lines = new ArrayList<>();
        lines.add("    /** " + run(calls).map(Divergence::toString).orElse("Not seen in each run: " + first) + ". */");
        lines.add("    @Test");
        lines.add("    void seed%d() {".formatted(seed).replace("seed-", "seedMinus"));
        lines.add("        agree(");
        for (int i = 0; i < calls.size(); i++) {
            lines.add("                " + calls.get(i) + (i < calls.size() - 1 ? "," : ");"));
        }
        lines.add("    }");
        return String.join("\n", lines);
    }

    @Override
    public void close() {
        real.close();
    }
}
