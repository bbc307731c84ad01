/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.contract.TestDevice.Place;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RulesSeen;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Collectors;

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

    /** Calls of which the two answered the last one differently. */
    record Divergence(List<Call> calls, Answer real, Answer fake) {
        private Operation operation() {
            return calls.get(calls.size() - 1).operation();
        }

        /** What stays while it is made small: the call, and the outcome of both answers. */
        String kind() {
            boolean results = real.isError() || fake.isError() || real.result() != fake.result();
            return operation() + " " + kind(real) + " " + kind(fake) + " " + results;
        }

        /** For a run to an exit, its kind: else a guest that computes without end may be left of another exit. */
        private String kind(Answer answer) {
            return operation() == Operation.CONTINUE
                    ? operation().outcome(answer)
                    : answer.isError() ? answer.text() : "ok";
        }

        @Override
        public String toString() {
            return operation() + ", real and fake: " + real.difference(fake);
        }

        /** A test to paste. */
        String test() {
            return calls.stream()
                    .map(call -> "\n                " + call)
                    .collect(Collectors.joining(
                            ",",
                            "\n    /** " + this + ". */\n    @Test\n    void found() {\n        agree(",
                            ");\n    }"));
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
            for (int i = 0; i < calls.size(); i++) {
                Call call = calls.get(i);
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
                    return Optional.of(new Divergence(calls.subList(0, i + 1), right, answer));
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

    /**
     * Runs a random sequence, which counts the first time.
     *
     * @throws AssertionError with a test to paste, if it differs, unless that depends on time
     */
    void run(Choices random) {
        List<Call> calls = Generator.calls(random, LENGTH, !places.isEmpty());
        Differential quiet = new Differential(real, fakes, places);
        Optional<Divergence> found = (random.isAgain() ? quiet : this).run(calls);
        sequences += random.isAgain() ? 0 : 1;
        for (int i = 0; i < REPEATS && found.isPresent() && !random.isAgain(); i++) {
            String kind = found.get().kind();
            if (quiet.run(calls).filter(again -> again.kind().equals(kind)).isEmpty()) {
                dependOnTime++;
                return;
            }
        }
        found.ifPresent(divergence -> {
            Throwable kind = new IllegalStateException(divergence.kind());
            kind.setStackTrace(new StackTraceElement[0]);
            throw new AssertionError(divergence.test(), kind);
        });
    }

    @Override
    public void close() {
        real.close();
    }
}
