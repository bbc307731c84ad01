/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.libc.UapiTable;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What calls may be named by in a rule of {@link Faults}. */
final class FaultNames {
    private static final int NEAR = 3;

    /** What each typed primitive asks the kernel for. */
    private static final Map<String, Set<String>> KERNELS = Map.ofEntries(
            Map.entry("fdClose", Set.of("close")),
            Map.entry("fdDup", Set.of("fcntl")),
            Map.entry("fdWait", Set.of("ppoll")),
            Map.entry("eventfdCreate", Set.of("eventfd")),
            Map.entry("eventfdCreateSemaphore", Set.of("eventfd")),
            Map.entry("eventfdSignal", Set.of("write")),
            Map.entry("eventfdDrain", Set.of("read")),
            Map.entry("eventfdDrainForeign", Set.of("preadv2")),
            Map.entry("kvmOpen", Set.of("open")),
            ioctl("kvmVersion", "KVM_GET_API_VERSION"),
            ioctl("capabilityCheck", "KVM_CHECK_EXTENSION"),
            ioctl("vmCreate", "KVM_CREATE_VM"),
            ioctl("irqchipCreate", "KVM_CREATE_IRQCHIP"),
            ioctl("irqchipCreateSplit", "KVM_ENABLE_CAP"),
            ioctl("x2apicEnable", "KVM_ENABLE_CAP"),
            ioctl("irqchipGet", "KVM_GET_IRQCHIP"),
            ioctl("irqchipSet", "KVM_SET_IRQCHIP"),
            ioctl("routesSet", "KVM_SET_GSI_ROUTING"),
            ioctl("irqfdAssign", "KVM_IRQFD"),
            ioctl("irqfdAssignLevel", "KVM_IRQFD"),
            ioctl("irqfdDeassign", "KVM_IRQFD"),
            ioctl("ioeventfdAssign", "KVM_IOEVENTFD"),
            ioctl("ioeventfdDeassign", "KVM_IOEVENTFD"),
            ioctl("msiSignal", "KVM_SIGNAL_MSI"),
            ioctl("lineSet", "KVM_IRQ_LINE"),
            ioctl("lineSetStatus", "KVM_IRQ_LINE_STATUS"),
            ioctl("deviceTest", "KVM_CREATE_DEVICE"),
            ioctl("deviceCreate", "KVM_CREATE_DEVICE"),
            ioctl("deviceAttrHas", "KVM_HAS_DEVICE_ATTR"),
            ioctl("deviceVfioAdd", "KVM_SET_DEVICE_ATTR"),
            ioctl("deviceVfioRemove", "KVM_SET_DEVICE_ATTR"));

    private static final Set<String> ALL = Stream.of(
                    Stream.of(Faults.ANY),
                    UapiTable.REQUESTS.stream().map(UapiTable.Request::name),
                    Stream.of("KVM_ARM_SET_DEVICE_ADDR"),
                    Stream.of(Libc.class, KernelBackend.class)
                            .flatMap(type -> Arrays.stream(type.getMethods()))
                            .filter(FaultNames::answers)
                            .map(Method::getName))
            .flatMap(names -> names)
            .collect(Collectors.toCollection(TreeSet::new));

    private FaultNames() {}

    private static Map.Entry<String, Set<String>> ioctl(String primitive, String request) {
        return Map.entry(primitive, Set.of("ioctl", request));
    }

    /** Whether a call of it has a result that can be a failure. */
    static boolean answers(Method method) {
        Class<?> type = method.getReturnType();
        return (type == int.class || type == long.class)
                && !method.getName().equals("addressOf")
                && !method.getName().equals("hashCode");
    }

    /** The kernel's names for a typed primitive. */
    static Set<String> ofKernel(String primitive) {
        return KERNELS.getOrDefault(primitive, Set.of());
    }

    static void require(String name) {
        if (ALL.contains(name) || name.matches("ioctl 0x[0-9a-f]+")) {
            return;
        }
        List<String> near = ALL.stream()
                .sorted(Comparator.comparingInt(known -> distance(name, known)))
                .limit(NEAR)
                .toList();
        throw new IllegalArgumentException("no call is named '" + name + "': near are " + String.join(", ", near));
    }

    /** How many letters to put in, take out or change, whatever their case. */
    private static int distance(String one, String other) {
        String from = one.toLowerCase(Locale.ROOT);
        String to = other.toLowerCase(Locale.ROOT);
        int[] above = new int[to.length() + 1];
        Arrays.setAll(above, i -> i);
        for (int i = 1; i <= from.length(); i++) {
            int[] row = new int[to.length() + 1];
            row[0] = i;
            for (int j = 1; j <= to.length(); j++) {
                int changed = above[j - 1] + (from.charAt(i - 1) == to.charAt(j - 1) ? 0 : 1);
                row[j] = Math.min(changed, Math.min(row[j - 1], above[j]) + 1);
            }
            above = row;
        }
        return above[to.length()];
    }
}
