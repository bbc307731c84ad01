/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
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
import java.util.HashMap;
import java.util.Map;
import javax.management.JMException;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;

/**
 * The heap that a forwarded vector keeps, from the JVM's own count of live objects by class. The kernel is a stub that
 * keeps nothing, so the difference between the two counts is what the library keeps: its own objects and those of the JDK
 * that it makes.
 */
class VectorFootprintTest {
    private static final int VECTORS = 2048;

    private static <T> T stub(Class<T> type, InvocationHandler handler) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler));
    }

    /** Succeeds always, with new descriptors. The device has {@link #VECTORS} vectors of MSI-X, and none is enabled. */
    private static KernelBackend kernel() {
        int[] last = {2};
        Libc libc = stub(Libc.class, (proxy, method, arguments) -> {
            if (method.getName().equals("ioctl") && arguments[2] instanceof ByteBuffer info) {
                info.putInt(UapiVfio.VfioDeviceInfo.FLAGS, UapiVfio.VFIO_DEVICE_FLAGS_PCI)
                        .putInt(UapiVfio.VfioDeviceInfo.NUM_IRQS, UapiVfio.VFIO_PCI_REQ_IRQ_INDEX + 1);
            }
            return 0;
        });
        return stub(KernelBackend.class, (proxy, method, arguments) -> switch (method.getName()) {
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

    /** By class: the bytes of the objects that a collection leaves. */
    private static Map<String, Long> live() throws JMException {
        String histogram = (String) ManagementFactory.getPlatformMBeanServer()
                .invoke(
                        new ObjectName("com.sun.management:type=DiagnosticCommand"),
                        "gcClassHistogram",
                        new Object[] {new String[0]},
                        new String[] {String[].class.getName()});
        Map<String, Long> bytes = new HashMap<>();
        histogram
                .lines()
                .map(String::trim)
                .filter(line -> line.matches("\\d+:.*"))
                .forEach(line -> {
                    String[] columns = line.split("\\s+");
                    bytes.merge(columns[3], Long.parseLong(columns[2]), Long::sum);
                });
        return bytes;
    }

    private static MsiMessage message(int number) {
        return MsiMessage.to(new VcpuId(number % 64), new InterruptVector(0x30 + number % 64));
    }

    @Test
    void forwardedVector() throws JMException {
        try (Kernel kernel = Kernel.over(kernel(), Kernel.DEVICE);
                Vm vm = Vm.create(kernel);
                VfioDevice device = VfioDevice.adopt(kernel, PciAddress.parse("0000:3b:00.0"), 1, Ownership.BORROWED);
                Forwarding forwarding = Forwarding.of(vm, device)) {
            vm.createIrqchip();
            forwarding
                    .forwardAll(device.msix(), VectorFootprintTest::message)
                    .get(0)
                    .close();
            forwarding.irqs().forEach(ForwardedIrq::close);
            live();
            Map<String, Long> before = live();
            forwarding.forwardAll(device.msix(), VectorFootprintTest::message);
            Map<String, Long> after = live();
            long sum = 0;
            StringBuilder b = new StringBuilder();
            for (Map.Entry<String, Long> e : after.entrySet()) {
                long d = e.getValue() - before.getOrDefault(e.getKey(), 0L);
                sum += d;
                if (Math.abs(d) > 2000) b.append(String.format("%s %.1f%n", e.getKey(), d / (double) VECTORS));
            }
            System.out.println(b + "sum " + sum / (double) VECTORS);
            assertThat(sum).isPositive();
        }
    }
}
