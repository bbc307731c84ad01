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
 * Beside {@link KvmTest}: the test runs once without a fault, then once for each call of the kernel that it made, which
 * fails. Such a run may end with a {@code KernelException} of this error, or go on. It passes if nothing else fails and
 * nothing is left open. They run one after the other. A run in which nothing calls the kernel for 10 s (JUnit's
 * configuration parameter {@code kvmirq.silence.seconds}) is interrupted and fails. Each failure names the call that
 * was made to fail; calls that cannot fail, such as {@code gettid}, are left out.
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
