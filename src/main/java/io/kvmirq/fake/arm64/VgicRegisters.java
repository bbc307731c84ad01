/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.Distributor;
import io.kvmirq.arch.gic.DistributorRegister;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.InterruptState;
import io.kvmirq.fake.rules.ArmRule;
import io.kvmirq.fake.rules.NotModelledException;
import java.util.Optional;

/**
 * The distributor's registers as the VMM saves and restores them. A guest sees some of them differently. Source: {@code
 * vgic_v3_dist_registers} in arch/arm64/kvm/vgic/vgic-mmio-v3.c, vgic-mmio.c; GIC architecture, 12.9.
 */
final class VgicRegisters {
    static final int TYPER = 4;
    static final int IIDR = 8;
    static final int TYPER2 = 12;

    /** GICD_CTLR of a disabled distributor: affinity routing, one security state. */
    private static final int CONTROL = 0x50;

    private static final int TYPE_MESSAGES = 1 << 17;
    private static final int TYPE_NUMBER_BITS = 19;
    /** The number of interrupt id bits minus 1, with LPIs and without. */
    private static final int NUMBER_BITS_ITS = 15;

    private static final int NUMBER_BITS = 9;

    private final FakeVgic vgic;

    VgicRegisters(FakeVgic vgic) {
        this.vgic = vgic;
    }

    private Optional<DistributorRegister> at(int offset) {
        return DistributorRegister.at(offset, vgic.interrupts());
    }

    boolean exists(int offset) {
        return at(offset).isPresent();
    }

    /** Reads a register. Missing registers and those of private interrupts (in the redistributors) read as 0. */
    int read(int offset) {
        DistributorRegister register = at(offset).orElse(null);
        if (register == null || isPrivate(register, offset)) {
            return 0;
        }
        return read(register, 0, offset);
    }

    /**
     * Reads a word.
     *
     * @param offset within the register, as the distributor has it
     */
    int read(DistributorRegister register, int vcpu, int offset) {
        return switch (register) {
            case GICD_CTLR -> miscellaneous(offset);
            // All interrupts are in group 1 until a guest changes that.
            case GICD_STATUSR, GICD_IGROUPR -> -1;
            case GICD_ISENABLER, GICD_ICENABLER -> word(InterruptState.ENABLED, vcpu, register.interrupt(offset));
            case GICD_ISPENDR -> {
                vgic.vm().note(ArmRule.VGIC_PENDING_IS_LATCHED);
                yield word(InterruptState.LATCH, vcpu, register.interrupt(offset));
            }
            case GICD_ICPENDR, GICD_ISACTIVER, GICD_ICACTIVER, GICD_ITARGETSR, GICD_IGRPMODR -> 0;
            case GICD_ICFGR -> edges(vcpu, register.interrupt(offset));
            default -> throw new NotModelledException("reading " + register);
        };
    }

    /** Writes to missing registers and to those of private interrupts are ignored. */
    void write(int offset, int value) {
        DistributorRegister register = at(offset).orElse(null);
        if (register == null || isPrivate(register, offset)) {
            return;
        }
        write(register, 0, offset, value);
    }

    /**
     * Writes a word.
     *
     * @param offset within the register, as the distributor has it
     */
    void write(DistributorRegister register, int vcpu, int offset, int value) {
        switch (register) {
            case GICD_ISENABLER ->
                vgic.distributor().set(InterruptState.ENABLED, vcpu, register.interrupt(offset), value);
            case GICD_ICENABLER ->
                vgic.distributor().clear(InterruptState.ENABLED, vcpu, register.interrupt(offset), value);
            case GICD_ISPENDR -> {
                vgic.vm().note(ArmRule.VGIC_PENDING_IS_LATCHED);
                replace(InterruptState.LATCH, vcpu, register.interrupt(offset), value);
            }
            case GICD_STATUSR, GICD_ICPENDR, GICD_ITARGETSR, GICD_IGRPMODR -> {}
            case GICD_ICFGR -> setEdges(register.interrupt(offset), value);
            default -> throw new NotModelledException("writing " + register);
        }
    }

    private static boolean isPrivate(DistributorRegister register, int offset) {
        return register.isPerInterrupt() && register.interrupt(offset) < InterruptId.FIRST_SPI;
    }

    private int miscellaneous(int offset) {
        return switch (offset) {
            case 0 -> CONTROL;
            case TYPER -> type();
            case IIDR -> throw new NotModelledException("reading GICD_IIDR");
            default -> 0;
        };
    }

    private int type() {
        int ranges = (vgic.interrupts() >> 5) - 1;
        return vgic.vm().hasIts()
                ? ranges | NUMBER_BITS_ITS << TYPE_NUMBER_BITS | TYPE_MESSAGES
                : ranges | NUMBER_BITS << TYPE_NUMBER_BITS;
    }

    private int word(InterruptState what, int vcpu, int first) {
        return vgic.distributor().word(what, vcpu, first);
    }

    private void replace(InterruptState what, int vcpu, int first, int bits) {
        vgic.distributor().set(what, vcpu, first, bits);
        vgic.distributor().clear(what, vcpu, first, ~bits);
    }

    /** Two bits per interrupt; the upper bit is set for an edge-triggered interrupt. */
    private int edges(int vcpu, int first) {
        int levels = word(InterruptState.LEVEL, vcpu, first & -Distributor.WORD) >>> first % Distributor.WORD;
        int word = 0;
        for (int i = 0; i < Distributor.WORD / 2; i++) {
            word |= (levels >>> i & 1) != 0 ? 0 : 2 << 2 * i;
        }
        return word;
    }

    /** SGIs are edge-triggered and PPIs level-triggered for ever. Source: {@code vgic_mmio_write_config()}. */
    private void setEdges(int first, int word) {
        if (first < InterruptId.FIRST_SPI) {
            return;
        }
        int levels = 0;
        for (int i = 0; i < Distributor.WORD / 2; i++) {
            levels |= (word >>> 2 * i & 2) == 0 ? 1 << i : 0;
        }
        int shift = first % Distributor.WORD;
        vgic.distributor().set(InterruptState.LEVEL, 0, first - shift, levels << shift);
        vgic.distributor().clear(InterruptState.LEVEL, 0, first - shift, (~levels & 0xffff) << shift);
    }

    /** The line levels of 32 interrupts, one bit each; 0 for edge-triggered interrupts. */
    int lines(int vcpu, int first) {
        return first < vgic.interrupts()
                ? vgic.distributor().word(InterruptState.LINE, vcpu, first)
                        & vgic.distributor().word(InterruptState.LEVEL, vcpu, first)
                : 0;
    }

    /** Stores the line of an edge-triggered interrupt too: it counts if the interrupt becomes level-triggered. */
    void setLines(int vcpu, int first, int up) {
        if (first < vgic.interrupts()) {
            replace(InterruptState.LINE, vcpu, first, up);
        }
    }
}
