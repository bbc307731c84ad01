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
 * Decides, with the state in the {@link Distributor}, whether a vCPU gets an interrupt of a GICv3. It has the enable
 * bit of the distributor, the affinity routes of SPIs, and the active interrupts.
 *
 * <p>Linux keeps a list of interrupts for each vCPU. When an interrupt is signalled or written, it joins the list of
 * its target vCPU; it is in one list at most. Later writes do not move it before the vCPU exits from the guest. Then it
 * stays, moves to the list of its present target, or leaves the lists. Source: {@code vgic_target_oracle()}, {@code
 * vgic_queue_irq_unlock()} and {@code vgic_prune_ap_list()} in arch/arm64/kvm/vgic/vgic.c.
 */
final class VgicDelivery {
    static final int LIST_REGISTERS = 16;

    private static final int AFFINITY = 0xff_ffff;
    private static final int NO_VCPU = -1;

    private final FakeArmVm vm;
    private final Distributor distributor;
    private final int[] affinities;
    /** SPIs that are routed to an affinity without a vCPU. */
    private final BitSet nowhere = new BitSet();
    /** The list of interrupts of each vCPU. */
    private final List<BitSet> lists = new ArrayList<>();
    /** The active interrupts of each vCPU; those of SPIs are in the first set. */
    private final List<BitSet> active = new ArrayList<>();
    /** The list registers of each vCPU. Between exit and entry they hold only active interrupts. */
    private final List<VirtualInterface> registers = new ArrayList<>();

    private boolean enabled;

    VgicDelivery(FakeArmVm vm, Distributor distributor) {
        this.vm = vm;
        this.distributor = distributor;
        this.affinities = new int[distributor.interrupts()];
        for (int i = 0; i < distributor.vcpus(); i++) {
            lists.add(new BitSet());
            active.add(new BitSet());
            registers.add(VirtualInterface.create(distributor, i, LIST_REGISTERS));
        }
    }

    /** GICD_CTLR.EnableGrp1. */
    boolean isEnabled() {
        return enabled;
    }

    /** Writes GICD_CTLR for a VMM, which queues no interrupts. */
    void enable(boolean enable) {
        enabled = enable;
    }

    // Routes of SPIs

    /** The written value of an SPI's GICD_IROUTER. */
    int affinity(int spi) {
        return affinities[spi];
    }

    /** Writes an SPI's GICD_IROUTER, which queues nothing. The target is the vCPU that has this affinity now. */
    void route(int spi, int affinity) {
        affinities[spi] = affinity & AFFINITY;
        int vcpu = vm.vcpus().stream()
                .filter(target -> target.affinity() == affinities[spi])
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

    /** The target vCPU of an interrupt. An active interrupt keeps its vCPU. */
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

    /** The vCPU whose list has an interrupt. */
    private int holder(int vcpu, int id) {
        IntStream all = InterruptId.isPrivate(id) ? IntStream.of(vcpu) : IntStream.range(0, lists.size());
        return all.filter(owner -> lists.get(owner).get(id)).findFirst().orElse(NO_VCPU);
    }

    /** Queues an interrupt that was signalled or written. */
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

    /** Queues those of 32 interrupts whose bit is set. */
    void queue(int vcpu, int first, int bits) {
        for (int rest = bits; rest != 0; rest &= rest - 1) {
            int id = first + Integer.numberOfTrailingZeros(rest);
            if (id < distributor.interrupts()) {
                queue(vcpu, id);
            }
        }
    }

    /** Updates the list of a vCPU at an exit from the guest. */
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

    /** The pending ones of 32 interrupts that the vCPU gets at entry, one bit each. */
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

    /** Sets the active state of an interrupt that a guest takes or ends. */
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

    /** Writes ISACTIVER or ICACTIVER for a VMM. Linux ignores interrupts that are mapped to host interrupts. */
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

    /** Empties the list register that has the interrupt. */
    private void giveUp(int vcpu, int id) {
        if (vcpu != NO_VCPU) {
            activeRegister(vcpu, word -> ListRegister.VIRTUAL_ID.of(word) == id)
                    .ifPresent(i -> registers.get(vcpu).setListRegister(i, 0));
        }
    }

    /** The number of a list register whose active interrupt satisfies a condition. */
    OptionalInt activeRegister(int vcpu, LongPredicate which) {
        VirtualInterface of = registers.get(vcpu);
        return IntStream.range(0, LIST_REGISTERS)
                .filter(i -> ListRegister.ACTIVE.isSet(of.listRegister(i)) && which.test(of.listRegister(i)))
                .findFirst();
    }
}
