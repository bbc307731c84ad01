/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Uapi;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** A buffer the kernel must not see is refused by every primitive of every binding, before anything is called. */
@Contract
class BuffersContract {
    private static final int NO_FD = 1001;
    private static final int ENOUGH = 4096;
    private static final Set<String> KERNEL_ONLY_READS =
            Set.of("kvmOpen", "irqchipSet", "routesSet", "open", "write", "pwrite");
    private static final Set<String> ANY_LENGTH = Set.of("read", "write", "pread", "pwrite");

    private final KernelBackend kernel;

    BuffersContract(World world) {
        this.kernel = world.kernel();
    }

    private static List<Method> takingBuffers(Class<?> type) {
        return Arrays.stream(type.getMethods())
                .filter(method -> Arrays.asList(method.getParameterTypes()).contains(ByteBuffer.class))
                .filter(method -> !method.getName().equals("addressOf"))
                .toList();
    }

    private static void call(Object target, Method method, @Nullable ByteBuffer buffer) throws Throwable {
        Object[] arguments = new Object[method.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) {
            Class<?> type = method.getParameterTypes()[i];
            boolean request = type == long.class && method.getName().equals("ioctl");
            if (type == ByteBuffer.class) {
                arguments[i] = buffer;
            } else if (type == long.class) {
                arguments[i] = request ? Uapi.KVM_GET_LAPIC : 0L;
            } else {
                arguments[i] = i == 0 ? NO_FD : 1;
            }
        }
        try {
            method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static void refused(Object target, Method method, String what, @Nullable ByteBuffer buffer) {
        assertThatThrownBy(() -> call(target, method, buffer))
                .as("%s of %s with %s", method.getName(), target.getClass().getSimpleName(), what)
                .isInstanceOf(IllegalArgumentException.class);
    }

    private static void check(Object target, Class<?> type) {
        List<Method> methods = takingBuffers(type);
        assertThat(methods).hasSizeGreaterThan(5);
        for (Method method : methods) {
            refused(target, method, "null", null);
            refused(target, method, "a heap buffer", ByteBuffer.allocate(ENOUGH));
            refused(
                    target,
                    method,
                    "a misplaced buffer",
                    Buffers.allocate(ENOUGH).position(8));
            if (!KERNEL_ONLY_READS.contains(method.getName())) {
                refused(
                        target,
                        method,
                        "a read-only buffer",
                        Buffers.allocate(ENOUGH).asReadOnlyBuffer());
            }
            if (!ANY_LENGTH.contains(method.getName())) {
                ByteBuffer shorter = Buffers.allocate(8).put(0, (byte) 'x').limit(1);
                refused(target, method, "a short buffer", shorter);
            }
        }
    }

    @Test
    void typedPrimitivesRefuseWhatTheKernelMustNotSee() {
        check(kernel, KernelBackend.class);
    }

    @Test
    void rawDoorRefusesWhatTheKernelMustNotSee() {
        check(kernel.libc(), Libc.class);
    }
}
