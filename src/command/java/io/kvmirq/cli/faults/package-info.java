/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Faults in other programs: chosen ioctls of an unmodified program fail on the real kernel.
 *
 * <p>{@code native/observe/fault.c} starts the program under a seccomp filter that notifies of the chosen requests, and answers
 * each notification from a table. This is in C and not above {@code Libc}, for three reasons: a seccomp filter is
 * installed between fork and exec, where no JVM runs; only the parent of a process learns that a signal ended it, Java
 * sees an exit code; and each answer takes microseconds, also while the JVM collects garbage. The choice of the faults and
 * the reading of the results are here: {@link io.kvmirq.cli.faults.FaultRule} becomes a row of the table, {@link
 * io.kvmirq.cli.faults.FaultedProgram} runs one program, {@link io.kvmirq.cli.faults.Walk} many.
 */
@NullMarked
package io.kvmirq.cli.faults;

import org.jspecify.annotations.NullMarked;
