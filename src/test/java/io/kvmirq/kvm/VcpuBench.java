/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import com.sun.management.ThreadMXBean;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The cost of an exit of a vCPU, and of a kick until it ends a run, beside the same in C: in one process, on the same
 * vCPUs, in short batches that take turns; exits in time of the CPU, which other programs disturb less. Then the times of
 * pauses of a guest with two vCPUs. {@code make bench T=vcpu} runs it.
 *
 * <p>The other half is {@code src/test/native/vcpu.c}, method for method.
 */
final class VcpuBench {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    private static final int ROUNDS = 61;
    private static final int WARM_UP_ROUNDS = 240;
    /** Of kicks, of which a round has too few for the compiler. */
    private static final long WARM_UP_NANOS = 3_000_000_000L;

    private static final int EXITS = 300;
    private static final int KICKS = 25;
    private static final int PAUSES = 1000;
    private static final double LONGEST_PAUSE_NANOS = 10_000_000;
    /** Until a thread that is about to enter the guest is in it, or asleep in its HLT. */
    private static final int SETTLE_NANOS = 60_000;

    private static final int START = 0x1000;
    private static final int SECOND = 0x2000;
    private static final int INIT = 5 << 8;
    private static final int START_UP = 6 << 8;
    private static final Pattern FD_NUMBER = Pattern.compile("\\(fd (\\d+)\\)");

    private enum Op {
        /** out %al, $0x82 for ever. */
        PORT_WRITE("exit: port written", "e682ebfc", 1.05),
        /** in $0x44, %al. */
        PORT_READ("exit: port read", "e444ebfc", 1.05),
        /** mov %al, 0xf800. */
        MMIO_WRITE("exit: MMIO written", "a200f8ebfb", 1.05),
        /** mov 0xf800, %al. */
        MMIO_READ("exit: MMIO read", "a000f8ebfb", 1.05),
        /** jmp to itself. */
        KICK_LOOP("kick: guest computes", "ebfe", 1.10),
        /** hlt for ever. */
        KICK_HALT("kick: guest halts", "f4ebfd", 1.10);

        private final String title;
        private final String code;
        private final double goal;

        Op(String title, String code, double goal) {
            this.title = title;
            this.code = code;
            this.goal = goal;
        }

        static Op[] exits() {
            return new Op[] {PORT_WRITE, PORT_READ, MMIO_WRITE, MMIO_READ};
        }

        static Op[] kicks() {
            return new Op[] {KICK_LOOP, KICK_HALT};
        }

        boolean isKick() {
            return this == KICK_LOOP || this == KICK_HALT;
        }
    }

    private final Bench bench = new Bench("vcpu");
    private final Kernel kernel;
    private final Map<Op, Vcpu> vcpus = new EnumMap<>(Op.class);
    private final ByteBuffer nanos =
            ByteBuffer.allocateDirect(KICKS * Long.BYTES).order(ByteOrder.nativeOrder());
    private final int signal;
    /** One that nothing refers to would be reported. */
    private final List<GuestMemory> memories = new ArrayList<>();

    // Of the batch of kicks in Java
    private volatile int begun;
    private volatile int ended;
    private long end;

    private VcpuBench(Kernel kernel) {
        this.kernel = kernel;
        for (Op op : Op.values()) {
            vcpus.put(op, vcpu(op.code));
        }
        this.signal = Integer.getInteger("kvmirq.vcpu.signal");
    }

    private static native long exitsInC(int vcpu, int count);

    private static native void kicksInC(int vcpu, int signal, int settle, ByteBuffer nanos, int count);

    /** @param arguments a binding, and the absolute path of the twin, built as a library */
    public static void main(String[] arguments) throws Exception {
        Bench.endWithAnyThread();
        System.load(arguments[1]);
        Kernel kernel = Kernel.over(Backends.ofThisMachine().open(arguments[0]));
        new VcpuBench(kernel).run(arguments[0]);
    }

    private Vm vm(String code) {
        Vm vm = Vm.create(kernel);
        vm.createIrqchip();
        GuestMemory added = vm.addMemory(0, 0xf000);
        memories.add(added);
        Mapping memory = added.mapping();
        memory.put(START, HexFormat.of().parseHex(code));
        memory.put(SECOND, HexFormat.of().parseHex(Op.KICK_HALT.code));
        return vm;
    }

    private Vcpu vcpu(String code) {
        Vcpu vcpu = vm(code).createVcpu(new VcpuId(0));
        vcpu.startAt(START, 0x8000);
        return vcpu;
    }

    private static int numberOf(Vcpu vcpu) {
        Matcher number = FD_NUMBER.matcher(vcpu.toString());
        if (!number.find()) {
            throw new IllegalStateException("no number in " + vcpu);
        }
        return Integer.parseInt(number.group(1));
    }

    private void run(String binding) throws Exception {
        Rounds.of(Op.exits(), bench.warmUp(WARM_UP_ROUNDS), this::inJava, this::inC);
        bench.measure(Op.exits(), ROUNDS, this::inJava, this::inC, op -> title(binding, op));
        long end = System.nanoTime() + (bench.isBrief() ? 0 : WARM_UP_NANOS);
        while (System.nanoTime() < end) {
            inJava(Op.KICK_LOOP);
            inJava(Op.KICK_HALT);
        }
        bench.measure(Op.kicks(), ROUNDS, this::inJava, this::inC, op -> title(binding, op));
        pauses(binding);
    }

    private static Bench.Title title(String binding, Op op) {
        return new Bench.Title(binding + " / C: " + op.title, Goal.atMost(op.goal));
    }

    private double inJava(Op op) {
        Vcpu vcpu = vcpus.get(op);
        vcpu.moveHere();
        if (op.isKick()) {
            return kicksInJava(vcpu);
        }
        long start = THREADS.getCurrentThreadCpuTime();
        long sum = exits(op, EXITS);
        return perExit(THREADS.getCurrentThreadCpuTime() - start, sum);
    }

    private double inC(Op op) {
        if (op.isKick()) {
            kicksInC(numberOf(vcpus.get(op)), signal, SETTLE_NANOS, nanos, KICKS);
            return median();
        }
        int number = numberOf(vcpus.get(op));
        long start = THREADS.getCurrentThreadCpuTime();
        long sum = exitsInC(number, EXITS);
        return perExit(THREADS.getCurrentThreadCpuTime() - start, sum);
    }

    private static double perExit(long nanos, long sum) {
        if (sum <= 0) {
            throw new IllegalStateException("an exit is another one than expected");
        }
        return (double) nanos / EXITS;
    }

    private double median() {
        long[] times = new long[KICKS];
        nanos.asLongBuffer().get(0, times);
        Arrays.sort(times);
        return times[KICKS / 2];
    }

    // A loop for each: shared, they would be compiled for what the others do too.

    private long exits(Op op, int count) {
        Vcpu vcpu = vcpus.get(op);
        return switch (op) {
            case PORT_WRITE -> portWrites(vcpu, count);
            case PORT_READ -> portReads(vcpu, count);
            case MMIO_WRITE -> memoryWrites(vcpu, count);
            default -> memoryReads(vcpu, count);
        };
    }

    private static long portWrites(Vcpu vcpu, int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            VcpuExit exit = vcpu.run();
            if (exit.reason() != VcpuExit.Reason.IO || !exit.isWrite()) {
                return -1;
            }
            sum += exit.data() + exit.port();
        }
        return sum;
    }

    private static long portReads(Vcpu vcpu, int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            VcpuExit exit = vcpu.run();
            if (exit.reason() != VcpuExit.Reason.IO || exit.isWrite()) {
                return -1;
            }
            exit.answer(5);
            sum += exit.port();
        }
        return sum;
    }

    private static long memoryWrites(Vcpu vcpu, int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            VcpuExit exit = vcpu.run();
            if (exit.reason() != VcpuExit.Reason.MMIO || !exit.isWrite()) {
                return -1;
            }
            sum += exit.data() + exit.address();
        }
        return sum;
    }

    private static long memoryReads(Vcpu vcpu, int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
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

    // Pauses

    /** From the first kick until both threads have left the guest and read the state of their vCPUs. */
    private void pauses(String binding) throws Exception {
        Vm vm = vm(Op.PORT_WRITE.code);
        Vcpu first = vm.createVcpu(new VcpuId(0));
        first.startAt(START, 0x8000);
        Vcpu second = vm.createVcpu(new VcpuId(1));
        second.enableLapic();
        long address = MsiMessage.to(new VcpuId(1), new InterruptVector(0x31)).address();
        vm.signal(new MsiMessage(address, INIT));
        vm.signal(new MsiMessage(address, START_UP | SECOND >>> 12));
        CyclicBarrier paused = new CyclicBarrier(3);
        Thread[] threads = {new Thread(() -> pausing(first, paused)), new Thread(() -> pausing(second, paused))};
        for (Thread thread : threads) {
            thread.setDaemon(true);
            thread.start();
        }
        double[] times = new double[PAUSES];
        for (int i = 0; i < PAUSES; i++) {
            TimeUnit.MILLISECONDS.sleep(1);
            long start = System.nanoTime();
            first.kick();
            second.kick();
            paused.await();
            times[i] = System.nanoTime() - start;
            paused.await();
        }
        bench.add(
                new Bench.Title(binding + ": pause of two vCPUs, one of which halts", Goal.adds(LONGEST_PAUSE_NANOS)),
                new Rounds(times, new double[PAUSES]));
    }

    private static void pausing(Vcpu vcpu, CyclicBarrier paused) {
        try {
            vcpu.moveHere();
            for (int pauses = 0; pauses < PAUSES; ) {
                if (vcpu.run().reason() == VcpuExit.Reason.INTR) {
                    vcpu.registers();
                    vcpu.state();
                    paused.await();
                    paused.await();
                    pauses++;
                }
            }
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }
}
