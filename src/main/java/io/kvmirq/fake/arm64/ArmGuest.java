/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.GuestCpuInterface;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.InterruptState;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.VirtualInterface;
import io.kvmirq.arch.gic.Vpe;
import io.kvmirq.fake.file.HostLine;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * What the guest of a vCPU does with its interrupts, played by a test: no code runs. Before each step the list registers
 * are filled, as at an entry. An SPI that is mapped to an interrupt of the host has HW set. Source: {@code
 * vgic_v3_populate_lr()} in arch/arm64/kvm/vgic/vgic-v3.c.
 */
public final class ArmGuest {
    private static final int REGISTERS = 16;
    private static final int PRIORITY_SHIFT = 3;

    private final ArmVm vm;
    private final FakeVgic vgic;
    private final int vcpu;
    private final VirtualInterface registers;

    /** @param vcpu its index in the VM, whose VGIC is initialized */
    ArmGuest(ArmVm vm, FakeVgic vgic, int vcpu) {
        this.vm = vm;
        this.vgic = vgic;
        this.vcpu = vcpu;
        this.registers = VirtualInterface.of(vgic.distributor(), vcpu, REGISTERS);
    }

    /**
     * Takes the pending interrupt with the highest priority; LPIs last. Returns its INTID, or 1023 if there is none.
     */
    public int acknowledge() {
        fill();
        int best = -1;
        for (int i = 0; i < REGISTERS; i++) {
            long word = registers.listRegister(i);
            boolean pending = ListRegister.PENDING.isSet(word) && !ListRegister.ACTIVE.isSet(word);
            if (pending && (best < 0 || priority(i) < priority(best))) {
                best = i;
            }
        }
        if (best < 0) {
            return vm.lpis().take(vcpu).orElse(GuestCpuInterface.SPURIOUS);
        }
        long word = registers.listRegister(best);
        registers.setListRegister(best, ListRegister.PENDING.put(ListRegister.ACTIVE.put(word, 1), 0));
        return (int) ListRegister.VIRTUAL_ID.of(word);
    }

    private long priority(int register) {
        return ListRegister.PRIORITY.of(registers.listRegister(register));
    }

    /** Ends an active interrupt. Returns whether it was active. */
    public boolean end(int id) {
        int register = active(id);
        if (register < 0) {
            return false;
        }
        long word = ListRegister.ACTIVE.put(registers.listRegister(register), 0);
        boolean hardware = ListRegister.HW.isSet(word);
        boolean notifies = ListRegister.isSpent(word);
        registers.setListRegister(register, hardware ? 0 : word);
        if (notifies) {
            vm.acknowledged(id - InterruptId.FIRST_SPI);
            registers.maintain();
        }
        if (hardware) {
            vm.mapped(id).ifPresent(HostLine::deactivate);
        }
        return true;
    }

    // vLPIs

    /** The host interrupt that an LPI is a vLPI of; empty if KVM delivers the LPI. */
    public OptionalInt hostIrq(int lpi) {
        return vm.lpis().hostIrq(lpi);
    }

    /** Whether an LPI is pending, at KVM or in the table of the vPE. */
    public boolean isPending(int lpi) {
        return vm.lpis().isPending(lpi);
    }

    private Vpe vpe() {
        return vm.vlpis()
                .vpe(vcpu)
                .orElseThrow(() -> new IllegalStateException(
                        "vCPU " + vcpu + " has no vPE: the host has no GICv4, use a profile with gicv4"));
    }

    /** The thread of the vCPU comes to its CPU, and blocks no more. */
    public void load() {
        vpe().thread().load(vcpu);
        if (vpe().thread().isBlocking()) {
            vpe().thread().unblock();
        }
    }

    /** The thread leaves its CPU and does not sleep. */
    public void preempt() {
        vpe().thread().preempt();
    }

    /** The guest waits for an interrupt. Returns whether the thread sleeps. */
    public boolean block() {
        vpe().thread().block(true);
        return isAsleep();
    }

    /** Whether the thread sleeps. */
    public boolean isAsleep() {
        return vpe().thread().isAsleep();
    }

    /** Whether hardware delivers to the guest without KVM. */
    public boolean isResident() {
        return vpe().isResident();
    }

    private int active(int id) {
        for (int i = 0; i < REGISTERS; i++) {
            long word = registers.listRegister(i);
            if (ListRegister.ACTIVE.isSet(word) && ListRegister.VIRTUAL_ID.of(word) == id) {
                return i;
            }
        }
        return -1;
    }

    /** The list register, as of a GICv2, that holds an interrupt; 0 if none does. */
    public long listRegister(int id) {
        fill();
        for (int i = 0; i < REGISTERS; i++) {
            long word = registers.listRegister(i);
            if (ListRegister.STATE.isSet(word) && ListRegister.VIRTUAL_ID.of(word) == id) {
                return word;
            }
        }
        return 0;
    }

    private void fill() {
        for (int id = InterruptId.FIRST_SPI; id < vgic.interrupts(); id++) {
            Optional<HostLine> line = vm.mapped(id);
            if (line.isPresent() && isWanting(id)) {
                load(id, line.get());
            }
        }
        registers.syncToCpu();
    }

    private boolean isWanting(int id) {
        int first = id & -Integer.SIZE;
        int pending =
                vgic.distributor().pending(vcpu, first) & vgic.distributor().word(InterruptState.ENABLED, vcpu, first);
        return (pending >>> id - first & 1) != 0 && vgic.distributor().target(id) == vcpu && active(id) < 0;
    }

    /** A mapped level lowers the line: the interrupt of the host is active, so that no other one comes. */
    private void load(int id, HostLine line) {
        int free = Long.numberOfTrailingZeros(registers.empty());
        if (free >= REGISTERS) {
            return;
        }
        registers.setListRegister(
                free,
                ListRegister.HW.mask()
                        | ListRegister.PENDING.mask()
                        | ListRegister.VIRTUAL_ID.with(id)
                        | ListRegister.PHYSICAL_ID.with(line.physicalId())
                        | ListRegister.PRIORITY.with(vgic.distributor().priority(vcpu, id) >> PRIORITY_SHIFT));
        vgic.distributor().lower(vcpu, id);
        vgic.distributor().clear(InterruptState.LATCH, vcpu, id & -Integer.SIZE, 1 << id % Integer.SIZE);
    }
}
