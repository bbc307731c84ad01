/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.testing.Recorded;
import io.kvmirq.testing.Samples;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioContainer;
import io.kvmirq.vfio.VfioDevice;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * Each method of a handle after its close throws {@link ClosedHandleException}, with one sentence. {@code closed.txt}
 * lists those that do not, with what they do: they tell what was set or known, register a listener, or end what ended.
 */
class ClosedTest {
    private static final String LIST = "src/test/resources/closed.txt";
    private static final String SENTENCE = " is closed: it was used after close(); open another";
    private static final List<Class<? extends AutoCloseable>> HANDLES = List.of(
            Kernel.class,
            EventFd.class,
            EventLoop.class,
            MemoryFile.class,
            Vm.class,
            Vcpu.class,
            Irqfd.class,
            MaskableVector.class,
            GuestMemory.class,
            KvmVfio.class,
            VfioDevice.class,
            VfioContainer.class,
            ArmedVectors.class,
            ArmedLine.class,
            Forwarding.class,
            ForwardedIrq.class,
            PassedThroughDevice.class);

    @Test
    void methodOfAClosedHandleSaysSo() throws Exception {
        Set<String> others = new TreeSet<>();
        int refused = 0;
        for (Class<? extends AutoCloseable> type : HANDLES) {
            for (Method method : type.getMethods()) {
                if (method.getDeclaringClass() == Object.class || Modifier.isStatic(method.getModifiers())) {
                    continue;
                }
                String outcome = outcome(type, method);
                if (outcome.isEmpty()) {
                    refused++;
                } else {
                    others.add(type.getSimpleName() + " " + method.getName()
                            + Arrays.stream(method.getParameterTypes())
                                    .map(Class::getSimpleName)
                                    .toList() + ": " + outcome);
                }
            }
        }
        assertThat(refused).isGreaterThan(75);
        Recorded.compare(LIST, List.copyOf(others), "so that it is refused now", ClosedTest.class);
    }

    /** Empty if it was refused with the sentence. */
    private static String outcome(Class<? extends AutoCloseable> type, Method method) throws Exception {
        try (Samples samples = new Samples()) {
            AutoCloseable handle = samples.get(type);
            @Nullable Object[] arguments;
            try {
                arguments = samples.arguments(method.getParameterTypes());
            } catch (NoSuchMethodException e) {
                return "not called: " + e.getMessage();
            }
            handle.close();
            method.invoke(handle, arguments);
            return "answers";
        } catch (InvocationTargetException e) {
            Throwable thrown = e.getCause();
            return thrown instanceof ClosedHandleException
                            && thrown.getMessage().endsWith(SENTENCE)
                    ? ""
                    : thrown.getClass().getSimpleName();
        }
    }
}
