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
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.testing.Rounds;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.vfio.VfioDevice;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import net.bytebuddy.ByteBuddy;
import net.bytebuddy.implementation.FixedValue;
import net.bytebuddy.implementation.MethodCall;
import net.bytebuddy.implementation.MethodDelegation;
import net.bytebuddy.implementation.bind.annotation.AllArguments;
import net.bytebuddy.implementation.bind.annotation.Origin;
import net.bytebuddy.implementation.bind.annotation.RuntimeType;
import org.jspecify.annotations.Nullable;

/**
 * The cost of attaching the vectors of a device to a VM, of rerouting and of detaching them, on the machine's KVM. For
 * {@code Forwarding} a stub stands in for VFIO, and does nothing: what VFIO costs is on both sides the same. Each
 * comparison takes turns in one process, each time on a new VM. It reports and asserts no time; {@code
 * scripts/bench-attach} runs it.
 *
 * <p>The other half is {@code src/test/native/attach.c}.
 */
final class AttachBench {
    private static final int FIRST_GSI = 24;
    private static final int ROUNDS = 31;
    /** Compiled code is compared: the loops over the vectors run as often as the JVM asks for. */
    private static final int WARM_UP_ROUNDS = 300;

    private static final int SINGLE_REROUTES = 64;
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final MsiMessage OTHER = MsiMessage.to(new VcpuId(0), new InterruptVector(0x32));
    private static final PciAddress ADDRESS = PciAddress.parse("0000:3b:00.0");
    /** Beyond any descriptor. */
    private static final int DEVICE = 1 << 24;

    private static final int MOST_VECTORS = 2048;

    /** In each, the first side over the second should not exceed the goal. */
    private enum Op {
        ATTACH("attach: Java, one commit / C, one commit", 1.1),
        FORWARD("attach: Java, forwardAll / C, one commit", 1.1),
        REROUTE("reroute: Java, all at once / Java, one by one", 1 / 100.0),
        ATTACH_SINGLY("attach: Java, one commit / C, a commit each", 1 / 70.0),
        DETACH("detach: Java, closeAll / C, deassign each", 1 / 1.8),
        DETACH_JAVA("detach: Java, closeAll / Java, close each", 1 / 1.8);

        private final String title;
        private final double goal;

        Op(String title, double goal) {
            this.title = title;
            this.goal = goal;
        }
    }

    private final PrintStream out;
    private final Kernel kernel;
    private final int vectors;
    private final ByteBuffer fds;

    private AttachBench(PrintStream out, Kernel kernel, int vectors) {
        this.out = out;
        this.kernel = kernel;
        this.vectors = vectors;
        this.fds = Buffers.allocate(vectors * Integer.BYTES);
    }

    private static native int attachInC(int vm, ByteBuffer fds, int first, int count, boolean singly);

    private static native int detachInC(int vm, ByteBuffer fds, int first, int count);

    /** @param arguments the absolute path of the other half, then numbers of vectors */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.over(withoutVfio(), Kernel.DEVICE)) {
            for (String vectors : List.of(arguments).subList(1, arguments.length)) {
                new AttachBench(System.out, kernel, Integer.parseInt(vectors)).run();
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

    private void run() {
        double first = java(Op.ATTACH);
        for (int i = 0; i < WARM_UP_ROUNDS; i++) {
            java(Op.ATTACH);
            java(Op.FORWARD);
            c(Op.DETACH_JAVA);
        }
        Rounds.of(Op.values(), ROUNDS, this::java, this::c).forEach(this::print);
        out.printf(
                Locale.ROOT,
                "%-6d%-46s%8.2f ms%n",
                vectors,
                "attach: Java, before the warm-up of this row's size",
                first / 1e6);
    }

    private void print(Op op, Rounds rounds) {
        out.printf(
                Locale.ROOT,
                "%-6d%-46s%8.2f%10.2f%10.4f%9.4f%9.4f%11.2f%s%n",
                vectors,
                op.title,
                rounds.java(50) / 1e6,
                rounds.c(50) / 1e6,
                rounds.ratio(),
                op.goal,
                rounds.java(10) / rounds.c(10),
                rounds.spread(),
                rounds.isCalm() ? "" : "  not calm");
    }

    private static void require(int result) {
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
        }
    }

    /** The first side, in nanoseconds. */
    private double java(Op op) {
        if (op == Op.FORWARD || op == Op.REROUTE) {
            return forwarded(op);
        }
        boolean attaching = op == Op.ATTACH || op == Op.ATTACH_SINGLY;
        return inJava(attaching, true);
    }

    /** The second side, in nanoseconds. */
    private double c(Op op) {
        if (op == Op.REROUTE) {
            return forwarded(null);
        }
        return op == Op.DETACH_JAVA ? inJava(false, false) : inC(op == Op.DETACH, op == Op.ATTACH_SINGLY);
    }

    /** @param op null for reroutes one by one */
    private double forwarded(@Nullable Op op) {
        try (Vm vm = Vm.create(kernel);
                VfioDevice device = VfioDevice.adopt(kernel, ADDRESS, DEVICE, Ownership.BORROWED);
                Forwarding forwarding = Forwarding.of(vm, device)) {
            vm.createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            List<ForwardedIrq> irqs = forwarding.forwardAll(device.msix(0, vectors), i -> MESSAGE);
            long attached = System.nanoTime();
            if (op == Op.FORWARD) {
                return attached - start;
            }
            if (op == Op.REROUTE) {
                forwarding.reroute(irqs, i -> OTHER);
                return System.nanoTime() - attached;
            }
            irqs.subList(0, SINGLE_REROUTES).forEach(irq -> irq.reroute(OTHER));
            return (System.nanoTime() - attached) * (double) vectors / SINGLE_REROUTES;
        }
    }

    private double inJava(boolean timeAttach, boolean together) {
        try (Vm vm = Vm.create(kernel)) {
            vm.createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            List<EventFd> events = EventFd.create(kernel, vectors);
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
            if (together) {
                Irqfd.closeAll(irqfds);
            } else {
                irqfds.forEach(Irqfd::close);
            }
            long detached = System.nanoTime();
            return timeAttach ? attached - start : detached - detaching;
        }
    }

    private double inC(boolean timeDetach, boolean singly) {
        try (Vm vm = Vm.create(kernel);
                Fd.Lease lease = vm.fd().lease()) {
            vm.createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            require(attachInC(lease.number(), fds, FIRST_GSI, vectors, singly));
            long attached = System.nanoTime();
            require(detachInC(lease.number(), fds, FIRST_GSI, vectors));
            long detached = System.nanoTime();
            return timeDetach ? detached - attached : attached - start;
        }
    }
}
