/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Hundreds of threads make and close VMs, memory under running guests, irqfds and routes in any order. No descriptor is
 * left, no GSI is given twice, and no guest writes to memory that was mapped where its own was. {@code make stress
 * MODE=hard} runs longer.
 */
@RealKvm(fullIrqchip = true)
@Tag("long")
class HardUseTest {
    private static final int THREADS = Integer.getInteger("kvmirq.test.hard.threads", 200);
    private static final int CLOSERS = 8;
    private static final long SECONDS = Long.getLong("kvmirq.test.hard.seconds", 1);
    private static final long SEED = Long.getLong("kvmirq.test.hard.seed", 1);

    private static final VcpuId VCPU = new VcpuId(0);
    private static final MsiMessage MESSAGE = MsiMessage.to(VCPU, new InterruptVector(0x31));
    private static final int SEGMENT = 0x10000;
    private static final int START = 0x1000;
    private static final int WRITTEN_AT = 0x20000;
    private static final byte WRITTEN = 0x5a;
    /**
     * {@code mov ax, 0x2000; mov es, ax}; for ever {@code xor di, di; mov cx, 0xffff; mov al, 0x5a; rep stosb; out
     * 0x80}.
     */
    private static final byte[] WRITER = HexFormat.of().parseHex("b800208ec0" + "31ffb9ffffb05af3aae680ebf3");

    private static final int CANARIES = 4;
    private static final int CANARY = 0x0ca9a21e;

    private final ExecutorService closers = Executors.newFixedThreadPool(CLOSERS);
    private final AtomicLong rounds = new AtomicLong();
    private final AtomicLong canaries = new AtomicLong();
    private final Set<Gsi> given = ConcurrentHashMap.newKeySet();

    @Test
    void nothingLeaksAndNoGuestWritesToOthersMemory() throws Exception {
        try (Kernel kernel = Kernel.open()) {
            kernel.device();
            long before = Machine.openFds();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
            ExecutorService threads = Executors.newFixedThreadPool(THREADS);
            try (Vm shared = Vm.create(kernel)) {
                shared.x86().createIrqchip();
                List<Future<?>> running = new ArrayList<>();
                for (int i = 0; i < THREADS; i++) {
                    int thread = i;
                    running.add(threads.submit(() -> {
                        Random random = new Random(SEED * THREADS + thread);
                        do {
                            useShared(shared, thread, random);
                            wire(kernel, random);
                            if (random.nextInt(4) == 0) {
                                takeMemoryFromARunningGuest(kernel);
                            }
                            rounds.incrementAndGet();
                        } while (System.nanoTime() < deadline);
                        return null;
                    }));
                }
                for (Future<?> future : running) {
                    future.get();
                }
            } finally {
                threads.shutdownNow();
                closers.shutdown();
                closers.awaitTermination(1, TimeUnit.HOURS);
            }
            long leaked = Machine.openFds() - before;
            System.out.println("hard use: " + THREADS + " threads, " + rounds + " rounds, " + canaries
                    + " canaries intact, " + leaked + " descriptors leaked");
            assertThat(leaked).isZero();
        }
    }

    /** Routes, irqfds and memory of one VM, beside all other threads. */
    private void useShared(Vm vm, int thread, Random random) throws Exception {
        Gsi gsi = vm.routes().add(MESSAGE);
        assertThat(given.add(gsi)).as("first use of " + gsi).isTrue();
        long address = (1L + thread) * SEGMENT;
        try (EventFd event = EventFd.create(vm.kernel());
                GuestMemory memory = vm.addMemory(address, 4096)) {
            memory.mapping().putInt(0, thread);
            Irqfd irqfd = vm.assignIrqfd(event, gsi);
            event.signal();
            vm.routes().replace(gsi, MsiMessage.to(VCPU, new InterruptVector(0x40 + random.nextInt(64))));
            irqfd.mask();
            irqfd.unmask();
            Future<?> other = closers.submit(irqfd::close);
            irqfd.close();
            other.get();
            assertThat(memory.mapping().getInt(0)).isEqualTo(thread);
        }
        given.remove(gsi);
        vm.routes().remove(gsi);
    }

    /** All of a VM's handles, closed in any order and some of them twice at a time. */
    private void wire(Kernel kernel, Random random) throws Exception {
        List<AutoCloseable> handles = Collections.synchronizedList(new ArrayList<>());
        Vm vm = Vm.create(kernel);
        handles.add(vm);
        vm.x86().createIrqchip();
        for (int i = 0; i < 4; i++) {
            EventFd event = EventFd.create(kernel);
            EventFd resample = EventFd.create(kernel);
            handles.add(event);
            handles.add(resample);
            Gsi gsi = vm.routes().add(MESSAGE);
            handles.add(
                    random.nextBoolean()
                            ? vm.assignIrqfd(event, gsi)
                            : vm.assignLevelIrqfd(event, resample, new Gsi(4 + i)));
            handles.add(vm.assignIoEventFd(IoAddress.port(0x80 + i, 1), event));
            event.signal();
            assertThat(resample.awaitNanos(0)).isFalse();
        }
        handles.add(vm.addMemory(0, SEGMENT));
        handles.add(vm.createVcpu(VCPU));
        Collections.shuffle(handles, random);
        List<Future<?>> closing = new ArrayList<>();
        for (AutoCloseable handle : handles) {
            if (random.nextInt(3) == 0) {
                closing.add(closers.submit(() -> {
                    handle.close();
                    return null;
                }));
            }
            handle.close();
            assertThat(handle.toString()).isNotEmpty();
        }
        for (Future<?> future : closing) {
            future.get();
        }
    }

    /** The next mapping may lie where the guest's memory was. */
    private void takeMemoryFromARunningGuest(Kernel kernel) throws Exception {
        try (Vm vm = Vm.create(kernel);
                GuestMemory code = vm.addMemory(0, SEGMENT);
                Vcpu vcpu = vm.createVcpu(VCPU)) {
            GuestMemory written = vm.addMemory(WRITTEN_AT, SEGMENT);
            code.mapping().put(START, WRITER);
            vcpu.x86().startAt(START, 0x8000);
            Future<List<Mapping.Owner>> mapped = closers.submit(() -> {
                while (written.mapping().getByte(SEGMENT - 2) != WRITTEN) {
                    Thread.onSpinWait();
                }
                written.close();
                return canaries(kernel);
            });
            int lapsAfter = 0;
            VcpuExit.Reason exit = vcpu.run().reason();
            while (exit != VcpuExit.Reason.MMIO && lapsAfter < 3) {
                lapsAfter += mapped.isDone() ? 1 : 0;
                exit = vcpu.run().reason();
            }
            for (Mapping.Owner canary : mapped.get()) {
                for (int i = 0; i < SEGMENT; i += Integer.BYTES) {
                    assertThat(canary.mapping().getInt(i)).isEqualTo(CANARY);
                }
                canary.close();
                canaries.incrementAndGet();
            }
            assertThat(exit).isEqualTo(VcpuExit.Reason.MMIO);
        }
    }

    private static List<Mapping.Owner> canaries(Kernel kernel) {
        List<Mapping.Owner> mapped = new ArrayList<>();
        for (int i = 0; i < CANARIES; i++) {
            Mapping.Owner canary = Mapping.anonymous(kernel, SEGMENT);
            mapped.add(canary);
            for (int at = 0; at < SEGMENT; at += Integer.BYTES) {
                canary.mapping().putInt(at, CANARY);
            }
        }
        return mapped;
    }
}
