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

/**
 * The registers of a GICv2's distributor that a VMM saves and restores. {@link VgicRegisters} has the part in common
 * with a GICv3. Source: {@code vgic_v2_dist_registers} in arch/arm64/kvm/vgic/vgic-mmio-v2.c, vgic-mmio.c.
 */
final class GicV2Registers {
    /** GICD_SGIR. */
    private static final int SEND = 0xf00;
    /** GICD_CPENDSGIR: 4 SGIs in a word, each with a bit for each source. */
    private static final int CLEAR_SOURCES = 0xf10;
    /** GICD_SPENDSGIR. */
    private static final int SOURCES = 0xf20;

    private static final int END = 0xf30;
    private static final int SGIS = (1 << InterruptId.FIRST_PPI) - 1;
    private static final int ALL_SOURCES = 0xff;

    private final FakeVgic vgic;
    private final VgicRegisters common;
    /** The targets of SPIs, with a bit for each vCPU index. */
    private final byte[] targets = new byte[InterruptId.FIRST_SPECIAL + Integer.BYTES];
    /** Whether groups can be written: the VMM has written GICD_IIDR. */
    private boolean groupsWritable;

    GicV2Registers(FakeVgic vgic) {
        this.vgic = vgic;
        this.common = new VgicRegisters(vgic);
    }

    private Optional<DistributorRegister> at(int offset) {
        return DistributorRegister.at(offset, vgic.interrupts()).filter(register -> switch (register) {
            case GICD_CTLR, GICD_TYPER, GICD_IIDR -> true;
            case GICD_TYPER2, GICD_STATUSR, GICD_IGRPMODR, GICD_IROUTER, GICD_IDREGS -> false;
            default -> true;
        });
    }

    boolean exists(int offset) {
        return at(offset).isPresent() || offset == SEND || isOfSources(offset);
    }

    private static boolean isOfSources(int offset) {
        return offset >= CLEAR_SOURCES && offset < END && offset % Integer.BYTES == 0;
    }

    /** @param vcpu the index of the vCPU. Missing registers read as 0 */
    int read(int vcpu, int offset) {
        if (isOfSources(offset)) {
            int first = offset % DistributorRegister.GICD_STATUSR.offset();
            return VgicRegisters.bytes(i -> vgic.distributor().sources(vcpu, first + i));
        }
        DistributorRegister register = at(offset).orElse(null);
        if (register == null) {
            return 0;
        }
        return switch (register) {
            case GICD_CTLR -> vgic.delivery().isEnabled() ? 1 : 0;
            case GICD_TYPER ->
                (int) (RegisterFields.TYPER_LINES.with((vgic.interrupts() >> 5) - 1)
                        | RegisterFields.TYPER_CPUS.with(vgic.vm().vcpus().size() - 1));
            case GICD_ISPENDR, GICD_ICPENDR -> {
                vgic.vm().note(VgicAnswer.GICV2_PENDING);
                yield vgic.distributor().pending(vcpu, register.interrupt(offset));
            }
            case GICD_ITARGETSR -> {
                int first = register.interrupt(offset);
                yield VgicRegisters.bytes(
                        i -> InterruptId.isPrivate(first) ? ownTarget(vcpu) : targets[first + i] & 0xff);
            }
            default -> common.read(register, vcpu, offset);
        };
    }

    /** Writes to missing registers are ignored. */
    Optional<Answer> write(int vcpu, int offset, int value) {
        if (offset == SEND) {
            send(vcpu, value);
            return Optional.empty();
        }
        if (isOfSources(offset)) {
            changeSources(vcpu, offset, value);
            return Optional.empty();
        }
        DistributorRegister register = at(offset).orElse(null);
        if (register == null) {
            return Optional.empty();
        }
        switch (register) {
            case GICD_CTLR -> vgic.delivery().enable((value & 1) != 0);
            case GICD_TYPER -> {}
            case GICD_IIDR -> {
                Optional<Answer> refused = common.identify(value);
                groupsWritable |= refused.isEmpty();
                return refused;
            }
            case GICD_IGROUPR -> {
                vgic.vm().note(VgicAnswer.GICV2_GROUPS);
                if (groupsWritable) {
                    common.write(register, vcpu, offset, value);
                }
            }
            case GICD_ISPENDR -> setPending(vcpu, register.interrupt(offset), value);
            case GICD_ICPENDR -> clearPending(vcpu, register.interrupt(offset), value);
            case GICD_ITARGETSR -> setTargets(register.interrupt(offset), value);
            default -> common.write(register, vcpu, offset, value);
        }
        return Optional.empty();
    }

    // Pending interrupts

    private void setPending(int vcpu, int first, int bits) {
        vgic.vm().note(VgicAnswer.GICV2_PENDING);
        int sgis = InterruptId.isPrivate(first) ? bits & SGIS : 0;
        for (int rest = sgis; rest != 0; rest &= rest - 1) {
            int sgi = Integer.numberOfTrailingZeros(rest);
            addSources(vcpu, sgi, 1 << vgic.vm().vcpus().get(vcpu).id());
        }
        vgic.distributor().set(InterruptState.LATCH, vcpu, first, bits & ~sgis);
        vgic.delivery().queue(vcpu, first, bits & ~sgis);
    }

    private void clearPending(int vcpu, int first, int bits) {
        vgic.vm().note(VgicAnswer.GICV2_PENDING);
        int sgis = InterruptId.isPrivate(first) ? bits & SGIS : 0;
        for (int rest = sgis; rest != 0; rest &= rest - 1) {
            vgic.distributor().setSources(vcpu, Integer.numberOfTrailingZeros(rest), 0);
        }
        vgic.distributor().clear(InterruptState.LATCH, vcpu, first, bits & ~sgis);
    }

    // SGIs

    private void addSources(int vcpu, int sgi, int sources) {
        int all = vgic.distributor().sources(vcpu, sgi) | sources;
        if (all != 0) {
            vgic.distributor().setSources(vcpu, sgi, all);
            vgic.delivery().queue(vcpu, sgi);
        }
    }

    private void changeSources(int vcpu, int offset, int word) {
        int first = offset % DistributorRegister.GICD_STATUSR.offset();
        for (int i = 0; i < Integer.BYTES; i++) {
            int bits = word >>> i * Byte.SIZE & ALL_SOURCES;
            if (offset >= SOURCES) {
                addSources(vcpu, first + i, bits);
            } else {
                int left = vgic.distributor().sources(vcpu, first + i) & ~bits;
                vgic.distributor().setSources(vcpu, first + i, left);
            }
        }
    }

    /** Sends an SGI from the vCPU whose register is written. A target is a vCPU index, a source is a vCPU id. */
    private void send(int from, int value) {
        int others = (1 << vgic.vm().vcpus().size()) - 1;
        int self = 1 << vgic.vm().vcpus().get(from).id();
        int to =
                switch (value >>> 24 & 3) {
                    case 0 -> value >>> 16 & 0xff;
                    case 1 -> others & ~self;
                    case 2 -> self;
                    default -> 0;
                };
        for (int vcpu = 0; vcpu < vgic.vm().vcpus().size(); vcpu++) {
            if ((to >>> vcpu & 1) != 0) {
                addSources(vcpu, value & 0xf, self);
            }
        }
    }

    // Targets

    private int ownTarget(int vcpu) {
        vgic.vm().note(VgicAnswer.GICV2_OWN_TARGET);
        return 1
                << (vgic.vm().host().build().isSince(6, 14)
                        ? vgic.vm().vcpus().get(vcpu).id()
                        : vcpu);
    }

    /** Sets targets. An SPI without a target goes to the first vCPU, one with several to the lowest. */
    private void setTargets(int first, int word) {
        if (InterruptId.isPrivate(first)) {
            return;
        }
        Distributor distributor = vgic.distributor();
        int vcpus = (1 << vgic.vm().vcpus().size()) - 1;
        for (int i = 0; i < Integer.BYTES; i++) {
            targets[first + i] = (byte) (word >>> i * Byte.SIZE & vcpus);
            distributor.setTarget(
                    first + i, targets[first + i] == 0 ? 0 : Integer.numberOfTrailingZeros(targets[first + i]));
        }
    }
}
