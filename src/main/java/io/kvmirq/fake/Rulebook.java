/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The rules a fake kernel has leaned on. Noting one allocates nothing; the caller holds the kernel's lock. */
final class Rulebook {
    private final Set<Rule> used = EnumSet.noneOf(Rule.class);
    private final Map<Rule, List<Refusal>> refused = new EnumMap<>(Rule.class);
    /** What refuses the call that is being answered. */
    private @Nullable Rule last;

    /** The result of a call that a rule refuses. */
    int refuse(Rule rule) {
        note(rule);
        last = rule;
        return rule.refusal();
    }

    /** The fake behaves as a rule says. */
    void note(Rule rule) {
        used.add(rule);
    }

    /** A call begins: whoever refused another has no part in it. */
    void begin() {
        last = null;
    }

    /** It failed: by the rule that refused since, if one did. */
    void failed(String call, long request, List<String> facts) {
        Rule rule = last;
        last = null;
        if (rule == null) {
            return;
        }
        List<Refusal> known = refused.computeIfAbsent(rule, none -> new ArrayList<>());
        for (int i = 0; i < known.size(); i++) {
            Refusal one = known.get(i);
            if (one.request() == request
                    && one.call().equals(call)
                    && one.facts().equals(facts)) {
                return;
            }
        }
        known.add(new Refusal(rule, call, request, facts));
    }

    List<Refusal> refused() {
        return refused.values().stream().flatMap(List::stream).toList();
    }

    Set<Rule> used() {
        Set<Rule> rules = EnumSet.noneOf(Rule.class);
        rules.addAll(used);
        return rules;
    }
}
