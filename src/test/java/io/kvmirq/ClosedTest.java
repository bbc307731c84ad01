/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Vcpu;
import io.kvmirq.kvm.X86Vm;
import io.kvmirq.testing.ClosedHandles;
import io.kvmirq.testing.Samples;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/**
 * Methods of a handle after its close throw {@link ClosedHandleException}, with one sentence. The others tell what was
 * set or known, register a listener, end what ended, or refuse their arguments first. {@code ClosedContract} compares
 * the fake with real kernels.
 */
class ClosedTest {
    /** Methods that refuse a closed handle. Grows with the API: fewer means that a method lost its check. */
    private static final int REFUSED = 179;

    /** How the other methods end. None reaches the kernel with a descriptor that another file may have by now. */
    private static final Pattern OTHERS = Pattern.compile(
            ".*: (answers|(UnsupportedOperation|IllegalArgument|NullPointer|IllegalState)Exception|not called: .*)");

    /** The kernels that have what 6.12 on x86 lacks. */
    private static final Map<String, String> PROFILES = Map.of(
            "VgicV2", "6.12,arm64,gicv2",
            "VgicV3", "6.12,arm64",
            "Its", "6.12,arm64",
            "VfioCdev", "7.1,cdev",
            "Ioas", "7.1,cdev");

    /** All promised types with a close, and of a hierarchy those that are made. */
    private static List<Class<?>> handles() throws Exception {
        List<Class<?>> all = new ArrayList<>(PromiseTest.promised());
        all.removeIf(type -> !AutoCloseable.class.isAssignableFrom(type));
        List<Class<?>> handles = new ArrayList<>(all);
        handles.removeIf(type -> Modifier.isAbstract(type.getModifiers())
                && all.stream().anyMatch(other -> other != type && type.isAssignableFrom(other)));
        return handles;
    }

    @Test
    void methodOfAClosedHandleSaysSo() throws Exception {
        List<String> others = new ArrayList<>();
        int refused = 0;
        for (Class<?> type : handles()) {
            String profile = PROFILES.getOrDefault(type.getSimpleName(), "6.12");
            ClosedHandles handles = new ClosedHandles(() -> new Samples(profile));
            handles.call(type);
            if (type == Vm.class) {
                handles.call(X86Vm.class, type);
            } else if (type == Vcpu.class) {
                handles.call(X86Vcpu.class, type);
            }
            others.addAll(handles.others());
            refused += handles.refused();
        }
        assertThat(refused).isGreaterThanOrEqualTo(REFUSED);
        assertThat(others).isNotEmpty().allMatch(OTHERS.asMatchPredicate());
    }
}
