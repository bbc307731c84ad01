/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.VcpuId;
import io.kvmirq.fake.arm64.ArmGuest;
import io.kvmirq.fake.file.FakeTime;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.IntPredicate;

/**
 * A vCPU of a fake kernel on arm64. It runs no guest code: a test calls the methods in place of the guest's accesses to
 * its interrupt controller. Thread-safe. The thread and the vPE of the vCPU are modelled on a host with GICv4: the
 * methods about them throw IllegalStateException on any other.
 */
public final class FakeArmVcpu {
    private final FakeTime time;
    private final ArmGuest guest;

    FakeArmVcpu(FakeTime time, ArmGuest guest) {
        this.time = time;
        this.guest = guest;
    }

    /**
     * The guest reads IAR. It takes the pending interrupt with the highest priority; the interrupts that the guest has
     * active mask none. As on a real kernel, it takes none until the interrupt and the distributor are enabled. An
     * interrupt becomes pending before that, but Linux queues it for the guest only at its next signal or write: enable
     * the distributor first.
     *
     * <p>With a GICv3 the guest takes interrupts of group 1, an LPI after another one of its priority. The distributor
     * is enabled by GICD_CTLR.EnableGrp1 ({@code VgicV3.writeDistributor(0, 2)}, the first thing that a guest's driver
     * does). LPIs also need GICR_CTLR.EnableLPIs; a vLPI, which hardware delivers, needs neither. The vCPU's CPU
     * interface must be enabled too, which a driver does by instructions and a test by {@code
     * VgicV3.writeSystemRegister}: ICC_IGRPEN1_EL1 is 1, and the interrupt's priority is below ICC_PMR_EL1.
     *
     * <p>With a GICv2 the distributor is enabled by bit 0 of GICD_CTLR. The guest takes interrupts of group 0 if bit 0
     * of GICC_CTLR is 1, and of group 1 if bit 1 is 1. Bits 7:3 of their priority are below GICC_PMR, 0–0x1f as a VMM
     * writes it. A test writes both registers by {@code VgicV2.writeCpuInterface}. An interrupt of group 1 also needs
     * bit 2 of GICC_CTLR, AckCtl: without it the answer is 1022, and the interrupt stays pending.
     *
     * @return its INTID, and of an SGI with a GICv2 the source vCPU in bits 12:10; 1023 if there is none to take
     */
    public int acknowledge() {
        return time.changing(guest::acknowledge);
    }

    /**
     * The guest writes EOIR (an LPI needs none): it ends an interrupt that it took. The end of a level-triggered SPI
     * signals the resamplefds of its GSI. The end of one with HW set deactivates the interrupt of the host.
     *
     * @param answer the value that {@link #acknowledge} returned; for an SGI of a GICv2 it includes the source
     * @return whether the interrupt was active
     */
    public boolean end(int answer) {
        return time.changing(() -> guest.end(answer));
    }

    /**
     * The guest sends SGI 0 to 15: it writes ICC_SGI1R_EL1, or with a GICv2 GICD_SGIR. A target that the VM does not
     * have gets none. IllegalArgumentException for another number.
     */
    public void sendSgi(int sgi, VcpuId... targets) {
        Set<VcpuId> all = Set.of(targets);
        send(sgi, id -> all.contains(new VcpuId(id)));
    }

    /** As {@link #sendSgi}, to all vCPUs but this one. */
    public void sendSgiToOthers(int sgi) {
        send(sgi, id -> id != guest.id());
    }

    private void send(int sgi, IntPredicate targets) {
        time.changing(() -> guest.sendSgi(sgi, targets));
    }

    // vLPIs

    /** The host interrupt that an LPI is a vLPI of, as HW in {@code vgic-its-state}; empty if KVM delivers it. */
    public OptionalInt hostIrq(int lpi) {
        return time.changing(() -> guest.hostIrq(lpi));
    }

    /** Whether an LPI is pending: at KVM, or for a vLPI in the table of the vPE. */
    public boolean isPending(int lpi) {
        return time.changing(() -> guest.isPending(lpi));
    }

    /**
     * The thread comes to a CPU of its own: the vCPU blocks no more, its vPE is resident. IllegalStateException if the
     * thread sleeps.
     */
    public void load() {
        time.changing(guest::load);
    }

    /** The host takes the CPU away: the vPE is not resident, no doorbell rings. IllegalStateException without a CPU. */
    public void preempt() {
        time.changing(guest::preempt);
    }

    /**
     * The guest waits for an interrupt. The vPE is not resident, and a vLPI rings its doorbell, which ends the sleep.
     *
     * @return whether the thread sleeps; false if an interrupt is pending
     * @throws IllegalStateException if the thread has no CPU
     */
    public boolean block() {
        return time.changing(guest::block);
    }

    /** Whether the thread sleeps. */
    public boolean isAsleep() {
        return time.changing(guest::isAsleep);
    }

    /** Whether the vPE is resident: hardware delivers vLPIs to the guest without KVM. */
    public boolean isResident() {
        return time.changing(guest::isResident);
    }

    // Interrupts

    /** The list register that holds an SPI, in the format of {@code gic.lr}; 0 if none does. */
    public long listRegister(int id) {
        return time.changing(() -> guest.listRegister(id));
    }
}
