/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import org.jspecify.annotations.Nullable;

/**
 * A kernel in one of whose calls the JVM throws an Error: OutOfMemoryError before the kernel has seen the call, or
 * StackOverflowError after it answered.
 */
public final class ErrorInCall {
    private boolean after;
    private int left;

    /** Whether a call threw. */
    private boolean thrown;

    /** The nth call from now on throws. */
    public void arm(int nth, boolean afterCall) {
        left = nth;
        after = afterCall;
        thrown = false;
    }

    /** No call throws. Returns whether one did. */
    public boolean disarm() {
        left = 0;
        return thrown;
    }

    public KernelBackend over(KernelBackend backend) {
        Libc libc = of(Libc.class, backend.libc());
        return (KernelBackend) Proxy.newProxyInstance(
                ErrorInCall.class.getClassLoader(),
                new Class<?>[] {KernelBackend.class},
                (proxy, method, arguments) -> {
                    if (method.isDefault()) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments);
                    }
                    return method.getName().equals("libc") ? libc : call(backend, method, arguments);
                });
    }

    private <T> T of(Class<T> type, T target) {
        return type.cast(Proxy.newProxyInstance(
                ErrorInCall.class.getClassLoader(),
                new Class<?>[] {type},
                (proxy, method, arguments) -> call(target, method, arguments)));
    }

    private @Nullable Object call(Object target, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        boolean last = left > 0 && --left == 0;
        if (last && !after) {
            thrown = true;
            throw new OutOfMemoryError("before " + method.getName());
        }
        Object answer;
        try {
            answer = method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
        if (last) {
            thrown = true;
            throw new StackOverflowError("after " + method.getName());
        }
        return answer;
    }
}
