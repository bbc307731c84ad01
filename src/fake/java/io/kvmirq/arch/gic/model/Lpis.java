/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.InterruptId;
import java.util.Comparator;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import java.util.function.IntFunction;
import java.util.function.IntPredicate;
import java.util.function.Predicate;

/**
 * The LPIs of a VM, and the redistributor registers for LPIs. An LPI exists while an ITS event is mapped to it, or
 * while it is in a vCPU's list of pending interrupts. An LPI is edge-triggered and has no line. Not thread-safe.
 *
 * <p>Source: arch/arm64/kvm/vgic/vgic-its.c, vgic-mmio-v3.c, {@code vgic_v3_save_pending_tables()} in vgic-v3.c.
 */
public final class Lpis {
    /** INTERRUPT_ID_BITS_ITS: the widest INTID. */
    private static final int ID_BITS = 16;

    private static final int PROPERTY_ENABLED = 1;
    private static final int PROPERTY_PRIORITY = 0xfc;

    private static final OptionalInt NONE = OptionalInt.empty();
    private static final String UNMAPPED = "no event of an ITS is mapped to it any more";

    private final IntFunction<OptionalInt> vcpus;
    private final GuestRam ram;
    private final BooleanSupplier delivers;
    private final Listener listener;
    private final LpiTables tables;
    private final Map<Integer, Lpi> lpis = new TreeMap<>();

    public interface Listener {
        /** Called after a message has made an LPI pending. */
        void arrived(int lpi);

        /** Called after the guest or the VMM has ended an LPI or its pending state; {@code how} names the cause. */
        void ended(int lpi, String how);
    }

    /**
     * Creates the state of a VM that has no LPIs yet.
     *
     * @param vcpus maps a collection's target to a vCPU index, or to empty if no vCPU is the target. A target is the
     *     vCPU's index before Linux 6.7, and the vCPU's id since 6.7.
     * @param delivers whether the distributor is enabled. An LPI that becomes pending while the distributor is disabled
     *     waits for its next message, INV or INVALL, or until its vCPU enables LPIs again
     */
    public Lpis(IntFunction<OptionalInt> vcpus, GuestRam ram, BooleanSupplier delivers, Listener listener) {
        this.vcpus = vcpus;
        this.ram = ram;
        this.tables = new LpiTables(ram);
        this.delivers = delivers;
        this.listener = listener;
    }

    /** Notes that an ITS is created, which resets GICR_PROPBASER. */
    void addIts() {
        tables.reset();
    }

    GuestRam ram() {
        return ram;
    }

    /** The index of the vCPU that the target of a collection names; empty if there is none. */
    OptionalInt index(int target) {
        return vcpus.apply(target);
    }

    // Registers of a redistributor

    /** Reads GICR_CTLR.EnableLPIs of a vCPU: whether its LPIs can become pending. */
    public boolean isEnabled(int vcpu) {
        return tables.isEnabled(vcpu);
    }

    /**
     * Writes GICR_CTLR.EnableLPIs. Setting EnableLPIs copies each LPI's pending bit from the vCPU's pending table.
     * While EnableLPIs is 0, KVM drops messages and does not deliver the vCPU's pending LPIs; vLPIs still arrive.
     */
    public void enable(int vcpu, boolean enable) {
        if (enable && !isEnabled(vcpu) && tables.mayHavePending(vcpu)) {
            lpis.forEach((id, lpi) -> {
                OptionalInt pending = isFor(lpi, vcpu) ? tables.pending(id, vcpu) : NONE;
                if (pending.isPresent()) {
                    boolean before = lpi.isPending(id);
                    lpi.pending = pending.getAsInt() != 0;
                    lpi.queue(delivers.getAsBoolean());
                    if (before && !lpi.isPending(id)) {
                        listener.ended(id, "LPIs were enabled, and the pending table has no bit for it");
                    }
                }
            });
        }
        if (!enable && isEnabled(vcpu)) {
            leave(lpi -> isIn(lpi, vcpu));
        }
        tables.enable(vcpu, enable);
    }

    /**
     * Updates the list of a vCPU at an exit from the guest: a pending, enabled LPI moves to the list of its target
     * vCPU, other LPIs leave the list ({@code vgic_prune_ap_list()}). A disabled distributor makes all leave.
     */
    public void prune(int vcpu) {
        leave(lpi -> isIn(lpi, vcpu) && !(lpi.pending && lpi.enabled && delivers.getAsBoolean()));
        lpis.values().stream().filter(lpi -> isIn(lpi, vcpu)).forEach(lpi -> lpi.list = lpi.vcpu);
    }

    /** Removes LPIs from the lists of vCPUs, and LPIs without a mapped event altogether. */
    private void leave(Predicate<Lpi> which) {
        lpis.values().stream().filter(which).forEach(lpi -> lpi.list = NONE);
        lpis.entrySet().removeIf(entry -> isGone(entry.getKey(), entry.getValue()));
    }

    private boolean isGone(int id, Lpi lpi) {
        boolean gone = lpi.references == 0 && lpi.list.isEmpty();
        if (gone && lpi.pending) {
            listener.ended(id, UNMAPPED);
        }
        return gone;
    }

    private static boolean isIn(Lpi lpi, int vcpu) {
        return lpi.list.isPresent() && lpi.list.getAsInt() == vcpu;
    }

    private static boolean isFor(Lpi lpi, int vcpu) {
        return lpi.vcpu.isPresent() && lpi.vcpu.getAsInt() == vcpu;
    }

    /** Reads GICR_PROPBASER, which all vCPUs share: the address of the table of LPI priorities and enable bits. */
    public long propertyBase() {
        return tables.propertyBase();
    }

    /** Writes GICR_PROPBASER of a vCPU. The write is ignored while the vCPU's LPIs are enabled. */
    public void setPropertyBase(int vcpu, long value) {
        if (!isEnabled(vcpu)) {
            tables.setPropertyBase(value);
        }
    }

    /** Reads GICR_PENDBASER of a vCPU: the address of its table of pending bits. */
    public long pendingBase(int vcpu) {
        return tables.pendingBase(vcpu);
    }

    /** Returns GICR_PENDBASER with PTZ as written, which a read shows as 0: a 32-bit write keeps the other half. */
    public long writtenPendingBase(int vcpu) {
        return tables.writtenPendingBase(vcpu);
    }

    /** Writes GICR_PENDBASER of a vCPU. The write is ignored while the vCPU's LPIs are enabled. */
    public void setPendingBase(int vcpu, long value) {
        if (!isEnabled(vcpu)) {
            tables.setPendingBase(vcpu, value);
        }
    }

    // Life of an LPI

    /** Whether an event may be mapped to this INTID. */
    boolean isInRange(int id) {
        int bits = Math.min((int) (propertyBase() & 0x1f) + 1, ID_BITS);
        return id >= InterruptId.FIRST_LPI && id < 1 << bits;
    }

    /**
     * Maps an event to an LPI. Its state is read from the guest's tables unless a vCPU's list has it. Returns false,
     * and makes no LPI, if the tables cannot be read.
     */
    boolean add(int id, OptionalInt vcpu) {
        Lpi known = lpis.get(id);
        if (known != null) {
            known.references++;
            return true;
        }
        Lpi lpi = new Lpi();
        lpis.put(id, lpi);
        lpi.references = 1;
        lpi.vcpu = vcpu;
        if (!readProperties(id, lpi) || vcpu.isPresent() && !takePending(id, lpi, vcpu.getAsInt())) {
            remove(id);
            return false;
        }
        return true;
    }

    /** Removes a mapping of an event to the LPI, which stays pending if a vCPU's list has it. */
    void remove(int id) {
        Lpi lpi = lpis.get(id);
        if (lpi != null && --lpi.references == 0) {
            boolean drops = lpi.vlpi.isPresent() && lpi.isPending(id);
            lpi.endVlpi(id);
            if (drops && !lpi.pending) {
                listener.ended(id, UNMAPPED);
            }
            leave(same -> false);
        }
    }

    private boolean readProperties(int id, Lpi lpi) {
        OptionalInt property = tables.property(id);
        if (property.isEmpty()) {
            return false;
        }
        lpi.priority = property.getAsInt() & PROPERTY_PRIORITY;
        lpi.enabled = (property.getAsInt() & PROPERTY_ENABLED) != 0;
        if (lpi.vlpi.isPresent() && lpi.vcpu.isPresent()) {
            lpi.vlpi.get().setEnabled(lpi.vcpu.getAsInt(), id, lpi.enabled);
        }
        lpi.queue(delivers.getAsBoolean());
        return true;
    }

    /** Moves the pending bit of a new LPI out of the vCPU's table. */
    private boolean takePending(int id, Lpi lpi, int vcpu) {
        OptionalInt pending = tables.pending(id, vcpu);
        if (pending.isEmpty()) {
            return false;
        }
        lpi.pending = pending.getAsInt() != 0;
        lpi.queue(delivers.getAsBoolean());
        return !lpi.pending || tables.setPending(id, vcpu, false);
    }

    /** INV: reads the LPI's priority and enable bit again. */
    void invalidate(int id) {
        Lpi lpi = lpis.get(id);
        if (lpi != null) {
            readProperties(id, lpi);
        }
    }

    /** INVALL: reads priorities and enable bits of all LPIs of a vCPU again. */
    void invalidateAll(int vcpu) {
        lpis.forEach((id, lpi) -> {
            if (isFor(lpi, vcpu)) {
                readProperties(id, lpi);
            }
        });
    }

    void target(int id, int vcpu) {
        Lpi lpi = lpis.get(id);
        if (lpi != null) {
            lpi.go(id, vcpu);
        }
    }

    /** MOVALL: moves all LPIs of one vCPU to another. */
    void targetAll(int from, int to) {
        lpis.forEach((id, lpi) -> {
            if (isFor(lpi, from)) {
                lpi.go(id, to);
            }
        });
    }

    void receiveMessage(int id) {
        setPending(id, true);
        listener.arrived(id);
    }

    void clear(int id) {
        setPending(id, false);
        listener.ended(id, "CLEAR");
    }

    private void setPending(int id, boolean pending) {
        Lpi lpi = lpis.get(id);
        if (lpi == null) {
            return;
        }
        if (lpi.vlpi.isPresent() && lpi.vcpu.isPresent()) {
            lpi.vlpi.get().setPending(lpi.vcpu.getAsInt(), id, pending);
        } else {
            lpi.pending = pending;
            lpi.queue(delivers.getAsBoolean());
        }
    }

    // vLPIs

    /** Maps the LPI, which has a target, to a vLPI. Its pending state moves to the vPE. */
    void makeVlpi(int id, Vlpi vlpi) {
        Lpi lpi = lpis.get(id);
        if (lpi != null) {
            boolean pending = lpi.pending;
            lpi.pending = false;
            lpi.vlpi = Optional.of(vlpi);
            vlpi.setEnabled(lpi.vcpu.orElseThrow(), id, lpi.enabled);
            if (pending) {
                setPending(id, true);
            }
        }
    }

    /** Ends a vLPI. Hardware drops its pending state, and KVM does not save it ({@code its_vlpi_unmap()}: DISCARD). */
    void endVlpi(int id) {
        Lpi lpi = lpis.get(id);
        if (lpi != null) {
            lpi.endVlpi(id);
        }
    }

    /** Returns the host interrupt of an LPI that is mapped to a vLPI; empty if KVM delivers the LPI in software. */
    public OptionalInt hostIrq(int id) {
        return Optional.ofNullable(lpis.get(id))
                .flatMap(lpi -> lpi.vlpi)
                .map(vlpi -> OptionalInt.of(vlpi.hostIrq()))
                .orElse(NONE);
    }

    /** The LPI whose vLPI a host interrupt raises; empty if there is none. */
    OptionalInt vlpiOf(int hostIrq) {
        return lpis.keySet().stream()
                .mapToInt(id -> id)
                .filter(id -> hostIrq(id).equals(OptionalInt.of(hostIrq)))
                .findFirst();
    }

    /**
     * Handles a device's message in the host's ITS: true if it makes a vLPI pending, false if it interrupts the host.
     */
    public boolean receive(int hostIrq) {
        OptionalInt lpi = vlpiOf(hostIrq);
        lpi.ifPresent(this::receiveMessage);
        return lpi.isPresent();
    }

    /**
     * Takes the guest's pending LPI of the highest priority (0–252) that the predicate accepts; empty if there is none.
     * Source: IHI 0069, 4.8 and 5.1; {@code vgic_target_oracle()}, {@code vgic_flush_pending_lpis()}.
     */
    public OptionalInt take(int vcpu, IntPredicate passes) {
        OptionalInt taken = lpis.entrySet().stream()
                .filter(entry -> isFor(entry.getValue(), vcpu)
                        && entry.getValue().enabled
                        && passes.test(entry.getValue().priority)
                        && (entry.getValue().vlpi.isPresent()
                                || isIn(entry.getValue(), vcpu) && delivers.getAsBoolean())
                        && entry.getValue().isPending(entry.getKey()))
                .min(Comparator.comparingInt(entry -> entry.getValue().priority))
                .map(entry -> OptionalInt.of(entry.getKey()))
                .orElse(NONE);
        taken.ifPresent(id -> setPending(id, false));
        prune(vcpu);
        return taken;
    }

    /** Whether KVM cannot read the state of an LPI, because it is a vLPI of GICv4.0. */
    boolean isUnreadable(int id) {
        Lpi lpi = lpis.get(id);
        return lpi != null && lpi.vlpi.isPresent() && !lpi.vlpi.get().isReadable();
    }

    // For people and for the VMM

    /** Returns the index of an LPI's target vCPU; empty if the LPI does not exist or has no target. */
    public OptionalInt vcpu(int id) {
        return Optional.ofNullable(lpis.get(id)).map(lpi -> lpi.vcpu).orElse(NONE);
    }

    /** Whether an LPI exists and is pending. */
    public boolean isPending(int id) {
        Lpi lpi = lpis.get(id);
        return lpi != null && lpi.isPending(id);
    }

    /** Whether an LPI exists and the guest has enabled it in the table of priorities and enable bits. */
    public boolean isEnabledByGuest(int id) {
        Lpi lpi = lpis.get(id);
        return lpi != null && lpi.enabled;
    }

    /** Returns the priority of an LPI, 0–252, or 0 if the LPI does not exist. */
    public int priority(int id) {
        Lpi lpi = lpis.get(id);
        return lpi == null ? 0 : lpi.priority;
    }

    /** Writes the pending bits of all LPIs to the pending tables. Returns false if a table is not in memory. */
    public boolean savePending() {
        for (Map.Entry<Integer, Lpi> entry : lpis.entrySet()) {
            Lpi lpi = entry.getValue();
            if (lpi.vcpu.isEmpty()) {
                continue;
            }
            int id = entry.getKey();
            int vcpu = lpi.vcpu.getAsInt();
            boolean pending = lpi.isPendingForKvm(id);
            OptionalInt stored = tables.pending(id, vcpu);
            if (stored.isEmpty() || pending != (stored.getAsInt() != 0) && !tables.setPending(id, vcpu, pending)) {
                return false;
            }
        }
        return true;
    }
}
