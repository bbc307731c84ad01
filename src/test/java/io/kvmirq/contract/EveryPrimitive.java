/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * Makes every typed call through the binding named, for {@link BytesIT} to compare. Descriptors in structures and under
 * calls are fixed numbers, not open but for one: what counts is what was asked. Exit codes: 1 a primitive is not called
 * here, 3 no such binding on this machine.
 */
final class EveryPrimitive {
    private static final int KVM = 1001;
    private static final int VM = 1002;
    private static final int EVENTFD = 1003;
    private static final int DEVICE = 1004;

    private final KernelBackend kernel;
    private final ByteBuffer count = Buffers.allocate(Long.BYTES);

    private EveryPrimitive(KernelBackend kernel) {
        this.kernel = kernel;
    }

    public static void main(String[] arguments) throws ReflectiveOperationException {
        try {
            KernelBackend kernel = Backends.ofThisMachine().open(arguments[0]);
            Set<String> missing = primitives();
            KernelBackend watched = watched(kernel, missing);
            new EveryPrimitive(watched).callAll();
            callWithNumbers(watched, Set.copyOf(missing));
            if (!missing.isEmpty()) {
                System.err.println("not called here: " + missing);
                System.exit(1);
            }
        } catch (BackendUnavailableException e) {
            System.err.println(e.getMessage());
            System.exit(3);
        }
    }

    /** Primitives with a kernel call of their own: all that answer with a result. */
    static Set<String> primitives() {
        return Arrays.stream(KernelBackend.class.getDeclaredMethods())
                .filter(method -> method.getReturnType() == int.class)
                .map(Method::getName)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** Strikes from {@code uncalled} what is called. */
    private static KernelBackend watched(KernelBackend kernel, Set<String> uncalled) {
        return (KernelBackend) Proxy.newProxyInstance(
                KernelBackend.class.getClassLoader(),
                new Class<?>[] {KernelBackend.class},
                (proxy, method, arguments) -> {
                    uncalled.remove(method.getName());
                    return method.invoke(kernel, arguments);
                });
    }

    /** Calls primitives that take only numbers: each argument has another value, and the high bits of a long are set. */
    private static void callWithNumbers(KernelBackend kernel, Set<String> names) throws ReflectiveOperationException {
        Method[] methods = KernelBackend.class.getDeclaredMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        for (Method method : methods) {
            List<Class<?>> types = List.of(method.getParameterTypes());
            if (names.contains(method.getName()) && !types.contains(ByteBuffer.class)) {
                Object[] numbers = new Object[types.size()];
                Arrays.setAll(
                        numbers, i -> types.get(i) == int.class ? (Object) (VM + i) : (Object) (0xfedc_0000_0000L + i));
                method.invoke(kernel, numbers);
            }
        }
    }

    private void callAll() {
        kvm();
        chips();
        routes();
        wiring();
        injection();
        devices();
        vfio();
        eventfds();
    }

    private void kvm() {
        kernel.kvmOpen(Buffers.cString("/dev/vfio/none"));
        kernel.capabilityCheck(KVM, Uapi.KVM_CAP_IRQ_ROUTING);
        kernel.capabilityCheck(VM, -1);
        kernel.vmCreate(KVM, 0);
        kernel.vmCreate(KVM, 0x80000000L);
    }

    private void chips() {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        kernel.irqchipGet(VM, 2, state);
        for (int i = 0; i < state.limit(); i++) {
            state.put(i, (byte) i);
        }
        kernel.irqchipSet(VM, 1, state);
        kernel.x2apicEnable(VM, 3);
        kernel.x2apicEnable(VM, -1L);
    }

    private void routes() {
        kernel.routesSet(VM, World.records(0), 0);
        ByteBuffer two = World.records(2);
        World.pin(two, 0, 4, 2, 4);
        World.message(two, 1, 24, 0xfee01000L, 0x4041, 0, 0);
        kernel.routesSet(VM, two, 2);
        int hyperV = KernelBackend.ROUTE_SIZE;
        two.putInt(hyperV + KernelBackend.ROUTE_TYPE, Uapi.KVM_IRQ_ROUTING_HV_SINT)
                .putLong(hyperV + KernelBackend.ROUTE_ADDRESS, 0x1122334455667788L)
                .putInt(KernelBackend.ROUTE_SIZE * 2 - Integer.BYTES, 7);
        kernel.routesSet(VM, two, 2);
        ByteBuffer many = World.records(300);
        for (int i = 0; i < 300; i++) {
            World.message(many, i, i, 0x1234_5678_fee0_0000L + i, 0x80000000 | i, KernelBackend.ROUTE_FLAG_DEVID, -i);
        }
        kernel.routesSet(VM, many, 300);
    }

    private void wiring() {
        kernel.irqfdAssign(VM, EVENTFD, 24);
        kernel.irqfdAssign(VM, -1, -1);
        ByteBuffer many = Buffers.allocate(2 * KernelBackend.IRQFD_SIZE);
        many.putInt(KernelBackend.IRQFD_FD, EVENTFD).putInt(KernelBackend.IRQFD_GSI, 25);
        kernel.irqfdsAssign(VM, many, 2); // the first is refused: VM is no descriptor
        kernel.irqfdAssignLevel(VM, 7, 9, 10);
        kernel.irqfdDeassign(VM, 7, 10);
        kernel.ioeventfdAssign(VM, 11, 0xfe003000L, 4, 0, 0);
        kernel.ioeventfdAssign(
                VM, 11, 0xc050, 2, KernelBackend.IOEVENTFD_PIO | KernelBackend.IOEVENTFD_DATAMATCH, 0x1234);
        kernel.ioeventfdDeassign(VM, 11, -4096, 8, KernelBackend.IOEVENTFD_DATAMATCH, 0xfedc_ba98_7654_3210L);
    }

    private void injection() {
        kernel.msiSignal(VM, 0xfee00000L, 0x30, 0, 0);
        kernel.msiSignal(VM, 0xffff_ffff_fee0_1000L, 0x80000031, 1, -2);
        kernel.lineSet(VM, 4, 1);
        kernel.lineSet(VM, 0x0201001b, 2);
        kernel.lineSetStatus(VM, 5, 0, Buffers.allocate(Integer.BYTES));
    }

    private void devices() {
        kernel.deviceTest(VM, Uapi.KVM_DEV_TYPE_VFIO);
        kernel.deviceCreate(VM, Uapi.KVM_DEV_TYPE_VFIO);
        kernel.deviceAttrHas(DEVICE, 2, 1L << 40);
        kernel.deviceVfioAdd(DEVICE, 1005);
        kernel.deviceVfioRemove(DEVICE, -1);
    }

    private void vfio() {
        kernel.vfioIrqInfo(DEVICE, UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX, Buffers.allocate(KernelBackend.VFIO_IRQ_SIZE));
        kernel.vfioIrqInfo(DEVICE, -1, Buffers.allocate(KernelBackend.VFIO_IRQ_SIZE));
        ByteBuffer none = Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE);
        kernel.vfioIrqsSet(
                DEVICE,
                UapiVfio.VFIO_IRQ_SET_DATA_NONE | UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK,
                UapiVfio.VFIO_PCI_INTX_IRQ_INDEX,
                0,
                1,
                none);
        kernel.vfioIrqsSet(DEVICE, -1, -1, 0xfedc_ba98, -2, none);
        ByteBuffer bools =
                Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE + 3).put(21, (byte) 1);
        kernel.vfioIrqsSet(
                DEVICE,
                UapiVfio.VFIO_IRQ_SET_DATA_BOOL | UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER,
                UapiVfio.VFIO_PCI_MSI_IRQ_INDEX,
                1,
                3,
                bools);
        setEventfds(3, 2);
        setEventfds(0, 2048);
    }

    private void setEventfds(int start, int count) {
        ByteBuffer set = Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE + count * Integer.BYTES);
        for (int i = 0; i < count; i++) {
            set.putInt(KernelBackend.VFIO_IRQS_HEADER_SIZE + i * Integer.BYTES, i % 2 == 0 ? EVENTFD : -1);
        }
        kernel.vfioIrqsSet(
                DEVICE,
                UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD | UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER,
                UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX,
                start,
                count,
                set);
    }

    private void eventfds() {
        int plain = kernel.eventfdCreate();
        int semaphore = kernel.eventfdCreateSemaphore();
        ByteBuffer many = Buffers.allocate(2 * Integer.BYTES);
        kernel.eventfdsCreate(many, 2);
        kernel.fdClose(many.getInt(Integer.BYTES));
        kernel.fdClose(many.getInt(0));
        kernel.libc().fcntl(plain, Uapi.F_DUPFD_CLOEXEC, EVENTFD);
        kernel.eventfdDrain(EVENTFD, count);
        kernel.eventfdSignal(EVENTFD, 5);
        kernel.fdWait(EVENTFD, -1, 1_500_000_000L);
        kernel.eventfdDrain(EVENTFD, count);
        kernel.eventfdSignal(EVENTFD, -2);
        kernel.fdWait(EVENTFD, VM, -1);
        kernel.eventfdDrainForeign(EVENTFD, count);
        kernel.eventfdDrainForeign(EVENTFD, count);
        kernel.eventfdSignal(EVENTFD, -1);
        kernel.fdWait(EVENTFD, -1, 0);
        kernel.fdClose(kernel.fdDup(EVENTFD));
        kernel.fdClose(EVENTFD);
        kernel.fdClose(semaphore);
        kernel.fdClose(plain);
    }
}
