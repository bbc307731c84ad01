/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

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
public final class FiringKernel {
    private final KernelBackend target;
    private final Libc libc;
    private Runnable before = () -> {};
    private boolean inside;

    public FiringKernel(KernelBackend target) {
        this(target, false);
    }

    /** @param raw whether it happens before raw calls, too, such as those of an epoll set */
    public FiringKernel(KernelBackend target, boolean raw) {
        this.target = target;
        this.libc = raw ? proxy(Libc.class, target.libc()) : target.libc();
    }

    /** From now on this happens before each call. */
    public void before(Runnable happens) {
        before = happens;
    }

    /** It happens now. */
    public void run() {
        quietly(before);
    }

    /** It does not happen before the calls of this. */
    public void quietly(Runnable calls) {
        boolean outer = inside;
        inside = true;
        try {
            calls.run();
        } finally {
            inside = outer;
        }
    }

    public KernelBackend backend() {
        return proxy(KernelBackend.class, target);
    }

    /** Lets a thread go on until it has ended or waits for a lock of the caller. */
    public static void awaitEndOrLock(Thread other) {
        for (Thread.State now = other.getState();
                now == Thread.State.NEW || now == Thread.State.RUNNABLE;
                now = other.getState()) {
            Thread.onSpinWait();
        }
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
