/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.reflect.Method;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.platform.commons.support.AnnotationSupport;

/** Rejects {@link Fault} and {@link EveryCallInTurn}, which register it, on a method that the kit does not run. */
final class FaultExtension implements BeforeEachCallback {
    /** Marks the annotations of methods that the kit runs. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface RunByKit {}

    @Override
    public void beforeEach(ExtensionContext context) {
        Method test = context.getRequiredTestMethod();
        if (AnnotationSupport.isAnnotated(test, RunByKit.class)) {
            return;
        }
        Stream.of(Fault.class, Fault.All.class, EveryCallInTurn.class)
                .filter(test::isAnnotationPresent)
                .findFirst()
                .ifPresent(found -> {
                    String name = found == EveryCallInTurn.class ? "EveryCallInTurn" : "Fault";
                    throw new Mistake(Optional.of(test), "@" + name + " needs @KvmTest instead of @Test");
                });
    }
}
