/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.extension.Extension;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;
import org.junit.jupiter.api.extension.TestTemplateInvocationContext;
import org.opentest4j.AssertionFailedError;
import org.opentest4j.TestAbortedException;

/**
 * All orders of a method on one profile. JUnit runs the method for the first order. This class runs it for each other
 * order, with new parameters.
 */
final class InterleavingsRun implements TestTemplateInvocationContext, ParameterResolver, InvocationInterceptor {
    private static final Namespace NAMESPACE = Namespace.create(InterleavingsRun.class);

    /** The state of one order. */
    private record Fresh(KvmHost host, Faults faults, Actors actors) {}

    @FunctionalInterface
    private interface Body {
        void run() throws Throwable;
    }

    private final InterleavingsSettings settings;
    private final String label;
    private final Profile profile;
    private final List<Settings.Failing> neverCame;
    private @Nullable Fresh fresh;

    InterleavingsRun(InterleavingsSettings settings, String label) {
        this.settings = settings;
        this.label = label;
        this.profile = Objects.requireNonNull(settings.profiles().get(label));
        this.neverCame = new ArrayList<>(settings.faults());
    }

    @Override
    public String getDisplayName(int index) {
        return "[fake " + label
                + settings.order().map(order -> ", order " + order).orElse("") + "]";
    }

    @Override
    public List<Extension> getAdditionalExtensions() {
        return List.of(this);
    }

    // Parameters

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        Class<?> type = parameter.getParameter().getType();
        return type == Actors.class || KvmInvocation.gives(type);
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
        Class<?> type = parameter.getParameter().getType();
        if (!parameter.getDeclaringExecutable().equals(settings.test())) {
            throw settings.mistake("a parameter " + type.getSimpleName()
                    + " is passed only to the method with @Interleavings, because each order has a fresh one");
        }
        Fresh now = fresh();
        context.getStore(NAMESPACE).put(this, (AutoCloseable) this::end);
        return type == Actors.class ? now.actors() : KvmInvocation.given(now.host(), parameter);
    }

    private Fresh fresh() {
        if (fresh == null) {
            Faults faults = new Faults();
            settings.faults().forEach(fault -> fault.addTo(faults));
            fresh = new Fresh(KvmHost.onFake(profile, faults, settings.plan()), faults, new Actors(settings::mistake));
        }
        return fresh;
    }

    // Orders

    @Override
    public void interceptTestTemplateMethod(
            Invocation<Void> invocation, ReflectiveInvocationContext<Method> method, ExtensionContext context)
            throws Throwable {
        List<Body> first = new ArrayList<>(List.of(invocation::proceed));
        Body again =
                () -> context.getExecutableInvoker().invoke(method.getExecutable(), context.getRequiredTestInstance());
        Optional<ActorsOrder> replayed = settings.order();
        InterleavingsSearch.Found found = replayed.isPresent()
                ? replay(replayed.get(), invocation::proceed)
                : new InterleavingsSearch(
                                order -> run(order, first.isEmpty() ? again : first.remove(0)),
                                settings::mistake,
                                settings.preemptions(),
                                settings.limit())
                        .search();
        context.publishReportEntry("orders", String.valueOf(found.orders()));
        if (found.failing().isPresent()) {
            throw failure(found, found.failing().get());
        }
        if (!neverCame.isEmpty()) {
            Settings.Failing fault = neverCame.get(0);
            throw error("the fault of " + fault.call() + " " + fault.nth() + " did not occur in any of "
                    + found.orders() + " orders");
        }
    }

    private InterleavingsSearch.Found replay(ActorsOrder order, Body method) {
        try {
            ActorsRun ran = run(order, method);
            return new InterleavingsSearch.Found(
                    1, ran.failed() ? Optional.of(ran) : Optional.empty(), "Order " + order + ":\n" + ran.described());
        } catch (ActorsOrder.Unfit e) {
            throw settings.mistake("order " + order + " does not fit: " + e.getMessage()
                    + "; it belongs to another test, or the test has changed since");
        }
    }

    private ActorsRun run(ActorsOrder order, Body method) {
        Fresh now = fresh();
        ActorsRun ran;
        try {
            method.run();
            ran = now.actors().run(order);
        } catch (Mistake | ActorsOrder.Unfit e) {
            end();
            throw e;
        } catch (Throwable e) {
            ran = ActorsRun.notBegun(e);
        }
        if (ran.failure() instanceof RuntimeException e
                && (e instanceof TestAbortedException || e instanceof Mistake)) {
            end();
            throw e;
        }
        List<Throwable> closing = now.actors().close();
        List<AssertionFailedError> left =
                now.host().end().stream().map(this::error).toList();
        fresh = null;
        List<String> unused = now.faults().unused();
        neverCame.removeIf(fault -> !unused.contains(fault.call() + " " + fault.nth()));
        return ran.andFailed(closing, "when it closes").andFailed(left, "when it has ended");
    }

    /** Closes an order's objects without checking what the order left open. */
    private void end() {
        if (fresh != null) {
            fresh.actors().close();
            fresh.host().end();
            fresh = null;
        }
    }

    private Throwable failure(InterleavingsSearch.Found found, ActorsRun failing) {
        Throwable cause = Objects.requireNonNull(failing.failure());
        if (failing.turns().isEmpty() && found.orders() == 1) {
            return cause;
        }
        AssertionFailedError error = error(found.text() + "\n" + settings.replay(failing.order()));
        error.initCause(cause);
        return error;
    }

    private AssertionFailedError error(String message) {
        AssertionFailedError error = new AssertionFailedError(message);
        error.setStackTrace(settings.mistake("").getStackTrace());
        return error;
    }
}
