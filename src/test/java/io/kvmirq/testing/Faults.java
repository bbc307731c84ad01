/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.Errno;
import io.kvmirq.backend.Backends;
import io.kvmirq.backend.KernelBackend;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.concurrent.atomic.AtomicBoolean;

/** The real kernel, but for one answer. */
public final class Faults {
    private Faults() {}

    /** The first call of a primitive fails without reaching the kernel. */
    public static KernelBackend first(String primitive, Errno errno) {
        return first(primitive, -errno.number());
    }

    /** The first call of a primitive answers {@code result} without reaching the kernel. */
    public static KernelBackend first(String primitive, int result) {
        KernelBackend real = Backends.ofThisMachine().open("jni");
        AtomicBoolean done = new AtomicBoolean();
        return (KernelBackend) Proxy.newProxyInstance(
                KernelBackend.class.getClassLoader(),
                new Class<?>[] {KernelBackend.class},
                (proxy, method, arguments) -> {
                    if (method.getName().equals(primitive) && done.compareAndSet(false, true)) {
                        return result;
                    }
                    try {
                        return method.invoke(real, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }
}
