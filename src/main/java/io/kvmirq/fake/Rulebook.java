/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.EnumMap;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The rules a fake kernel has leaned on. Noting one allocates nothing; the caller holds the kernel's lock. */
final class Rulebook {
    private final Set<Rule> used = EnumSet.noneOf(Rule.class);
    private final Map<Rule, Set<Long>> refused = new EnumMap<>(Rule.class);
    private Rule last = Rule.FD_LOWEST;

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

    /** The last refusal was the answer to this request. */
    void refusedTo(long request) {
        refused.computeIfAbsent(last, none -> new TreeSet<>()).add(request);
    }

    Map<Rule, Set<Long>> refused() {
        return Map.copyOf(refused);
    }

    Set<Rule> used() {
        Set<Rule> rules = EnumSet.noneOf(Rule.class);
        rules.addAll(used);
        return rules;
    }
}
