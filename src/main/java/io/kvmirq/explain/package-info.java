/* SPDX-License-Identifier: Apache-2.0 */
/**
 * From an errno to its cause. A call, the known facts and the errno give the causes that remain, likeliest first, each
 * with what to look at next.
 *
 * <p>A {@link io.kvmirq.explain.Cause} is one reason for one errno of one {@link io.kvmirq.explain.KernelCall}. Text, errno
 * and source of a refusal stand here and nowhere else. One enum per area lists the causes: {@link
 * io.kvmirq.explain.FileCause}, {@link io.kvmirq.explain.VmCause}, {@link io.kvmirq.explain.IrqfdCause}, {@link
 * io.kvmirq.explain.InterruptCause}, {@link io.kvmirq.explain.VfioCause}, {@link io.kvmirq.explain.ArmCause}, {@link
 * io.kvmirq.explain.VgicCause}. Within a call
 * and an errno the order of the constants is the order of likelihood.
 *
 * <p>A rule of the fake kernel that refuses a call names its cause, and takes errno, text and source from it:
 * {@code MEMORY_OVERLAP(MEASURED, VmCause.MEMORY_OVERLAP)}. A rule names several causes when the same refusal is explained
 * differently per call or per state; all of them have one errno. Several rules may name one cause. A cause without a rule is
 * an answer that the fake never gives.
 *
 * <p>To add a refusal: add the constant to the enum of its area, before the less likely causes of the same errno; then add the
 * rule. The contract suite provokes each rule, and a test checks that the errno of each refused call leads to a cause of
 * that rule.
 *
 * <p>A {@link io.kvmirq.explain.Fact} says what is known of the state. {@code needs} lists facts without which a cause is
 * impossible; of two facts that exclude each other one is enough. {@code certainWhen} lists such facts and adds that the cause is
 * certain once they are known: an error message then names it alone. {@code unless} lists facts that rule a cause out.
 * {@link io.kvmirq.explain.Causes} filters and ranks: certain first, then by how many of the needed facts are known, then
 * in the order of the tables.
 */
@NullMarked
package io.kvmirq.explain;

import org.jspecify.annotations.NullMarked;
