/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.KernelException;
import io.kvmirq.events.Events;
import io.kvmirq.events.ExitCounts;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.uapi.Uapi;
import java.time.Instant;
import java.util.Optional;

/**
 * Runs a vCPU in its thread, ends runs by kicks, and keeps the last exit. Any thread may call {@link #kick}, but only
 * the vCPU thread may call the other methods.
 */
final class VcpuRun {
    private static final int NO_EXIT = -1;
    /** IA32_APIC_BASE of a new vCPU: the LAPIC is on, in xAPIC mode ({@code kvm_lapic_reset()}). */
    private static final long RESET_BASE = 0xfee00800L;

    private static final long UNKNOWN = -1;

    private final VcpuCalls calls;
    private final VgicCalls vgic;
    private final WatchedVcpu watched;
    private final KickCalls kick;
    private final VcpuExit exit;
    private final ExitCounts exits;
    private final int vmNumber;
    /** Reused, so that reading the LAPIC allocates nothing. */
    private final X86Lapic lapicNow = new X86Lapic();

    private boolean withinInstruction;
    /** The last exit's port; {@link #NO_EXIT} if it was not a port access. */
    private int port = NO_EXIT;
    /** IA32_APIC_BASE, unless {@link #isBaseInPage}. */
    private long base = RESET_BASE;
    /** Whether a run has ended since the base was set, so that {@code struct kvm_run} contains it. */
    private boolean isBaseInPage;

    VcpuRun(VcpuCalls calls, VgicCalls vgic, WatchedVcpu watched) {
        this.calls = calls;
        this.vgic = vgic;
        this.watched = watched;
        this.kick = new KickCalls(calls.fd().kernel(), watched);
        this.exit = new VcpuExit(calls.page());
        this.vmNumber = VmCalls.number(calls.vm().vm());
        this.exits = new ExitCounts(vmNumber, watched.id().number());
    }

    WatchedVcpu watched() {
        return watched;
    }

    /** The kicks, and the thread that may run the vCPU. */
    KickCalls kicks() {
        return kick;
    }

    boolean isWithinInstruction() {
        return withinInstruction;
    }

    void requireItsThread() {
        if (Thread.currentThread() != kick.thread()) {
            throw ofAnotherThread();
        }
    }

    private IllegalStateException ofAnotherThread() {
        if (calls.fd().isClosed()) {
            return new ClosedHandleException(calls.fd().toString());
        }
        String user = Thread.currentThread().getName();
        return new IllegalStateException(
                calls.fd() + " belongs to thread '" + kick.thread().getName() + "' and was used by "
                        + (user.isEmpty() ? "a thread without a name" : "'" + user + "'")
                        + ", which would block while the guest runs: use a vCPU on"
                        + " one thread, or move it with moveHere while no thread runs it");
    }

    /** Completes a guest access. A long instruction, such as INS, may exit several times. */
    void completeInstruction() {
        while (withinInstruction) {
            kick(); // ends the run as soon as the access is complete
            run();
        }
    }

    VcpuExit run() {
        if (!kick.begin()) {
            throw ofAnotherThread();
        }
        int reason = NO_EXIT;
        try {
            vgic.requireInit();
            if (!kick.isReady()) {
                calls.ioctlAt(KernelCall.VCPU_SIGNALS, Uapi.KVM_SET_SIGNAL_MASK, kick.block());
                kick.ready();
            }
            reason = calls.run(exit);
        } finally {
            leave(reason);
        }
        return exit;
    }

    /** Ends a run. Another thread may take the vCPU only afterwards. */
    private void leave(int reason) {
        int before = port;
        boolean continues = withinInstruction;
        port = NO_EXIT;
        try {
            boolean kicked = kick.end();
            if (reason == Uapi.KVM_EXIT_INTR) {
                calls.setImmediateExit(false);
            } else if (kicked) {
                calls.setImmediateExit(true); // the kick ends the next run
            }
            if (reason != NO_EXIT) {
                isBaseInPage = true;
                exit.become(reason);
                exits.count(exit.reason());
                withinInstruction = exit.isWithinInstruction();
                port = reason == Uapi.KVM_EXIT_IO ? exit.port() : NO_EXIT;
                if (watched.isAsked()) {
                    watched.answer(sampledLapic());
                }
            }
        } finally {
            // INS and OUTS may exit from several runs without a guest entry in between, but all exits are on one port.
            boolean other = !continues || before != NO_EXIT && before != port;
            watched.leaves(reason != NO_EXIT, port != NO_EXIT && other);
            kick.left();
        }
    }

    /** Reads the LAPIC into one reused object, which is valid until the next read. */
    X86Lapic lapicNow() {
        calls.ioctl(KernelCall.LAPIC_GET, Uapi.KVM_GET_LAPIC, lapicNow.structure);
        return lapicNow;
    }

    /** Reads the LAPIC within the run's phase, because KVM loads the vCPU for this call too. Never fails. */
    private Optional<WatchedVcpu.Lapic> sampledLapic() {
        if (calls.vm().isArm64()) {
            return Optional.empty();
        }
        try {
            return Optional.of(lapic(lapicNow()));
        } catch (KernelException | ClosedHandleException e) {
            return Optional.empty(); // the VM has no LAPICs in the kernel, or the vCPU was closed during the run
        }
    }

    private WatchedVcpu.Lapic lapic(X86Lapic registers) {
        return new WatchedVcpu.Lapic(
                isBaseInPage ? calls.page().getLong(Uapi.KvmRun.APIC_BASE) : base, // even after a run that a kick ended
                registers.get(X86Lapic.Name.ID),
                registers.get(X86Lapic.Name.LDR),
                registers.get(X86Lapic.Name.DFR),
                registers.get(X86Lapic.Name.SVR),
                Instant.now());
    }

    /** Records that the VMM has set these LAPIC registers. */
    void lapicSet(X86Lapic registers) {
        if (isBaseInPage || base != UNKNOWN) {
            watched.set(lapic(registers));
        } else {
            watched.forgetLapic();
        }
    }

    /** Records that the VMM has set IA32_APIC_BASE, and with it the LAPIC mode. */
    void baseSet(long value) {
        base = value;
        isBaseInPage = false;
        watched.forgetLapic();
    }

    /** Records that the VMM may have set IA32_APIC_BASE or LAPIC registers. */
    void lapicUnknown() {
        baseSet(UNKNOWN);
    }

    void endCounts() {
        exits.end();
    }

    void kick() {
        if (!kick.send() && calls.setImmediateExit(true)) {
            kick.send(); // for a run that has begun meanwhile
        }
        Events.record(Events.Type.VCPU_KICKED, vmNumber, watched.id().number());
    }
}
