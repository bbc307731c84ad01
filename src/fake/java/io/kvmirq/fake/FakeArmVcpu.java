/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.VcpuId;
import io.kvmirq.fake.arm64.ArmGuest;
import io.kvmirq.fake.file.FakeTime;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.IntPredicate;

/**
 * An arm64 vCPU on a fake kernel. It runs no guest code. Instead, a test calls methods that access the interrupt
 * controller as a guest does. It has a thread and a vPE only on a GICv4 host. On other hosts, the methods for these
 * throw IllegalStateException. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="armvcpu"}
 */
public final class FakeArmVcpu {
    private final FakeTime time;
    private final ArmGuest guest;

    FakeArmVcpu(FakeTime time, ArmGuest guest) {
        this.time = time;
        this.guest = guest;
    }

    /**
     * The guest reads IAR to take the pending interrupt with the highest priority, even while another interrupt is
     * active. As on a real kernel, the interrupt and the distributor must be enabled. Enable the distributor first,
     * because Linux queues an interrupt that became pending earlier only at its next signal or write.
     *
     * <p>With a GICv3 the guest takes interrupts of group 1. At equal priority an LPI comes after other interrupts. The
     * distributor must be enabled by GICD_CTLR.EnableGrp1 (a test calls {@code VgicV3.writeDistributor(0, 2)}, as a
     * guest's driver does first). LPIs also need GICR_CTLR.EnableLPIs. A vLPI needs neither, because hardware delivers
     * it. The CPU interface must have ICC_IGRPEN1_EL1 = 1 and an ICC_PMR_EL1 above the interrupt's priority. A guest's
     * driver sets these registers with MSR, and a test with {@code VgicV3.writeSystemRegister}.
     *
     * <p>With a GICv2 the distributor is enabled by bit 0 of GICD_CTLR. The guest takes interrupts of group 0 if bit 0
     * of GICC_CTLR is 1, and of group 1 if bit 1 is 1. An interrupt can only be taken if bits 7:3 of its priority are
     * below GICC_PMR, which a VMM writes as 0–0x1f. A test writes GICC_CTLR and GICC_PMR with {@code
     * VgicV2.writeCpuInterface}. An interrupt of group 1 also needs AckCtl, bit 2 of GICC_CTLR. If the bit is 0, this
     * method returns 1022, and the interrupt stays pending.
     *
     * @return the INTID, for an SGI of a GICv2 with the source vCPU in bits 12:10; 1023 if no interrupt can be taken
     */
    public int acknowledge() {
        return time.changing(guest::acknowledge);
    }

    /**
     * The guest writes EOIR to end an interrupt. An LPI needs no EOI. The EOI of a level-triggered SPI signals its
     * GSI's resamplefds. If HW is set in the interrupt's list register, the EOI deactivates the host interrupt.
     *
     * @param answer the value that {@link #acknowledge} returned, for an SGI of a GICv2 including the source vCPU
     * @return whether the interrupt was active
     */
    public boolean end(int answer) {
        return time.changing(() -> guest.end(answer));
    }

    /**
     * The guest sends SGI 0 to 15 with a write to ICC_SGI1R_EL1, or to a GICv2's GICD_SGIR. Missing target vCPUs are
     * ignored. Throws IllegalArgumentException if {@code sgi} is not 0 to 15.
     */
    public void sendSgi(int sgi, VcpuId... targets) {
        Set<VcpuId> all = Set.of(targets);
        send(sgi, id -> all.contains(new VcpuId(id)));
    }

    /** Sends an SGI as {@link #sendSgi} does, to all other vCPUs. */
    public void sendSgiToOthers(int sgi) {
        send(sgi, id -> id != guest.id());
    }

    private void send(int sgi, IntPredicate targets) {
        time.changing(() -> guest.sendSgi(sgi, targets));
    }

    // vLPIs

    /**
     * Returns the host interrupt of an LPI that is mapped to a vLPI (HW in {@code vgic-its-state}). Empty for other
     * LPIs.
     */
    public OptionalInt hostIrq(int lpi) {
        return time.changing(() -> guest.hostIrq(lpi));
    }

    /** Whether an LPI is pending in KVM or, if it is a vLPI, in the pending table of the vPE. */
    public boolean isPending(int lpi) {
        return time.changing(() -> guest.isPending(lpi));
    }

    /**
     * Loads the vCPU's thread on a CPU. The vCPU stops blocking, and its vPE becomes resident. Throws
     * IllegalStateException if the thread sleeps.
     */
    public void load() {
        time.changing(guest::load);
    }

    /**
     * Preempts the thread. Its vPE is then not resident, and no doorbell rings. Throws IllegalStateException without a
     * CPU.
     */
    public void preempt() {
        time.changing(guest::preempt);
    }

    /**
     * The guest waits for an interrupt. Meanwhile the vPE is not resident. A vLPI rings the vPE's doorbell, which ends
     * the sleep.
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

    /** Whether the vPE is resident, so that hardware delivers vLPIs to the guest without KVM. */
    public boolean isResident() {
        return time.changing(guest::isResident);
    }

    // Interrupts

    /** Returns the list register that holds an SPI ({@code gic.lr} of {@code kvmirq decode}); 0 if none does. */
    public long listRegister(int id) {
        return time.changing(() -> guest.listRegister(id));
    }
}
