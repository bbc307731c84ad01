/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.lang.reflect.Method;
import java.util.Optional;
import org.junit.jupiter.api.extension.ExtensionConfigurationException;

/** Thrown if the kit cannot run a test as written. The stack trace shows the test, but no frame of the kit. */
final class Mistake extends ExtensionConfigurationException {
    private static final long serialVersionUID = 1;

    Mistake(Optional<Method> test, String sentence) {
        super(test.map(method -> method.getDeclaringClass().getSimpleName() + "." + method.getName() + ": ")
                        .orElse("")
                + sentence);
        setStackTrace(
                test
                        .map(method ->
                                new StackTraceElement(method.getDeclaringClass().getName(), method.getName(), null, -1))
                        .stream()
                        .toArray(StackTraceElement[]::new));
    }
}
