/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.testing.GuestAssembler.asm;

import io.kvmirq.VcpuId;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Numbers;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * The cost of an exit of a vCPU, and of a kick until it ends a run, beside the same in C, on the same
 * vCPUs. {@code make bench T=vcpu} runs it.
 *
 * <p>The other half is {@code src/test/native/vcpu.c}.
 */
@BenchmarkMode(Mode.SampleTime)
public class VcpuBench {
    /** Until a thread that is about to enter the guest is in it. */
    private static final int SETTLE_NANOS = 60_000;

    private static final int START = 0x1000;
    private static final int PORT = 0x82;
    /** The exits of a sample, few enough that it is seldom disturbed. */
    private static final int EXITS = 20;

    /** One that nothing refers to would be reported. */
    private static final List<GuestMemory> MEMORIES = new ArrayList<>();

    @SuppressWarnings("NullAway.Init")
    private static Vcpu exiting;

    @SuppressWarnings("NullAway.Init")
    private static Vcpu kicked;

    private static native int exitsInC(int vcpu, int count);

    private static native void startInC(int vcpu, int signal);

    private static native void settleInC(int nanos);

    private static native void kickInC();

    private static native void stopInC();

    /** @param arguments the absolute path of the other half */
    public static void main(String[] arguments) {
        Bench.endWithAnyThread();
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.open("jni")) {
            // out %al, $0x82, and jmp to itself, each for ever.
            exiting = vcpu(kernel, asm("loop: out 0x82, al; jmp loop"));
            kicked = vcpu(kernel, asm("loop: jmp loop"));
            Bench bench = new Bench("vcpu", VcpuBench.class);
            List<Row> rows = List.of(
                    new Row("jni / C: exit: port written", 1.05, "exit", "exitInC"),
                    new Row("jni / C: kick: guest computes", 1.10, "kick", "kickInC"));
            bench.warm(3000, rows);
            bench.measure(61, rows);
        }
    }

    private static Vcpu vcpu(Kernel kernel, String code) {
        Vm vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        GuestMemory memory = vm.addMemory(0, 0xf000);
        MEMORIES.add(memory);
        memory.mapping().put(START, HexFormat.of().parseHex(code));
        Vcpu vcpu = vm.createVcpu(new VcpuId(0));
        vcpu.x86().startAt(START, 0x8000);
        return vcpu;
    }

    @State(Scope.Thread)
    public static class Mover {
        @Setup
        public void move() {
            exiting.moveHere();
        }
    }

    @Benchmark
    @OperationsPerInvocation(EXITS)
    public void exit(Mover moved) {
        for (int i = 0; i < EXITS; i++) {
            VcpuExit exit = exiting.run();
            if (exit.reason() != VcpuExit.Reason.IO || !exit.isWrite() || exit.data() + exit.port() != PORT) {
                throw new IllegalStateException("expected another exit");
            }
        }
    }

    @Benchmark
    @OperationsPerInvocation(EXITS)
    public void exitInC() {
        if (exitsInC(Numbers.of(exiting.fd()), EXITS) != EXITS * PORT) {
            throw new IllegalStateException("expected another exit");
        }
    }

    /** A thread that is in a run whenever a kick comes. */
    @State(Scope.Thread)
    public static class Runner {
        private final Thread thread = new Thread(this::runs);
        private volatile int begun;
        private volatile int ended;
        private volatile boolean stopping;

        @Setup
        public void start() {
            thread.start();
        }

        private void runs() {
            kicked.moveHere();
            for (int i = 1; !stopping; i++) {
                begun = i;
                while (kicked.run().reason() != VcpuExit.Reason.INTR) {}
                ended = i;
            }
        }

        @Setup(Level.Invocation)
        public void settle() {
            while (begun == ended) {
                Thread.onSpinWait();
            }
            long end = System.nanoTime() + SETTLE_NANOS;
            while (System.nanoTime() < end) {
                Thread.onSpinWait();
            }
        }

        @TearDown
        public void stop() throws InterruptedException {
            settle();
            stopping = true;
            kicked.kick();
            thread.join();
        }
    }

    @Benchmark
    public void kick(Runner runner) {
        int before = runner.ended;
        kicked.kick();
        while (runner.ended == before) {
            Thread.onSpinWait();
        }
    }

    @State(Scope.Thread)
    public static class RunnerInC {
        @Setup
        public void start() {
            startInC(Numbers.of(kicked.fd()), Integer.getInteger("kvmirq.vcpu.signal"));
        }

        @Setup(Level.Invocation)
        public void settle() {
            settleInC(SETTLE_NANOS);
        }

        @TearDown
        public void stop() {
            settle();
            stopInC();
        }
    }

    @Benchmark
    public void kickInC(RunnerInC runner) {
        kickInC();
    }
}
