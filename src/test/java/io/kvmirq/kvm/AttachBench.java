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
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.vfio.VfioDevice;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import net.bytebuddy.ByteBuddy;
import net.bytebuddy.implementation.FixedValue;
import net.bytebuddy.implementation.MethodCall;
import net.bytebuddy.implementation.MethodDelegation;
import net.bytebuddy.implementation.bind.annotation.AllArguments;
import net.bytebuddy.implementation.bind.annotation.Origin;
import net.bytebuddy.implementation.bind.annotation.RuntimeType;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * The cost of attaching the vectors of a device to a VM, on the machine's KVM. For {@code Forwarding} a stub stands in for
 * VFIO, and does nothing: what VFIO costs is on both sides the same. Each time on a new VM. {@code make bench T=attach}
 * runs it.
 *
 * <p>The other half is {@code src/test/native/attach.c}.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
public class AttachBench {
    /** No pin has a GSI, so that 4096 messages find one each. */
    private static final int FIRST_GSI = 0;

    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final PciAddress ADDRESS = PciAddress.parse("0000:3b:00.0");
    /** Beyond any descriptor. */
    private static final int DEVICE = 1 << 24;

    /** Vectors of one device. */
    private static final int MOST_VECTORS = 2048;

    /** They detach quickly. */
    private static final int FEW = 64;

    private static final ByteBuffer FDS = Buffers.allocate(2 * MOST_VECTORS * Integer.BYTES);

    @SuppressWarnings("NullAway.Init")
    private static Kernel kernel;

    private static int vectors = FEW;

    @SuppressWarnings("NullAway.Init")
    private Vm vm;

    @SuppressWarnings("NullAway.Init")
    private VfioDevice device;

    @SuppressWarnings("NullAway.Init")
    private Forwarding forwarding;

    private List<EventFd> events = List.of();
    private List<Irqfd> irqfds = List.of();
    private int attachedInC;

    private static native int attachInC(int vm, ByteBuffer fds, int first, int count, boolean singly);

    private static native void closeInC(ByteBuffer fds, int count);

    /** @param arguments the absolute path of the other half */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        kernel = Kernel.over(withoutVfio());
        Bench bench = new Bench("attach", AttachBench.class);
        List<Row> rows = List.of(
                new Row("2048 vectors: attach, one commit / C, one commit", 1.10, "attach", "attachInC"),
                new Row("2048 vectors: attach, forwardAll / C, one commit", 1.10, "forward", "attachInC"));
        Row each = new Row("4096 vectors: attach, one commit / C, a commit each", 1 / 150.0, "attach", "attachEachInC");
        bench.warm(6000, rows);
        vectors = MOST_VECTORS;
        bench.warm(2000, rows);
        bench.measure(31, rows);
        vectors = 2 * MOST_VECTORS;
        bench.measure(7, List.of(each));
    }

    @Setup(Level.Invocation)
    public void open() {
        vm = Vm.create(kernel);
        vm.x86().createSplitIrqchip(FIRST_GSI);
        device = VfioDevice.adopt(kernel, ADDRESS, DEVICE, Ownership.BORROWED);
        forwarding = Forwarding.create(vm, device);
    }

    @TearDown(Level.Invocation)
    public void close() {
        events.forEach(EventFd::close);
        Irqfd.closeAll(irqfds);
        closeInC(FDS, attachedInC);
        forwarding.close();
        device.close();
        vm.close();
    }

    @Benchmark
    public void attach() {
        events = EventFd.createAll(kernel, vectors);
        List<Gsi> gsis = vm.routes().change(edit -> {
            List<Gsi> added = new ArrayList<>(vectors);
            for (int i = 0; i < vectors; i++) {
                added.add(edit.add(MESSAGE));
            }
            return added;
        });
        irqfds = vm.assignIrqfds(events, gsis);
    }

    @Benchmark
    public void forward() {
        forwarding.forwardAll(device.msix(0, vectors), i -> MESSAGE);
    }

    @Benchmark
    public void attachInC() {
        attachInC(false);
    }

    @Benchmark
    public void attachEachInC() {
        attachInC(true);
    }

    private void attachInC(boolean singly) {
        attachedInC = vectors;
        int result = attachInC(Numbers.of(vm.fd()), FDS, FIRST_GSI, vectors, singly);
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
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
}
