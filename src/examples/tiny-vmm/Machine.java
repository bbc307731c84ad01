/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.run.VcpuThreads;
import java.io.IOException;
import java.io.InputStream;
import java.util.concurrent.CompletableFuture;

/** The exits of the vCPUs: it gives the guest's accesses to the devices, until one ends the machine. */
final class Machine implements VcpuThreads.Owner {
    private static final int POLL_MILLIS = 50;

    private final Platform platform;
    private final Serial console, device;
    private final CompletableFuture<String> end;
    private final VcpuThreads threads;

    /** @param end is completed with the reason when the machine ends */
    Machine(Platform platform, Serial console, Serial device, CompletableFuture<String> end) {
        this.platform = platform;
        this.console = console;
        this.device = device;
        this.end = end;
        this.threads = VcpuThreads.startPaused(platform.vcpus, this);
    }

    /** Runs the vCPUs until the machine ends, and says why. Again and again, the console gets what is typed. */
    String run(InputStream typed, Runnable again) throws InterruptedException, IOException {
        try (threads) {
            threads.resume();
            while (!end.isDone()) {
                Thread.sleep(POLL_MILLIS);
                again.run();
                while (typed.available() > 0) {
                    console.receive(typed.read());
                }
            }
        } finally {
            end("the console cannot be read");
        }
        return end.join();
    }

    /** Stops all vCPUs, and lets them go on. */
    void pause() {
        threads.pause();
        threads.resume();
    }

    /** Ends the machine. The first reason counts. */
    void end(String why) {
        end.complete(why);
    }

    @Override
    public void failed(Vcpu vcpu, Throwable failure) {
        end(vcpu + ": " + failure);
    }

    @Override
    public boolean exited(Vcpu vcpu, VcpuExit exit) {
        switch (exit.reason()) {
            case IO, MMIO -> {
                if (!platform.handle(exit)) {
                    access(exit);
                }
            }
            case IOAPIC_EOI -> platform.handle(exit);
            // By PSCI. On x86 a device turns the machine off
            case SYSTEM_EVENT -> end("the guest turned itself off");
            default -> end(vcpu + " left with " + exit);
        }
        return !end.isDone();
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
