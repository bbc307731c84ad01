/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.VcpuHooks;
import io.kvmirq.arch.vcpu.VcpuThread;
import java.util.Optional;

/**
 * A vCPU with a VGIC: its thread, its virtual CPU interface, and what its guest does with it. The list registers are
 * filled before the guest is entered and read back after it exits.
 *
 * <p>Safe for use by one thread of its own and any number of others.
 */
public final class VgicVcpu {
    /** The number of the CPU that the thread is on, plus 1; 0 if it is on none ({@code kvm_arm_running_vcpu}). */
    static final int ON = 0;
    /** A bit for each CPU with a maintenance interrupt that is held back. */
    static final int HELD = 1;

    static final int THREAD = 2;
    static final int INTERFACE = THREAD + VcpuThread.WORDS;

    private final VgicVm vm;
    private final int index;
    private final SharedWords words;
    private final int base;
    private final VirtualInterface registers;
    private final GuestCpuInterface guest;
    private final VcpuThread thread;

    VgicVcpu(VgicVm vm, int index, SharedWords words, int base, VirtualInterface registers) {
        this.vm = vm;
        this.index = index;
        this.words = words;
        this.base = base;
        this.registers = registers;
        this.guest = new GuestCpuInterface(this, registers, words, vm.deactivate());
        this.thread = new VcpuThread(vm.host(), index, words, at(THREAD), new StepHooks());
    }

    static int words(int registers) {
        return INTERFACE + VirtualInterface.words(registers);
    }

    int at(int word) {
        return base + word;
    }

    public int index() {
        return index;
    }

    public VcpuThread thread() {
        return thread;
    }

    public VirtualInterface registers() {
        return registers;
    }

    public GuestCpuInterface guest() {
        return guest;
    }

    /** Whether an interrupt may wait for this vCPU: it does not sleep then. */
    public boolean hasInterrupt() {
        return vm.distributor().isFlagged(index);
    }

    void checkInGuest() {
        if (!isInGuest()) {
            throw new IllegalStateException(
                    "the guest of vCPU " + index + " does not run: the vCPU has to enter first");
        }
    }

    private boolean isInGuest() {
        int on = (int) words.get(at(ON));
        return on != 0 && thread.isGuestOf(vm.host().cpu(on - 1));
    }

    boolean isOn(HostCpu cpu) {
        return words.get(at(ON)) == cpu.number() + 1;
    }

    /** Hardware raises the maintenance interrupt if there is a cause, on the CPU that the guest runs on. */
    void signal() {
        if (registers.status() == 0) {
            return;
        }
        if (vm.isLate()) {
            words.or(at(HELD), 1L << words.get(at(ON)) - 1);
        } else {
            thread.interrupt(VgicVm.MAINTENANCE);
        }
    }

    /** The maintenance interrupts that were held back arrive, each on the CPU on which it was raised. */
    void release() {
        for (long held = words.and(at(HELD), 0); held != 0; held &= held - 1) {
            vm.host().cpu(Long.numberOfTrailingZeros(held)).interrupt(VgicVm.MAINTENANCE);
        }
    }

    void kick() {
        // The thread queues it before it announces guest mode, so that a kick alone may come too late.
        thread.request();
        thread.kick();
    }

    /** A maintenance interrupt of a guest makes it exit. Then KVM handles it. */
    void maintain(HostCpu here) {
        if (thread.isGuestOf(here)) {
            thread.kick();
            here.interrupt(VgicVm.MAINTENANCE);
        } else {
            registers.maintain();
        }
    }

    private final class StepHooks implements VcpuHooks {
        @Override
        public void load(HostCpu here, Optional<HostCpu> last) {
            words.set(at(ON), here.number() + 1);
        }

        @Override
        public void prepare(HostCpu here) {
            vm.parts().prepare(registers, here);
        }

        @Override
        public void entered(HostCpu here) {
            vm.parts().entered(VgicVcpu.this);
        }

        @Override
        public void exited(HostCpu here) {
            vm.parts().exited(registers);
        }

        @Override
        public void preempted(HostCpu here) {
            words.set(at(ON), 0);
        }

        @Override
        public boolean hasInterrupt() {
            return VgicVcpu.this.hasInterrupt();
        }

        @Override
        public void asleep(HostCpu here, boolean interruptible) {
            words.set(at(ON), 0);
        }
    }
}
