/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/**
 * Makes each kernel call of a {@link KvmTest} fail in turn. The test first runs without a fault, then once for each
 * call of the first run, with this call failing. After the failing call, the test may end with a {@code
 * KernelException} of {@link #errno}, or continue. The run passes if nothing else fails and no object stays open. Runs
 * do not overlap. If a run makes no kernel call for 10 s (JUnit's configuration parameter {@code
 * kvmirq.silence.seconds}), it is interrupted and fails. Each failure names the call that was made to fail. Calls that
 * cannot fail with {@link #errno} are skipped.
 *
 * <p>Because the test's threads run in any order, the test kit counts calls of the same name separately for each
 * thread. It recognizes a thread by its name or, if Java chose the name, by the line of its first kernel call. A run
 * that never makes the call is reported as aborted, not as failed.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
@Execution(ExecutionMode.SAME_THREAD)
@ExtendWith(FaultExtension.class)
@SuppressWarnings("exports") // JUnit is optional
public @interface EveryCallInTurn {
    /** The name of the error, such as {@code ENOMEM}. */
    String errno();
}
