/* SPDX-License-Identifier: Apache-2.0 */
/**
 * From an errno to its cause: a call, what is known of the state, and the errno give the causes that remain, likeliest
 * first, each with what to look at next.
 *
 * <p>A {@link io.kvmirq.explain.Cause} is data: which call, which errno, which facts it needs. {@link
 * io.kvmirq.explain.Causes} ranks: a cause that contradicts a known fact is out, so a row needs only what cannot be otherwise, one whose facts are known comes first,
 * the rest keep the order of the table, which is how often they are met. The tables are by area; what each row says is
 * held against the calls of the contract suite that provoke it.
 */
@NullMarked
package io.kvmirq.explain;

import org.jspecify.annotations.NullMarked;
