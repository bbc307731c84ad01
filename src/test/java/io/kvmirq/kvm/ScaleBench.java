/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.uapi.Uapi;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.function.DoubleBinaryOperator;
import java.util.function.IntToDoubleFunction;

/**
 * The cost of many objects at three sizes, each four times the one before, until all are made: the CPU time, on the real
 * kernel beside the same in C or beside the calls alone; the time of each further object (b of a + b·n); the exponent of
 * growth between the two larger sizes, of which 1 is a straight line; and the bytes of the heap that an object keeps.
 * {@code make bench T=scale} runs it; {@link ScaleTest} counts calls and bytes.
 */
final class ScaleBench {
    private static final int ROUNDS = 31;
    private static final int WARM_UP_ROUNDS = 10;
    private static final int VECTORS_OF_VM = 256;
    private static final int MOST_VECTORS = 4096;
    private static final int FD_LIMIT = 1 << 20;
    private static final int COLLECTIONS = 3;

    private enum Kind {
        VECTORS("objects / C: a VM with %d routes and irqfds", "vector", 250, 256, 1024, MOST_VECTORS),
        VCPUS("objects / calls alone: a VM with %d vCPUs", "vCPU", 3000, 16, 64, 256),
        FAKE_VECTORS("fake: a VM with %d routes and irqfds", "vector", 700, 256, 1024, MOST_VECTORS),
        FAKE_VMS("fake: %d VMs with 256 vectors each", "VM", 180_000, 62, 250, 1000);

        private final String title;
        private final String object;
        /** Bytes of the heap that an object keeps. */
        private final int most;

        private final int[] sizes;

        Kind(String title, String object, int most, int... sizes) {
            this.title = title;
            this.object = object;
            this.most = most;
            this.sizes = sizes;
        }

        private String of(int size) {
            return String.format(title, size);
        }

        /** Named by the largest size. */
        private String each(String what) {
            return of(sizes[2]) + ": " + what;
        }

        private boolean isFake() {
            return this == FAKE_VECTORS || this == FAKE_VMS;
        }
    }

    private enum Op {
        SMALL,
        MIDDLE,
        LARGE
    }

    private final Bench bench = new Bench("scale");
    private final KernelBackend backend = Backends.ofThisMachine().open("jni");
    private final Libc libc = backend.libc();
    private final Kernel real = Kernel.over(backend);
    private final ByteBuffer fds = Buffers.allocate(MOST_VECTORS * Integer.BYTES);

    private ScaleBench() {}

    /** @param arguments the absolute path of the half in C of {@link AttachBench} */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        ScaleBench scale = new ScaleBench();
        for (Kind kind : Kind.values()) {
            scale.measure(kind);
        }
    }

    private void measure(Kind kind) {
        Kernel kernel = kind.isFake() ? fake() : real;
        IntToDoubleFunction ours = size -> timed(kind, kernel, size);
        IntToDoubleFunction theirs = kind.isFake() ? size -> 0 : size -> reference(kind, size);
        for (int i = 0; i < bench.warmUp(WARM_UP_ROUNDS); i++) {
            ours.applyAsDouble(kind.sizes[1]);
            theirs.applyAsDouble(kind.sizes[1]);
        }
        int rounds = bench.rounds(ROUNDS);
        double[][] our = new double[kind.sizes.length][rounds];
        double[][] their = new double[kind.sizes.length][rounds];
        for (int round = 0; round < rounds; round++) {
            for (int i = 0; i < kind.sizes.length; i++) {
                int size = kind.sizes[i];
                if (round % 2 == 0) {
                    our[i][round] = ours.applyAsDouble(size);
                }
                their[i][round] = theirs.applyAsDouble(size);
                if (round % 2 != 0) {
                    our[i][round] = ours.applyAsDouble(size);
                }
            }
        }
        int few = kind.sizes[1];
        int many = kind.sizes[2];
        DoubleBinaryOperator each = (of, from) -> (of - from) / (many - few);
        if (kind.isFake()) {
            bench.add(
                    new Bench.Title(kind.each("each " + kind.object + " / each of " + few), Goal.none()),
                    new Rounds(divided(our[2], many), divided(our[1], few)));
        } else {
            for (int i = 0; i < kind.sizes.length; i++) {
                bench.add(new Bench.Title(kind.of(kind.sizes[i]), Goal.none()), new Rounds(our[i], their[i]));
            }
            bench.add(
                    new Bench.Title(kind.each("each further " + kind.object), Goal.none()),
                    new Rounds(joined(our, each), joined(their, each)));
        }
        double ratio = Math.log((double) many / few);
        DoubleBinaryOperator exponent = (of, from) -> from == 0 ? 1 : Math.log(of / from) / ratio;
        bench.add(
                new Bench.Title(kind.each("exponent of growth from " + few), Goal.atMost(1.1)),
                "",
                new Rounds(joined(our, exponent), joined(their, exponent)));
        kept(kind, kernel, many);
        if (kind.isFake()) {
            kernel.close();
        }
    }

    private static double[] divided(double[] times, int count) {
        return Arrays.stream(times).map(time -> time / count).toArray();
    }

    private static double[] joined(double[][] times, DoubleBinaryOperator function) {
        double[] joined = new double[times[0].length];
        Arrays.setAll(joined, round -> function.applyAsDouble(times[2][round], times[1][round]));
        return joined;
    }

    private static Kernel fake() {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        fake.limitDescriptors(FD_LIMIT);
        return fake.open();
    }

    private static Scale make(Kind kind, Kernel kernel, int size) {
        return switch (kind) {
            case VECTORS, FAKE_VECTORS -> Scale.vectors(kernel, size);
            case VCPUS -> Scale.vcpus(kernel, size);
            case FAKE_VMS -> Scale.vms(kernel, size, VECTORS_OF_VM);
        };
    }

    /** Nanoseconds of this thread's CPU: neither what else runs here nor the kernel's grace periods hide how cost grows. */
    private static long now() {
        return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
    }

    /** Until all are made; closing is not timed. */
    private static double timed(Kind kind, Kernel kernel, int size) {
        long start = now();
        Scale all = make(kind, kernel, size);
        long took = now() - start;
        all.close();
        return took;
    }

    // References

    private double reference(Kind kind, int size) {
        long start = now();
        try (Vm vm = Vm.create(real);
                Fd.Lease lease = vm.fd().lease()) {
            if (kind == Kind.VECTORS) {
                vm.createSplitIrqchip(0);
                made(AttachBench.attachInC(lease.number(), fds, 0, size, false));
                long took = now() - start;
                made(AttachBench.detachInC(lease.number(), fds, 0, size, false));
                return took;
            }
            vm.createIrqchip();
            return vcpus(lease.number(), size, start);
        }
    }

    /** The calls that a vCPU takes. */
    private double vcpus(int vm, int count, long start) {
        try (Fd.Lease device = real.device().lease()) {
            int length = made(libc.ioctl(device.number(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0));
            int[] numbers = new int[count];
            long[] pages = new long[count];
            for (int i = 0; i < count; i++) {
                numbers[i] = made(libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, i));
                pages[i] = libc.mmap(length, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, numbers[i], 0);
            }
            long took = now() - start;
            for (int i = 0; i < count; i++) {
                made(libc.munmap(pages[i], length));
                made(backend.fdClose(numbers[i]));
            }
            return took;
        }
    }

    private static int made(int result) {
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
        }
        return result;
    }

    // Bytes

    private void kept(Kind kind, Kernel kernel, int size) {
        keptBy(kind, kernel, size); // classes are loaded
        double[] bytes = new double[bench.rounds(COLLECTIONS)];
        Arrays.setAll(bytes, i -> keptBy(kind, kernel, size));
        bench.add(
                new Bench.Title(kind.each("heap of each " + kind.object), Goal.adds(kind.most)),
                "bytes",
                new Rounds(bytes, new double[bytes.length]));
    }

    private static double keptBy(Kind kind, Kernel kernel, int size) {
        long before = used();
        Scale all = make(kind, kernel, size);
        double kept = used() - before;
        all.close();
        return kept / size;
    }

    private static long used() {
        System.gc();
        System.gc(); // what the first one found weakly reachable
        return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
    }
}
