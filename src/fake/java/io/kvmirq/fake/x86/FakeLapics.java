/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.model.ApicMap;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.explain.InterruptAnswer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A VM's LAPICs, and the delivery of interrupts to them; source: arch/x86/kvm/lapic.c and irq.c. */
final class FakeLapics {
    /** See {@link #deliverByMap}. */
    static final int UNDECIDED = -2;

    private final X86Vm vm;
    private final List<FakeLapic> lapics = new ArrayList<>();
    /** The APIC map as last recalculated; empty while two LAPICs have one id. */
    private Optional<ApicMap<FakeLapic>> map = Optional.empty();

    private boolean ids32Bit;
    /** Whether destination 0xff is a broadcast also in x2APIC mode. */
    private boolean broadcastQuirk = true;

    /** The VMM's choice for Suppress EOI-broadcast (directed EOI); empty if it made none. */
    private Optional<Boolean> directedEoi = Optional.empty();

    FakeLapics(X86Vm vm) {
        this.vm = vm;
    }

    /** {@code avic_init_vcpu()}: KVM checks the id before it adds the LAPIC. */
    boolean refuses(int vcpuId) {
        return vm.irqchip() != X86Vm.Irqchip.NONE
                && vm.posting().filter(posting -> posting.refuses(vcpuId)).isPresent();
    }

    /** Adds a LAPIC. It is not in the APIC map until the map is recalculated. */
    FakeLapic add(int vcpuId) {
        recalculateApicMap();
        FakeLapic lapic = new FakeLapic(vm, this, vcpuId);
        vm.posting().ifPresent(posting -> posting.add(lapic));
        lapics.add(lapic);
        return lapic;
    }

    /** Undoes {@link #add} after its vCPU could not be created. */
    void remove(FakeLapic lapic) {
        lapics.remove(lapic);
        vm.posting().ifPresent(posting -> posting.remove(lapic));
        recalculateApicMap();
    }

    // KVM_CAP_X2APIC_API

    boolean has32BitIds() {
        return ids32Bit;
    }

    void use32BitIds() {
        ids32Bit = true;
    }

    void setDirectedEoi(boolean offered) {
        directedEoi = Optional.of(offered);
    }

    boolean hasDirectedEoi() {
        return directedEoi.orElse(vm.irqchip() == X86Vm.Irqchip.SPLIT);
    }

    void endBroadcastQuirk() {
        broadcastQuirk = false;
    }

    /** The settings that decide about posting. */
    PostingVm destinations() {
        return new PostingVm(true, ids32Bit, new Destinations<>(lapics, ids32Bit, broadcastQuirk, true), Set.of());
    }

    /** The first LAPIC, in the order of creation, that an interrupt is for and that has its vector in neither IRR nor ISR. */
    Optional<FakeLapic> firstWithout(ApicMessage interrupt) {
        return lapics.stream()
                .filter(lapic -> isFor(interrupt, lapic) && !lapic.isPending(interrupt.vector()))
                .findFirst();
    }

    void forEach(Consumer<FakeLapic> action) {
        lapics.forEach(action);
    }

    // Delivery

    int deliver(ApicMessage interrupt) {
        return deliver(interrupt, lapic -> {});
    }

    /**
     * Finds the destination in the APIC map, or compares every LAPIC for a broadcast or without a map. Returns the
     * number of LAPICs that accepted it, or -1 if all were compared and none was addressed.
     */
    int deliver(ApicMessage interrupt, Consumer<FakeLapic> taker) {
        int taken = deliverByMap(interrupt, taker);
        return taken == UNDECIDED
                ? deliverAsking(interrupt, interrupt.destination(ids32Bit), broadcastQuirk, taker)
                : taken;
    }

    /**
     * Delivers the command of a LAPIC in x2APIC mode. Its destination has 32 bits, and the quirk of destination 0xff is
     * not for it. Source: {@code kvm_apic_is_broadcast_dest()} and {@code kvm_apic_mda()}.
     */
    void deliverCommand(ApicMessage interrupt) {
        int destination = interrupt.destination32();
        ApicMap<FakeLapic> looked = map.orElse(null);
        boolean broadcast = broadcastQuirk
                ? destination == ApicMessage.X2APIC_BROADCAST
                : looked != null && looked.isBroadcast(destination, false);
        int taken = looked == null || broadcast ? UNDECIDED : deliverByMap(interrupt, destination, looked, lapic -> {});
        if (taken == UNDECIDED) {
            deliverAsking(interrupt, destination, false, lapic -> {});
        }
    }

    /** Delivers a command to all LAPICs, or to all except its own. */
    void deliverToAll(ApicMessage interrupt, @Nullable FakeLapic except) {
        if (interrupt.isLowestPriority()) {
            throw new NotModelledException("a lowest-priority interrupt that a guest sends to all");
        }
        for (int i = 0; i < lapics.size(); i++) {
            FakeLapic lapic = lapics.get(i);
            if (lapic.isPresent() && lapic != except) {
                lapic.accept(interrupt, interrupt.mode(), taker -> {});
            }
        }
    }

    /**
     * Delivers if the map alone decides, for an irqfd without a worker. Returns the number of LAPICs that accepted it,
     * or {@link #UNDECIDED}.
     */
    int deliverByMap(ApicMessage interrupt, Consumer<FakeLapic> taker) {
        int destination = interrupt.destination(ids32Bit);
        ApicMap<FakeLapic> looked = map.orElse(null);
        if (looked == null || looked.isBroadcast(destination, broadcastQuirk)) {
            return UNDECIDED;
        }
        return deliverByMap(interrupt, destination, looked, taker);
    }

    private int deliverByMap(
            ApicMessage interrupt, int destination, ApicMap<FakeLapic> looked, Consumer<FakeLapic> taker) {
        if (interrupt.logical()) {
            return isLeftOpen(looked) ? UNDECIDED : deliverLogical(interrupt, destination, looked, taker);
        }
        vm.note(InterruptAnswer.MSI_BY_MAP);
        FakeLapic lapic = looked.physical(destination);
        return lapic != null && lapic.accept(interrupt, interrupt.mode(), taker) ? 1 : 0;
    }

    /** Whether the map has no logical destinations. Before 6.3 that is also so if no LAPIC has a logical id. */
    private boolean isLeftOpen(ApicMap<FakeLapic> looked) {
        if (looked.logical() == ApicMap.Logical.NOBODY && !vm.host().build().isSince(6, 3)) {
            vm.note(InterruptAnswer.MSI_LOGICAL_NOBODY_BEFORE);
            return true;
        }
        return looked.logical() == ApicMap.Logical.AMBIGUOUS;
    }

    /** With lowest priority the vector selects one bit of the destination, even a bit that no LAPIC has. */
    private int deliverLogical(
            ApicMessage interrupt, int destination, ApicMap<FakeLapic> looked, Consumer<FakeLapic> taker) {
        vm.note(InterruptAnswer.MSI_LOGICAL);
        int bits = looked.bits(destination);
        if (interrupt.isLowestPriority() && bits != 0) {
            bits = ApicMap.byVector(bits, interrupt.vector());
        }
        int taken = 0;
        for (; bits != 0; bits &= bits - 1) {
            FakeLapic lapic = looked.member(destination, Integer.numberOfTrailingZeros(bits));
            taken += lapic != null && lapic.accept(interrupt, interrupt.mode(), taker) ? 1 : 0;
        }
        return taken;
    }

    private int deliverAsking(ApicMessage interrupt, int destination, boolean quirk, Consumer<FakeLapic> taker) {
        boolean broadcast = destination == ApicMessage.BROADCAST && !interrupt.logical();
        // The kernel turns a lowest-priority physical broadcast into a fixed interrupt.
        DeliveryMode mode = broadcast && interrupt.isLowestPriority() ? DeliveryMode.FIXED : interrupt.mode();
        if (broadcast) {
            vm.note(InterruptAnswer.MSI_BROADCAST);
        }
        if (interrupt.redirectionHint() || mode == DeliveryMode.LOWEST_PRIORITY) {
            return deliverToOne(interrupt, destination, quirk, mode, taker);
        }
        int taken = -1;
        for (int i = 0; i < lapics.size(); i++) {
            FakeLapic lapic = lapics.get(i);
            if (lapic.isPresent() && lapic.isFor(destination, interrupt.logical(), quirk)) {
                taken = Math.max(taken, 0) + (lapic.accept(interrupt, mode, taker) ? 1 : 0);
            }
        }
        return taken;
    }

    /** Delivers to one of the addressed, enabled LAPICs, which the vector selects. */
    private int deliverToOne(
            ApicMessage interrupt, int destination, boolean quirk, DeliveryMode mode, Consumer<FakeLapic> taker) {
        List<FakeLapic> listening = lapics.stream()
                .filter(lapic -> lapic.isFor(destination, interrupt.logical(), quirk))
                .filter(lapic -> lapic.isPresent() && lapic.enabled())
                .toList();
        if (listening.isEmpty()) {
            return -1;
        }
        return listening.get(interrupt.vector() % listening.size()).accept(interrupt, mode, taker) ? 1 : 0;
    }

    boolean isFor(ApicMessage interrupt, FakeLapic lapic) {
        return lapic.isFor(interrupt.destination(ids32Bit), interrupt.logical(), broadcastQuirk);
    }

    /** Whether a vCPU takes the interrupts of the PICs. */
    boolean takesInterruptOfPic() {
        return lapics.stream().anyMatch(FakeLapic::takesInterruptOfPic);
    }

    /** Wakes the first vCPU that takes interrupts of the PICs. */
    void wakeForPic() {
        for (FakeLapic lapic : lapics) {
            if (lapic.takesInterruptOfPic()) {
                lapic.wake();
                return;
            }
        }
    }

    void recalculateApicMap() {
        boolean before63 = !vm.host().build().isSince(6, 3);
        if (before63) {
            vm.note(InterruptAnswer.MSI_MAP_FIRST_BEFORE);
        }
        map = ApicMap.build(lapics, ids32Bit, before63);
        vm.posting().ifPresent(posting -> posting.setDestinations(destinations()));
        wantScan();
    }

    /** Makes each vCPU recompute its EOI exit bitmap before it runs on. */
    void wantScan() {
        for (FakeLapic lapic : lapics) {
            lapic.eoiExitBitmap().wantScan();
        }
    }
}
