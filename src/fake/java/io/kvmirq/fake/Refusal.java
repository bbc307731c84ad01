/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.explain.Answer;
import java.util.List;

/**
 * A call that a rule has refused.
 *
 * @param call the system call's name
 * @param request of an ioctl; 0 for others
 * @param facts the facts of the VM, as labels of {@code io.kvmirq.explain.Fact}
 */
record Refusal(Answer rule, String call, long request, List<String> facts) {}
