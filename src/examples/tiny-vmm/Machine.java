/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.VcpuId;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Predicate;

/** The run loop: a thread for each vCPU, which gives the guest's accesses to ports to the devices, until one ends it. */
final class Machine implements AutoCloseable {
    private static final int KEYBOARD = 0x64, CLOCK = 0x71, RESET = 0xfe, POLL_MILLIS = 50;
    // Of CPUID's function 1, ECX: KVM emulates both, and leaves it to the VMM to say so
    private static final int HYPERVISOR = 1 << 31, TSC_DEADLINE = 1 << 24;

    final List<Vcpu> vcpus = new ArrayList<>();

    private final Map<Integer, Serial> serials;
    private final Predicate<VcpuExit> others;
    /** A vCPU that runs reads. Fair: none begins to run while a pause waits for the others. */
    private final ReadWriteLock runs = new ReentrantReadWriteLock(true);

    private final CompletableFuture<String> end;

    /**
     * @param serials by the first of their ports
     * @param others handles what is no serial port's, and says whether it did
     * @param end is completed with the reason when the machine ends
     */
    Machine(Vm vm, int count, Map<Integer, Serial> serials, Predicate<VcpuExit> others, CompletableFuture<String> end) {
        this.serials = serials;
        this.others = others;
        this.end = end;
        Cpuid host = Cpuid.ofHost(vm.kernel());
        Cpuid.Leaf one = host.leaf(1, 0).orElseThrow();
        int features = one.ecx() | HYPERVISOR | TSC_DEADLINE;
        Cpuid cpuid = host.with(new Cpuid.Leaf(1, 0, one.flags(), one.eax(), one.ebx(), features, one.edx()));
        for (int id = 0; id < count; id++) {
            vcpus.add(vm.createVcpu(new VcpuId(id)));
            vcpus.get(id).setCpuid(cpuid.forVcpu(id, count));
        }
    }

    /** Runs the vCPUs until the machine ends, and says why. Meanwhile the console, at these ports, gets what is typed. */
    String run(int console, InputStream typed) throws InterruptedException, IOException {
        List<Thread> threads =
                vcpus.stream().map(vcpu -> new Thread(() -> run(vcpu))).toList();
        threads.forEach(Thread::start);
        try {
            while (!end.isDone()) {
                Thread.sleep(POLL_MILLIS);
                while (typed.available() > 0) {
                    serials.get(console).receive(typed.read());
                }
            }
        } finally {
            end("the console cannot be read");
            vcpus.forEach(Vcpu::kick); // also one that halts
            for (Thread thread : threads) {
                thread.join();
            }
        }
        return end.join();
    }

    /** Stops all vCPUs, and lets them go on. */
    void pause() throws InterruptedException {
        do {
            vcpus.forEach(Vcpu::kick);
        } while (!runs.writeLock().tryLock(POLL_MILLIS, TimeUnit.MILLISECONDS));
        runs.writeLock().unlock();
    }

    /** Ends the machine. The first reason counts. */
    void end(String why) {
        end.complete(why);
    }

    private void run(Vcpu vcpu) {
        try {
            vcpu.moveHere(); // the main thread made it
            while (!end.isDone()) {
                runs.readLock().lock();
                try {
                    handle(vcpu, vcpu.run());
                } finally {
                    runs.readLock().unlock();
                }
            }
        } catch (RuntimeException | Error e) {
            end(vcpu + ": " + e);
        }
    }

    private void handle(Vcpu vcpu, VcpuExit exit) {
        switch (exit.reason()) {
            case IO -> {
                if (!others.test(exit)) {
                    access(exit);
                }
            }
            case MMIO, IOAPIC_EOI -> others.test(exit); // what is not there reads as ones
            case INTR -> {}
            default -> end(vcpu + " left with " + exit);
        }
    }

    private void access(VcpuExit exit) {
        int port = exit.port();
        Serial serial = serials.get(port / Serial.PORTS * Serial.PORTS);
        for (int i = 0; i < exit.count(); i++) {
            if (serial != null && exit.isWrite()) {
                serial.write(port % Serial.PORTS, (int) exit.data(i) & 0xff);
            } else if (serial != null) {
                exit.answer(i, serial.read(port % Serial.PORTS));
            } else if (!exit.isWrite() && (port == KEYBOARD || port == CLOCK)) {
                exit.answer(i, port == KEYBOARD ? 1 : 0); // Linux finds no keyboard, and a clock that stands still
            } else if (port == KEYBOARD && exit.data(i) == RESET) {
                end("the guest turned itself off");
            }
        }
    }

    @Override
    public void close() {
        vcpus.forEach(Vcpu::close);
    }
}
