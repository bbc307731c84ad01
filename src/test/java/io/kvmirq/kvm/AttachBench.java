/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static net.bytebuddy.matcher.ElementMatchers.isDeclaredBy;
import static net.bytebuddy.matcher.ElementMatchers.isStatic;
import static net.bytebuddy.matcher.ElementMatchers.nameStartsWith;
import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.not;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.vfio.VfioDevice;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleSupplier;
import net.bytebuddy.ByteBuddy;
import net.bytebuddy.implementation.FixedValue;
import net.bytebuddy.implementation.MethodCall;
import net.bytebuddy.implementation.MethodDelegation;
import net.bytebuddy.implementation.bind.annotation.AllArguments;
import net.bytebuddy.implementation.bind.annotation.Origin;
import net.bytebuddy.implementation.bind.annotation.RuntimeType;

/**
 * The cost of attaching the vectors of a device to a VM and of detaching them, on the machine's KVM. For
 * {@code Forwarding} a stub stands in for VFIO, and does nothing: what VFIO costs is on both sides the same. Each
 * comparison takes turns in one process, each time on a new VM. {@code make bench T=attach} runs it.
 *
 * <p>The other half is {@code src/test/native/attach.c}.
 */
final class AttachBench {
    /** No pin has a GSI, so that 4096 messages find one each. */
    private static final int FIRST_GSI = 0;

    private static final int ROUNDS = 31;
    private static final int WARM_UP_ROUNDS = 30;
    /** Methods run as often as the JVM asks for, with few vectors, which detach quickly. */
    private static final int FEW_ROUNDS = 1500;

    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final PciAddress ADDRESS = PciAddress.parse("0000:3b:00.0");
    /** Beyond any descriptor. */
    private static final int DEVICE = 1 << 24;

    /** Vectors of one device. */
    private static final int MOST_VECTORS = 2048;

    private static final int FEW = 64;

    private final Bench bench = new Bench("attach");
    private final Kernel kernel;
    private final int vectors;
    private final ByteBuffer fds;

    private AttachBench(Kernel kernel, int vectors) {
        this.kernel = kernel;
        this.vectors = vectors;
        this.fds = Buffers.allocate(vectors * Integer.BYTES);
    }

    static native int attachInC(int vm, ByteBuffer fds, int first, int count, boolean singly);

    static native int detachInC(int vm, ByteBuffer fds, int first, int count, boolean together);

    /** @param arguments the absolute path of the other half */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.over(withoutVfio())) {
            for (int i = 0; i < Bench.warmUp(FEW_ROUNDS); i++) {
                new AttachBench(kernel, FEW).warmUp();
            }
            for (int vectors : new int[] {FEW, MOST_VECTORS, 2 * MOST_VECTORS}) {
                new AttachBench(kernel, vectors).run();
            }
        }
    }

    /** The calls of the JNI binding, except those of VFIO. */
    private static KernelBackend withoutVfio() {
        KernelBackend jni = Backends.ofThisMachine().open("jni");
        Libc libc = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, (proxy, method, arguments) -> {
                    if (!method.getName().equals("ioctl") || !arguments[0].equals(DEVICE)) {
                        return method.invoke(jni.libc(), arguments);
                    }
                    if (arguments[2] instanceof ByteBuffer info) {
                        info.putInt(UapiVfio.VfioDeviceInfo.FLAGS, UapiVfio.VFIO_DEVICE_FLAGS_PCI)
                                .putInt(UapiVfio.VfioDeviceInfo.NUM_IRQS, UapiVfio.VFIO_PCI_REQ_IRQ_INDEX + 1);
                    }
                    return 0;
                });
        try {
            return new ByteBuddy()
                    .subclass(Object.class)
                    .implement(KernelBackend.class)
                    .method(isDeclaredBy(KernelBackend.class).and(not(isStatic())))
                    .intercept(
                            MethodCall.invokeSelf().on(jni, KernelBackend.class).withAllArguments())
                    .method(named("isReal"))
                    .intercept(FixedValue.value(false))
                    .method(named("libc"))
                    .intercept(FixedValue.value(libc))
                    .method(nameStartsWith("vfio"))
                    .intercept(MethodDelegation.to(Vfio.class))
                    .make()
                    .load(AttachBench.class.getClassLoader())
                    .getLoaded()
                    .asSubclass(KernelBackend.class)
                    .getDeclaredConstructor()
                    .newInstance();
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("no binding without VFIO", e);
        }
    }

    /** A device with as many vectors as MSI-X has, of which none is enabled. */
    public static final class Vfio {
        private Vfio() {}

        @RuntimeType
        public static int call(@Origin Method call, @AllArguments Object... arguments) {
            if (call.getName().equals("vfioIrqInfo")) {
                boolean msix = arguments[1].equals(UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX);
                ((ByteBuffer) arguments[2])
                        .putInt(KernelBackend.VFIO_IRQ_COUNT, msix ? MOST_VECTORS : 0)
                        .putInt(KernelBackend.VFIO_IRQ_FLAGS, UapiVfio.VFIO_IRQ_INFO_EVENTFD);
            }
            boolean asked = call.getName().equals("vfioIrqsSet")
                    && ((Integer) arguments[1] & UapiVfio.VFIO_IRQ_SET_DATA_BOOL) != 0;
            return asked ? -Errno.EINVAL.number() : 0;
        }
    }

    private void warmUp() {
        inJava(true);
        forwarded();
        inJava(false);
    }

    private void run() {
        if (vectors > MOST_VECTORS) {
            bench.measure(
                    2,
                    7,
                    List.of(row(
                            "attach, one commit / C, a commit each",
                            1 / 150.0,
                            () -> inJava(true),
                            () -> inC(true, true, true))));
            return;
        }
        for (int i = 0; i < Bench.warmUp(WARM_UP_ROUNDS); i++) {
            warmUp();
        }
        // The fixed costs of few vectors weigh more.
        double max = vectors > FEW ? 1.10 : 1.4;
        List<Row> rows = new ArrayList<>();
        rows.add(row("attach, one commit / C, one commit", max, () -> inJava(true), () -> inC(true, false, true)));
        rows.add(row("attach, forwardAll / C, one commit", max, () -> forwarded(), () -> inC(true, false, true)));
        if (vectors > FEW) {
            rows.add(row(
                    "detach, closeAll / C, deassign each",
                    1 / 3.5,
                    () -> inJava(false),
                    () -> inC(false, false, false)));
            rows.add(row(
                    "detach, closeAll / C, by the files' end",
                    1.10,
                    () -> inJava(false),
                    () -> inC(false, false, true)));
        }
        bench.measure(1, ROUNDS, rows);
    }

    private Row row(String title, double max, DoubleSupplier ours, DoubleSupplier theirs) {
        return new Row(vectors + " vectors: " + title, max, ours, theirs);
    }

    private static void require(int result) {
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
        }
    }

    private double forwarded() {
        try (Vm vm = Vm.create(kernel);
                VfioDevice device = VfioDevice.adopt(kernel, ADDRESS, DEVICE, Ownership.BORROWED);
                Forwarding forwarding = Forwarding.create(vm, device)) {
            vm.x86().createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            forwarding.forwardAll(device.msix(0, vectors), i -> MESSAGE);
            return System.nanoTime() - start;
        }
    }

    private double inJava(boolean timeAttach) {
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            List<EventFd> events = EventFd.createAll(kernel, vectors);
            List<Gsi> gsis = vm.routes().change(edit -> {
                List<Gsi> added = new ArrayList<>(vectors);
                for (int i = 0; i < vectors; i++) {
                    added.add(edit.add(MESSAGE));
                }
                return added;
            });
            List<Irqfd> irqfds = vm.assignIrqfds(events, gsis);
            long attached = System.nanoTime();
            if (vm.routes().commits() != 1) {
                throw new IllegalStateException(vm.routes().commits() + " commits of routes: expected 1");
            }
            long detaching = System.nanoTime();
            events.forEach(EventFd::close);
            Irqfd.closeAll(irqfds);
            long detached = System.nanoTime();
            return timeAttach ? attached - start : detached - detaching;
        }
    }

    private double inC(boolean timeAttach, boolean singly, boolean together) {
        try (Vm vm = Vm.create(kernel);
                Fd.Lease lease = vm.fd().lease()) {
            vm.x86().createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            require(attachInC(lease.number(), fds, FIRST_GSI, vectors, singly));
            long attached = System.nanoTime();
            require(detachInC(lease.number(), fds, FIRST_GSI, vectors, together));
            return timeAttach ? attached - start : System.nanoTime() - attached;
        }
    }
}
