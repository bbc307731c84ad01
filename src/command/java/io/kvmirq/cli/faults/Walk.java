/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import io.kvmirq.Errno;
import io.kvmirq.uapi.Uapi;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/** Runs a program without a fault, then once for each of its calls and each errno. For one thread. */
final class Walk {
    private final FaultedProgram program;
    private final Duration limit;
    private final Ended unfaulted;
    private final List<Call> calls;
    private final List<FaultRule> counting;

    /** A call of the program, and its count in a run without a fault. */
    record Call(String name, long request, long times, long first) {}

    /** @param outcomes one for each errno, in their order */
    record Row(Call call, List<Outcome> outcomes) {}

    /** Runs the program without a fault. */
    Walk(FaultedProgram program, Duration limit) {
        this.program = program;
        this.limit = limit;
        List<FaultRule> all = new ArrayList<>();
        for (Map.Entry<Long, String> request : Requests.names().entrySet()) {
            all.add(FaultRule.counting(request.getValue(), request.getKey()));
        }
        unfaulted = program.runSilently(all, limit);
        calls = IntStream.range(0, all.size())
                .filter(i -> unfaulted.counts().get(i).seen() > 0)
                .mapToObj(i -> new Call(
                        all.get(i).call(),
                        all.get(i).request(),
                        unfaulted.counts().get(i).seen(),
                        unfaulted.counts().get(i).first()))
                .sorted(Comparator.comparingLong(Call::first))
                .toList();
        counting = calls.stream()
                .map(call -> FaultRule.counting(call.name(), call.request()))
                .toList();
    }

    Ended unfaulted() {
        return unfaulted;
    }

    /** The calls, in the order of their first occurrence. */
    List<Call> calls() {
        return calls;
    }

    /** Runs the program once for each errno. */
    Row run(Call call, List<Errno> errnos, int nth) {
        return new Row(
                call, errnos.stream().map(errno -> outcome(call, errno, nth)).toList());
    }

    private Outcome outcome(Call call, Errno errno, int nth) {
        List<FaultRule> rules = new ArrayList<>(counting);
        rules.add(FaultRule.failing(call.name(), call.request(), errno, nth));
        Ended faulted = program.runSilently(rules, limit);
        return Outcome.of(faulted, counting.size(), progress(faulted), unfaulted);
    }

    /** Calls of KVM_RUN after the fault; for a program without them, all its calls. */
    private long progress(Ended faulted) {
        OptionalInt run = IntStream.range(0, calls.size())
                .filter(i -> calls.get(i).request() == Uapi.KVM_RUN)
                .findFirst();
        return run.isPresent()
                ? faulted.counts().get(run.getAsInt()).after()
                : faulted.counts().stream().mapToLong(Ended.Count::after).sum();
    }
}
