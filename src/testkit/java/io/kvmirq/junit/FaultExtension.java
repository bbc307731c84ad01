/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.lang.annotation.Annotation;
import java.lang.reflect.Method;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.platform.commons.support.AnnotationSupport;

/** Rejects {@link Fault} and {@link EveryCallInTurn}, which register it, on a method without {@link KvmTest}. */
final class FaultExtension implements BeforeEachCallback {
    @Override
    public void beforeEach(ExtensionContext context) {
        Method test = context.getRequiredTestMethod();
        if (has(test, KvmTest.class) || has(test, Interleavings.class)) {
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

    private static boolean has(Method test, Class<? extends Annotation> annotation) {
        return AnnotationSupport.isAnnotated(test, annotation);
    }
}
