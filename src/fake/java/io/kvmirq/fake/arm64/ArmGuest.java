/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.model.Distributor;
import io.kvmirq.arch.gic.model.InterruptState;
import io.kvmirq.arch.gic.model.VirtualInterface;
import io.kvmirq.arch.gic.model.Vpe;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.HostLine;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.IntPredicate;

/**
 * The guest of a vCPU. It runs no code: a test calls these methods instead. A call enters the guest, which fills the
 * list registers, and exits, which returns interrupts that were not taken to the distributor. HW is set in the list
 * register of an SPI that is mapped to a host interrupt. Source: {@code vgic_v3_populate_lr()} and {@code
 * vgic_v3_fold_lr_state()} in arch/arm64/kvm/vgic/vgic-v3.c.
 */
public final class ArmGuest {
    private static final int REGISTERS = VgicDelivery.LIST_REGISTERS;
    private static final int PRIORITY_SHIFT = 3;
    /** The value of IAR if the highest-priority interrupt is of group 1 and IAR may not take it. */
    private static final int OF_GROUP1 = 1022;
    /** The value of IAR if there is no interrupt to take. */
    private static final int SPURIOUS = 1023;

    private final FakeArmVm vm;
    private final FakeVgic vgic;
    private final int vcpu;
    private final CpuInterface cpu;
    private final Distributor distributor;
    private final VirtualInterface registers;

    /** @param vcpu the index of the vCPU in the VM; the VGIC is initialized */
    ArmGuest(FakeArmVm vm, FakeVgic vgic, int vcpu) {
        this.vm = vm;
        this.vgic = vgic;
        this.vcpu = vcpu;
        this.cpu = vgic.cpuInterface(vcpu);
        this.distributor = vgic.distributor();
        this.registers = vgic.delivery().registers(vcpu);
    }

    /**
     * Takes the pending interrupt of group 1 with the highest priority (an LPI comes after others), and returns its
     * INTID, or 1023 if none is pending. On a GICv2 the method takes groups that GICC_CTLR enables, adds an SGI's
     * source in bits 12:10, and returns 1022 for group 1 if AckCtl is 0.
     */
    public int acknowledge() {
        vm.note(vgic.isGicV2() ? VgicAnswer.GICV2_MASK : VgicAnswer.VGIC_MASK);
        enter();
        int best = -1;
        for (int i = 0; i < REGISTERS; i++) {
            long word = registers.listRegister(i);
            boolean pending = ListRegister.PENDING.isSet(word)
                    && !ListRegister.ACTIVE.isSet(word)
                    && vgic.passes(vcpu, word)
                    && !vgic.delivery().isActive(vcpu, (int) ListRegister.VIRTUAL_ID.of(word));
            if (pending && (best < 0 || priority(i) < priority(best))) {
                best = i;
            }
        }
        int lpi = takeLpi(best);
        int taken = best < 0 || lpi != SPURIOUS ? lpi : take(best);
        exit();
        return taken;
    }

    private int take(int register) {
        long word = registers.listRegister(register);
        if (!vgic.acknowledges(vcpu, word)) {
            return OF_GROUP1;
        }
        int id = (int) ListRegister.VIRTUAL_ID.of(word);
        registers.setListRegister(register, ListRegister.PENDING.put(ListRegister.ACTIVE.put(word, 1), 0));
        if (ListRegister.HW.isSet(word)) {
            lower(id);
        }
        vgic.delivery().putActive(vcpu, id, true);
        return answer(word);
    }

    /** The value of GICC_IAR, which includes the source of an SGI. */
    private static int answer(long word) {
        long source = ListRegister.HW.isSet(word) ? 0 : ListRegister.SOURCE.of(word);
        return (int) (ListRegister.VIRTUAL_ID.of(word) | source << ListRegister.VIRTUAL_ID.width());
    }

    /** Clears line and latch of a mapped SPI: while its host interrupt is active, no other one comes. */
    private void lower(int id) {
        distributor.lower(vcpu, id);
        distributor.clear(InterruptState.LATCH, vcpu, id & -Distributor.WORD, 1 << id % Distributor.WORD);
    }

    /** Takes an LPI whose priority is higher than that of list register {@code best} (-1 for none). */
    private int takeLpi(int best) {
        if (vgic.isGicV2()) {
            return SPURIOUS;
        }
        OptionalInt taken = vm.lpis()
                .take(
                        vcpu,
                        priority -> cpu.passes(priority) && (best < 0 || priority >> PRIORITY_SHIFT < priority(best)));
        taken.ifPresent(vm.messages()::take);
        return taken.orElse(SPURIOUS);
    }

    private long priority(int register) {
        return ListRegister.PRIORITY.of(registers.listRegister(register));
    }

    /**
     * Sends an SGI to vCPUs, chosen by their ids, by ICC_SGI1R_EL1 or GICD_SGIR. Source: {@code
     * vgic_v3_dispatch_sgi()}, {@code vgic_mmio_write_sgir()}.
     */
    public void sendSgi(int sgi, IntPredicate targets) {
        if (!InterruptId.isSgi(sgi)) {
            throw new IllegalArgumentException("SGI " + sgi + ": expected 0 to 15");
        }
        int own = id();
        for (int to = 0; to < vm.vcpus().size(); to++) {
            if (!targets.test(vm.vcpus().get(to).id())) {
                continue;
            }
            if (vgic.isGicV2()) {
                distributor.setSources(to, sgi, distributor.sources(to, sgi) | 1 << own);
            } else {
                distributor.send(vcpu, to, sgi);
            }
            vgic.delivery().queue(to, sgi);
        }
    }

    public int id() {
        return vm.vcpus().get(vcpu).id();
    }

    public boolean end(int answer) {
        loadActive();
        OptionalInt active = vgic.delivery().activeRegister(vcpu, word -> answer(word) == answer);
        if (active.isEmpty()) {
            return false;
        }
        int register = active.getAsInt();
        int id = (int) ListRegister.VIRTUAL_ID.of(registers.listRegister(register));
        vgic.delivery().putActive(vcpu, id, false);
        if (distributor.is(InterruptState.LEVEL, vcpu, id)) {
            vm.note(VgicAnswer.VGIC_LEVEL_LATCH);
        }
        long word = ListRegister.ACTIVE.put(registers.listRegister(register), 0);
        boolean hardware = ListRegister.HW.isSet(word);
        boolean notifies = ListRegister.isSpent(word);
        registers.setListRegister(register, hardware ? 0 : word);
        if (notifies) {
            if (!InterruptId.isPrivate(id)) {
                vm.acknowledged(id - InterruptId.FIRST_SPI);
            }
            registers.maintain();
        }
        if (hardware) {
            vm.mappedFrom((int) ListRegister.PHYSICAL_ID.of(word)).ifPresent(HostLine::deactivate);
        }
        prune();
        return true;
    }

    // vLPIs

    public OptionalInt hostIrq(int lpi) {
        return vm.lpis().hostIrq(lpi);
    }

    public boolean isPending(int lpi) {
        return vm.lpis().isPending(lpi);
    }

    private Vpe vpe() {
        return vm.vlpis()
                .vpe(vcpu)
                .orElseThrow(() -> new IllegalStateException(
                        "vCPU " + vcpu + " has no vPE: the host has no GICv4, use a profile with gicv4"));
    }

    public void load() {
        vpe().thread().load(vcpu);
        if (vpe().thread().isBlocking()) {
            vpe().thread().unblock();
        }
    }

    public void preempt() {
        vpe().thread().preempt();
    }

    public boolean block() {
        vpe().thread().block(true);
        return isAsleep();
    }

    public boolean isAsleep() {
        return vpe().thread().isAsleep();
    }

    public boolean isResident() {
        return vpe().isResident();
    }

    private boolean isLoaded(int id) {
        return vgic.delivery()
                .activeRegister(vcpu, word -> ListRegister.VIRTUAL_ID.of(word) == id)
                .isPresent();
    }

    public long listRegister(int id) {
        enter();
        long held = 0;
        for (int i = 0; i < REGISTERS; i++) {
            long word = registers.listRegister(i);
            if (ListRegister.STATE.isSet(word) && ListRegister.VIRTUAL_ID.of(word) == id) {
                held = word;
            }
        }
        exit();
        return held;
    }

    // Entries and exits

    private void enter() {
        loadActive();
        if (!vgic.delivery().isEnabled()) {
            vm.note(VgicAnswer.VGIC_CONTROL);
        }
        pending().values().forEach(this::load);
    }

    /**
     * The pending interrupts, sorted by priority for the list registers as in Linux. Source: {@code
     * vgic_sort_ap_list()}.
     */
    private SortedMap<Integer, int[]> pending() {
        int words = distributor.interrupts() / Distributor.WORD;
        SortedMap<Integer, int[]> byPriority = new TreeMap<>();
        for (int i = 0; i < words; i++) {
            for (int rest = vgic.delivery().pending(vcpu, i * Distributor.WORD); rest != 0; rest &= rest - 1) {
                int id = i * Distributor.WORD + Integer.numberOfTrailingZeros(rest);
                byPriority.computeIfAbsent(distributor.priority(vcpu, id), priority -> new int[words])[i] |=
                        Integer.lowestOneBit(rest);
            }
        }
        return byPriority;
    }

    /** Loads interrupts into the list registers; {@code words} has a bit for each. */
    private void load(int[] words) {
        vm.mapped().forEach((id, line) -> {
            if ((words[id / Distributor.WORD] >>> id % Distributor.WORD & 1) != 0) {
                load(id, line);
            }
        });
        registers.syncToCpu(first -> ~words[first / Distributor.WORD]);
    }

    /** Keeps active interrupts in list registers. Pending ones return to the distributor, an edge as a latch. */
    private void exit() {
        for (int i = 0; i < REGISTERS; i++) {
            long word = registers.listRegister(i);
            if (!ListRegister.PENDING.isSet(word)) {
                continue;
            }
            int id = (int) ListRegister.VIRTUAL_ID.of(word);
            if (vgic.isGicV2() && InterruptId.isSgi(id)) {
                int source = 1 << (int) ListRegister.SOURCE.of(word);
                distributor.setSources(vcpu, id, distributor.sources(vcpu, id) | source);
            } else if (!distributor.is(InterruptState.LEVEL, vcpu, id)) {
                distributor.set(InterruptState.LATCH, vcpu, id & -Distributor.WORD, 1 << id % Distributor.WORD);
            }
            registers.setListRegister(i, ListRegister.ACTIVE.isSet(word) ? ListRegister.PENDING.put(word, 0) : 0);
        }
        prune();
    }

    private void prune() {
        vgic.delivery().prune(vcpu);
        vm.lpis().prune(vcpu);
    }

    /** Loads interrupts that a VMM has made active since the last exit. */
    private void loadActive() {
        vgic.delivery().active(vcpu).stream().filter(id -> !isLoaded(id)).forEach(id -> {
            int free = Long.numberOfTrailingZeros(registers.empty());
            if (free < REGISTERS) {
                long end = distributor.is(InterruptState.LEVEL, vcpu, id) ? ListRegister.EOI.mask() : 0;
                registers.setListRegister(free, word(id) | end | ListRegister.ACTIVE.mask());
            }
        });
    }

    /** The list register of an interrupt, without state. */
    private long word(int id) {
        return ListRegister.VIRTUAL_ID.with(id)
                | ListRegister.GROUP1.with(distributor.is(InterruptState.GROUP1, vcpu, id) ? 1 : 0)
                | ListRegister.PRIORITY.with(distributor.priority(vcpu, id) >> PRIORITY_SHIFT);
    }

    private void load(int id, HostLine line) {
        int free = Long.numberOfTrailingZeros(registers.empty());
        if (free >= REGISTERS || vgic.delivery().isActive(vcpu, id)) {
            return;
        }
        registers.setListRegister(
                free,
                word(id)
                        | ListRegister.HW.mask()
                        | ListRegister.PENDING.mask()
                        | ListRegister.PHYSICAL_ID.with(line.physicalId()));
    }
}
