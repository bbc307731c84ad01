/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** The rules that a fake kernel has applied. Only a rule's first use allocates. The caller holds the kernel's lock. */
final class Rulebook {
    private final Set<Answer> used = new HashSet<>();
    /** A cache of {@link #used} by identity hash, because most calls apply rules that are in use already. */
    private final @Nullable Answer[] noted = new Answer[1024];

    private final Map<Answer, List<Refusal>> refused = new LinkedHashMap<>();
    /** The rule that refused the current call. */
    private @Nullable Answer last;

    int refuse(Answer rule) {
        note(rule);
        last = rule;
        return rule.result();
    }

    void note(Answer rule) {
        int at = System.identityHashCode(rule) & noted.length - 1;
        if (noted[at] != rule) {
            noted[at] = rule;
            used.add(rule);
        }
    }

    /** Starts a call: forgets the rule that refused the previous one. */
    void begin() {
        last = null;
    }

    /** Ends a failed call and records the rule that refused it, if one did. */
    void failed(String call, long request, List<String> facts) {
        Answer rule = last;
        last = null;
        if (rule == null) {
            return;
        }
        List<Refusal> known = refused.computeIfAbsent(rule, none -> new ArrayList<>());
        for (int i = 0; i < known.size(); i++) {
            Refusal refusal = known.get(i);
            if (refusal.request() == request
                    && refusal.call().equals(call)
                    && refusal.facts().equals(facts)) {
                return;
            }
        }
        known.add(new Refusal(rule, call, request, facts));
    }

    List<Refusal> refused() {
        return refused.values().stream().flatMap(List::stream).toList();
    }

    Set<Answer> used() {
        return Answers.rules().filter(used::contains).collect(Collectors.toCollection(LinkedHashSet::new));
    }
}
