/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.util.stream.Stream;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.TestTemplateInvocationContext;
import org.junit.jupiter.api.extension.TestTemplateInvocationContextProvider;
import org.junit.platform.commons.support.AnnotationSupport;

/** Runs the methods with {@link Interleavings}, which registers it. Stateless, because each run has its own objects. */
final class InterleavingsExtension implements TestTemplateInvocationContextProvider {
    @Override
    public boolean supportsTestTemplate(ExtensionContext context) {
        return AnnotationSupport.isAnnotated(context.getRequiredTestMethod(), Interleavings.class);
    }

    @Override
    public Stream<TestTemplateInvocationContext> provideTestTemplateInvocationContexts(ExtensionContext context) {
        InterleavingsSettings settings = InterleavingsSettings.of(context);
        return settings.profiles().keySet().stream().map(label -> new InterleavingsRun(settings, label));
    }
}
