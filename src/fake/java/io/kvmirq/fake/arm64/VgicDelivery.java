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
 * <p>Linux keeps a list of interrupts for each vCPU. An interrupt joins the list of the vCPU that it goes to when it is
 * signalled or written, and is only in one. Whatever is written afterwards, it stays there until the vCPU leaves its
 * guest: then it stays if it still goes to this vCPU, moves to the list of the vCPU that it goes to by now, or leaves.
 * Source: {@code vgic_target_oracle()}, {@code vgic_queue_irq_unlock()} and {@code vgic_prune_ap_list()} in
 * arch/arm64/kvm/vgic/vgic.c.
 */
final class VgicDelivery {
    static final int LIST_REGISTERS = 16;

    private static final int AFFINITY = 0xff_ffff;
    private static final int NO_VCPU = -1;

    private final ArmVm vm;
    private final Distributor distributor;
    private final int[] affinities;
    /** SPIs that are routed to an affinity that no vCPU has. */
    private final BitSet nowhere = new BitSet();
    /** By vCPU: the interrupts in its list. */
    private final List<BitSet> lists = new ArrayList<>();
    /** By vCPU, SPIs in the first: the interrupts that a guest has taken and not ended. */
    private final List<BitSet> active = new ArrayList<>();
    /** By vCPU: between an exit and the next entry its list registers hold nothing but active interrupts. */
    private final List<VirtualInterface> registers = new ArrayList<>();

    private boolean enabled;

    VgicDelivery(ArmVm vm, Distributor distributor) {
        this.vm = vm;
        this.distributor = distributor;
        this.affinities = new int[distributor.interrupts()];
        for (int i = 0; i < distributor.vcpus(); i++) {
            lists.add(new BitSet());
            active.add(new BitSet());
            registers.add(VirtualInterface.of(distributor, i, LIST_REGISTERS));
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

    /** Writes GICD_IROUTER of an SPI, which queues nothing: it goes to the vCPU that has this affinity now, or to none. */
    void route(int spi, int affinity) {
        affinities[spi] = affinity & AFFINITY;
        int vcpu = vm.vcpus().stream()
                .filter(one -> one.affinity() == affinities[spi])
                .mapToInt(vm.vcpus()::indexOf)
                .findFirst()
                .orElse(NO_VCPU);
        nowhere.set(spi, vcpu == NO_VCPU);
        if (vcpu != NO_VCPU) {
            distributor.setTarget(spi, vcpu);
        }
    }

    // Lists

    private boolean isWanting(int vcpu, int id) {
        int pending = distributor.pending(vcpu, id & -Distributor.WORD);
        return (pending >>> id % Distributor.WORD & 1) != 0 && distributor.is(InterruptState.ENABLED, vcpu, id);
    }

    /** The vCPU that an interrupt goes to: an active one stays where it is. */
    private int goal(int vcpu, int id) {
        boolean isActive = isActive(vcpu, id);
        int holder = isActive ? holder(vcpu, id) : NO_VCPU;
        if (holder != NO_VCPU || !isActive && !(enabled && isWanting(vcpu, id))) {
            return holder;
        }
        if (InterruptId.isPrivate(id)) {
            return vcpu;
        }
        return nowhere.get(id) ? NO_VCPU : distributor.target(id);
    }

    /** The vCPU with an interrupt in its list. */
    private int holder(int vcpu, int id) {
        IntStream all = InterruptId.isPrivate(id) ? IntStream.of(vcpu) : IntStream.range(0, lists.size());
        return all.filter(one -> lists.get(one).get(id)).findFirst().orElse(NO_VCPU);
    }

    /** An interrupt was signalled or written. */
    void queue(int vcpu, int id) {
        int goal = goal(vcpu, id);
        if (holder(vcpu, id) != NO_VCPU) {
            return;
        }
        if (goal != NO_VCPU) {
            lists.get(goal).set(id);
        } else {
            noteMissed(vcpu, id);
        }
    }

    private void noteMissed(int vcpu, int id) {
        if (isWanting(vcpu, id)) {
            vm.note(VgicAnswer.VGIC_QUEUED_ONCE);
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

    /** A vCPU leaves its guest. */
    void prune(int vcpu) {
        int[] all = lists.get(vcpu).stream().toArray();
        for (int id : all) {
            int goal = goal(vcpu, id);
            lists.get(vcpu).clear(id);
            if (goal != NO_VCPU) {
                lists.get(goal).set(id);
            } else {
                noteMissed(vcpu, id);
            }
        }
    }

    /** The pending interrupts, a bit for each of 32, that reach the vCPU when it enters its guest. */
    int pending(int vcpu, int first) {
        int bits = distributor.pending(vcpu, first);
        for (int rest = bits; rest != 0; rest &= rest - 1) {
            int id = first + Integer.numberOfTrailingZeros(rest);
            boolean reaches = lists.get(vcpu).get(id) && goal(vcpu, id) == vcpu;
            bits &= reaches ? -1 : ~Integer.lowestOneBit(rest);
        }
        return bits;
    }

    // Active interrupts

    /** The active interrupts in the list of a vCPU. */
    BitSet active(int vcpu) {
        BitSet listed = new BitSet();
        lists.get(vcpu).stream().filter(id -> isActive(vcpu, id)).forEach(listed::set);
        return listed;
    }

    boolean isActive(int vcpu, int id) {
        return ofBank(vcpu, id).get(id);
    }

    /** A guest takes or ends an interrupt. */
    void putActive(int vcpu, int id, boolean to) {
        ofBank(vcpu, id).set(id, to);
    }

    private BitSet ofBank(int vcpu, int id) {
        return active.get(InterruptId.isPrivate(id) ? vcpu : 0);
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
            putActive(vcpu, id, to);
            if (to) {
                queue(vcpu, id);
            } else {
                giveUp(holder(vcpu, id), id);
            }
        }
    }

    /** The list register that has the interrupt is empty from then on. */
    private void giveUp(int vcpu, int id) {
        if (vcpu != NO_VCPU) {
            activeRegister(vcpu, word -> ListRegister.VIRTUAL_ID.of(word) == id)
                    .ifPresent(i -> registers.get(vcpu).setListRegister(i, 0));
        }
    }

    /** The number of the list register that has an active interrupt of this kind. */
    OptionalInt activeRegister(int vcpu, LongPredicate which) {
        VirtualInterface of = registers.get(vcpu);
        return IntStream.range(0, LIST_REGISTERS)
                .filter(i -> ListRegister.ACTIVE.isSet(of.listRegister(i)) && which.test(of.listRegister(i)))
                .findFirst();
    }
}
