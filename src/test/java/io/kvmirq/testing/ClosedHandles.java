/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.kernel.ClosedHandleException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Calls each method of a handle after its close. */
public final class ClosedHandles {
    private static final String SENTENCE = " is closed: it was used after close(); create or open another";

    private final Supplier<Samples> samples;
    private final Set<String> others = new TreeSet<>();
    private int refused;

    public ClosedHandles(Supplier<Samples> samples) {
        this.samples = samples;
    }

    private static String nameOf(Class<?> type) {
        return type.getName().substring(type.getPackageName().length() + 1).replace('$', '.') + " ";
    }

    public void call(Class<?> type) throws ReflectiveOperationException {
        call(type, type);
    }

    /** Calls the methods of an object after the close of the handle that it is a part of. */
    public void call(Class<?> type, Class<?> handle) throws ReflectiveOperationException {
        for (Method method : type.getMethods()) {
            if (method.getDeclaringClass() == Object.class
                    || method.isBridge()
                    || Modifier.isStatic(method.getModifiers())) {
                continue;
            }
            String outcome = outcome(type, handle.asSubclass(AutoCloseable.class), method);
            if (outcome.isEmpty()) {
                refused++;
            } else {
                others.add(nameOf(type) + method.getName()
                        + Arrays.stream(method.getParameterTypes())
                                .map(Class::getSimpleName)
                                .toList() + ": " + outcome);
            }
        }
    }

    /** Methods that threw {@link ClosedHandleException} with its sentence. */
    public int refused() {
        return refused;
    }

    /** All other methods, each with what it did. */
    public Set<String> others() {
        return others;
    }

    private String outcome(Class<?> type, Class<? extends AutoCloseable> closed, Method method)
            throws ReflectiveOperationException {
        try (Samples made = samples.get()) {
            Object part = made.get(type);
            @Nullable Object[] arguments;
            try {
                arguments = made.arguments(method.getParameterTypes());
            } catch (NoSuchMethodException e) {
                return "not called: " + e.getMessage();
            }
            close(made.get(closed));
            method.invoke(part, arguments);
            return "answers";
        } catch (InvocationTargetException e) {
            Throwable thrown = e.getCause();
            return thrown instanceof ClosedHandleException
                            && thrown.getMessage().endsWith(SENTENCE)
                    ? ""
                    : thrown.getClass().getSimpleName();
        }
    }

    private static void close(AutoCloseable handle) {
        try {
            handle.close();
        } catch (Exception e) {
            throw new AssertionError("the close of " + handle + " failed", e);
        }
    }
}
