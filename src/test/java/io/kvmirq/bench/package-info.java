/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The benchmarks' one form. {@code make bench} starts classes named {@code *Bench}, which stand in the packages that they
 * measure. Each times an operation of ours and the same of a reference, such as C, in rounds that take turns in one
 * process ({@link io.kvmirq.bench.Rounds}), and adds a {@link io.kvmirq.bench.Row} for each operation to a file. The
 * {@link io.kvmirq.bench.Report} of all rows holds ratios, as times of a shared machine tell nothing.
 *
 * <p>The reference has a second thread, as a VMM has: the kernel counts the users of a descriptor only in a process with
 * several threads, which costs 10 to 15 percent of a short call. A JVM always has other threads. A program in C that runs
 * beside it starts one that sleeps.
 */
@NullMarked
package io.kvmirq.bench;

import org.jspecify.annotations.NullMarked;
