/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.EnumSet;
import java.util.Set;

/** The rules a fake kernel has leaned on. Noting one allocates nothing; the caller holds the kernel's lock. */
final class Rulebook {
    private final Set<Rule> used = EnumSet.noneOf(Rule.class);

    /** The result of a call that a rule refuses. */
    int refuse(Rule rule) {
        note(rule);
        return rule.refusal();
    }

    /** The fake behaves as a rule says. */
    void note(Rule rule) {
        used.add(rule);
    }

    Set<Rule> used() {
        Set<Rule> rules = EnumSet.noneOf(Rule.class);
        rules.addAll(used);
        return rules;
    }
}
