/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * A guest of real mode that counts its interrupts by vector, in a VM with one vCPU, irqchip and timer, and with so many
 * eventfds. Its handler leaves by a port before it counts, and after its EOI.
 */
final class SnapshotGuest implements AutoCloseable {
    static final int EVENTS = 8;
    /** The handler was entered; its interrupt is in service, and not counted. */
    static final int ENTERED = 0x83;

    static final int READY = 0x82;
    static final int ENDED = 0x80;
    /** Vectors from here on, one after the other. */
    static final int FIRST = 0x40;

    private static final int COUNTS = 0x7000;
    private static final String MAIN = GuestAssembler.LAPIC_ON + "out 0x82, al; sti; idle: hlt; jmp idle";
    private static final String HANDLER = "out 0x83, al; inc dword [%d];" + GuestAssembler.EOI + "out 0x80, al; iret";

    final Kernel kernel;
    final Vm vm;
    final Vcpu vcpu;
    final List<EventFd> events = new ArrayList<>();
    final List<Irqfd> irqfds = new ArrayList<>();
    private final AssembledGuest guest;
    private final Undo open = new Undo();
    private @Nullable Thread runner;
    private volatile boolean pausing;
    private final AtomicReference<@Nullable Throwable> death = new AtomicReference<>();

    /** A VM of a kernel of its own, in which nothing runs yet. */
    SnapshotGuest(KernelBackend backend) {
        kernel = open.add(Kernel.over(backend));
        vm = open.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        vm.x86().createPit();
        guest = open.add(new AssembledGuest(vm, MAIN));
        vcpu = guest.vcpu;
        for (int i = 0; i < EVENTS; i++) {
            events.add(open.add(EventFd.create(kernel)));
        }
    }

    /** With the guest in memory, its CPUID and an irqfd for each eventfd, up to where it lets interrupts in. */
    static SnapshotGuest booted(KernelBackend backend) {
        SnapshotGuest guest = new SnapshotGuest(backend);
        for (int vector = FIRST; vector < FIRST + 2 * EVENTS; vector++) {
            guest.guest.handle(vector, HANDLER.formatted(COUNTS + vector * Integer.BYTES));
        }
        guest.vcpu.x86().useHostCpuid();
        guest.runTo(READY);
        for (int i = 0; i < EVENTS; i++) {
            Gsi gsi = guest.vm.routes().add(message(i));
            guest.irqfds.add(guest.vm.assignIrqfd(guest.events.get(i), gsi));
        }
        return guest;
    }

    /** Event i raises the vector i, or the one so many after it. */
    static MsiMessage message(int i) {
        return MsiMessage.to(new VcpuId(0), new InterruptVector(FIRST + i));
    }

    /** Another VM of another kernel with the guest's memory as it is now, and masked irqfds of the same eventfds. */
    SnapshotGuest next(KernelBackend backend) {
        SnapshotGuest next = new SnapshotGuest(backend);
        ByteBuffer contents = ByteBuffer.allocate(AssembledGuest.SIZE);
        guest.memory.get(0, contents);
        next.guest.memory.put(0, contents.array());
        Gsi gsi = next.vm.routes().add(message(0));
        for (Irqfd irqfd : irqfds) {
            EventFd event = next.events.get(events.indexOf(irqfd.event()));
            next.irqfds.add(irqfd.resample()
                    .map(resample -> next.vm.maskedLevelIrqfd(event, next.events.get(events.indexOf(resample)), gsi))
                    .orElseGet(() -> next.vm.maskedIrqfd(event, gsi)));
        }
        return next;
    }

    VmParts parts() {
        VmParts parts = new VmParts(vm).vcpu(new VcpuId(0), vcpu);
        for (int i = 0; i < EVENTS; i++) {
            EventFd event = events.get(i);
            String name = "event " + i;
            irqfds.stream()
                    .filter(irqfd -> irqfd.event() == event)
                    .findFirst()
                    .ifPresentOrElse(irqfd -> parts.irqfd(name, irqfd), () -> addUnlessResample(parts, name, event));
        }
        return parts;
    }

    private void addUnlessResample(VmParts parts, String name, EventFd event) {
        if (irqfds.stream().noneMatch(irqfd -> irqfd.resample().equals(Optional.of(event)))) {
            parts.event(name, event);
        }
    }

    /** The eventfd of an irqfd belongs to no interrupt from now on. */
    void closeIrqfd(int i) {
        irqfds.remove(i).close();
    }

    /** How often the guest has counted either vector of an event. */
    int counted(int event) {
        return count(FIRST + event) + count(FIRST + EVENTS + event);
    }

    int count(int vector) {
        return guest.memory.getInt(COUNTS + vector * Integer.BYTES);
    }

    // Running

    /** On the thread of the test, up to a write to a port, which is then completed. */
    void runTo(int port) {
        VcpuExit exit = vcpu.run();
        while (exit.reason() != VcpuExit.Reason.IO || exit.port() != port) {
            if (exit.reason() != VcpuExit.Reason.IO) {
                throw new AssertionError("the guest left by " + exit);
            }
            exit = vcpu.run();
        }
        completeExit();
    }

    /** Ends what the last exit began. */
    void completeExit() {
        vcpu.kick();
        VcpuExit exit = vcpu.run();
        if (exit.reason() != VcpuExit.Reason.INTR) {
            throw new AssertionError("the guest left by " + exit);
        }
    }

    void resume() {
        pausing = false;
        Thread thread = new Thread(this::run, "vcpu 0 of a snapshot");
        runner = thread;
        thread.start();
    }

    /** Another thread took the vCPU before its run began: that ended the runner. */
    void resumeIfEnded() {
        Thread thread = runner;
        if (thread != null && !thread.isAlive()) {
            death.set(null);
            resume();
        }
    }

    private void run() {
        try {
            vcpu.moveHere();
            VcpuExit exit = vcpu.run();
            while (exit.reason() != VcpuExit.Reason.INTR || !pausing) {
                if (exit.reason() != VcpuExit.Reason.INTR && exit.reason() != VcpuExit.Reason.IO) {
                    throw new AssertionError("the guest left by " + exit);
                }
                exit = vcpu.run();
            }
        } catch (Throwable e) {
            death.set(e);
        }
    }

    void pause() {
        Thread thread = runner;
        if (thread != null) {
            pausing = true;
            vcpu.kick();
            boolean interrupted = false;
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
            runner = null;
        }
        Throwable failed = death.get();
        if (failed != null) {
            throw new AssertionError("the vCPU ended", failed);
        }
    }

    @Override
    public void close() {
        pause();
        Irqfd.closeAll(irqfds);
        open.close();
    }
}
