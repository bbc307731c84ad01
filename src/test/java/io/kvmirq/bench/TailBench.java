/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.locks.LockSupport;
import org.HdrHistogram.Histogram;

/**
 * The tail of round trips while another thread allocates: what a pause of the garbage collector does to a guest. Each path
 * runs by turns under a VMM in Java and under one in C, on one vCPU, with a device in C that sends at fixed times; both beside
 * a thread that allocates, and its collector, whose pauses stop no thread in C. It fails if an interrupt is lost.
 * {@code make bench T=tail} runs it for each collector.
 *
 * <p>The other half is {@code src/test/native/tail.c}.
 */
final class TailBench {
    private static final InterruptVector VECTOR = new InterruptVector(0x31);
    private static final VcpuId FIRST = new VcpuId(0);
    private static final int TURNS = 4;
    private static final int TRIPS = Bench.warmUp(15_000);
    private static final long PERIOD_NANOS = 100_000;
    private static final int WARM_UP = Bench.warmUp(10_000);

    private static final int MEGABYTES = 1000;
    private static final int STARTING = 1000;
    private static final double REACHED = 0.9;
    private static final int BLOCK = 4096;
    private static final int LIVE_BLOCKS = 100_000_000 / BLOCK;

    /** The part of a VMM between the interrupt and the device that waits for the answer. */
    private enum Way {
        GUEST("irqfd, guest, ioeventfd"),
        LOOP("and a loop that listens"),
        EXIT("irqfd, guest, an exit"),
        KICK("a kick of a vCPU"),
        INJECT("a signal by the VMM, guest, ioeventfd");

        private final String title;

        Way(String title) {
            this.title = title;
        }

        boolean hasIoEventFd() {
            return this != EXIT && this != KICK;
        }
    }

    private final int signal = Integer.getInteger("kvmirq.vcpu.signal");
    private final String jvm;
    private final ByteBuffer nanos =
            ByteBuffer.allocateDirect(TRIPS * Long.BYTES).order(ByteOrder.nativeOrder());
    private final Kernel kernel = Kernel.open("jni");
    private volatile boolean stopping;
    private volatile long kicks;
    private long sent;

    // State of the allocating thread
    private volatile boolean allocating;
    /** The least GB/s of a turn; 0 if it ended out of memory. */
    private volatile double slowest;

    private final byte[][] live = new byte[LIVE_BLOCKS][];

    private TailBench(String jvm) {
        this.jvm = jvm;
    }

    private static native void beginInC(int cpu);

    private static native void moveInC();

    private static native void startInC(int vcpu, int event, int ack, int signal, boolean tellsKicks);

    private static native void stopInC();

    private static native long tripsInC(int interrupt, int answer, long period, ByteBuffer nanos, int count);

    private static native void sleepInC(long when);

    private static native long takeInC(int answer);

    /**
     * @param arguments the absolute path of the other half, a name of this JVM's options, and paths, all without them
     */
    public static void main(String[] arguments) throws InterruptedException {
        Bench.endWithAnyThread();
        System.load(arguments[0]);
        beginInC(Integer.getInteger("kvmirq.bench.cpu", -1));
        TailBench bench = new TailBench(arguments[1]);
        List<Way> ways = Arrays.stream(arguments).skip(2).map(Way::valueOf).toList();
        for (Way path : ways.isEmpty() ? List.of(Way.values()) : ways) {
            bench.measure(path, 0);
            bench.measure(path, MEGABYTES);
        }
    }

    /** A row of one path and one rate of allocation, of a VM of its own. */
    private void measure(Way path, int megabytes) throws InterruptedException {
        try (Vm vm = Vm.create(kernel);
                EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                EventFd ack = EventFd.create(kernel)) {
            vm.x86().createIrqchip();
            Gsi gsi = vm.routes().add(MsiMessage.to(FIRST, VECTOR));
            try (GuestMemory memory = vm.addMemory(0, GuestCode.MEMORY);
                    Irqfd irqfd = vm.assignIrqfd(interrupt, gsi);
                    IoEventFd ioEventFd = path.hasIoEventFd()
                            ? vm.assignIoEventFd(IoAddress.port(GuestCode.PORT_ANSWER, 1), answer)
                            : null;
                    Vcpu vcpu = vm.createVcpu(FIRST)) {
                GuestCode.load(memory.mapping());
                GuestCode.handle(memory.mapping(), VECTOR);
                vcpu.x86().useHostCpuid();
                vcpu.x86().startAt(GuestCode.START, GuestCode.STACK);
                if (vcpu.run().port() != GuestCode.PORT_READY) {
                    throw new IllegalStateException("the guest is not ready");
                }
                sent = 0;
                Side side = new Side(path, vcpu, irqfd.event(), ioEventFd == null ? answer : ioEventFd.event(), ack);
                side.turns(megabytes);
                int handled = GuestCode.handled(memory.mapping(), VECTOR);
                if (handled != (path == Way.KICK ? 0 : sent)) {
                    throw new IllegalStateException(
                            path.title + ": sent " + sent + ", and the guest's handler ran " + handled + " times");
                }
            }
        }
    }

    /** The two VMMs of a path, which take turns. */
    private final class Side {
        private final Way path;
        private final Vcpu vcpu;
        private final EventFd interrupt;
        private final EventFd answer;
        private final EventFd ack;
        private final int told;

        Side(Way path, Vcpu vcpu, EventFd interrupt, EventFd answer, EventFd ack) {
            this.path = path;
            this.vcpu = vcpu;
            this.interrupt = interrupt;
            this.answer = answer;
            this.ack = ack;
            this.told = Numbers.of((path == Way.GUEST || path == Way.INJECT ? answer : ack).fd());
        }

        void turns(int megabytes) throws InterruptedException {
            Histogram java = new Histogram(3);
            Histogram inC = new Histogram(3);
            runBesideLoad(megabytes, () -> runInJava(WARM_UP, new Histogram(3)));
            slowest = megabytes / 1000.0;
            Work ours = () -> runInJava(TRIPS, java);
            Work theirs = () -> runInC(TRIPS, inC);
            for (int turn = 0; turn < TURNS; turn++) {
                runBesideLoad(megabytes, turn % 2 == 0 ? theirs : ours);
                runBesideLoad(megabytes, turn % 2 == 0 ? ours : theirs);
            }
            System.out.println(row(megabytes, java, inC));
        }

        private void runBesideLoad(int megabytes, Work work) throws InterruptedException {
            Thread load = new Thread(() -> allocate(megabytes));
            allocating = megabytes > 0;
            load.start();
            work.run();
            allocating = false;
            load.join();
        }

        private String row(int megabytes, Histogram java, Histogram inC) {
            return String.format(
                    Locale.ROOT,
                    "| tail: %s, %.1f GB/s%s, %s, JDK %d | %.2f/%.2f |",
                    path.title,
                    megabytes / 1000.0,
                    slowest < REACHED * megabytes / 1000 ? String.format(Locale.ROOT, " (only %.1f)", slowest) : "",
                    jvm,
                    Runtime.version().feature(),
                    java.getValueAtPercentile(99) / 1e6,
                    inC.getValueAtPercentile(99) / 1e6);
        }

        private void runInJava(int trips, Histogram to) throws InterruptedException {
            stopping = false;
            long before = kicks;
            Thread runner = new Thread(() -> runVcpu(before), "CPU 0/KVM");
            try (EventLoop loop = EventLoop.create(kernel)) {
                if (path == Way.LOOP) {
                    loop.registerDoorbell(answer, ack::signal);
                }
                Thread listener = new Thread(() -> {
                    while (!stopping) {
                        loop.pollNanos(10_000_000);
                    }
                });
                runner.start();
                listener.start();
                long answered =
                        switch (path) {
                            case GUEST, LOOP, EXIT ->
                                tripsInC(Numbers.of(interrupt.fd()), told, PERIOD_NANOS, nanos, trips);
                            case KICK -> tripsInJava(this::kick, trips);
                            case INJECT -> tripsInJava(interrupt::signal, trips);
                        };
                stopping = true;
                vcpu.kick();
                runner.join();
                listener.join();
                record(answered, trips, to);
            }
        }

        /** @param answered the kicks before */
        private void runVcpu(long answered) {
            moveInC();
            vcpu.moveHere();
            VcpuExit exit = vcpu.run();
            // Only the kick that follows stopping ends it: none is left for the next run.
            while (exit.reason() != VcpuExit.Reason.INTR || !stopping) {
                // A kick whose thread was stopped meanwhile may end two runs.
                if (path != Way.KICK || answered != kicks) {
                    answered = kicks;
                    ack.signal();
                }
                exit = vcpu.run();
            }
        }

        private void kick() {
            kicks++;
            vcpu.kick();
        }

        private long tripsInJava(Runnable send, int trips) {
            long start = System.nanoTime() + 1_000_000;
            long answered = 0;
            for (int i = 0; i < trips; i++) {
                long due = start + i * PERIOD_NANOS;
                sleepInC(due);
                send.run();
                answered += takeInC(told);
                nanos.putLong(i * Long.BYTES, System.nanoTime() - due);
            }
            return answered;
        }

        private void runInC(int trips, Histogram to) {
            int event = path == Way.LOOP ? Numbers.of(answer.fd()) : -1;
            startInC(Numbers.of(vcpu.fd()), event, Numbers.of(ack.fd()), signal, path == Way.KICK);
            int from = path == Way.KICK ? -1 : Numbers.of(interrupt.fd());
            long answered = tripsInC(from, told, PERIOD_NANOS, nanos, trips);
            stopInC();
            record(answered, trips, to);
        }

        private void record(long answered, int trips, Histogram to) {
            if (answered != trips) {
                throw new IllegalStateException(path.title + ": sent " + trips + ", answered " + answered);
            }
            sent += trips;
            // The first trips wait for threads that start.
            for (int i = Math.min(STARTING, trips / 2); i < trips; i++) {
                to.recordValue(nanos.getLong(i * Long.BYTES));
            }
            // The last exit or kick of a turn is told to nobody.
            ack.drain();
            answer.drain();
        }
    }

    private interface Work {
        void run() throws InterruptedException;
    }

    /**
     * Allocates so much each second, and keeps 100 MB, of which it replaces a quarter of what it allocates. After a pause it
     * catches up.
     */
    private void allocate(int megabytes) {
        try {
            int blocks = megabytes * 1000 / BLOCK;
            long start = System.nanoTime();
            long due = start;
            long allocated = 0;
            for (int next = 0; allocating; allocated += blocks) {
                due += 1_000_000;
                for (int i = 0; i < blocks; i++) {
                    byte[] block = new byte[BLOCK];
                    int to = (next + 1) % LIVE_BLOCKS;
                    if (i % 4 == 0 || live[to] == null) {
                        live[to] = block;
                        next = to;
                    }
                }
                LockSupport.parkNanos(due - System.nanoTime());
            }
            slowest = Math.min(slowest, (double) allocated * BLOCK / (System.nanoTime() - start));
        } catch (OutOfMemoryError e) {
            Arrays.fill(live, null);
            slowest = 0;
        }
    }
}
