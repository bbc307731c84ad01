/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.text.Foreign;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The names of calls that a rule of {@link Faults} may use. */
final class FaultNames {
    static final String ANY = "any";
    private static final String IOCTL = "ioctl";
    private static final Set<String> ALL_OF_A_KIND = Set.of(ANY, IOCTL, "syscall");

    private static final Set<String> NEVER_FAIL = Arrays.stream(SystemCall.values())
            .filter(call -> !call.canFail())
            .map(SystemCall::kernelName)
            .collect(Collectors.toUnmodifiableSet());

    /** Tables that are built when a rule or a count is first checked. */
    private static final class Tables {
        /** The kernel calls that each typed primitive makes, found by calling it once on a stub. */
        static final Map<String, Set<String>> KERNELS = kernels();

        static final Set<String> ALL = Stream.of(
                        Stream.of(ANY),
                        Stream.of(UapiTable.REQUESTS, UapiTable.ARM64)
                                .flatMap(List::stream)
                                .map(UapiTable.Request::name),
                        Arrays.stream(SystemCall.values()).map(SystemCall::kernelName),
                        Stream.of(Libc.class, KernelBackend.class)
                                .flatMap(type -> Arrays.stream(type.getMethods()))
                                .filter(FaultNames::answers)
                                .map(Method::getName))
                .flatMap(names -> names)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    private FaultNames() {}

    private static Map<String, Set<String>> kernels() {
        Set<String> called = new HashSet<>();
        Libc libc = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, (proxy, method, arguments) -> {
                    if (answers(method)) {
                        called.add(method.getName());
                        called.add(ofCall(method.getName(), arguments));
                    }
                    return blank(method.getReturnType());
                });
        KernelBackend backend = LibcBackend.over(libc, "names", "names");
        Map<String, Set<String>> kernels = new HashMap<>();
        for (Method primitive : KernelBackend.class.getMethods()) {
            if (answers(primitive)) {
                called.clear();
                try {
                    primitive.invoke(
                            backend,
                            Arrays.stream(primitive.getParameterTypes())
                                    .map(FaultNames::blank)
                                    .toArray());
                } catch (ReflectiveOperationException e) {
                    throw new IllegalStateException(primitive.getName(), e);
                }
                kernels.put(primitive.getName(), Set.copyOf(called));
            }
        }
        return kernels;
    }

    private static @Nullable Object blank(Class<?> type) {
        if (type == int.class) {
            return 0;
        }
        if (type == long.class) {
            return 0L;
        }
        return type == boolean.class ? (Object) false : type == ByteBuffer.class ? Buffers.allocate(1 << 12) : null;
    }

    /** A call's name, which is an ioctl's request or else the function. */
    static String ofCall(String function, @Nullable Object @Nullable [] arguments) {
        if (arguments != null && function.equals("syscall") && arguments[0] instanceof SystemCall call) {
            return call.kernelName();
        }
        if (!function.equals(IOCTL) || arguments == null || !(arguments[1] instanceof Long request)) {
            return function;
        }
        UapiTable.@Nullable Request known = UapiTable.find(request, FileKind.NONE);
        return known == null ? "ioctl " + Names.hex(request) : known.name();
    }

    /** Whether the method returns a result or an errno. A batch counts as several calls of its primitive. */
    static boolean answers(Method method) {
        Class<?> type = method.getReturnType();
        return (type == int.class || type == long.class)
                && !(method.isDefault() && method.getDeclaringClass() == KernelBackend.class)
                && !method.getName().equals("addressOf")
                && !method.getName().equals("hashCode");
    }

    /** The names of the kernel calls that a typed primitive makes. */
    static Set<String> ofKernel(String primitive) {
        return Tables.KERNELS.getOrDefault(primitive, Set.of());
    }

    /** Whether a call with this name can fail. */
    static boolean canFail(String name) {
        return !NEVER_FAIL.contains(name);
    }

    /**
     * The errnos that Linux returns from calls with this name, per the table of answers, sorted by name. Empty if the
     * name matches all calls of a kind, or the table lacks the call.
     */
    static Set<Errno> errnos(String name) {
        Set<Errno> errnos = new TreeSet<>(Comparator.comparing(Errno::toString));
        if (ALL_OF_A_KIND.contains(name)) {
            return errnos;
        }
        String label = name.replaceAll("(?<=[a-z])(?=[A-Z])", " ").toLowerCase(Locale.ROOT);
        Set<String> kernels = ofKernel(name);
        Set<String> known = (kernels.isEmpty() || KernelCall.parse(label).isPresent() ? Set.of(label) : kernels)
                .stream()
                        .filter(call ->
                                !call.equals(IOCTL) && KernelCall.parse(call).isPresent())
                        .collect(Collectors.toSet());
        known.forEach(call -> errnos.addAll(Answers.errnos(call)));
        boolean request = name.equals(name.toUpperCase(Locale.ROOT));
        if (!known.isEmpty() && (request || kernels.contains(IOCTL))) {
            errnos.addAll(Answers.errnos(IOCTL));
        }
        return errnos;
    }

    static void require(String name) {
        if (Tables.ALL.contains(name) || name.matches("ioctl 0x[0-9a-f]+")) {
            return;
        }
        throw new IllegalArgumentException("no call is named " + Foreign.quoted(name) + ": near are "
                + String.join(", ", Names.nearest(name, Tables.ALL)));
    }
}
