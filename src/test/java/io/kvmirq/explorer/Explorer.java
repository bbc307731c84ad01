/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/** Searches all orders, each state once. */
public final class Explorer {
    /** How bad an end is. */
    public enum Ending {
        /** No interrupt is lost. */
        KEEPS,
        /** An interrupt stays behind until the model goes on, as at the next exit of a guest. */
        HEALS,
        /** An interrupt is lost for ever, or an invariant is broken. */
        LOSES
    }

    /** A model: what its memory means. */
    public interface Model {
        /** The broken invariant, while no actor is within an operation and no store is buffered. */
        default Optional<String> broken(long[] memory) {
            return Optional.empty();
        }

        /** The lost interrupt, if no actor can go on. */
        Optional<String> lost(long[] memory);

        /** Whether what {@link #lost} found arrives later without another request. */
        default boolean heals(long[] memory) {
            return false;
        }

        /** Names an access for a listing. */
        default String describe(Access access) {
            return "";
        }

        /** Whether only {@code actor} ever writes the word, so that its own reads of it are no steps. */
        default boolean owns(int actor, int word) {
            return false;
        }

        /**
         * The lock under which the word is always read and written, or -1. Such accesses are no steps: no other actor
         * can tell when they happen. Taking the lock and giving it back are.
         */
        default int lockOf(int word) {
            return -1;
        }

        /** Whether only {@code actor} ever reads or writes the word, so that its accesses are no steps. */
        default boolean isPrivate(int actor, int word) {
            return false;
        }

        /** Whether no actor ever writes the word. */
        default boolean isConstant(int word) {
            return false;
        }
    }

    /**
     * An access that was made.
     *
     * @param word -1 if it is none of memory
     * @param before the word's value before, of a choice the number of alternatives
     * @param after the word's value after, of a choice which was taken
     */
    public record Access(Kind kind, int word, long before, long after) {
        /** How. */
        public enum Kind {
            LOAD,
            STORE,
            UPDATE,
            FENCE,
            CHOICE,
            DRAIN
        }
    }

    /** @param choice the best successor of a losing one */
    private record Found(BigInteger orders, BigInteger losing, int distance, int choice) {}

    private final List<Actor> actors;
    private final Memory memoryModel;
    private final Model model;
    private final Map<State.Key, Found> found = new HashMap<>();
    private final Seen seen = new Seen();
    private final Set<List<Long>> ends = new HashSet<>();
    private Program program;

    public Explorer(List<Actor> actors, Memory memoryModel, Model model) {
        this.actors = List.copyOf(actors);
        this.memoryModel = memoryModel;
        this.model = model;
        this.program = new Program(List.of(), memoryModel, new long[0], new Words(model, 0, 0));
    }

    private State start(long[] memory) {
        program = new Program(actors, memoryModel, memory, new Words(model, memory.length, actors.size()));
        return new State(memory, program.begin());
    }

    public Exploration explore(long[] memory) {
        State start = start(memory);
        Found all = visit(start);
        List<Exploration.Step> order = new ArrayList<>();
        String why = "";
        if (all.distance() >= 0) {
            State state = start;
            for (Found here = all; here.distance() > 0; here = visit(state)) {
                Transition next = successors(state).get(here.choice());
                order.add(described(state, next));
                state = next.state();
            }
            why = verdict(state, successors(state).isEmpty()).orElseThrow();
        }
        return new Exploration(found.size(), all.orders(), all.losing(), why, order, Set.copyOf(ends));
    }

    /** The worst end of all, without counting orders: the search stops at the first end that loses. */
    public Ending worst(long[] memory) {
        return worst(start(memory));
    }

    /** @return the worst end after this state that was not seen before */
    private Ending worst(State state) {
        if (!seen.add(state)) {
            return Ending.KEEPS;
        }
        List<Transition> successors = successors(state);
        if (verdict(state, successors.isEmpty()).isPresent()) {
            return successors.isEmpty() && model.heals(state.memory) ? Ending.HEALS : Ending.LOSES;
        }
        Ending worst = Ending.KEEPS;
        for (int i = 0; i < successors.size() && worst != Ending.LOSES; i++) {
            Ending next = worst(successors.get(i).state());
            worst = next.compareTo(worst) > 0 ? next : worst;
        }
        return worst;
    }

    private Found visit(State state) {
        State.Key key = state.key();
        Found known = found.get(key);
        if (known != null) {
            return known;
        }
        List<Transition> successors = successors(state);
        if (successors.isEmpty()) {
            ends.add(Arrays.stream(state.memory).boxed().collect(Collectors.toList()));
        }
        Found result;
        if (verdict(state, successors.isEmpty()).isPresent()) {
            result = new Found(BigInteger.ONE, BigInteger.ONE, 0, -1);
        } else if (successors.isEmpty()) {
            result = new Found(BigInteger.ONE, BigInteger.ZERO, -1, -1);
        } else {
            result = combine(successors);
        }
        found.put(key, result);
        return result;
    }

    private Found combine(List<Transition> successors) {
        BigInteger orders = BigInteger.ZERO;
        BigInteger losing = BigInteger.ZERO;
        int distance = -1;
        int choice = -1;
        for (int i = 0; i < successors.size(); i++) {
            Found next = visit(successors.get(i).state());
            orders = orders.add(next.orders());
            losing = losing.add(next.losing());
            if (next.distance() >= 0 && (distance < 0 || next.distance() + 1 < distance)) {
                distance = next.distance() + 1;
                choice = i;
            }
        }
        return new Found(orders, losing, distance, choice);
    }

    private Optional<String> verdict(State state, boolean ended) {
        Optional<String> broken = state.isQuiet() ? model.broken(state.memory) : Optional.empty();
        if (broken.isPresent() || !ended) {
            return broken;
        }
        for (int i = 0; i < actors.size(); i++) {
            Operation operation = program.operation(i, state.places[i]);
            if (operation != null && isUnderWay(state, i, operation)) {
                return Optional.of(actors.get(i).name() + " waits forever for a lock");
            }
        }
        return model.lost(state.memory);
    }

    /** @param alternative -1 if the actor's oldest buffered store reached memory */
    private record Transition(State state, int actor, int alternative) {}

    private Exploration.Step described(State state, Transition transition) {
        int actor = transition.actor();
        String name = actors.get(actor).name();
        Operation operation = program.operation(actor, state.places[actor]);
        if (transition.alternative() < 0 || operation == null) {
            int word = state.oldest(actor);
            Access access = new Access(Access.Kind.DRAIN, word, state.memory[word], transition.state().memory[word]);
            return new Exploration.Step(name, "", model.describe(access));
        }
        List<Access> accesses = new ArrayList<>();
        Step step = new Step(state, actor, operation, program, transition.alternative(), accesses);
        step.go();
        String described = accesses.stream()
                .map(model::describe)
                .filter(text -> !text.isEmpty())
                .collect(Collectors.joining(", "));
        return new Exploration.Step(name, step.name(), described);
    }

    private List<Transition> successors(State state) {
        List<Transition> successors = new ArrayList<>();
        for (int actor = 0; actor < actors.size(); actor++) {
            if (!state.isDrained(actor)) {
                State next = state.copy();
                next.drain(actor);
                successors.add(new Transition(next, actor, -1));
            }
            Operation operation = program.operation(actor, state.places[actor]);
            if (operation != null && isUnderWay(state, actor, operation)) {
                step(state, actor, operation, successors);
            }
        }
        return successors;
    }

    /** Whether an actor is within its operation, or sees in memory and in its own buffer that it can begin it. */
    private static boolean isUnderWay(State state, int actor, Operation operation) {
        return !state.places[actor].isFirst() || operation.enabled().test(state.view(actor));
    }

    private void step(State state, int actor, Operation operation, List<Transition> successors) {
        int alternatives = 1;
        for (int alternative = 0; alternative < alternatives; alternative++) {
            Step step = new Step(state, actor, operation, program, alternative, null);
            State next = step.go();
            alternatives = step.alternatives();
            if (next != null) {
                successors.add(new Transition(next, actor, alternative));
            }
        }
    }
}
