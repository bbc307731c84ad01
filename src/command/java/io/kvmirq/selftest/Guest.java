/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A VM with 64 KiB of memory and one vCPU that answers interrupts. {@link #boot} starts the vCPU's thread and
 * {@link #close} joins it.
 *
 * <p>Any thread may call {@link #close}, also while a scenario runs (Ctrl-C). The other methods are for one thread.
 */
final class Guest implements AutoCloseable {
    static final VcpuId VCPU = new VcpuId(0);

    /** The limit for a step of the guest. A working guest needs milliseconds. */
    private static final long PATIENCE_SECONDS = 10;

    private final Vm vm;
    private final GuestMemory memory;
    private final CountDownLatch ready = new CountDownLatch(1);
    private final CountDownLatch released = new CountDownLatch(1);
    private final Thread thread = new Thread(this::live, "kvmirq-selftest-vcpu-0");
    private volatile @Nullable RuntimeException death;
    private volatile boolean stopping;

    Guest(Kernel kernel, Irqchip irqchip) {
        try (Undo undo = new Undo()) {
            vm = undo.add(Vm.create(kernel));
            irqchip.create(vm);
            memory = vm.addMemory(0, GuestCode.MEMORY);
            undo.keep();
        }
        GuestCode.load(memory.mapping());
        thread.setDaemon(true);
    }

    Vm vm() {
        return vm;
    }

    /** Installs the handler of a vector and routes a new GSI to that vector of the vCPU. */
    Gsi route(InterruptVector vector) {
        handle(vector);
        return vm.routes().add(MsiMessage.to(VCPU, vector));
    }

    void handle(InterruptVector vector) {
        GuestCode.handle(memory.mapping(), vector);
    }

    int handled(InterruptVector vector) {
        return GuestCode.handled(memory.mapping(), vector);
    }

    /** Runs the guest until its LAPIC is enabled. Then it waits, with interrupts disabled, for {@link #release}. */
    void boot() {
        synchronized (this) {
            if (stopping) {
                throw new SelftestFailedException("the self-test was stopped");
            }
            thread.start();
        }
        await(ready, "switch its LAPIC on");
        requireAlive();
    }

    void release() {
        released.countDown();
    }

    /** Throws the reason if the vCPU has ended. */
    void requireAlive() {
        @Nullable RuntimeException why = death;
        if (why != null) {
            throw why;
        }
    }

    /** Whether the vCPU has ended where it should not. Allocates nothing. */
    boolean isDead() {
        return death != null;
    }

    void join() throws InterruptedException {
        thread.join();
    }

    private void live() {
        try (Vcpu vcpu = vm.createVcpu(VCPU)) {
            vcpu.useHostCpuid();
            vcpu.startAt(GuestCode.START, GuestCode.STACK);
            run(vcpu);
        } catch (Throwable e) {
            death = Verdict.ofThread("the vCPU ended", e);
        } finally {
            ready.countDown();
        }
    }

    private void run(Vcpu vcpu) {
        while (true) {
            VcpuExit exit = vcpu.run();
            if (exit.reason() == VcpuExit.Reason.INTR) {
                continue;
            }
            if (exit.reason() != VcpuExit.Reason.IO || !exit.isWrite()) {
                death = new SelftestFailedException(
                        "the guest left with " + exit + ", expected a write to port 0x82 or 0x81");
                return;
            }
            switch (exit.port()) {
                case GuestCode.PORT_READY -> {
                    ready.countDown();
                    await(released, "be released");
                    if (stopping) {
                        return;
                    }
                }
                case GuestCode.PORT_STOPPED -> {
                    return;
                }
                default -> {
                    death = new SelftestFailedException("the guest wrote to port 0x" + Integer.toHexString(exit.port())
                            + ", which has no ioeventfd: was it closed too early?");
                    return;
                }
            }
        }
    }

    private static void await(CountDownLatch latch, String what) {
        try {
            if (!latch.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                throw new SelftestFailedException("the guest did not " + what + " within " + PATIENCE_SECONDS + " s");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new SelftestFailedException("interrupted while the guest should " + what);
        }
    }

    /**
     * Stops the vCPU, joins its thread, then closes memory and VM. If the vCPU does not stop, memory and VM stay open
     * until the process ends. Idempotent, never throws.
     */
    @Override
    public void close() {
        boolean started;
        synchronized (this) {
            stopping = true;
            started = thread.getState() != Thread.State.NEW;
        }
        if (started && !stopVcpu()) {
            return;
        }
        memory.close();
        vm.close();
    }

    private boolean stopVcpu() {
        try {
            if (released.getCount() == 0 && thread.isAlive()) {
                vm.signal(MsiMessage.nmiTo(VCPU));
            }
            released.countDown();
            thread.join(TimeUnit.SECONDS.toMillis(PATIENCE_SECONDS));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException e) {
            // Another thread has closed the VM and joins the vCPU thread.
        }
        return !thread.isAlive();
    }
}
