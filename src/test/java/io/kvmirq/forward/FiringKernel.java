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
 * A kernel before each of whose typed calls something happens, and before each raw one if it is asked to. Calls that are
 * made meanwhile are not counted.
 */
final class FiringKernel {
    private final KernelBackend target;
    private final Libc libc;
    private Runnable before = () -> {};
    private boolean inside;

    FiringKernel(KernelBackend target) {
        this(target, false);
    }

    /** @param raw whether it happens before raw calls, too, such as those of an epoll set */
    FiringKernel(KernelBackend target, boolean raw) {
        this.target = target;
        this.libc = raw ? proxy(Libc.class, target.libc()) : target.libc();
    }

    /** From now on this happens before each call. */
    void before(Runnable happens) {
        before = happens;
    }

    /** It happens now. */
    void run() {
        quietly(before);
    }

    /** It does not happen before the calls of this. */
    void quietly(Runnable calls) {
        boolean outer = inside;
        inside = true;
        try {
            calls.run();
        } finally {
            inside = outer;
        }
    }

    KernelBackend backend() {
        return proxy(KernelBackend.class, target);
    }

    private <T> T proxy(Class<T> type, T of) {
        return type.cast(Proxy.newProxyInstance(
                type.getClassLoader(),
                new Class<?>[] {type},
                (proxy, method, arguments) -> call(of, proxy, method, arguments)));
    }

    private @Nullable Object call(Object of, Object proxy, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        if (of == target && method.isDefault()) {
            return InvocationHandler.invokeDefault(proxy, method, arguments);
        }
        if (method.getReturnType() == Libc.class) {
            return libc;
        }
        if (!inside && method.getReturnType() == int.class) {
            run();
        }
        try {
            return method.invoke(of, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
    }
}
