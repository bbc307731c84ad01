/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Repeatable;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Makes a kernel call of the test fail before it reaches the kernel. The test kit's own calls do not fail, and {@link
 * #nth} does not count them. If the test never makes this call, the test fails.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.METHOD, ElementType.TYPE})
@Repeatable(Fault.All.class)
@ExtendWith(FaultExtension.class)
@SuppressWarnings("exports") // JUnit is optional
public @interface Fault {
    /** The name of the call: a request such as {@code KVM_IRQFD}, or another name that {@code Faults} accepts. */
    String call();

    /** The number of the call among the calls with this name, from 1. */
    int nth() default 1;

    /** The name of an error that Linux can return from the call, such as {@code EBUSY}. */
    String errno();

    /** The container of repeated {@link Fault} annotations. */
    @Documented
    @Retention(RetentionPolicy.RUNTIME)
    @Target({ElementType.METHOD, ElementType.TYPE})
    @interface All {
        /** The repeated annotations. */
        Fault[] value();
    }
}
