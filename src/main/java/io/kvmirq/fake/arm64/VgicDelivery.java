/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.model.Distributor;
import io.kvmirq.arch.gic.model.InterruptState;
import io.kvmirq.arch.gic.model.VirtualInterface;
import io.kvmirq.explain.VgicAnswer;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.LongPredicate;
import java.util.stream.IntStream;

/**
 * Decides with the state in the {@link Distributor} whether a vCPU gets an interrupt of a GICv3: whether the
 * distributor is enabled, the affinity that an SPI is routed to, and what the guest has active.
 *
 * <p>Linux queues an interrupt for a vCPU when it is signalled or written, and only if the distributor is enabled then.
 * An interrupt that became pending before stays pending, and waits for its next signal or write. Source: {@code
 * vgic_target_oracle()}, {@code vgic_queue_irq_unlock()} and {@code vgic_prune_ap_list()} in
 * arch/arm64/kvm/vgic/vgic.c.
 */
final class VgicDelivery {
    static final int LIST_REGISTERS = 16;

    private static final int AFFINITY = 0xff_ffff;

    private final ArmVm vm;
    private final Distributor distributor;
    private final int[] affinities;
    /** The interrupts without a vCPU: SPIs that are routed to an affinity that no vCPU has. */
    private final BitSet nowhere = new BitSet();
    /** By vCPU: the interrupts that its guest has taken and not ended. */
    private final List<BitSet> active = new ArrayList<>();
    /** By vCPU: between an exit and the next entry its list registers hold nothing but active interrupts. */
    private final List<VirtualInterface> registers = new ArrayList<>();
    /** By vCPU, SPIs in the first: pending interrupts that are not queued. */
    private final List<BitSet> missed = new ArrayList<>();

    private boolean enabled;

    VgicDelivery(ArmVm vm, Distributor distributor) {
        this.vm = vm;
        this.distributor = distributor;
        this.affinities = new int[distributor.interrupts()];
        for (int i = 0; i < distributor.vcpus(); i++) {
            active.add(new BitSet());
            registers.add(VirtualInterface.of(distributor, i, LIST_REGISTERS));
            missed.add(new BitSet());
        }
    }

    /** GICD_CTLR.EnableGrp1. */
    boolean isEnabled() {
        return enabled;
    }

    /** A VMM writes GICD_CTLR, which queues nothing. */
    void enable(boolean enable) {
        enabled = enable;
    }

    // Routes of SPIs

    /** GICD_IROUTER of an SPI, as it was written. */
    int affinity(int spi) {
        return affinities[spi];
    }

    /** Writes GICD_IROUTER of an SPI: it goes to the vCPU that has this affinity now, or to none. */
    void route(int spi, int affinity) {
        affinities[spi] = affinity & AFFINITY;
        int vcpu = vm.vcpus().stream()
                .filter(one -> one.affinity() == affinities[spi])
                .mapToInt(vm.vcpus()::indexOf)
                .findFirst()
                .orElse(-1);
        if (vcpu < 0) {
            nowhere.set(spi);
            return;
        }
        if (nowhere.get(spi)) {
            miss(0, spi);
        }
        nowhere.clear(spi);
        distributor.setTarget(spi, vcpu);
    }

    // Queueing

    private BitSet missed(int vcpu, int id) {
        return missed.get(InterruptId.isPrivate(id) ? vcpu : 0);
    }

    private boolean isWanting(int vcpu, int id) {
        int pending = distributor.pending(vcpu, id & -Distributor.WORD);
        return (pending >>> id % Distributor.WORD & 1) != 0 && distributor.is(InterruptState.ENABLED, vcpu, id);
    }

    /** Whether an SPI that is not active reaches the vCPU. */
    boolean isFor(int vcpu, int spi) {
        return isWanting(vcpu, spi)
                && distributor.target(spi) == vcpu
                && !isWithheld(vcpu, spi)
                && !active.get(vcpu).get(spi);
    }

    /** An active interrupt stays queued. */
    private void miss(int vcpu, int id) {
        if (isWanting(vcpu, id) && !isActive(vcpu, id)) {
            vm.note(VgicAnswer.VGIC_QUEUED_ONCE);
            missed(vcpu, id).set(id);
        }
    }

    /** An interrupt was signalled or written: it is queued if it is pending and enabled. */
    void queue(int vcpu, int id) {
        if (!enabled || nowhere.get(id)) {
            miss(vcpu, id);
        } else {
            missed(vcpu, id).clear(id);
        }
    }

    /** The same for the ones among 32 interrupts. */
    void queue(int vcpu, int first, int bits) {
        for (int rest = bits; rest != 0; rest &= rest - 1) {
            int id = first + Integer.numberOfTrailingZeros(rest);
            if (id < distributor.interrupts()) {
                queue(vcpu, id);
            }
        }
    }

    /** A vCPU enters its guest while the distributor is disabled: what was queued for it is no longer. */
    void forget(int vcpu) {
        for (int id = 0; id < distributor.interrupts(); id++) {
            if (InterruptId.isPrivate(id) || distributor.target(id) == vcpu) {
                miss(vcpu, id);
            }
        }
    }

    /** Which of 32 interrupts do not reach the vCPU, whatever their state. */
    int withheld(int vcpu, int first) {
        int bits = 0;
        for (int id = first; id < Math.min(first + Distributor.WORD, distributor.interrupts()); id++) {
            bits |= isWithheld(vcpu, id) ? 1 << id % Distributor.WORD : 0;
        }
        return bits;
    }

    private boolean isWithheld(int vcpu, int id) {
        return nowhere.get(id) || missed(vcpu, id).get(id) || isActiveElsewhere(vcpu, id);
    }

    // Active interrupts

    BitSet active(int vcpu) {
        return active.get(vcpu);
    }

    /** An active interrupt stays with its vCPU, wherever it is routed to. */
    private boolean isActiveElsewhere(int vcpu, int id) {
        return isActive(vcpu, id) && !active.get(vcpu).get(id);
    }

    private boolean isActive(int vcpu, int id) {
        return InterruptId.isPrivate(id)
                ? active.get(vcpu).get(id)
                : active.stream().anyMatch(some -> some.get(id));
    }

    VirtualInterface registers(int vcpu) {
        return registers.get(vcpu);
    }

    /** Reads ISACTIVER and ICACTIVER. */
    int activeWord(int vcpu, int first) {
        int word = 0;
        for (int id = first; id < Math.min(first + Distributor.WORD, distributor.interrupts()); id++) {
            word |= isActive(vcpu, id) ? 1 << id % Distributor.WORD : 0;
        }
        return word;
    }

    /** A VMM writes ISACTIVER or ICACTIVER. Linux ignores it for an interrupt that is mapped to one of the host. */
    void setActive(int vcpu, int first, int bits, boolean to) {
        for (int rest = bits; rest != 0; rest &= rest - 1) {
            int id = first + Integer.numberOfTrailingZeros(rest);
            if (id >= distributor.interrupts() || vm.mapped(id).isPresent()) {
                continue;
            }
            if (!to && InterruptId.isPrivate(id)) {
                clearActive(vcpu, id);
            } else if (!to) {
                IntStream.range(0, active.size()).forEach(holder -> clearActive(holder, id));
            } else if (!isActive(vcpu, id)) {
                active.get(InterruptId.isPrivate(id) ? vcpu : distributor.target(id))
                        .set(id);
            }
        }
    }

    private void clearActive(int vcpu, int id) {
        active.get(vcpu).clear(id);
        activeRegister(vcpu, word -> ListRegister.VIRTUAL_ID.of(word) == id)
                .ifPresent(i -> registers.get(vcpu).setListRegister(i, 0));
    }

    /** The number of the list register that has an active interrupt of this kind. */
    OptionalInt activeRegister(int vcpu, LongPredicate which) {
        VirtualInterface of = registers.get(vcpu);
        return IntStream.range(0, LIST_REGISTERS)
                .filter(i -> ListRegister.ACTIVE.isSet(of.listRegister(i)) && which.test(of.listRegister(i)))
                .findFirst();
    }
}
