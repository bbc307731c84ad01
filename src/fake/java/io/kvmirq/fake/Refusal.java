/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.explain.Answer;
import java.util.List;

/** A call that a rule of {@link Rulebook} refused. {@code facts} are labels of {@code io.kvmirq.explain.Condition}. */
record Refusal(Answer rule, String call, long request, List<String> facts) {}
