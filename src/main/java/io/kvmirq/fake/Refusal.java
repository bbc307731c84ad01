/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.rules.KernelRule;
import java.util.List;

/**
 * A call that a rule has refused.
 *
 * @param call the system call's name
 * @param request of an ioctl; 0 for others
 * @param facts the facts of the VM, as labels of {@code io.kvmirq.explain.Fact}
 */
record Refusal(KernelRule rule, String call, long request, List<String> facts) {}
