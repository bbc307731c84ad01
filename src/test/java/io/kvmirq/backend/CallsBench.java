/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.Errno;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.uapi.Uapi;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.Array;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;

/**
 * The cost of a call of one binding beside the same call in C: in one process, on the same descriptors, in batches of a
 * millisecond that take turns. {@code make bench T=calls} runs it.
 *
 * <p>One binding a process, as programs have it: a second one would make the JVM's compiled calls among them slower.
 *
 * <p>The other half is {@code src/test/native/calls.c}, method for method.
 */
final class CallsBench {
    private static final int ROUNDS = 101;
    private static final int WARM_UP_ROUNDS = 100;
    private static final int PROBE_CALLS = 20_000;
    private static final long BATCH_NANOS = 1_000_000;

    private static final int NO_FD = 1 << 20;
    private static final int GSI = 4;
    private static final int VECTOR = 0x31;
    private static final long MSI_ADDRESS = 0xfee00000L;
    private static final long PLENTY = 1L << 62;
    private static final int EBADF = -Errno.EBADF.number();
    private static final int EAGAIN = -Errno.EAGAIN.number();

    private enum Op {
        /** The instruction in the loop of C: no return of a function comes after it. */
        INLINE_SIGNAL("eventfd write", false),
        /** The instruction in a function: one return comes after it. */
        CALLED_SIGNAL("eventfd write", false),
        /** As {@link #BARE_SIGNAL}, without change of state, fence and poll of a safepoint. */
        CRITICAL_SIGNAL("eventfd write", false),
        /** A native method that makes this call and nothing else: what a binding through JNI cannot go below. */
        BARE_SIGNAL("eventfd write", false),
        BARE_LINE("KVM_IRQ_LINE", false),
        SIGNAL("eventfd write", false),
        DRAIN("eventfd read", false),
        LINE("KVM_IRQ_LINE", false),
        MESSAGE("KVM_SIGNAL_MSI", false),
        ATTRIBUTE("KVM_HAS_DEVICE_ATTR", false),
        SIGNAL_BADLY("eventfd write, EBADF", true),
        DRAIN_EMPTY("eventfd read, EAGAIN", true);

        private final String title;
        private final boolean failing;

        Op(String title, boolean failing) {
            this.title = title;
            this.failing = failing;
        }

        private boolean isBare() {
            return ordinal() <= BARE_LINE.ordinal();
        }

        private String ours(String binding) {
            return switch (this) {
                case INLINE_SIGNAL -> "C, instruction inline";
                case CALLED_SIGNAL -> "C, instruction in a function";
                case CRITICAL_SIGNAL -> "bare critical";
                case BARE_SIGNAL, BARE_LINE -> "bare JNI";
                default -> binding;
            };
        }

        /** A call through JNA takes long whatever the kernel does. */
        private Goal goal(String binding) {
            if (isBare()) {
                return Goal.none();
            }
            int jdk = Runtime.version().feature();
            return switch (binding) {
                case "jni" ->
                    Goal.atMost(failing ? 1.08 : this == SIGNAL || this == DRAIN ? 1.05 : jdk < 25 ? 1.10 : 1.08);
                case "ffm" -> failing ? Goal.none() : Goal.atMost(1.08);
                case "jnr" -> failing ? Goal.none() : Goal.atMost(1.10);
                default -> failing ? Goal.none() : Goal.adds(120);
            };
        }
    }

    /** The native method as a critical downcall. By reflection, because tests are compiled for Java 17. */
    private static final class Critical {
        private static final boolean EXISTS = Runtime.version().feature() >= 22;
        private static final MethodHandle SIGNAL = EXISTS ? linked() : MethodHandles.constant(int.class, 0);

        private static MethodHandle linked() {
            try {
                Class<?> linker = Class.forName("java.lang.foreign.Linker");
                Class<?> option = Class.forName("java.lang.foreign.Linker$Option");
                Class<?> layout = Class.forName("java.lang.foreign.MemoryLayout");
                Class<?> descriptor = Class.forName("java.lang.foreign.FunctionDescriptor");
                Class<?> lookup = Class.forName("java.lang.foreign.SymbolLookup");
                Object number = Class.forName("java.lang.foreign.ValueLayout")
                        .getField("JAVA_INT")
                        .get(null);
                Object numbers = Array.newInstance(layout, 1);
                Array.set(numbers, 0, number);
                Object options = Array.newInstance(option, 1);
                Array.set(
                        options, 0, option.getMethod("critical", boolean.class).invoke(null, false));
                Object loaded = lookup.getMethod("loaderLookup").invoke(null);
                Object function = ((Optional<?>)
                                lookup.getMethod("find", String.class).invoke(loaded, "kvmirq_bench_signal"))
                        .orElseThrow();
                return (MethodHandle) linker.getMethod(
                                "downcallHandle",
                                Class.forName("java.lang.foreign.MemorySegment"),
                                descriptor,
                                options.getClass())
                        .invoke(
                                linker.getMethod("nativeLinker").invoke(null),
                                function,
                                descriptor
                                        .getMethod("of", layout, numbers.getClass())
                                        .invoke(null, number, numbers),
                                options);
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    private final Bench bench = new Bench("calls");
    private final KernelBackend kernel;
    /** How many calls make a batch. */
    private final Map<Op, Integer> batches = new EnumMap<>(Op.class);

    private final ByteBuffer count = Buffers.allocate(Long.BYTES);
    private final int signalled;
    private final int full;
    private final int empty;
    private final int vm;
    private final int device;

    private CallsBench(KernelBackend kernel) {
        this.kernel = kernel;
        signalled = made(kernel.eventfdCreate());
        empty = made(kernel.eventfdCreate());
        full = made(kernel.eventfdCreateSemaphore());
        made(kernel.eventfdSignal(full, PLENTY));
        vm = made(kernel.vmCreate(made(kernel.kvmOpen(Buffers.cString("/dev/kvm"))), 0));
        made(kernel.irqchipCreate(vm));
        device = made(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        enableLapic(made(kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0)));
    }

    private void enableLapic(int vcpu) {
        ByteBuffer lapic = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        made(kernel.libc().ioctl(vcpu, Uapi.KVM_GET_LAPIC, lapic));
        lapic.putInt(Uapi.KvmLapicState.SVR, lapic.getInt(Uapi.KvmLapicState.SVR) | Uapi.KvmLapicState.SVR_ENABLE);
        made(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
    }

    private static int made(int result) {
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
        }
        return result;
    }

    private static native int bareSignal(int fd);

    private static native int bareLine(int vm, int gsi, int level);

    private static native int signalInline(int fd, int calls);

    private static native int signalCalled(int fd, int calls);

    private static native int signalInC(int fd, int expected, int calls);

    private static native int drainInC(int fd, int expected, int calls);

    private static native int lineInC(int vm, int gsi, int calls);

    private static native int messageInC(int vm, long address, int data, int calls);

    private static native int attributeInC(int device, int group, long attribute, int calls);

    /** @param arguments a binding, and the twin's absolute path */
    public static void main(String[] arguments) {
        System.load(arguments[1]);
        new CallsBench(Backends.ofThisMachine().open(arguments[0])).run();
    }

    private void run() {
        Op[] ops = Arrays.stream(Op.values())
                .filter(op -> !op.isBare() || kernel.name().equals("jni"))
                .filter(op -> op != Op.CRITICAL_SIGNAL || Critical.EXISTS)
                .toArray(Op[]::new);
        for (Op op : ops) {
            inC(op, PROBE_CALLS);
            batches.put(op, (int) Math.max(1, BATCH_NANOS / inC(op, PROBE_CALLS)));
        }
        Rounds.of(ops, bench.warmUp(WARM_UP_ROUNDS), this::inJava, this::inC);
        bench.measure(
                ops,
                ROUNDS,
                this::inJava,
                this::inC,
                op -> new Bench.Title(op.ours(kernel.name()) + " / C: " + op.title, op.goal(kernel.name())));
    }

    private double inJava(Op op) {
        int calls = batches.getOrDefault(op, 1);
        long start = System.nanoTime();
        int wrong = java(op, calls);
        return perCall(System.nanoTime() - start, calls, wrong, op);
    }

    private double inC(Op op) {
        return inC(op, batches.getOrDefault(op, 1));
    }

    private double inC(Op op, int calls) {
        long start = System.nanoTime();
        int wrong = c(op, calls);
        return perCall(System.nanoTime() - start, calls, wrong, op);
    }

    private static double perCall(long nanos, int calls, int wrong, Op op) {
        if (wrong != 0) {
            throw new IllegalStateException(
                    op.title + ": " + wrong + " of " + calls + " calls did not answer what is expected");
        }
        return (double) nanos / calls;
    }

    private int c(Op op, int calls) {
        return switch (op) {
            case SIGNAL, BARE_SIGNAL, INLINE_SIGNAL, CALLED_SIGNAL, CRITICAL_SIGNAL -> signalInC(signalled, 0, calls);
            case DRAIN -> drainInC(full, 0, calls);
            case LINE, BARE_LINE -> lineInC(vm, GSI, calls);
            case MESSAGE -> messageInC(vm, MSI_ADDRESS, VECTOR, calls);
            case ATTRIBUTE -> attributeInC(device, Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD, calls);
            case SIGNAL_BADLY -> signalInC(NO_FD, EBADF, calls);
            case DRAIN_EMPTY -> drainInC(empty, EAGAIN, calls);
        };
    }

    private int java(Op op, int calls) {
        return switch (op) {
            case INLINE_SIGNAL -> signalInline(signalled, calls);
            case CALLED_SIGNAL -> signalCalled(signalled, calls);
            case CRITICAL_SIGNAL -> criticalSignals(calls);
            case BARE_SIGNAL -> bareSignals(calls);
            case BARE_LINE -> bareLines(calls);
            case SIGNAL -> signal(calls);
            case DRAIN -> drain(calls);
            case LINE -> line(calls);
            case MESSAGE -> message(calls);
            case ATTRIBUTE -> attribute(calls);
            case SIGNAL_BADLY -> signalBadly(calls);
            case DRAIN_EMPTY -> drainEmpty(calls);
        };
    }

    // A loop for each: shared, they would be compiled for what the others do too.

    private int criticalSignals(int calls) {
        int wrong = 0;
        try {
            for (int i = 0; i < calls; i++) {
                wrong += (int) Critical.SIGNAL.invokeExact(signalled) == 0 ? 0 : 1;
            }
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
        return wrong;
    }

    private int bareSignals(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += bareSignal(signalled) == 0 ? 0 : 1;
        }
        return wrong;
    }

    private int bareLines(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += bareLine(vm, GSI, i & 1) == 0 ? 0 : 1;
        }
        return wrong;
    }

    private int signal(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += kernel.eventfdSignal(signalled, 1) == 0 ? 0 : 1;
        }
        return wrong;
    }

    private int drain(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += kernel.eventfdDrain(full, count) == 0 ? 0 : 1;
        }
        return wrong;
    }

    private int line(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += kernel.lineSet(vm, GSI, i & 1) == 0 ? 0 : 1;
        }
        return wrong;
    }

    private int message(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 0, 0) == 1 ? 0 : 1;
        }
        return wrong;
    }

    private int attribute(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += kernel.deviceAttrHas(device, Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD) == 0 ? 0 : 1;
        }
        return wrong;
    }

    private int signalBadly(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += kernel.eventfdSignal(NO_FD, 1) == EBADF ? 0 : 1;
        }
        return wrong;
    }

    private int drainEmpty(int calls) {
        int wrong = 0;
        for (int i = 0; i < calls; i++) {
            wrong += kernel.eventfdDrain(empty, count) == EAGAIN ? 0 : 1;
        }
        return wrong;
    }
}
