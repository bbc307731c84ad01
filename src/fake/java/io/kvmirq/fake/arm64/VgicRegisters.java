/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.Distributor;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.InterruptState;
import io.kvmirq.arch.gic.model.RegisterFields;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VgicAnswer;
import java.util.Optional;
import java.util.function.IntUnaryOperator;

/**
 * The distributor's registers that a VMM saves and restores. A guest reads some of them differently. Source: {@code
 * vgic_v3_dist_registers} in arch/arm64/kvm/vgic/vgic-mmio-v3.c, vgic-mmio.c; GIC architecture, 12.9.
 */
record VgicRegisters(FakeVgic vgic) {
    /** The number of interrupt id bits minus 1, with LPIs and without. */
    private static final int NUMBER_BITS_ITS = 15;

    private static final int NUMBER_BITS = 9;
    /** VGIC_PRI_BITS: the priorities that KVM keeps. */
    private static final int PRIORITY = 0xf8;

    private static final int ALL = -1;

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

    /** @param offset the byte offset in the register, as in the distributor */
    int read(DistributorRegister register, int vcpu, int offset) {
        return switch (register) {
            case GICD_CTLR ->
                (int) (RegisterFields.CTLR_AFFINITY_ROUTING.mask()
                        | RegisterFields.CTLR_ONE_SECURITY.mask()
                        | RegisterFields.CTLR_ENABLE_GROUP1.with(vgic.delivery().isEnabled() ? 1 : 0));
            case GICD_TYPER -> type();
            case GICD_IIDR -> identification();
            case GICD_STATUSR -> ALL;
            case GICD_IGROUPR -> word(InterruptState.GROUP1, vcpu, register.interrupt(offset));
            case GICD_ISENABLER, GICD_ICENABLER -> word(InterruptState.ENABLED, vcpu, register.interrupt(offset));
            case GICD_ISPENDR -> {
                vgic.vm().note(VgicAnswer.VGIC_PENDING_IS_LATCHED);
                yield word(InterruptState.LATCH, vcpu, register.interrupt(offset));
            }
            case GICD_ISACTIVER, GICD_ICACTIVER -> vgic.delivery().activeWord(vcpu, register.interrupt(offset));
            case GICD_IPRIORITYR -> bytes(i -> vgic.distributor().priority(vcpu, register.interrupt(offset) + i));
            case GICD_ICFGR -> edges(vcpu, register.interrupt(offset));
            case GICD_IROUTER -> isUpperHalf(offset) ? 0 : vgic.delivery().affinity(register.interrupt(offset));
            case GICD_IDREGS -> offset == RegisterFields.PIDR2 ? RegisterFields.PIDR2_GICV3 : 0;
            case GICD_TYPER2, GICD_ICPENDR, GICD_ITARGETSR, GICD_IGRPMODR -> 0;
        };
    }

    /** Writes a register. Ignores missing registers and those of private interrupts. */
    Optional<Answer> write(int offset, int value) {
        DistributorRegister register = at(offset).orElse(null);
        if (register == null || isPrivate(register, offset)) {
            return Optional.empty();
        }
        if (register == DistributorRegister.GICD_IIDR) {
            return identify(value);
        }
        if (register == DistributorRegister.GICD_TYPER2 && value != read(offset)) {
            return Optional.of(
                    vgic.vm().host().build().isSince(6, 17)
                            ? VgicAnswer.GICD_TYPER2_AFTER_INIT
                            : VgicAnswer.VGIC_IDENTIFICATION);
        }
        write(register, 0, offset, value);
        return Optional.empty();
    }

    /**
     * Restores GICD_IIDR. Kernels without the fix of May 2026 (7.1; Debian's 6.1, 6.12 have it) keep their revision.
     */
    Optional<Answer> identify(int value) {
        int revision = (int) RegisterFields.IIDR_REVISION.of(value);
        boolean known = revision == RegisterFields.IIDR_OLDEST || revision == RegisterFields.IIDR_LATEST;
        if (!known || ((value ^ identification()) & ~RegisterFields.IIDR_REVISION.mask()) != 0) {
            return Optional.of(VgicAnswer.VGIC_IDENTIFICATION);
        }
        if (revision != vgic.revision()) {
            vgic.vm().note(VgicAnswer.VGIC_REVISION);
        }
        vgic.setRevision(revision);
        return Optional.empty();
    }

    void write(DistributorRegister register, int vcpu, int offset, int value) {
        switch (register) {
            case GICD_CTLR -> {
                vgic.delivery().enable(RegisterFields.CTLR_ENABLE_GROUP1.isSet(value));
            }
            case GICD_IGROUPR -> {
                replace(InterruptState.GROUP1, vcpu, register.interrupt(offset), value);
                vgic.delivery().queue(vcpu, register.interrupt(offset), ALL);
            }
            case GICD_ISENABLER -> {
                vgic.distributor().set(InterruptState.ENABLED, vcpu, register.interrupt(offset), value);
                vgic.delivery().queue(vcpu, register.interrupt(offset), value);
            }
            case GICD_ICENABLER ->
                vgic.distributor().clear(InterruptState.ENABLED, vcpu, register.interrupt(offset), value);
            case GICD_ISPENDR -> {
                vgic.vm().note(VgicAnswer.VGIC_PENDING_IS_LATCHED);
                replace(InterruptState.LATCH, vcpu, register.interrupt(offset), value);
                vgic.delivery().queue(vcpu, register.interrupt(offset), value);
            }
            case GICD_ISACTIVER -> vgic.delivery().setActive(vcpu, register.interrupt(offset), value, true);
            case GICD_ICACTIVER -> vgic.delivery().setActive(vcpu, register.interrupt(offset), value, false);
            case GICD_IPRIORITYR -> setPriorities(vcpu, register.interrupt(offset), value);
            case GICD_ICFGR -> setEdges(register.interrupt(offset), value);
            case GICD_IROUTER -> {
                if (!isUpperHalf(offset)) {
                    vgic.delivery().route(register.interrupt(offset), value);
                }
            }
            case GICD_TYPER,
                    GICD_IIDR,
                    GICD_TYPER2,
                    GICD_STATUSR,
                    GICD_ICPENDR,
                    GICD_ITARGETSR,
                    GICD_IGRPMODR,
                    GICD_IDREGS -> {}
        }
    }

    private static boolean isPrivate(DistributorRegister register, int offset) {
        return register.isPerInterrupt() && register.interrupt(offset) < InterruptId.FIRST_SPI;
    }

    private static boolean isUpperHalf(int offset) {
        return offset % Long.BYTES != 0;
    }

    private int type() {
        boolean hasIts = vgic.vm().hasIts();
        return (int) (RegisterFields.TYPER_LINES.with((vgic.interrupts() >> 5) - 1)
                | RegisterFields.TYPER_LPIS.with(hasIts ? 1 : 0)
                | RegisterFields.TYPER_ID_BITS.with(hasIts ? NUMBER_BITS_ITS : NUMBER_BITS));
    }

    private int identification() {
        return RegisterFields.IIDR_MAKER | (int) RegisterFields.IIDR_REVISION.with(vgic.revision());
    }

    private int word(InterruptState what, int vcpu, int first) {
        return vgic.distributor().word(what, vcpu, first);
    }

    private void replace(InterruptState what, int vcpu, int first, int bits) {
        vgic.distributor().set(what, vcpu, first, bits);
        vgic.distributor().clear(what, vcpu, first, ~bits);
    }

    /** @return a word of four bytes, the first in bits 7:0 */
    static int bytes(IntUnaryOperator each) {
        int word = 0;
        for (int i = 0; i < Integer.BYTES; i++) {
            word |= each.applyAsInt(i) << i * Byte.SIZE;
        }
        return word;
    }

    private void setPriorities(int vcpu, int first, int word) {
        for (int i = 0; i < Integer.BYTES; i++) {
            vgic.distributor().setPriority(vcpu, first + i, word >>> i * Byte.SIZE & PRIORITY);
        }
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

    /**
     * Sets edge or level, which is fixed for SGIs (edge) and PPIs (level). Source: {@code vgic_mmio_write_config()}.
     */
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

    /** Stores lines. That of an edge-triggered interrupt counts once the interrupt becomes level-triggered. */
    void setLines(int vcpu, int first, int up) {
        if (first < vgic.interrupts()) {
            replace(InterruptState.LINE, vcpu, first, up);
            vgic.delivery().queue(vcpu, first, up);
        }
    }
}
