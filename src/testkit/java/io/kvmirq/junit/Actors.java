/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The actors of a test with {@link Interleavings}, such as a device or a vCPU, and their steps. The test method adds
 * the steps. When it has returned, the test kit runs them.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="orders"}
 */
public final class Actors {
    /** The maximum number of actors, because an order names each actor by a letter. */
    private static final int MOST_ACTORS = 26;

    /** The work of an actor between two possible switches to other actors. */
    @FunctionalInterface
    public interface Step {
        /** Does the work. If this method throws, the current order of steps fails. */
        void run() throws Exception;
    }

    private record Waiting(BooleanSupplier ready, Step step) implements Step {
        @Override
        public void run() throws Exception {
            step.run();
        }
    }

    /** A step, and the line of code that added it. */
    private record Placed(Step step, String line) {
        boolean isReady() {
            return !(step instanceof Waiting waiting) || waiting.ready().getAsBoolean();
        }
    }

    private static final class Actor {
        private final String name;
        private final List<Placed> steps = new ArrayList<>();
        private int done;

        Actor(String name) {
            this.name = name;
        }

        boolean hasEnded() {
            return done == steps.size();
        }

        boolean canGoOn() {
            return !hasEnded() && steps.get(done).isReady();
        }

        String next() {
            return name + ", step " + (done + 1) + " (" + steps.get(done).line() + ")";
        }
    }

    private final Function<String, RuntimeException> mistake;
    private final List<Actor> actors = new ArrayList<>();
    private final List<Step> checks = new ArrayList<>();
    private final Deque<AutoCloseable> closing = new ArrayDeque<>();
    private boolean complete;

    Actors(Function<String, RuntimeException> mistake) {
        this.mistake = mistake;
    }

    /** Adds steps to the actor {@code name}, in this order. The report of a failure shows the actor's name. */
    public void add(String name, Step... steps) {
        requireIncomplete();
        if (steps.length == 0) {
            throw mistake.apply("actor '" + name + "' has no steps: give it at least one lambda");
        }
        Actor actor = actors.stream()
                .filter(known -> known.name.equals(name))
                .findFirst()
                .orElseGet(() -> added(name));
        String line = TestLine.here();
        for (Step step : steps) {
            actor.steps.add(new Placed(step, line));
        }
    }

    private Actor added(String name) {
        if (actors.size() == MOST_ACTORS) {
            throw mistake.apply("actor '" + name + "' is one too many: a test has at most " + MOST_ACTORS);
        }
        Actor actor = new Actor(name);
        actors.add(actor);
        return actor;
    }

    /**
     * Returns a step before which its actor waits until {@code ready} is true. {@code ready} must not change any state.
     * A switch from a waiting actor does not count as a preemption. An order of steps fails if all its actors wait.
     */
    public static Step when(BooleanSupplier ready, Step step) {
        Objects.requireNonNull(ready, "ready is null");
        Objects.requireNonNull(step, "step is null");
        return new Waiting(ready, step);
    }

    /** Adds an assertion that runs after the last step of each order, unless a step failed. */
    public void after(Step check) {
        requireIncomplete();
        checks.add(check);
    }

    /** Closes {@code object} after each order, even after a failure. The object registered last is closed first. */
    public <T extends AutoCloseable> T closing(T object) {
        requireIncomplete();
        closing.push(object);
        return object;
    }

    private void requireIncomplete() {
        if (complete) {
            throw mistake.apply("the steps run already: add all of them in the method itself, not within a step");
        }
    }

    // The kit's

    /** The actors: the name and the number of steps of each. */
    List<ActorsRun.Shape> shape() {
        complete = true;
        if (actors.isEmpty()) {
            throw mistake.apply("no actor has steps: add them by actors.add(\"device\", () -> ...)");
        }
        return actors.stream()
                .map(actor -> new ActorsRun.Shape(
                        actor.name,
                        actor.steps.size(),
                        actor.steps.stream().anyMatch(placed -> placed.step() instanceof Waiting)))
                .toList();
    }

    /** Runs the steps of {@code order}. Then the last actor continues while it can, then the first actor that can. */
    ActorsRun run(ActorsOrder order) {
        List<ActorsRun.Shape> shape = shape();
        List<ActorsRun.Turn> turns = new ArrayList<>();
        List<String> lines = new ArrayList<>();
        int last = -1;
        while (!actors.stream().allMatch(Actor::hasEnded)) {
            List<Integer> able = able();
            if (able.isEmpty()) {
                return new ActorsRun(shape, turns, lines, new AssertionError("all actors wait: " + waiting()), "then");
            }
            boolean goesOn = able.contains(last);
            int next = goesOn ? last : able.get(0);
            if (turns.size() < order.actors().size()) {
                next = order.actors().get(turns.size());
                if (!able.contains(next)) {
                    throw new ActorsOrder.Unfit(turns.size() + 1, why(next));
                }
            }
            turns.add(new ActorsRun.Turn(next, able, !goesOn));
            Actor actor = actors.get(next);
            lines.add(actor.next());
            @Nullable Throwable thrown = thrownBy(actor.steps.get(actor.done).step());
            if (thrown != null) {
                return new ActorsRun(shape, turns, lines, thrown, "in its last step");
            }
            actor.done++;
            last = next;
        }
        if (order.actors().size() > turns.size()) {
            throw new ActorsOrder.Unfit(turns.size() + 1, "no actor has a step left");
        }
        @Nullable Throwable thrown = null;
        for (Step check : checks) {
            thrown = thrown == null ? thrownBy(check) : thrown;
        }
        return new ActorsRun(shape, turns, lines, thrown, "after it");
    }

    private List<Integer> able() {
        List<Integer> able = new ArrayList<>();
        for (int i = 0; i < actors.size(); i++) {
            if (actors.get(i).canGoOn()) {
                able.add(i);
            }
        }
        return able;
    }

    private String waiting() {
        return String.join(
                "; ",
                actors.stream()
                        .filter(actor -> !actor.hasEnded())
                        .map(Actor::next)
                        .toList());
    }

    private String why(int actor) {
        if (actor >= actors.size()) {
            return "there are only " + actors.size() + " actors";
        }
        Actor named = actors.get(actor);
        return named.hasEnded()
                ? named.name + " has only " + named.steps.size() + (named.done == 1 ? " step" : " steps")
                : named.next() + " has to wait";
    }

    /** Runs the step, and returns its exception or null. The kit's frames are cut from the stack trace. */
    private static @Nullable Throwable thrownBy(Step step) {
        try {
            step.run();
            return null;
        } catch (Throwable e) {
            e.setStackTrace(Arrays.stream(e.getStackTrace())
                    .takeWhile(frame -> !frame.getClassName().equals(Actors.class.getName()))
                    .toArray(StackTraceElement[]::new));
            return e;
        }
    }

    List<Throwable> close() {
        complete = true;
        List<Throwable> thrown = new ArrayList<>();
        while (!closing.isEmpty()) {
            AutoCloseable resource = closing.pop();
            @Nullable Throwable failure = thrownBy(resource::close);
            if (failure != null) {
                thrown.add(failure);
            }
        }
        return thrown;
    }
}
