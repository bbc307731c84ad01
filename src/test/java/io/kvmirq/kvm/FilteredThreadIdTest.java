/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Kernels;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A filter of system calls may refuse getpid and gettid, which Linux never fails. */
class FilteredThreadIdTest {
    /** A kick would go to no thread. */
    @ParameterizedTest
    @EnumSource(names = {"GETPID", "GETTID"})
    void vcpuThatCannotBeKickedDoesNotRun(SystemCall refused) {
        try (Kernel kernel = Kernel.over(refusing(refused));
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            assertThatThrownBy(vcpu::run)
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("getpid and gettid: EPERM");
        }
    }

    private static KernelBackend refusing(SystemCall refused) {
        KernelBackend backend = Kernels.FAKE.backend();
        Libc libc = proxy(
                Libc.class,
                (proxy, method, arguments) -> method.getName().equals("syscall") && arguments[0] == refused
                        ? (Object) (long) -Errno.EPERM.number()
                        : method.invoke(backend.libc(), arguments));
        return proxy(
                KernelBackend.class,
                (proxy, method, arguments) -> method.isDefault()
                        ? InvocationHandler.invokeDefault(proxy, method, arguments)
                        : method.getName().equals("libc") ? libc : method.invoke(backend, arguments));
    }

    private static <T> T proxy(Class<T> type, InvocationHandler handler) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler));
    }
}
