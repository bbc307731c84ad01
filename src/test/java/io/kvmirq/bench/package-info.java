/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The common form of benchmarks. {@code make bench} starts the classes named {@code *Bench}, in the packages that they measure.
 * Most print {@link io.kvmirq.bench.Bench.Row}s: ratios, as times of a shared machine tell nothing. Their benchmarks are
 * static in their files: JMH makes new objects for each turn, and both sides work on the same descriptors.
 *
 * <p>References in C run in the JVM's process: the kernel counts the users of a descriptor only in a process with several
 * threads, as a VMM is, which costs 10 to 15 percent of a short call. A program that runs beside it starts a second thread.
 */
@NullMarked
package io.kvmirq.bench;

import org.jspecify.annotations.NullMarked;
