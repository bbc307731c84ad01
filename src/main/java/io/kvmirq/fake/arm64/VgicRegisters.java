/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.fake.rules.KernelRule;
import io.kvmirq.fake.rules.NotModelledException;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Optional;

/**
 * The distributor's registers as the VMM saves and restores them. A guest sees some of them differently. Source: {@code
 * vgic_v3_dist_registers} in arch/arm64/kvm/vgic/vgic-mmio-v3.c, vgic-mmio.c; GIC architecture, 12.9.
 */
final class VgicRegisters {
    static final int TYPER = 4;
    static final int IIDR = 8;
    static final int TYPER2 = 12;

    private static final int WIDTH = 32;
    /** GICD_CTLR of a disabled distributor: affinity routing, one security state. */
    private static final int CONTROL = 0x50;

    private static final int TYPE_MESSAGES = 1 << 17;
    private static final int TYPE_NUMBER_BITS = 19;
    /** The number of interrupt id bits minus 1, with LPIs and without. */
    private static final int NUMBER_BITS_ITS = 15;

    private static final int NUMBER_BITS = 9;

    /** A register or an array: offset, length in bytes, and bits per interrupt (0 if it is not per interrupt). */
    private enum Register {
        GICD_CTLR(0x0, 16, 0),
        GICD_STATUSR(0x10, 4, 0),
        GICD_IGROUPR(0x80, 1),
        GICD_ISENABLER(0x100, 1),
        GICD_ICENABLER(0x180, 1),
        GICD_ISPENDR(0x200, 1),
        GICD_ICPENDR(0x280, 1),
        GICD_ISACTIVER(0x300, 1),
        GICD_ICACTIVER(0x380, 1),
        GICD_IPRIORITYR(0x400, 8),
        GICD_ITARGETSR(0x800, 8),
        GICD_ICFGR(0xc00, 2),
        GICD_IGRPMODR(0xd00, 1),
        GICD_IROUTER(0x6000, 64),
        GICD_IDREGS(0xffd0, 48, 0);

        private static final int INTERRUPTS = 1024;

        private final int offset;
        private final int length;
        private final int bits;

        Register(int offset, int length, int bits) {
            this.offset = offset;
            this.length = length;
            this.bits = bits;
        }

        Register(int offset, int bits) {
            this(offset, INTERRUPTS * bits / Byte.SIZE, bits);
        }

        /** The first interrupt described at an offset. */
        int interrupt(int at) {
            return (at - offset) * Byte.SIZE / bits;
        }
    }

    private final FakeVgic vgic;

    VgicRegisters(FakeVgic vgic) {
        this.vgic = vgic;
    }

    /** The register at an offset; empty if the offset is not word-aligned, in a gap, or beyond the last interrupt. */
    private Optional<Register> at(int offset) {
        return Arrays.stream(Register.values())
                .filter(register -> offset >= register.offset && offset < register.offset + register.length)
                .filter(register -> offset % Integer.BYTES == 0)
                .filter(register -> register.bits == 0 || register.interrupt(offset) < vgic.interrupts())
                .findFirst();
    }

    boolean exists(int offset) {
        return at(offset).isPresent();
    }

    /** Reads a register. Missing registers and those of private interrupts (in the redistributors) read as 0. */
    int read(int offset) {
        Register register = at(offset).orElse(null);
        if (register == null || isPrivate(register, offset)) {
            return 0;
        }
        return switch (register) {
            case GICD_CTLR -> miscellaneous(offset);
            // All interrupts are in group 1 until a guest changes that.
            case GICD_STATUSR, GICD_IGROUPR -> -1;
            case GICD_ISENABLER, GICD_ICENABLER -> word(vgic.enabled(), register.interrupt(offset));
            case GICD_ISPENDR -> {
                vgic.vm().note(KernelRule.VGIC_PENDING_IS_LATCHED);
                yield word(vgic.latched(), register.interrupt(offset));
            }
            case GICD_ICPENDR, GICD_ISACTIVER, GICD_ICACTIVER, GICD_ITARGETSR, GICD_IGRPMODR -> 0;
            case GICD_ICFGR -> edges(register.interrupt(offset));
            default -> throw new NotModelledException("reading " + register);
        };
    }

    /** Writes to missing registers and to those of private interrupts are ignored. */
    void write(int offset, int value) {
        Register register = at(offset).orElse(null);
        if (register == null || isPrivate(register, offset)) {
            return;
        }
        switch (register) {
            case GICD_ISENABLER -> change(vgic.enabled(), register.interrupt(offset), value, true);
            case GICD_ICENABLER -> change(vgic.enabled(), register.interrupt(offset), value, false);
            case GICD_ISPENDR -> {
                vgic.vm().note(KernelRule.VGIC_PENDING_IS_LATCHED);
                change(vgic.latched(), register.interrupt(offset), value, true);
                change(vgic.latched(), register.interrupt(offset), ~value, false);
            }
            case GICD_STATUSR, GICD_ICPENDR, GICD_ITARGETSR, GICD_IGRPMODR -> {}
            case GICD_ICFGR -> setEdges(register.interrupt(offset), value);
            default -> throw new NotModelledException("writing " + register);
        }
    }

    private static boolean isPrivate(Register register, int offset) {
        return register.bits != 0 && register.interrupt(offset) < FakeVgic.PRIVATE;
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

    private static int word(BitSet of, int first) {
        int word = 0;
        for (int i = 0; i < WIDTH; i++) {
            word |= of.get(first + i) ? 1 << i : 0;
        }
        return word;
    }

    private static void change(BitSet of, int first, int bits, boolean to) {
        for (int i = 0; i < WIDTH; i++) {
            if ((bits >>> i & 1) == 1) {
                of.set(first + i, to);
            }
        }
    }

    /** Two bits per interrupt; the upper bit is set for an edge-triggered interrupt. */
    private int edges(int first) {
        int word = 0;
        for (int i = 0; i < WIDTH / 2; i++) {
            word |= vgic.level().get(first + i) ? 0 : 2 << 2 * i;
        }
        return word;
    }

    private void setEdges(int first, int word) {
        for (int i = 0; i < WIDTH / 2; i++) {
            vgic.level().set(first + i, (word >>> 2 * i & 2) == 0);
        }
    }

    /** The line levels of 32 interrupts, one bit each; 0 for edge-triggered interrupts. */
    int lines(ArmVcpu vcpu, int first) {
        if (first < FakeVgic.PRIVATE) {
            return vcpu.lines();
        }
        BitSet up = (BitSet) vgic.lines().clone();
        up.and(vgic.level());
        return word(up, first);
    }

    /** Stores the line of an edge-triggered interrupt too: it counts if the interrupt becomes level-triggered. */
    void setLines(ArmVcpu vcpu, int first, int up) {
        if (first < FakeVgic.PRIVATE) {
            vcpu.setLines(up & -1 << FakeVgic.SOFTWARE);
        } else if (first < vgic.interrupts()) {
            change(vgic.lines(), first, up, true);
            change(vgic.lines(), first, ~up, false);
        }
    }
}
