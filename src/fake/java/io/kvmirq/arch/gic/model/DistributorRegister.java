/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import java.util.Arrays;
import java.util.Optional;

/**
 * The registers of a GICv3 distributor, with their offsets and the number of bits for each interrupt. A GICv2 has the
 * same registers up to GICD_ICFGR, except GICD_STATUSR. Writing 1 to an interrupt's bit in a register GICD_IS... sets
 * the bit, and in a register GICD_IC... clears it. An offset is in bytes from the start of the distributor.
 *
 * <p>Source: ARM IHI 0069, "The GIC Distributor register map"; {@code vgic_v3_dist_registers} in
 * arch/arm64/kvm/vgic/vgic-mmio-v3.c.
 */
public enum DistributorRegister {
    /** Control: see {@link RegisterFields}. */
    GICD_CTLR(0x0, 4, 0),
    GICD_TYPER(0x4, 4, 0),
    GICD_IIDR(0x8, 4, 0),
    GICD_TYPER2(0xc, 4, 0),
    GICD_STATUSR(0x10, 4, 0),
    GICD_IGROUPR(0x80, 1),
    GICD_ISENABLER(0x100, 1),
    GICD_ICENABLER(0x180, 1),
    GICD_ISPENDR(0x200, 1),
    GICD_ICPENDR(0x280, 1),
    GICD_ISACTIVER(0x300, 1),
    GICD_ICACTIVER(0x380, 1),
    GICD_IPRIORITYR(0x400, 8),
    /** A GICv2's target CPUs of each interrupt, one bit for each CPU. */
    GICD_ITARGETSR(0x800, 8),
    /** Two bits for each interrupt: the upper bit is set if the interrupt is edge-triggered. */
    GICD_ICFGR(0xc00, 2),
    GICD_IGRPMODR(0xd00, 1),
    /** A GICv3's target CPU of each SPI, by the CPU's affinity. */
    GICD_IROUTER(0x6000, 64),
    GICD_IDREGS(0xffd0, 48, 0);

    private static final int INTERRUPTS = 1024;

    private final int offset;
    private final int length;
    private final int bits;

    DistributorRegister(int offset, int length, int bits) {
        this.offset = offset;
        this.length = length;
        this.bits = bits;
    }

    DistributorRegister(int offset, int bits) {
        this(offset, INTERRUPTS * bits / Byte.SIZE, bits);
    }

    /** Returns the register at an offset; empty if the offset is unaligned, in a gap, or beyond {@code interrupts}. */
    public static Optional<DistributorRegister> at(int at, int interrupts) {
        return Arrays.stream(values())
                .filter(register ->
                        at % Integer.BYTES == 0 && at >= register.offset && at < register.offset + register.length)
                .filter(register -> !register.isPerInterrupt() || register.interrupt(at) < interrupts)
                .findFirst();
    }

    public int offset() {
        return offset;
    }

    public boolean isPerInterrupt() {
        return bits != 0;
    }

    /** Returns the id of the first interrupt that the word at an offset describes. */
    public int interrupt(int at) {
        if (!isPerInterrupt()) {
            throw new IllegalStateException(this + " has no bits of an interrupt: check isPerInterrupt first");
        }
        return (at - offset) * Byte.SIZE / bits;
    }
}
