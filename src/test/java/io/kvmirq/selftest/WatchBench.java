/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.IoAddress;
import io.kvmirq.backend.Buffers;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.diag.LiveHost;
import io.kvmirq.diag.VcpuWindow;
import io.kvmirq.diag.Vcpus;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.trace.TraceInstance;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;

/**
 * The cost of a watch of {@code explain --vcpus}: what it adds to a round trip of the guest of the self-test, and the
 * processor time of its reader for each switch of the vCPU's thread. The guest is watched in every other batch. {@code make
 * bench T=watch} runs it, as root.
 */
final class WatchBench {
    private static final int INTERRUPT = 1;
    private static final int ROUNDS = 21;
    private static final int WARM_UP_ROUNDS = 3;
    private static final int TRIPS = 20_000;
    private static final double GOAL = 1.03;
    /** Five percent of a CPU at 20 000 switches a second. */
    private static final double GOAL_NANOS = 2500;

    /** Fields of schedstat. */
    private static final int RAN = 0;

    private static final int SWITCHES = 2;
    private static final String READER = "trace";
    /** JDKs shorten the name of a thread in different ways. */
    private static final String VCPU = "kvmirq-";

    private static final int COULD_NOT_RUN = 3;
    /** linux/kvm.h; its argument is a time in nanoseconds. */
    private static final int KVM_CAP_HALT_POLL = 182;

    private enum Op {
        TRIP("round trip through a guest that is watched / not watched", Goal.atMost(GOAL)),
        VCPU("of it the processor time of the vCPU's thread", Goal.none());

        private final String title;
        private final Goal goal;

        Op(String title, Goal goal) {
            this.title = title;
            this.goal = goal;
        }
    }

    private final LiveHost machine = LiveHost.thisMachine();
    private final ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    private final Device device;
    private final Path schedule;
    private final double[] ofReader;
    private int watched;

    private WatchBench(Device device, Path schedule, int rounds) {
        this.device = device;
        this.schedule = schedule;
        this.ofReader = new double[rounds];
    }

    public static void main(String[] arguments) throws IOException {
        Bench.endWithAnyThread();
        if (TraceInstance.mounted().known().isEmpty()) {
            System.err.println("could not run: " + TraceInstance.mounted());
            System.exit(COULD_NOT_RUN);
        }
        Bench bench = new Bench("watch");
        try (Kernel kernel = Kernel.open("jni");
                Guest guest = new Guest(kernel, Irqchip.FULL);
                EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interrupt, guest.route(INTERRUPT));
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(IoAddress.port(GuestCode.PORT_ANSWER, 1), answer)) {
            stopPolling(kernel, guest.vm());
            guest.boot();
            guest.release();
            Device device = new Device(irqfd.event(), ioEventFd.event(), Patience.USUAL);
            new WatchBench(device, schedule(), bench.rounds(ROUNDS)).run(bench);
            guest.requireAlive();
        }
    }

    /** So that each halt of the guest is a switch of its thread, as beside other guests that want the CPU. */
    private static void stopPolling(Kernel kernel, Vm vm) {
        ByteBuffer never = Buffers.allocate(Uapi.KvmEnableCap.SIZE).putInt(Uapi.KvmEnableCap.CAP, KVM_CAP_HALT_POLL);
        try (Fd.Lease lease = vm.fd().lease()) {
            if (kernel.libc().ioctl(lease.number(), Uapi.KVM_ENABLE_CAP, never) != 0) {
                throw new IllegalStateException("KVM does not let the guest halt without polling");
            }
        }
    }

    /** The time that the thread of the vCPU has run, the time that it waited, and how often it was given a CPU. */
    private static Path schedule() throws IOException {
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            for (Path task : tasks.toList()) {
                if (Files.readString(task.resolve("comm")).startsWith(VCPU)) {
                    return task.resolve("schedstat");
                }
            }
        }
        throw new IllegalStateException("no thread of the vCPU");
    }

    private long ofVcpu(int field) {
        try {
            return Long.parseLong(Files.readString(schedule).strip().split(" ")[field]);
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private void run(Bench bench) {
        Rounds.of(Op.values(), bench.warmUp(WARM_UP_ROUNDS), this::watched, this::trips);
        watched = 0;
        bench.measure(Op.values(), ROUNDS, this::watched, this::trips, op -> new Bench.Title(op.title, op.goal));
        bench.add(
                new Bench.Title("processor time of the reader for a switch of a vCPU", Goal.adds(GOAL_NANOS)),
                new Rounds(ofReader, new double[ofReader.length]));
    }

    /** Nanoseconds of a round trip. */
    private double trips(Op op) {
        long start = op == Op.TRIP ? System.nanoTime() : ofVcpu(RAN);
        for (int i = 0; i < TRIPS; i++) {
            if (!device.roundTrip()) {
                throw new SelftestFailedException("the guest did not answer");
            }
        }
        return (double) ((op == Op.TRIP ? System.nanoTime() : ofVcpu(RAN)) - start) / TRIPS;
    }

    private double watched(Op op) {
        HostFacts host = new HostFacts(machine.files());
        VmProcess own = host.vms().all().stream()
                .filter(one -> one.pid() == ProcessHandle.current().pid())
                .findFirst()
                .orElseThrow();
        VcpuWindow window = VcpuWindow.of(machine, host, own);
        boolean ended = false;
        try {
            long reader = Arrays.stream(threads.getThreadInfo(threads.getAllThreadIds()))
                    .filter(thread -> thread != null && thread.getThreadName().equals(READER))
                    .findFirst()
                    .orElseThrow()
                    .getThreadId();
            long cpu = threads.getThreadCpuTime(reader);
            long switches = ofVcpu(SWITCHES);
            double nanos = trips(op);
            ofReader[watched++ % ofReader.length] =
                    (double) (threads.getThreadCpuTime(reader) - cpu) / Math.max(1, ofVcpu(SWITCHES) - switches);
            Vcpus seen = window.end(new HostFacts(machine.files()));
            ended = true;
            if (seen.lost() > 0) {
                throw new SelftestFailedException("the watch lost events: " + seen);
            }
            return nanos;
        } finally {
            if (!ended) {
                window.close();
            }
        }
    }
}
