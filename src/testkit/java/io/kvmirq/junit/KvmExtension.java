/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.fake.Profile;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;
import org.junit.jupiter.api.extension.TestTemplateInvocationContext;
import org.junit.jupiter.api.extension.TestTemplateInvocationContextProvider;
import org.junit.platform.commons.support.AnnotationSupport;

/** Runs the methods with {@link KvmTest}, which registers it. Stateless, because each run has its own objects. */
final class KvmExtension implements TestTemplateInvocationContextProvider, ParameterResolver {
    @Override
    public boolean supportsTestTemplate(ExtensionContext context) {
        return AnnotationSupport.isAnnotated(context.getRequiredTestMethod(), KvmTest.class);
    }

    @Override
    public Stream<TestTemplateInvocationContext> provideTestTemplateInvocationContexts(ExtensionContext context) {
        Method test = context.getRequiredTestMethod();
        Settings settings = Settings.of(context.getRequiredTestClass(), test);
        return targets(settings).stream()
                .flatMap(target -> settings.everyCall().isPresent()
                        ? StreamSupport.stream(
                                Spliterators.spliteratorUnknownSize(new CallsInTurn(settings, target), 0), false)
                        : Stream.of(new KvmInvocation(settings, target, Optional.empty())));
    }

    private static List<Target> targets(Settings settings) {
        List<Target> targets = new ArrayList<>();
        settings.profiles().forEach(name -> targets.add(new Target.Fake(name, Profile.parse(name))));
        if (settings.real() != Real.NEVER) {
            targets.add(new Target.OfMachine(RealKvm.probe(settings.backend()), settings.real() == Real.REQUIRED));
        }
        return targets;
    }

    /** The runs of a method whose calls fail in turn. JUnit fetches the next run when the previous one has ended. */
    private static final class CallsInTurn implements Iterator<TestTemplateInvocationContext> {
        private final Settings settings;
        private final Target target;
        private @Nullable KvmInvocation first;
        private int next;

        CallsInTurn(Settings settings, Target target) {
            this.settings = settings;
            this.target = target;
        }

        @Override
        public boolean hasNext() {
            if (first == null) {
                return true;
            }
            return next < first.turns().size();
        }

        @Override
        public TestTemplateInvocationContext next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            if (first == null) {
                first = new KvmInvocation(settings, target, Optional.empty());
                return first;
            }
            return new KvmInvocation(settings, target, Optional.of(first.turns().get(next++)));
        }
    }

    // A method without @KvmTest in the same class

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        return KvmInvocation.gives(parameter.getParameter().getType())
                && context.getTestMethod().isPresent()
                && !AnnotationSupport.isAnnotated(context.getRequiredTestMethod(), FaultExtension.RunByKit.class);
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
        throw new Mistake(
                context.getTestMethod(),
                "a parameter " + parameter.getParameter().getType().getSimpleName()
                        + " is passed to a method with @KvmTest instead of @Test");
    }
}
