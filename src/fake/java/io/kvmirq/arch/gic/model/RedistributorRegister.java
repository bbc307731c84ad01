/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.InterruptId;
import java.util.Arrays;
import java.util.Optional;

/**
 * The registers that a GICv3 redistributor has once, not for each interrupt. The registers of SGIs and PPIs are in the
 * second frame, from {@link #PRIVATE_FRAME} on, at the offsets of {@link DistributorRegister}. An offset is in bytes
 * from the start of the redistributor.
 *
 * <p>Source: ARM IHI 0069, "The GIC Redistributor register map"; {@code vgic_v3_rd_registers} in
 * arch/arm64/kvm/vgic/vgic-mmio-v3.c.
 */
public enum RedistributorRegister {
    /** Control: bit 0 enables LPIs. */
    GICR_CTLR(0x0, 4),
    GICR_IIDR(0x4, 4),
    /** The 64-bit type register: the vCPU's id, its affinity, and features. */
    GICR_TYPER(0x8, 8),
    GICR_STATUSR(0x10, 4),
    GICR_WAKER(0x14, 4),
    /** The 64-bit register with the address of the table of LPI properties. */
    GICR_PROPBASER(0x70, 8),
    /** The 64-bit register with the address of the table of pending LPIs. */
    GICR_PENDBASER(0x78, 8),
    /** The 64-bit register whose write makes the GIC read the properties of one LPI again. */
    GICR_INVLPIR(0xa0, 8),
    /** The 64-bit register whose write makes the GIC read the properties of all LPIs again. */
    GICR_INVALLR(0xb0, 8),
    /** Bit 0 is set while an invalidation of LPI properties is in progress. */
    GICR_SYNCR(0xc0, 4),
    GICR_IDREGS(0xffd0, 48),
    /** The register for non-secure access control, in the frame of SGIs and PPIs. */
    GICR_NSACR(0x1_0e00, 4);

    /** The offset of the frame with the registers of SGIs and PPIs. */
    public static final int PRIVATE_FRAME = 0x1_0000;

    private final int offset;
    private final int length;

    RedistributorRegister(int offset, int length) {
        this.offset = offset;
        this.length = length;
    }

    /**
     * Returns the register that contains the 32-bit word at an offset; empty if the offset is unaligned or in a gap.
     */
    public static Optional<RedistributorRegister> at(int at) {
        return Arrays.stream(values())
                .filter(register ->
                        at % Integer.BYTES == 0 && at >= register.offset && at < register.offset + register.length)
                .findFirst();
    }

    /** Returns the register of SGIs and PPIs that contains the 32-bit word at an offset; empty if there is none. */
    public static Optional<DistributorRegister> ofPrivate(int at) {
        return DistributorRegister.at(at - PRIVATE_FRAME, InterruptId.FIRST_SPI)
                .filter(DistributorRegister::isPerInterrupt)
                .filter(register ->
                        register != DistributorRegister.GICD_ITARGETSR && register != DistributorRegister.GICD_IROUTER);
    }

    public int offset() {
        return offset;
    }
}
