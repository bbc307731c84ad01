/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import io.kvmirq.Errno;
import io.kvmirq.explain.Cause;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A decision of the fake kernel: the errno if the kernel refuses the call, the grade of evidence, and the place in the
 * kernel's source. The constants are in one enum per area.
 */
public sealed interface KernelRule permits FileRule, KvmRule, ArmRule, VfioRule {
    /** The constant's name, such as {@code IRQFD_BUSY_HOST}; no two rules have the same. */
    String name();

    /** Evidence and sentences of the rule. */
    Decision decision();

    /** All rules, in a fixed order. */
    static Stream<KernelRule> all() {
        return Stream.of(FileRule.values(), KvmRule.values(), ArmRule.values(), VfioRule.values())
                .flatMap(Arrays::stream);
    }

    /** The errno of a call that the rule refuses; empty if the rule refuses nothing. */
    default Optional<Errno> errno() {
        return causes().stream().findFirst().map(cause -> new Errno(cause.errno()));
    }

    /** The evidence for the rule. */
    default Grade grade() {
        return decision().grade();
    }

    /** The causes of the refusal, several if calls differ in the explanation; empty if the rule refuses nothing. */
    default List<Cause> causes() {
        return decision().causes();
    }

    /** The rule as a sentence that starts in lower case. */
    default String text() {
        return decision().text();
    }

    /** The kernel's file and function, or the macro or request handled there. */
    default String source() {
        return decision().source();
    }

    /**
     * The result of a call that the rule refuses, a negative errno.
     *
     * @throws IllegalStateException if the rule refuses nothing
     */
    default int refusal() {
        if (causes().isEmpty()) {
            throw new IllegalStateException(name() + " refuses nothing");
        }
        return -causes().get(0).errno();
    }
}
