/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.ProcessLimit;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The guest of the kit's VM on real KVM. Each vCPU runs {@link GuestCode} on its own thread, with its own segment for
 * data and stack. Thread-safe, except {@link #start} and {@link #close}.
 */
final class CountingGuest implements AutoCloseable {
    /** The number of real-mode segments, one for each vCPU. */
    static final int MOST_VCPUS = 16;

    private static final int PARAGRAPH = 16;
    private static final int VECTORS = 256;
    private static final int FIRST_VECTOR = 16;
    /** A vector of the lowest priority, which the guest takes after all vectors that were requested before it. */
    private static final InterruptVector FENCE = new InterruptVector(FIRST_VECTOR);

    private static final long PATIENCE_SECONDS = 10;
    private static final long ARRIVAL_NANOS = 1_000_000_000;
    private static final long POLL_NANOS = 20_000;

    private final Vm vm;
    private final RecordingBackend seam;
    private final GuestMemory memory;
    private final List<OneVcpu> vcpus = new ArrayList<>();
    /** The last signal of each GSI. Guarded by this, like {@link #unrouted}. */
    private final Map<Gsi, Signal> signals = new HashMap<>();

    private final List<String> unrouted = new ArrayList<>();
    private volatile boolean stopping;

    /** @param before how often the vCPU had taken the vector before the signal */
    private record Signal(OneVcpu vcpu, InterruptVector vector, int before) {}

    CountingGuest(Vm vm, int count, RecordingBackend seam) {
        if (count > MOST_VCPUS) {
            throw new IllegalStateException(count + " vCPUs: on real KVM the kit's guest has at most " + MOST_VCPUS);
        }
        this.vm = vm;
        this.seam = seam;
        this.memory = vm.addMemory(0, (long) count * GuestCode.MEMORY);
        GuestCode.load(memory.mapping());
        for (int vector = FIRST_VECTOR; vector < VECTORS; vector++) {
            GuestCode.handle(memory.mapping(), new InterruptVector(vector));
        }
        for (int id = 0; id < count; id++) {
            vcpus.add(new OneVcpu(new VcpuId(id)));
        }
    }

    /** A vCPU and its thread. */
    private final class OneVcpu {
        private final VcpuId id;
        private final CountDownLatch ready = new CountDownLatch(1);
        private final Thread thread;
        private volatile @Nullable Vcpu vcpu;
        private volatile @Nullable String death;
        /** Guarded by this. */
        private int fences;

        OneVcpu(VcpuId id) {
            this.id = id;
            this.thread = new Thread(() -> seam.aside(this::live), "kvmirq-junit-vcpu-" + id.number());
            thread.setDaemon(true);
        }

        private void live() {
            try (Vcpu made = vm.createVcpu(id)) {
                made.x86().useHostCpuid();
                made.x86().startAt(GuestCode.START, GuestCode.STACK);
                moveData(made);
                made.setState(VcpuState.RUNNABLE);
                vcpu = made;
                run(made);
            } catch (Throwable e) {
                Optional<String> limit = ProcessLimit.behind(e);
                String why = e instanceof KernelException ? String.valueOf(e.getMessage()) : e.toString();
                death = (limit.isPresent() || !(e instanceof KernelException) ? "could not run: " : "") + id
                        + " of the kit's guest ended: " + limit.orElse(why);
            } finally {
                ready.countDown();
            }
        }

        private void moveData(Vcpu made) {
            X86SystemRegisters system = made.x86().systemRegisters();
            for (Segment name : List.of(Segment.DS, Segment.SS)) {
                X86Segment before = system.segment(name);
                long base = (long) id.number() * GuestCode.MEMORY;
                system.setSegment(
                        name, new X86Segment(base, before.limit(), (int) (base / PARAGRAPH), before.access()));
            }
            made.x86().setSystemRegisters(system);
        }

        private void run(Vcpu made) {
            while (!stopping) {
                VcpuExit exit = made.run();
                boolean writes = exit.reason() == VcpuExit.Reason.IO && exit.isWrite();
                if (writes && exit.port() == GuestCode.PORT_READY) {
                    ready.countDown();
                } else if (exit.reason() != VcpuExit.Reason.INTR && !(writes && exit.port() == GuestCode.PORT_ANSWER)) {
                    death = id + " of the kit's guest left with " + exit;
                    return;
                }
            }
        }

        private int handled(int vector) {
            Mapping mapping = memory.mapping();
            return GuestCode.handled(mapping, id.number(), new InterruptVector(vector));
        }

        private void requireAlive() {
            @Nullable String why = death;
            if (why != null) {
                throw new IllegalStateException(why);
            }
        }
    }

    /** The reason why a vCPU ended before its test. */
    Optional<String> death() {
        return vcpus.stream().flatMap(vcpu -> Stream.ofNullable(vcpu.death)).findFirst();
    }

    /** Starts the vCPUs. Returns when each has enabled its LAPIC. */
    void start() {
        vcpus.forEach(vcpu -> vcpu.thread.start());
        for (OneVcpu vcpu : vcpus) {
            boolean ready = false;
            try {
                ready = vcpu.ready.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            vcpu.requireAlive();
            if (!ready) {
                throw new IllegalStateException(
                        vcpu.id + " of the kit's guest did not start in " + PATIENCE_SECONDS + " s");
            }
        }
    }

    private OneVcpu vcpu(VcpuId id) {
        if (id.number() >= vcpus.size()) {
            throw new IllegalStateException(
                    "the kit's Vm has " + vcpus.size() + " vCPUs, but not " + id + ": set vcpus of @KvmTest");
        }
        return vcpus.get(id.number());
    }

    /**
     * The number of times that a vCPU took each vector. Waits until it has taken all requested vectors, and up to a
     * second until it has taken {@code vector} {@code times} times.
     */
    Map<InterruptVector, Integer> received(VcpuId id, InterruptVector vector, int times) {
        OneVcpu vcpu = vcpu(id);
        await(vcpu, () -> vcpu.handled(vector.number()) >= times, ARRIVAL_NANOS);
        Map<InterruptVector, Integer> received = new TreeMap<>((a, b) -> Integer.compare(a.number(), b.number()));
        synchronized (vcpu) {
            settle(vcpu);
            for (int i = FIRST_VECTOR; i < VECTORS; i++) {
                int count = vcpu.handled(i) - (i == FENCE.number() ? vcpu.fences : 0);
                if (count > 0) {
                    received.put(new InterruptVector(i), count);
                }
            }
        }
        return received;
    }

    /** The number of times that each vCPU took a vector, for those that took it. */
    Map<VcpuId, Integer> receivers(InterruptVector vector) {
        Map<VcpuId, Integer> receivers = new LinkedHashMap<>();
        for (OneVcpu vcpu : vcpus) {
            int count = received(vcpu.id, vector, 0).getOrDefault(vector, 0);
            if (count > 0) {
                receivers.put(vcpu.id, count);
            }
        }
        return receivers;
    }

    /** Waits until a vCPU has taken all requested vectors. Sends one fence at a time, because the IRR merges two. */
    private void settle(OneVcpu vcpu) {
        synchronized (vcpu) {
            seam.aside(() -> {
                vcpu.fences++;
                vm.signal(MsiMessage.to(vcpu.id, FENCE));
            });
            if (!await(vcpu, () -> vcpu.handled(FENCE.number()) >= vcpu.fences, ARRIVAL_NANOS)) {
                throw new IllegalStateException(vcpu.id + " of the kit's guest no longer takes interrupts");
            }
        }
    }

    /** Records that the test is about to signal the eventfd of an irqfd on {@code gsi}. */
    synchronized void signalled(Gsi gsi, List<Route> routes) {
        if (routes.isEmpty()) {
            unrouted.add("GSI " + gsi.number() + " was raised but has no route");
        }
        for (Route route : routes) {
            for (OneVcpu vcpu : vcpus) {
                if (route instanceof Route.Msi msi) {
                    InterruptVector vector = new InterruptVector(msi.message().data() & VECTORS - 1);
                    if (msi.message().equals(MsiMessage.to(vcpu.id, vector))) {
                        signals.put(gsi, new Signal(vcpu, vector, vcpu.handled(vector.number())));
                    }
                }
            }
        }
    }

    /** Signals of GSIs without a route, and the last signal of each GSI whose vCPU then did not take the vector. */
    synchronized List<String> lost() {
        vcpus.forEach(this::settle);
        List<String> lost = new ArrayList<>(unrouted);
        signals.forEach((gsi, signal) -> {
            if (signal.vcpu().handled(signal.vector().number()) == signal.before()) {
                lost.add("GSI " + gsi.number() + " was raised but " + signal.vcpu().id + " did not take "
                        + signal.vector());
            }
        });
        return lost;
    }

    private static boolean await(OneVcpu vcpu, BooleanSupplier done, long nanos) {
        long end = System.nanoTime() + nanos;
        while (!done.getAsBoolean()) {
            vcpu.requireAlive();
            if (System.nanoTime() > end) {
                return false;
            }
            LockSupport.parkNanos(POLL_NANOS);
        }
        return true;
    }

    /** Ends the vCPUs and frees the guest's memory. */
    @Override
    public void close() {
        stopping = true;
        for (OneVcpu vcpu : vcpus) {
            @Nullable Vcpu running = vcpu.vcpu;
            if (running != null) {
                running.kick();
            }
        }
        for (OneVcpu vcpu : vcpus) {
            try {
                vcpu.thread.join(TimeUnit.SECONDS.toMillis(PATIENCE_SECONDS));
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        memory.close();
    }
}
