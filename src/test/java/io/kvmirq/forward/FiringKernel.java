/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.backend.KernelBackend;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import org.jspecify.annotations.Nullable;

/** A kernel before each of whose typed calls something happens. Calls that are made meanwhile are
 * not counted. */
final class FiringKernel {
    private final KernelBackend target;
    private Runnable before = () -> {};
    private boolean inside;

    FiringKernel(KernelBackend target) {
        this.target = target;
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
        return (KernelBackend) Proxy.newProxyInstance(
                KernelBackend.class.getClassLoader(), new Class<?>[] {KernelBackend.class}, this::call);
    }

    private @Nullable Object call(Object proxy, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        if (method.isDefault()) {
            return InvocationHandler.invokeDefault(proxy, method, arguments);
        }
        if (!inside && method.getReturnType() == int.class) {
            run();
        }
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
    }
}
