/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The table of kernel answers, each with a call's result, its cause, the evidence, and the next thing to check.
 * Exceptions, the command {@code kvmirq errno}, the fake kernel and a test run's summary all read this table, in which
 * each kernel refusal is one row.
 *
 * <p>A row is an {@link io.kvmirq.explain.Answer}, a constant in its kernel area's enum:
 *
 * <pre>{@code
 * NAME(refusal(GRADE, CALL, ERRNO, "cause", "what to look at next", "source").needs(FACT)),
 * }</pre>
 *
 * <p>Rows with the same call and errno are sorted by likelihood. A row has other forms for other cases:
 *
 * <ul>
 *   <li>{@code .also(CALL)} adds another call with the same cause.
 *   <li>{@code success(GRADE, CALL, ...)} is a call that returns 0 without doing all that its name says.
 *   <li>{@code like(GRADE, ROW.row)} is another check of the kernel, with ROW's cause but its own evidence.
 *   <li>{@code .or(ROW.row)} adds ROW, which explains the same refusal in another call or another state of the kernel.
 *   <li>{@code behaviour(GRADE, "text", "source")} is a kernel behaviour that refuses nothing. The behaviour of an
 *       older kernel version is a separate row, whose name ends in {@code _BEFORE}.
 * </ul>
 *
 * <p>A row's {@link io.kvmirq.explain.Grade} names its evidence. MEASURED means that a test measured the answer on an
 * x86-64 host with Linux 6.18 and kvm_pvm, unless the row names another kernel. LAB means that the answer was observed
 * on Debian's kernels in QEMU, on arm64 with versions 6.1 and 6.12 for a GICv3, and 6.1, 6.12 and 7.2 for a GICv2. So
 * for a GICv3, the lab only shows whether the answer changed between 6.1 and 6.12. SOURCE means that the answer was
 * read in Linux 7.1, or in the commit that changed it. The fake kernel implements all rows except UNTESTED ones, which
 * are only text for users.
 *
 * <p>To add a refusal, add its row to its area's enum, before less likely causes of the same errno. Return the row from
 * the fake kernel, and provoke the refusal in a contract suite. A test checks that each refused call finds its row by
 * errno.
 *
 * <p>A {@link io.kvmirq.explain.Condition} is a known fact about a call that failed. {@code needs} lists facts that
 * must hold for a cause. Of facts that exclude each other, one is enough. {@code certainWhen} lists facts that must
 * hold, and that make the cause certain once they are known, so that an error message names only this cause. {@code
 * unless} lists facts that rule a cause out. {@link io.kvmirq.explain.Answers} drops ruled-out causes and sorts the
 * others, with certain causes first, then by the number of known needed facts, then in enum order.
 */
@NullMarked
package io.kvmirq.explain;

import org.jspecify.annotations.NullMarked;
