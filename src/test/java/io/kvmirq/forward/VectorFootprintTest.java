/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.vfio.VfioDevice;
import java.lang.management.ManagementFactory;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.EnumMap;
import java.util.Map;
import java.util.regex.Pattern;
import javax.management.JMException;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;

/**
 * The heap that a forwarded vector keeps, from the JVM's own count of live objects by class after a collection. The
 * kernel is a stub that keeps nothing, so the difference between two counts is the library's. Compressed references are
 * assumed.
 */
class VectorFootprintTest {
    static final int VECTORS = 2048;

    private static <T> T stub(Class<T> type, InvocationHandler handler) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler));
    }

    /** Succeeds always, with new descriptors. The device has {@link #VECTORS} vectors of MSI-X, and none is enabled. */
    static KernelBackend kernel() {
        int[] last = {2};
        Libc libc = stub(Libc.class, (proxy, method, arguments) -> {
            if (method.getName().equals("ioctl") && arguments[2] instanceof ByteBuffer info) {
                info.putInt(UapiVfio.VfioDeviceInfo.FLAGS, UapiVfio.VFIO_DEVICE_FLAGS_PCI)
                        .putInt(UapiVfio.VfioDeviceInfo.NUM_IRQS, UapiVfio.VFIO_PCI_REQ_IRQ_INDEX + 1);
            }
            return method.getName().equals("hostFiles") ? HostFiles.of(Map.of(), Map.of()) : 0;
        });
        return stub(KernelBackend.class, (proxy, method, arguments) -> switch (method.getName()) {
            case "eventfdsCreate", "irqfdsAssign" -> InvocationHandler.invokeDefault(proxy, method, arguments);
            case "isReal" -> false;
            case "libc" -> libc;
            case "name", "description" -> "stub";
            case "kvmVersion" -> 12;
            case "kvmOpen", "vmCreate", "eventfdCreate" -> ++last[0];
            case "capabilityCheck" -> 1;
            case "vfioIrqsSet" -> {
                int flags = (Integer) arguments[1];
                yield (flags & UapiVfio.VFIO_IRQ_SET_DATA_BOOL) != 0 ? -Errno.EINVAL.number() : 0;
            }
            case "vfioIrqInfo" -> {
                boolean msix = arguments[1].equals(UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX);
                ((ByteBuffer) arguments[2])
                        .putInt(KernelBackend.VFIO_IRQ_COUNT, msix ? VECTORS : 0)
                        .putInt(KernelBackend.VFIO_IRQ_FLAGS, UapiVfio.VFIO_IRQ_INFO_EVENTFD);
                yield 0;
            }
            default -> 0;
        });
    }

    /** Parts of the library that keep objects for a vector, and the bytes that each may keep. */
    private enum Part {
        /**
         * An interrupt, its irqfd, its route, its place among the device's interrupts; the message is the caller's
         * object.
         */
        FORWARDING(150, "io\\.kvmirq\\.(forward|kvm|vfio)\\..*|io\\.kvmirq\\.(Gsi|MsiMessage)|\\[Lio\\.kvmirq\\..*"),
        /** The handle of the eventfd: use count, report of a forgotten handle, identity. */
        EVENTFD(100, "io\\.kvmirq\\.(kernel\\..*|EventFdId)"),
        /** The prediction. */
        MIRROR(220, "io\\.kvmirq\\.(mirror\\..*|Route.*)"),
        /** Maps, lists and optionals: of the mirror, and 12 bytes of the first part. */
        JDK(250, "java\\.util\\.(Optional.*|Immutable.*|.*HashMap.*)|\\[Ljava\\.(util|lang\\.Object).*");

        private final int max;
        private final Pattern classes;

        Part(int max, String classes) {
            this.max = max;
            this.classes = Pattern.compile(classes);
        }
    }

    /** By part: the bytes of the objects that a collection leaves. */
    private static Map<Part, Long> live() throws JMException {
        String histogram = (String) ManagementFactory.getPlatformMBeanServer()
                .invoke(
                        new ObjectName("com.sun.management:type=DiagnosticCommand"),
                        "gcClassHistogram",
                        new Object[] {new String[0]},
                        new String[] {String[].class.getName()});
        Map<Part, Long> bytes = new EnumMap<>(Part.class);
        histogram
                .lines()
                .map(String::trim)
                .filter(line -> line.matches("\\d+:.*"))
                .forEach(line -> {
                    String[] columns = line.split("\\s+");
                    for (Part part : Part.values()) {
                        if (part.classes.matcher(columns[3]).matches()) {
                            bytes.merge(part, Long.parseLong(columns[2]), Long::sum);
                        }
                    }
                });
        return bytes;
    }

    static MsiMessage message(int number) {
        return MsiMessage.to(new VcpuId(number % 64), new InterruptVector(0x30 + number % 64));
    }

    @Test
    void forwardedVectorIsSmall() throws JMException {
        try (Kernel kernel = Kernel.over(kernel());
                Vm vm = Vm.create(kernel);
                VfioDevice device = VfioDevice.adopt(kernel, PciAddress.parse("0000:3b:00.0"), 1, Ownership.BORROWED)) {
            vm.x86().createIrqchip();
            // First, everything is loaded, and tables have their sizes.
            try (Forwarding forwarding = Forwarding.create(vm, device)) {
                forwarding.forwardAll(device.msix(), VectorFootprintTest::message);
            }
            live();
            Map<Part, Long> before = live();
            try (Forwarding forwarding = Forwarding.create(vm, device)) {
                forwarding.forwardAll(device.msix(), VectorFootprintTest::message);
                assertThat(forwarding.mirror().now().irqs()).hasSize(VECTORS);
                Map<Part, Long> after = live();
                Map<Part, Long> each = new EnumMap<>(Part.class);
                after.forEach((part, bytes) -> each.put(part, (bytes - before.getOrDefault(part, 0L)) / VECTORS));
                System.out.println("bytes of a forwarded vector: " + each);
                each.forEach((part, bytes) ->
                        assertThat(bytes).as("bytes of %s, of one vector", part).isBetween(1L, (long) part.max));
                assertThat(each).containsOnlyKeys(Part.values());
                assertThat(forwarding.irqs()).hasSize(VECTORS);
            }
        }
    }
}
