/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.jna.Memory;
import com.sun.jna.NativeLibrary;
import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.forward.TracedEvents;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.memory.KernelAvic;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.TraceInstance;
import io.kvmirq.host.trace.TraceReader;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.host.trace.VcpuSchedule;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.mirror.Producer;
import io.kvmirq.path.Known;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.FutureTask;
import java.util.concurrent.SynchronousQueue;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * The phases of a vCPU that tracepoints tell, against a bare guest that is put into each, and against the table of AVIC in
 * the kernel's memory where KVM has one. In the lab, on two processors: the guest has the second for itself.
 */
@Tag("contract")
@Tag(RealKvm.TAG)
class VcpuPhasesContract {
    enum Place {
        DISPLACED,
        SPINNING,
        HALTED,
        OUTSIDE
    }

    /** A vCPU as the mirror has it, or as the kernel does. */
    private record State(boolean isRunning, OptionalInt apicId) {
        static State of(KernelAvic.Entry entry) {
            return new State(
                    entry.isRunning(), entry.isRunning() ? OptionalInt.of(entry.apicId()) : OptionalInt.empty());
        }
    }

    private static final int READINGS = 100;
    private static final int MOST_DIFFERING = 10;
    private static final int MOST_RESTLESS = 1000;
    private static final int MOST_SHOWN = 1500;
    static final int CPU = 1;
    private static final int SCHED_FIFO = 1;
    private static final String MASK_OF_CPU = "2";
    private static final String MASK_OF_OTHERS = "1";
    static final int START = 0x1000;
    static final int REACHED = 0x2000;
    private static final VcpuId VCPU = new VcpuId(0);
    /** Since 6.12 a deadline server gives the CPU to other threads for 50 ms in each second. */
    private static final Path FAIR_SERVER = Path.of("/sys/kernel/debug/sched/fair_server/cpu" + CPU + "/runtime");

    private static final Path THROTTLE = Path.of("/proc/sys/kernel/sched_rt_runtime_us");
    /** {@code incb REACHED}, and then a jump to itself. */
    static final byte[] SPIN = bytes("inc byte [0x2000]; loop: jmp loop");
    /** The same with {@code sti; hlt} before a jump to these. */
    private static final byte[] HALT = bytes("inc byte [0x2000]; idle: sti; hlt; jmp idle");

    private final Map<Integer, Integer> apicIds = new HashMap<>();

    static String command(String... words) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(words).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes());
        assertThat(process.waitFor()).as("%s: %s", List.of(words), said).isZero();
        return said;
    }

    /** The thread of a vCPU. It enters KVM_RUN once for each turn. */
    static final class Runner {
        private final Vcpu vcpu;
        private final Runnable before;
        private final SynchronousQueue<Boolean> turns = new SynchronousQueue<>();
        private final FutureTask<Boolean> all = new FutureTask<>(this::runs);
        private volatile boolean outside = true;
        volatile int tid;

        Runner(Vcpu vcpu) throws InterruptedException {
            this(vcpu, () -> {});
        }

        /** @param before what its thread does before each turn */
        Runner(Vcpu vcpu, Runnable before) throws InterruptedException {
            this.vcpu = vcpu;
            this.before = before;
            new Thread(all, "vcpu").start();
            until(() -> tid != 0);
            try {
                pin();
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        }

        void pin() throws IOException, InterruptedException {
            command("taskset", "-p", MASK_OF_CPU, String.valueOf(tid));
        }

        private Boolean runs() throws IOException, InterruptedException {
            tid = Integer.parseInt(Files.readSymbolicLink(Path.of("/proc/thread-self"))
                    .getFileName()
                    .toString());
            vcpu.moveHere();
            while (turns.take()) {
                before.run();
                vcpu.setState(VcpuState.RUNNABLE);
                vcpu.x86().startAt(START, START);
                assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
                outside = true;
            }
            return true;
        }

        void enter() throws InterruptedException {
            outside = false;
            turns.put(true);
        }

        void leave() {
            if (!outside) {
                vcpu.kick();
                until(() -> outside);
            }
        }

        /** Ends the thread of a walk that failed. */
        void stop() {
            all.cancel(true);
        }

        void end() throws Exception {
            leave();
            turns.put(false);
            all.get();
        }

        ThreadStat stat() throws IOException {
            return ThreadStat.parse(Files.readString(Path.of("/proc/self/task/" + tid + "/stat")))
                    .orElseThrow();
        }

        /** Waits for a state of the thread, or for an end of it. */
        void until(Callable<Boolean> condition) {
            try {
                while (!condition.call()) {
                    assertThat(all.isDone())
                            .as("the thread of the vCPU has ended")
                            .isFalse();
                    Thread.onSpinWait();
                }
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        }
    }

    /** Brings the vCPU to a place. Returns the process that holds its CPU, if one does. */
    static Optional<Process> reach(Place place, Runner runner, GuestMemory memory) throws Exception {
        return reach(place, runner, memory, place == Place.HALTED ? HALT : SPIN);
    }

    /** @param code of the guest, which increments {@link #REACHED} */
    static Optional<Process> reach(Place place, Runner runner, GuestMemory memory, byte[] code) throws Exception {
        memory.mapping().put(START, code);
        memory.mapping().put(REACHED, new byte[1]);
        runner.enter();
        runner.until(() -> memory.mapping().getByte(REACHED) != 0);
        switch (place) {
            case SPINNING -> {}
            case HALTED -> runner.until(() -> runner.stat().state() == 'S');
            case OUTSIDE -> {
                runner.leave();
                runner.until(() -> runner.stat().state() == 'S');
            }
            case DISPLACED -> {
                Process hog = new ProcessBuilder(
                                "taskset", MASK_OF_CPU, "sh", "-c", "read x; echo on; while :; do :; done")
                        .redirectErrorStream(true)
                        .start();
                runFirst((int) hog.pid());
                hog.outputWriter().append('\n').flush();
                // The program prints it with this priority, and has the CPU from then on.
                assertThat(hog.inputReader().readLine()).isEqualTo("on");
                return Optional.of(hog);
            }
        }
        return Optional.empty();
    }

    /** Gives a thread its CPU whenever it could run: SCHED_FIFO. */
    static void runFirst(int tid) {
        try (Memory priority = new Memory(Integer.BYTES)) {
            priority.setInt(0, 50);
            int result = NativeLibrary.getInstance("c")
                    .getFunction("sched_setscheduler")
                    .invokeInt(new Object[] {tid, SCHED_FIFO, priority});
            assertThat(result).isZero();
        }
    }

    static Phase expected(Place place) {
        return expected(place, CPU);
    }

    /** @param cpu that of a running vCPU */
    static Phase expected(Place place, int cpu) {
        return switch (place) {
            case SPINNING -> new Phase.Running(cpu);
            case DISPLACED -> new Phase.Preempted();
            case HALTED -> new Phase.Blocked();
            case OUTSIDE -> new Phase.InUserSpace();
        };
    }

    /** The thread of the vCPU, watched by its tracepoints, whose pages are read without a wait for RCU. */
    static final class Watched implements AutoCloseable {
        private final Tracing tracing;
        private final TraceReader reader = new TraceReader();
        private final TracedEvents events;
        private final int tid;
        private final List<String> seen = new ArrayList<>();
        private int lost;

        Watched(Path tracefs, int tid) {
            this.tid = tid;
            this.events = new TracedEvents(Set.of(tid));
            this.tracing = known(TraceInstance.create(tracefs, Set.of(tid)));
            List<EventFormat> formats = VcpuSchedule.EVENTS.entrySet().stream()
                    .map(event -> known(tracing.choose(event.getKey(), event.getValue())))
                    .toList();
            reader.add(tracing, known(tracing.start()), formats, new TraceReader.Sink() {
                @Override
                public void event(TraceEvent event) {
                    seen.add(event.name() + " on " + event.cpu());
                    events.event(event);
                }

                @Override
                public void lost() {
                    lost++;
                    events.lost();
                }
            });
        }

        /** Reads all events until now. */
        List<Event> read(Map<Integer, Integer> apicIds) {
            seen.clear();
            assertThat(reader.end()).isEmpty();
            return events.taken(new TracedEvents.Known(Map.of(tid, VCPU), Set.of(tid), apicIds));
        }

        Phase phase() {
            return events.schedule().phase(tid);
        }

        boolean isQuiet() {
            return seen.isEmpty();
        }

        @Override
        public void close() {
            reader.close();
            tracing.close();
        }
    }

    private static Optional<KernelAvic.Entry> entry(Optional<KernelAvic> table) throws IOException {
        return table.isEmpty() ? Optional.empty() : table.get().of(VCPU);
    }

    /** The difference in a reading; empty if there is none. */
    private Optional<String> read(
            Place place, Runner runner, GuestMemory memory, Watched watched, Optional<KernelAvic> table)
            throws Exception {
        Optional<Process> hog = Optional.empty();
        try {
            hog = reach(place, runner, memory);
            List<Event> told = new ArrayList<>(watched.read(apicIds));
            Optional<KernelAvic.Entry> entry = entry(table);
            boolean rests = false;
            Phase phase = watched.phase();
            // Events that come while the table is read may change it there and back, and threads of the kernel run too.
            for (int i = 0; !(rests && phase.equals(expected(place))) && i < MOST_RESTLESS; i++) {
                Optional<KernelAvic.Entry> before = entry;
                List<Event> since = watched.read(apicIds);
                told.addAll(since);
                phase = watched.phase();
                entry = entry(table);
                rests = since.isEmpty() && watched.isQuiet() && entry.equals(before);
            }
            Optional<State> mirror = mirrored(told);
            boolean agrees = phase.equals(expected(place))
                    && rests
                    && mirror.isPresent()
                    && entry.map(State::of).map(mirror.get()::equals).orElse(table.isEmpty());
            return agrees
                    ? Optional.empty()
                    : Optional.of(place + ": " + phase + ", mirror " + mirror + ", kernel " + entry
                            + (rests ? "" : ", restless") + ", told " + told + ", trace " + watched.seen);
        } finally {
            if (hog.isPresent()) {
                hog.get().destroyForcibly().waitFor();
            }
            runner.leave();
        }
    }

    /** The entry of a message to the vCPU that the mirror predicts. Empty if it does not know whether the vCPU runs. */
    private static Optional<State> mirrored(List<Event> told) {
        Gsi gsi = new Gsi(24);
        EventFdId eventFd = new EventFdId(1);
        Mirror mirror = Mirror.create(MirrorHost.x86(PostingHost.of(Vendor.AMD)));
        mirror.apply(new Event.IrqchipCreated(Event.Irqchip.FULL));
        mirror.apply(new Event.VcpuAdded(VCPU));
        mirror.apply(Event.RoutesCommitted.of(new Route.Msi(gsi, MsiMessage.to(VCPU, new InterruptVector(0x41)))));
        mirror.apply(new Event.ConsumerAdded(eventFd, gsi));
        mirror.apply(new Event.ProducerAdded(
                eventFd, new Producer(PciAddress.parse("0000:00:02.0"), Producer.Kind.MSI_X, 0)));
        mirror.apply(told);
        PredictedIrte.AmdGuest entry = mirror.now().byVcpu(VCPU).stream()
                .flatMap(irq -> irq.irte().known().stream())
                .filter(PredictedIrte.AmdGuest.class::isInstance)
                .map(PredictedIrte.AmdGuest.class::cast)
                .findFirst()
                .orElseThrow();
        return entry.isRun().map(running -> new State(running, entry.destination()));
    }

    static <T> T known(Known<T> fact) {
        return fact.known().orElseThrow(() -> new AssertionError(fact));
    }

    /**
     * Sets CPU 1 aside for vCPUs: this process stays on the other, and a thread of SCHED_FIFO keeps the CPU for itself. Skips
     * where that may not be done.
     *
     * @return what {@link #restore} takes
     */
    static String setAside() throws IOException, InterruptedException {
        leaveToVcpus();
        String throttle = Files.readString(THROTTLE);
        Files.writeString(THROTTLE, "-1");
        if (Files.exists(FAIR_SERVER)) {
            Files.writeString(FAIR_SERVER, "0");
        }
        return throttle;
    }

    /** Leaves CPU 1 to vCPUs: this process stays on the other. Skips where that may not be done. */
    static void leaveToVcpus() throws IOException, InterruptedException {
        assumeTrue(
                System.getProperty("kvmirq.test.run", "").startsWith("lab-"),
                "changes affinities and a scheduler's limit of the whole machine: only in the lab");
        assumeTrue(apicIds().size() > CPU, "needs two processors of x86: LAB_PROCESSORS=2");
        Machine.assumeProgram("taskset");
        command(
                "taskset",
                "-ap",
                MASK_OF_OTHERS,
                String.valueOf(ProcessHandle.current().pid()));
    }

    static Map<Integer, Integer> apicIds() throws IOException {
        Map<Integer, Integer> apicIds = new HashMap<>();
        int cpu = -1;
        for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
            String value = line.substring(line.indexOf(':') + 1).strip();
            if (line.startsWith("processor")) {
                cpu = Integer.parseInt(value);
            } else if (line.startsWith("apicid")) {
                apicIds.put(cpu, Integer.parseInt(value));
            }
        }
        return apicIds;
    }

    /** 6.12 refuses it as busy after a change of the deadline server. The machine then ends as it is. */
    static void restore(String throttle) {
        try {
            Files.writeString(THROTTLE, throttle.strip());
        } catch (IOException e) {
            System.out.println("lab-phases: " + THROTTLE + " stays: " + e.getMessage());
        }
    }

    @Test
    void phasesAgreeWithTheTableOfTheKernel() throws Exception {
        String throttle = setAside();
        apicIds.putAll(apicIds());
        Path tracefs = known(TraceInstance.mounted());
        Map<Place, Integer> agreeing = new HashMap<>();
        List<String> differing = new ArrayList<>();
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (GuestMemory memory = vm.addMemory(0, 0x10000);
                    Vcpu vcpu = vm.createVcpu(VCPU)) {
                vcpu.x86().enableLapic();
                Runner runner = new Runner(vcpu);
                Optional<KernelAvic> table = KernelAvic.ofThisMachine();
                try (Watched watched = new Watched(tracefs, runner.tid)) {
                    for (Place place : Place.values()) {
                        agreeing.put(place, 0);
                        for (int i = 0; i < READINGS && differing.size() < MOST_DIFFERING; i++) {
                            Optional<String> differs = read(place, runner, memory, watched, table);
                            differs.ifPresentOrElse(
                                    shown -> differing.add(shown.substring(0, Math.min(shown.length(), MOST_SHOWN))),
                                    () -> agreeing.merge(place, 1, Integer::sum));
                        }
                        System.out.println("lab-phases: " + place + " " + agreeing.get(place) + " of " + READINGS
                                + (table.isPresent()
                                        ? " readings of the kernel's table agree"
                                        : " phases are as set up")
                                + ", lost " + watched.lost);
                    }
                }
                runner.end();
            }
        } finally {
            restore(throttle);
        }
        assertThat(differing.stream().limit(3)).isEmpty();
    }
}
