/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Faults in other programs: chosen ioctls of an unmodified program fail on the real kernel.
 *
 * <p>{@code native/observe/fault.c} starts the program under a seccomp filter that notifies the launcher of the chosen
 * requests, and replies to each notification from a table. This is written in C, for three reasons: a seccomp filter is
 * installed between fork and exec, where no JVM runs; only the parent of a process can read that a signal ended it,
 * while Java returns an exit code; and each reply takes only microseconds, also while the JVM collects garbage. The
 * choice of the faults and the reading of the results are here: {@link io.kvmirq.cli.faults.FaultRule} becomes a row of
 * the table, {@link io.kvmirq.cli.faults.FaultedProgram} runs one program, {@link io.kvmirq.cli.faults.Walk} many.
 */
@NullMarked
package io.kvmirq.cli.faults;

import org.jspecify.annotations.NullMarked;
