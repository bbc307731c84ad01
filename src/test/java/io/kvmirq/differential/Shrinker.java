/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.differential.Differential.Divergence;
import io.kvmirq.differential.Draft.Step;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;

/**
 * Makes a sequence small while a call of the same name still diverges in the same way: leaves out steps, then calls of
 * steps, then puts simpler values for its arguments. The first step stays, as barriers need it; what waits stays with what
 * it waits for, and a value is replaced wherever it stands for the same thing, so that nothing begins to race.
 */
final class Shrinker {
    private static final Set<String> FIXED =
            Set.of("to", "fd", "event", "assign", "resample", "file", "cap", "request", "type", "form", "width");
    /** Arguments of {@link Operation#IRQFD}. */
    private static final int EVENT = 1;

    private static final int ASSIGN = 3;
    private static final int IDLE_FROM = 1;
    private static final int IDLE_TO = 3;
    private static final long[] SIMPLER = {0, 1};

    private final Function<List<Call>, Optional<Divergence>> run;
    /** Kind of the difference that was found. */
    private String kind = "";

    /** An argument's value wherever it is given. */
    private record Value(String parameter, long value) {}

    Shrinker(Function<List<Call>, Optional<Divergence>> run) {
        this.run = run;
    }

    List<Call> shrink(List<Step> steps) {
        Optional<Divergence> found = run.apply(Differential.calls(steps));
        if (found.isEmpty()) {
            return Differential.calls(steps);
        }
        kind = found.get().kind();
        List<Step> fewer = steps;
        for (int size = steps.size() / 2; size > 0; size /= 2) {
            fewer = without(size, fewer);
        }
        fewer = without(1, withoutCalls(simpler(without(1, fewer))));
        return withoutIdle(upTo(Differential.calls(fewer)));
    }

    /** Only closing needs the idle pair. */
    private static List<Call> withoutIdle(List<Call> calls) {
        boolean closes = calls.stream().anyMatch(call -> call.operation() == Operation.CLOSE);
        if (closes || calls.size() < IDLE_TO) {
            return calls;
        }
        List<Call> fewer = new ArrayList<>(calls);
        fewer.subList(IDLE_FROM, IDLE_TO).clear();
        return fewer;
    }

    private boolean diverges(List<Step> steps) {
        return isFound(Differential.calls(steps));
    }

    /** Not another difference, which would hide this one. */
    private boolean isFound(List<Call> calls) {
        return run.apply(calls).filter(found -> found.kind().equals(kind)).isPresent();
    }

    /** Tries to do without each run of {@code size} steps, last one first. */
    private List<Step> without(int size, List<Step> steps) {
        List<Step> kept = steps;
        for (int from = kept.size() - size; from >= 1; from -= size) {
            List<Step> candidate = new ArrayList<>(kept);
            candidate.subList(from, from + size).clear();
            if (diverges(candidate)) {
                kept = candidate;
            }
            from = Math.min(from, kept.size());
        }
        return kept;
    }

    /** Within steps, what nothing waits for by it. */
    private List<Step> withoutCalls(List<Step> steps) {
        List<Step> kept = steps;
        for (int at = steps.size() - 1; at >= 1; at--) {
            for (int i = kept.get(at).calls().size() - 1; i >= 0; i--) {
                List<Call> calls = new ArrayList<>(kept.get(at).calls());
                if (isBarrier(calls.remove(i), Differential.calls(kept))) {
                    continue;
                }
                List<Step> candidate = new ArrayList<>(kept);
                candidate.set(at, new Step(calls));
                if (diverges(candidate)) {
                    kept = candidate;
                }
            }
        }
        return kept;
    }

    private static boolean isBarrier(Call call, List<Call> all) {
        if (call.operation() != Operation.IRQFD) {
            return call.operation() == Operation.READ;
        }
        boolean waits = (call.at(ASSIGN) & Draft.DEASSIGN) != 0;
        return waits
                && all.stream()
                        .anyMatch(other -> other.operation() == Operation.CLOSE
                                || other.operation() == Operation.IRQFD
                                        && other.at(EVENT) == call.at(EVENT)
                                        && (other.at(ASSIGN) & Draft.DEASSIGN) == 0);
    }

    private List<Step> simpler(List<Step> steps) {
        List<Step> kept = steps;
        for (Value value : values(steps)) {
            for (long simpler : SIMPLER) {
                List<Step> candidate = replace(kept, value, simpler);
                if (diverges(candidate)) {
                    kept = candidate;
                    break;
                }
            }
        }
        return kept;
    }

    private static Set<Value> values(List<Step> steps) {
        Set<Value> values = new LinkedHashSet<>();
        for (Call call : Differential.calls(steps)) {
            for (int i = 0; i < call.arguments().size(); i++) {
                Value value = new Value(call.operation().parameter(i), call.at(i));
                if (!FIXED.contains(value.parameter()) && value.value() != 0) {
                    values.add(value);
                }
            }
        }
        return values;
    }

    private static List<Step> replace(List<Step> steps, Value value, long by) {
        return steps.stream()
                .map(step -> new Step(step.calls().stream()
                        .map(call -> replace(call, value, by))
                        .toList()))
                .toList();
    }

    private static Call replace(Call call, Value value, long by) {
        List<Long> arguments = new ArrayList<>(call.arguments());
        for (int i = 0; i < arguments.size(); i++) {
            if (value.equals(new Value(call.operation().parameter(i), arguments.get(i)))) {
                arguments.set(i, by);
            }
        }
        return new Call(call.operation(), List.copyOf(arguments));
    }

    /** Calls after the one that diverges say nothing. */
    private List<Call> upTo(List<Call> calls) {
        for (int length = 1; length < calls.size(); length++) {
            if (isFound(calls.subList(0, length))) {
                return calls.subList(0, length);
            }
        }
        return calls;
    }
}
