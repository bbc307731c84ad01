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
 * A fake kernel that no caller's stack can end in, as a real kernel has a stack of its own: a call is refused with the
 * StackOverflowError before it begins if it has too little room.
 */
final class OwnStack {
    private static final int FRAMES = 400;

    private OwnStack() {}

    static KernelBackend of(KernelBackend backend) {
        Libc libc = of(Libc.class, backend.libc());
        return (KernelBackend) Proxy.newProxyInstance(
                OwnStack.class.getClassLoader(), new Class<?>[] {KernelBackend.class}, (proxy, method, arguments) -> {
                    if (method.isDefault()) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments);
                    }
                    return method.getName().equals("libc") ? libc : call(backend, method, arguments);
                });
    }

    private static <T> T of(Class<T> type, T target) {
        return type.cast(Proxy.newProxyInstance(
                OwnStack.class.getClassLoader(),
                new Class<?>[] {type},
                (proxy, method, arguments) -> call(target, method, arguments)));
    }

    private static @Nullable Object call(Object target, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        room(FRAMES, 1, 2, 3, 4);
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
    }

    /** The values are used after the inner call, so each frame holds them. */
    private static long room(int frames, long first, long two, long three, long four) {
        return frames == 0 ? 0 : room(frames - 1, two, three, four, first + frames) + first * two + three * four;
    }
}
