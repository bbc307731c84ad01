/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import java.util.concurrent.atomic.AtomicInteger;

/** A VM whose vCPUs run on threads of their own. Each counts in memory how often it took its vector. */
final class CountedGuest implements AutoCloseable, VcpuThreads.Owner {
    /** The answer of the vCPUs to an interrupt. */
    enum Conduct {
        TAKES,
        /** The handler writes no EOI. */
        NO_EOI,
        /** Interrupts are off. */
        DEAF,
        /** The LAPIC is off by software. */
        LAPIC_OFF,
        /** The vCPUs are not run. */
        NOT_RUN
    }

    private static final int COUNTS = 0x7000;
    private static final String X2APIC = "mov ecx, 0x1b; rdmsr; or eax, 0xc00; wrmsr;";
    /** Counts in the vCPU's word, by the LAPIC's ID. */
    private static final String COUNT = "mov ecx, 0x802; rdmsr; mov si, ax; shl si, 2; inc dword [si+0x7000]; iret";

    final int vm;
    private final AssembledGuest guest;
    private final AtomicInteger ready = new AtomicInteger();
    private final Undo made = new Undo();

    CountedGuest(World world, boolean isSplit, int vcpus, int vector, Conduct conduct) {
        Vm owned = made.add(Vm.create(made.add(Kernel.over(world.kernel()))));
        vm = Numbers.of(owned.fd());
        if (isSplit) {
            owned.x86().createSplitIrqchip(GuestIoapic.PINS);
        } else {
            owned.x86().createIrqchip();
        }
        String lapic = conduct == Conduct.LAPIC_OFF ? X2APIC : GuestAssembler.LAPIC_ON;
        String open = conduct == Conduct.DEAF ? "" : "sti;";
        guest = made.add(new AssembledGuest(owned, vcpus, lapic + "out 0x82, al;" + open + "idle: hlt; jmp idle"));
        guest.handle(vector, (conduct == Conduct.NO_EOI ? "" : GuestAssembler.EOI) + COUNT);
        if (conduct == Conduct.NOT_RUN) {
            guest.vcpus.forEach(vcpu -> vcpu.x86().enableLapic());
        } else {
            for (Vcpu vcpu : guest.vcpus) {
                vcpu.x86().useHostCpuid();
                vcpu.setState(VcpuState.RUNNABLE);
            }
            VcpuThreads threads = made.add(VcpuThreads.start(guest.vcpus, this));
            World.eventually("the vCPUs are ready", () -> ready.get() == vcpus);
            assertThat(threads.failure()).isEmpty();
        }
    }

    @Override
    public boolean exited(Vcpu vcpu, VcpuExit exit) {
        assertThat(exit.reason()).isEqualTo(VcpuExit.Reason.IO);
        ready.incrementAndGet();
        return true;
    }

    @Override
    public void failed(Vcpu vcpu, Throwable failure) {
        throw new AssertionError(vcpu + " ended", failure);
    }

    /** The number of times that a vCPU took the vector. */
    int taken(int vcpu) {
        return guest.memory.getInt(COUNTS + vcpu * Integer.BYTES);
    }

    @Override
    public void close() {
        made.close();
    }
}
