/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.gic.MachineControl;

/**
 * Fields of the GICv3 registers that control and describe a distributor, redistributors or CPU interfaces. Fields that
 * cannot change have KVM's values.
 *
 * <p>Source: ARM IHI 0069, "GICD_CTLR", "GICD_TYPER", "GICD_IIDR", "GICD_PIDR2", "GICR_CTLR", "GICR_TYPER",
 * "ICC_CTLR_EL1", "ICC_SRE_EL1"; {@code vgic_mmio_read_v3_misc()} and {@code vgic_mmio_read_v3r_typer()} in
 * arch/arm64/kvm/vgic/vgic-mmio-v3.c.
 */
public final class RegisterFields {
    /** GICD_CTLR.EnableGrp1, if there is one security state: 1 if the distributor forwards group 1 interrupts. */
    public static final BitField CTLR_ENABLE_GROUP1 = new BitField("enablegrp1", 1, 1);
    /** GICD_CTLR.ARE: 1 if SPIs are routed by affinity, as always in KVM. */
    public static final BitField CTLR_AFFINITY_ROUTING = new BitField("are", 4, 1);
    /** GICD_CTLR.DS: 1 if there is one security state, as always in KVM. */
    public static final BitField CTLR_ONE_SECURITY = new BitField("ds", 6, 1);

    /** GICD_TYPER.ITLinesNumber: the number of interrupts divided by 32, minus 1. */
    public static final BitField TYPER_LINES = new BitField("itlinesnumber", 0, 5);
    /** GICD_TYPER.CPUNumber of a GICv2: the number of CPUs, minus 1. */
    public static final BitField TYPER_CPUS = new BitField("cpunumber", 5, 3);
    /** GICD_TYPER.LPIS: 1 if the VM has an ITS. */
    public static final BitField TYPER_LPIS = new BitField("lpis", 17, 1);
    /** GICD_TYPER.IDbits: the number of INTID bits, minus 1. */
    public static final BitField TYPER_ID_BITS = new BitField("idbits", 19, 5);

    /** KVM's value of GICD_IIDR and GICR_IIDR without the revision: KVM's product id, implementer Arm. */
    public static final int IIDR_MAKER = 0x4b00_043b;
    /** GICD_IIDR.Revision: KVM's version number of the VGIC state, which a VMM saves and restores. */
    public static final BitField IIDR_REVISION = new BitField("revision", 12, 4);
    /** KVM's value of {@link #IIDR_REVISION} since Linux 5.19. */
    public static final int IIDR_LATEST = 3;
    /** The oldest revision that a VMM may restore, of Linux 4.20: its GICR_CTLR has no IR and no CES. */
    public static final int IIDR_OLDEST = 2;

    /** The offset of GICD_PIDR2 and GICR_PIDR2, the only identification register that is not 0. */
    public static final int PIDR2 = 0xffe8;
    /** The value of GICD_PIDR2 and GICR_PIDR2 that means a GICv3 by Arm. */
    public static final int PIDR2_GICV3 = 0x3b;

    /** GICR_CTLR.EnableLPIs. */
    public static final BitField GICR_ENABLE_LPIS = new BitField("enablelpis", 0, 1);
    /** GICR_CTLR.CES: 1 if the guest can disable LPIs again, as always in KVM since Linux 5.19. */
    public static final BitField GICR_CAN_DISABLE_LPIS = new BitField("ces", 1, 1);
    /** GICR_CTLR.IR: 1 if a register write can invalidate LPIs, as always in KVM since Linux 5.19. */
    public static final BitField GICR_INVALIDATES = new BitField("ir", 2, 1);

    /** GICR_TYPER.PLPIS: 1 if the VM has an ITS. */
    public static final BitField GICR_TYPER_LPIS = new BitField("plpis", 0, 1);
    /** GICR_TYPER.Last: 1 if no redistributor follows in this region, and no region follows without a gap. */
    public static final BitField GICR_TYPER_LAST = new BitField("last", 4, 1);
    /** GICR_TYPER.Processor_Number: the id of the vCPU. */
    public static final BitField GICR_TYPER_NUMBER = new BitField("processor_number", 8, 16);
    /** GICR_TYPER.Affinity_Value: the affinity of the vCPU, with 8 bits for each level. */
    public static final BitField GICR_TYPER_AFFINITY = new BitField("affinity_value", 32, 32);

    /** ICC_CTLR_EL1.CBPR: {@link MachineControl#COMMON}. */
    public static final BitField ICC_CTLR_COMMON = new BitField("cbpr", 0, 1);
    /** ICC_CTLR_EL1.EOImode: {@link MachineControl#END_MODE}. */
    public static final BitField ICC_CTLR_END_MODE = new BitField("eoimode", 1, 1);
    /** ICC_CTLR_EL1.PRIbits: the number of priority bits, minus 1. */
    public static final BitField ICC_CTLR_PRIORITY_BITS = new BitField("pribits", 8, 3);
    /** ICC_CTLR_EL1.IDbits: 0 for INTIDs of 16 bits, 1 for 24. */
    public static final BitField ICC_CTLR_ID_BITS = new BitField("idbits", 11, 3);
    /** ICC_CTLR_EL1.SEIS: 1 if the CPU interface can raise SErrors. */
    public static final BitField ICC_CTLR_SERRORS = new BitField("seis", 14, 1);
    /** ICC_CTLR_EL1.A3V: 1 if SGIs can go to any value of affinity level 3. */
    public static final BitField ICC_CTLR_LEVEL3 = new BitField("a3v", 15, 1);

    /** ICC_SRE_EL1.SRE: 1 if the CPU interface has system registers. */
    public static final BitField ICC_SRE_ENABLED = new BitField("sre", 0, 1);
    /** KVM's value of ICC_SRE_EL1: SRE is set, and bypass of IRQs and FIQs is disabled. */
    public static final int ICC_SRE_FIXED = 7;

    private RegisterFields() {}
}
