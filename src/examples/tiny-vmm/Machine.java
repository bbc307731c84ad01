/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** The run loop: a thread for each vCPU, which gives the guest's accesses to the devices, until one ends it. */
final class Machine {
    private static final int POLL_MILLIS = 50;

    private final Platform platform;
    private final Serial console, device;
    private final CompletableFuture<String> end;
    /** A vCPU that runs reads. Fair: none begins to run while a pause waits for the others. */
    private final ReentrantReadWriteLock runs = new ReentrantReadWriteLock(true);

    /** @param end is completed with the reason when the machine ends */
    Machine(Platform platform, Serial console, Serial device, CompletableFuture<String> end) {
        this.platform = platform;
        this.console = console;
        this.device = device;
        this.end = end;
    }

    /** Runs the vCPUs until the machine ends, and says why. Again and again, the console gets what is typed. */
    String run(InputStream typed, Runnable again) throws InterruptedException, IOException {
        List<Thread> threads =
                platform.vcpus.stream().map(vcpu -> new Thread(() -> run(vcpu))).toList();
        threads.forEach(Thread::start);
        try {
            while (!end.isDone()) {
                Thread.sleep(POLL_MILLIS);
                again.run();
                while (typed.available() > 0) {
                    console.receive(typed.read());
                }
            }
        } finally {
            end("the console cannot be read");
            platform.vcpus.forEach(Vcpu::kick); // also one that halts
            for (Thread thread : threads) {
                thread.join();
            }
        }
        return end.join();
    }

    /** Stops all vCPUs, and lets them go on. */
    void pause() throws InterruptedException {
        do {
            platform.vcpus.forEach(Vcpu::kick);
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
            case IO, MMIO -> {
                if (!platform.handle(exit)) {
                    access(exit);
                }
            }
            case IOAPIC_EOI -> platform.handle(exit);
            case INTR -> {}
            // By PSCI. On x86 a device turns the machine off
            case SYSTEM_EVENT -> end("the guest turned itself off");
            default -> end(vcpu + " left with " + exit);
        }
    }

    /** Reads of nothing that is there get ones. */
    private void access(VcpuExit exit) {
        long at = exit.reason() == VcpuExit.Reason.IO ? exit.port() : exit.address();
        long offset = at - platform.console.address();
        boolean isConsole = offset >= 0 && offset < Serial.PORTS;
        long register = isConsole ? offset : at - platform.doorbell.address();
        for (int i = 0; register >= 0 && register < Serial.PORTS && i < exit.count(); i++) {
            Serial serial = isConsole ? console : device;
            if (exit.isWrite()) {
                serial.write((int) register, (int) exit.data(i) & 0xff);
            } else {
                exit.answer(i, serial.read((int) register));
            }
        }
    }
}
