/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import com.sun.management.ThreadMXBean;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.AssembledGuest;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.ToLongFunction;

/**
 * The cost of an exit of a vCPU, and of a kick until it ends a run, beside the same in C: in one process, on the same
 * vCPUs, in short batches that take turns; exits in time of the CPU, which other programs disturb less. {@code make bench
 * T=vcpu} runs it.
 *
 * <p>The other half is {@code src/test/native/vcpu.c}, method for method.
 */
final class VcpuBench {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int ROUNDS = 61;
    private static final int WARM_UP_ROUNDS = 240;
    /** Warm-up by kicks, of which a round has too few for the compiler. */
    private static final int WARM_UP_MILLIS = 3000;

    private static final int EXITS = 300;
    private static final int KICKS = 25;
    /** Until a thread that is about to enter the guest is in it, or asleep in its HLT. */
    private static final int SETTLE_NANOS = 60_000;

    private final Bench bench = new Bench("vcpu");
    private final Kernel kernel;
    private final String binding;
    private final ByteBuffer nanos =
            ByteBuffer.allocateDirect(KICKS * Long.BYTES).order(ByteOrder.nativeOrder());
    private final int signal = Integer.getInteger("kvmirq.vcpu.signal");
    /** One that nothing refers to would be reported. */
    private final List<AssembledGuest> guests = new ArrayList<>();

    // State of the batch of kicks in Java
    private volatile int begun;
    private volatile int ended;
    private long end;

    private VcpuBench(Kernel kernel, String binding) {
        this.kernel = kernel;
        this.binding = binding;
    }

    private static native long exitsInC(int vcpu, int count);

    private static native void kicksInC(int vcpu, int signal, int settle, ByteBuffer nanos, int count);

    /** @param arguments the absolute path of the other half, and a binding */
    public static void main(String[] arguments) {
        Bench.endWithAnyThread();
        System.load(arguments[0]);
        new VcpuBench(Kernel.over(Backends.ofThisMachine().open(arguments[1])), arguments[1]).run();
    }

    private void run() {
        bench.measure(
                WARM_UP_ROUNDS,
                ROUNDS,
                List.of(
                        exits("port written", vcpu("loop: out 0x82, al; jmp loop"), VcpuBench::portWrites),
                        exits("MMIO read", vcpu("loop: mov al, [0xf800]; jmp loop"), VcpuBench::memoryReads)));
        List<Row> kicks = List.of(kicks("computes", vcpu("jmp $")), kicks("halts", vcpu("idle: hlt; jmp idle")));
        long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(Bench.warmUp(WARM_UP_MILLIS));
        while (System.nanoTime() < until) {
            kicks.forEach(row -> row.ours().getAsDouble());
        }
        bench.measure(1, ROUNDS, kicks);
    }

    private Vcpu vcpu(String code) {
        Vm vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        AssembledGuest guest = new AssembledGuest(vm, code);
        guests.add(guest);
        return guest.vcpu;
    }

    private Row exits(String title, Vcpu vcpu, ToLongFunction<Vcpu> ours) {
        int number = numberOf(vcpu);
        return new Row(
                binding + " / C: exit: " + title,
                1.05,
                () -> {
                    vcpu.moveHere();
                    return perExit(() -> ours.applyAsLong(vcpu));
                },
                () -> perExit(() -> exitsInC(number, EXITS)));
    }

    private static double perExit(LongSupplier exits) {
        long start = THREADS.getCurrentThreadCpuTime();
        long sum = exits.getAsLong();
        long took = THREADS.getCurrentThreadCpuTime() - start;
        if (sum <= 0) {
            throw new IllegalStateException("an exit is another one than expected");
        }
        return (double) took / EXITS;
    }

    private Row kicks(String guest, Vcpu vcpu) {
        int number = numberOf(vcpu);
        return new Row(
                binding + " / C: kick: guest " + guest,
                1.10,
                () -> {
                    vcpu.moveHere();
                    return kicksInJava(vcpu);
                },
                () -> {
                    kicksInC(number, signal, SETTLE_NANOS, nanos, KICKS);
                    return median();
                });
    }

    private static int numberOf(Vcpu vcpu) {
        return Integer.parseInt(vcpu.toString().replaceFirst(".*\\(fd (\\d+)\\).*", "$1"));
    }

    private double median() {
        long[] times = new long[KICKS];
        nanos.asLongBuffer().get(0, times);
        Arrays.sort(times);
        return times[KICKS / 2];
    }

    // A loop for each: shared, they would be compiled for what the others do too.

    private static long portWrites(Vcpu vcpu) {
        long sum = 0;
        for (int i = 0; i < EXITS; i++) {
            VcpuExit exit = vcpu.run();
            if (exit.reason() != VcpuExit.Reason.IO || !exit.isWrite()) {
                return -1;
            }
            sum += exit.data() + exit.port();
        }
        return sum;
    }

    private static long memoryReads(Vcpu vcpu) {
        long sum = 0;
        for (int i = 0; i < EXITS; i++) {
            VcpuExit exit = vcpu.run();
            if (exit.reason() != VcpuExit.Reason.MMIO || exit.isWrite()) {
                return -1;
            }
            exit.answer(5);
            sum += exit.address();
        }
        return sum;
    }

    // Kicks

    /** Nanoseconds from a kick to the end of its run, which another thread is in. */
    private double kicksInJava(Vcpu vcpu) {
        begun = 0;
        ended = 0;
        Thread runner = new Thread(() -> runs(vcpu));
        runner.start();
        for (int i = 0; i < KICKS; i++) {
            while (begun <= i) {
                Thread.onSpinWait();
            }
            spin();
            long start = System.nanoTime();
            vcpu.kick();
            while (ended <= i) {
                Thread.onSpinWait();
            }
            nanos.putLong(i * Long.BYTES, end - start);
        }
        join(runner);
        return median();
    }

    private void runs(Vcpu vcpu) {
        vcpu.moveHere();
        for (int i = 0; i < KICKS; i++) {
            begun = i + 1;
            while (vcpu.run().reason() != VcpuExit.Reason.INTR) {}
            end = System.nanoTime();
            ended = i + 1;
        }
    }

    private static void spin() {
        long end = System.nanoTime() + SETTLE_NANOS;
        while (System.nanoTime() < end) {
            Thread.onSpinWait();
        }
    }

    private static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
