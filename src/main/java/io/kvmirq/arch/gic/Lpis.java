/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.function.IntFunction;
import java.util.function.IntPredicate;

/**
 * The LPIs of a VM, and those registers of its redistributors that LPIs need. An LPI exists while an event of an ITS is
 * mapped to it. It is edge-triggered and has no line. Not thread-safe.
 *
 * <p>Source: arch/arm64/kvm/vgic/vgic-its.c, vgic-mmio-v3.c, {@code vgic_v3_save_pending_tables()} in vgic-v3.c.
 */
public final class Lpis {
    /** INTERRUPT_ID_BITS_ITS: the widest INTID. */
    private static final int ID_BITS = 16;

    private static final int PROPERTY_ENABLED = 1;
    private static final int PROPERTY_PRIORITY = 0xfc;

    /** GICR_PENDBASER.PTZ: the pending table is zero, so it is not read. */
    private static final long PENDING_TABLE_ZERO = 1L << 62;

    private static final long ADDRESS = 0xf_ffff_ffff_f000L;
    private static final long PENDING_ADDRESS = 0xf_ffff_ffff_0000L;
    private static final long PROPERTY_RESERVED = 0xf8f0_0000_0000_0060L;
    private static final long PENDING_RESERVED = 0xb8f0_0000_0000_f07fL;

    /** GICR_PENDBASER at first, and GICR_PROPBASER once there is an ITS: inner shareable, cached for reads and writes. */
    private static final long INITIAL = Baser.sanitised(1 << 10, Baser.Attributes.OF_REDISTRIBUTOR);

    private static final OptionalInt NONE = OptionalInt.empty();

    /** Of one vCPU. */
    private static final class Redistributor {
        private boolean enabled;
        private long pendingBase = INITIAL;
    }

    private final IntFunction<OptionalInt> vcpus;
    private final GuestRam ram;
    private final List<Redistributor> redistributors = new ArrayList<>();
    private final Map<Integer, Lpi> lpis = new TreeMap<>();
    private long propertyBase;

    /**
     * No LPIs.
     *
     * @param vcpus gives the index of the vCPU that a collection's target names, empty if there is none. Before Linux 6.7
     *     the target is the index, since then it is the vCPU's id.
     */
    public Lpis(IntFunction<OptionalInt> vcpus, GuestRam ram) {
        this.vcpus = vcpus;
        this.ram = ram;
    }

    private Redistributor redistributor(int vcpu) {
        while (redistributors.size() <= vcpu) {
            redistributors.add(new Redistributor());
        }
        return redistributors.get(vcpu);
    }

    /** An ITS is created: GICR_PROPBASER is as at first. */
    void addIts() {
        propertyBase = INITIAL;
    }

    GuestRam ram() {
        return ram;
    }

    /** The index of the vCPU that the target of a collection names; empty if there is none. */
    OptionalInt index(int target) {
        return vcpus.apply(target);
    }

    // Registers of a redistributor

    /** GICR_CTLR.EnableLPIs of a vCPU: its LPIs can become pending. */
    public boolean isEnabled(int vcpu) {
        return redistributor(vcpu).enabled;
    }

    /**
     * Writes GICR_CTLR.EnableLPIs. At the change to 1, the vCPU's LPIs take their pending bits from its pending table. At
     * the change to 0 they stay pending, and messages are dropped from then on.
     */
    public void enable(int vcpu, boolean enable) {
        Redistributor redistributor = redistributor(vcpu);
        if (enable && !redistributor.enabled && (redistributor.pendingBase & PENDING_TABLE_ZERO) == 0) {
            for (Map.Entry<Integer, Lpi> entry : lpis.entrySet()) {
                OptionalInt bits = isFor(entry.getValue(), vcpu) ? pendingBits(entry.getKey(), vcpu) : NONE;
                entry.getValue().pending =
                        bits.isPresent() ? (bits.getAsInt() & mask(entry.getKey())) != 0 : entry.getValue().pending;
            }
        }
        redistributor.enabled = enable;
    }

    private static boolean isFor(Lpi lpi, int vcpu) {
        return lpi.vcpu.isPresent() && lpi.vcpu.getAsInt() == vcpu;
    }

    /** GICR_PROPBASER, which all vCPUs share: the address of the table of priorities and enable bits. */
    public long propertyBase() {
        return propertyBase;
    }

    /** Writes GICR_PROPBASER of a vCPU. Ignored while its LPIs are enabled. */
    public void setPropertyBase(int vcpu, long value) {
        if (!isEnabled(vcpu)) {
            propertyBase = Baser.sanitised(value, Baser.Attributes.OF_REDISTRIBUTOR) & ~PROPERTY_RESERVED;
        }
    }

    /** GICR_PENDBASER of a vCPU: the address of the table of pending bits. */
    public long pendingBase(int vcpu) {
        return redistributor(vcpu).pendingBase & ~PENDING_TABLE_ZERO;
    }

    /** GICR_PENDBASER of a vCPU as it was written, with the bit that reads as 0: half of it is replaced in this. */
    public long writtenPendingBase(int vcpu) {
        return redistributor(vcpu).pendingBase;
    }

    /** Writes GICR_PENDBASER of a vCPU. Ignored while its LPIs are enabled. */
    public void setPendingBase(int vcpu, long value) {
        if (!isEnabled(vcpu)) {
            redistributor(vcpu).pendingBase =
                    Baser.sanitised(value, Baser.Attributes.OF_REDISTRIBUTOR) & ~PENDING_RESERVED;
        }
    }

    // Life of an LPI

    /** Whether an event may be mapped to this INTID. */
    boolean isInRange(int id) {
        int bits = Math.min((int) (propertyBase & 0x1f) + 1, ID_BITS);
        return id >= InterruptId.FIRST_LPI && id < 1 << bits;
    }

    /**
     * An event is mapped to an LPI. A new LPI takes its priority, enable bit and pending bit from the guest's tables.
     *
     * @return whether the tables could be read; otherwise the LPI is not made
     */
    boolean add(int id, OptionalInt vcpu) {
        Lpi lpi = lpis.computeIfAbsent(id, absent -> new Lpi());
        boolean isNew = lpi.references++ == 0;
        if (!isNew) {
            return true;
        }
        lpi.vcpu = vcpu;
        if (!readProperties(id, lpi) || vcpu.isPresent() && !takePending(id, lpi, vcpu.getAsInt())) {
            remove(id);
            return false;
        }
        return true;
    }

    /** An event is no longer mapped to the LPI. */
    void remove(int id) {
        Lpi lpi = lpis.get(id);
        if (lpi != null && --lpi.references == 0) {
            lpi.endForwarding(id);
            lpis.remove(id);
        }
    }

    private boolean readProperties(int id, Lpi lpi) {
        ByteBuffer property = ByteBuffer.allocate(1);
        if (!ram.read((propertyBase & ADDRESS) + id - InterruptId.FIRST_LPI, property)) {
            return false;
        }
        lpi.priority = property.get(0) & PROPERTY_PRIORITY;
        lpi.enabled = (property.get(0) & PROPERTY_ENABLED) != 0;
        if (lpi.forwarding.isPresent() && lpi.vcpu.isPresent()) {
            lpi.forwarding.get().setEnabled(lpi.vcpu.getAsInt(), id, lpi.enabled);
        }
        return true;
    }

    /** Moves the pending bit of a new LPI out of the vCPU's table. */
    private boolean takePending(int id, Lpi lpi, int vcpu) {
        OptionalInt bits = pendingBits(id, vcpu);
        if (bits.isEmpty()) {
            return false;
        }
        lpi.pending = (bits.getAsInt() & mask(id)) != 0;
        return !lpi.pending || setPendingBits(id, vcpu, bits.getAsInt() & ~mask(id));
    }

    /** The byte of a vCPU's pending table that has the LPI's bit; empty if there is no memory. */
    private OptionalInt pendingBits(int id, int vcpu) {
        ByteBuffer bits = ByteBuffer.allocate(1);
        return ram.read(pendingAddress(id, vcpu), bits) ? OptionalInt.of(bits.get(0)) : NONE;
    }

    private boolean setPendingBits(int id, int vcpu, int bits) {
        return ram.write(pendingAddress(id, vcpu), ByteBuffer.allocate(1).put(0, (byte) bits));
    }

    private static int mask(int id) {
        return 1 << id % Byte.SIZE;
    }

    private long pendingAddress(int id, int vcpu) {
        return (redistributor(vcpu).pendingBase & PENDING_ADDRESS) + id / Byte.SIZE;
    }

    /** INV: reads the LPI's priority and enable bit again. */
    void invalidate(int id) {
        Lpi lpi = lpis.get(id);
        if (lpi != null) {
            readProperties(id, lpi);
        }
    }

    /** INVALL: the same for all LPIs of a vCPU. */
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

    /** MOVALL: all LPIs of one vCPU go to another. */
    void targetAll(int from, int to) {
        lpis.forEach((id, lpi) -> {
            if (isFor(lpi, from)) {
                lpi.go(id, to);
            }
        });
    }

    void setPending(int id, boolean pending) {
        Lpi lpi = lpis.get(id);
        if (lpi == null) {
            return;
        }
        if (lpi.forwarding.isPresent() && lpi.vcpu.isPresent()) {
            lpi.forwarding.get().setPending(lpi.vcpu.getAsInt(), id, pending);
        } else {
            lpi.pending = pending;
        }
    }

    // vLPIs

    /** The LPI becomes a vLPI. If it is pending, its vPE has it pending from then on. It has a target. */
    void forward(int id, LpiForwarding forwarding) {
        Lpi lpi = lpis.get(id);
        if (lpi != null) {
            boolean pending = lpi.pending;
            lpi.pending = false;
            lpi.forwarding = Optional.of(forwarding);
            forwarding.setEnabled(lpi.vcpu.orElseThrow(), id, lpi.enabled);
            if (pending) {
                setPending(id, true);
            }
        }
    }

    /**
     * The LPI is no vLPI from then on. Hardware drops its pending state with the mapping, and KVM does not take it back
     * before ({@code its_vlpi_unmap()}: DISCARD).
     */
    void endForwarding(int id) {
        Lpi lpi = lpis.get(id);
        if (lpi != null) {
            lpi.endForwarding(id);
        }
    }

    /** The host interrupt that an LPI is a vLPI of; empty if KVM delivers it. */
    public OptionalInt hostIrq(int id) {
        return Optional.ofNullable(lpis.get(id))
                .flatMap(lpi -> lpi.forwarding)
                .map(forwarding -> OptionalInt.of(forwarding.hostIrq()))
                .orElse(NONE);
    }

    /** The LPI that is a vLPI of a host interrupt; empty if there is none. */
    OptionalInt forwardedBy(int hostIrq) {
        return lpis.keySet().stream()
                .mapToInt(id -> id)
                .filter(id -> hostIrq(id).equals(OptionalInt.of(hostIrq)))
                .findFirst();
    }

    /**
     * The ITS of the host takes a device's message.
     *
     * @return whether the host interrupt is a vLPI, which is pending then; otherwise the host is interrupted
     */
    public boolean receive(int hostIrq) {
        OptionalInt lpi = forwardedBy(hostIrq);
        lpi.ifPresent(id -> setPending(id, true));
        return lpi.isPresent();
    }

    /**
     * The guest of a vCPU takes its pending LPI with the highest priority, which is not pending then. While GICR_CTLR.EnableLPIs
     * is 0 it gets only vLPIs, which hardware delivers. Source: IHI 0069, 4.8 and 5.1; {@code vgic_flush_pending_lpis()}.
     *
     * @param passes whether the vCPU's CPU interface lets a priority pass, 0–252
     * @return the INTID; empty if none is pending, enabled and let pass
     */
    public OptionalInt take(int vcpu, IntPredicate passes) {
        OptionalInt taken = lpis.entrySet().stream()
                .filter(entry -> isFor(entry.getValue(), vcpu)
                        && entry.getValue().enabled
                        && passes.test(entry.getValue().priority)
                        && (isEnabled(vcpu) || entry.getValue().forwarding.isPresent())
                        && entry.getValue().isPending(entry.getKey()))
                .min(Comparator.comparingInt(entry -> entry.getValue().priority))
                .map(entry -> OptionalInt.of(entry.getKey()))
                .orElse(NONE);
        taken.ifPresent(id -> setPending(id, false));
        return taken;
    }

    /** Whether KVM cannot read the state of an LPI, because it is a vLPI of GICv4.0. */
    boolean isUnreadable(int id) {
        Lpi lpi = lpis.get(id);
        return lpi != null
                && lpi.forwarding.isPresent()
                && !lpi.forwarding.get().isReadable();
    }

    // For people and for the VMM

    /** The vCPU that an LPI is for; empty if the LPI does not exist or has no target. */
    public OptionalInt vcpu(int id) {
        return Optional.ofNullable(lpis.get(id)).map(lpi -> lpi.vcpu).orElse(NONE);
    }

    /** Whether an LPI exists and is pending. */
    public boolean isPending(int id) {
        Lpi lpi = lpis.get(id);
        return lpi != null && lpi.isPending(id);
    }

    /** Whether an LPI exists and its property is enabled. */
    public boolean isEnabledByGuest(int id) {
        Lpi lpi = lpis.get(id);
        return lpi != null && lpi.enabled;
    }

    /** The priority of an LPI, 0–252; 0 if it does not exist. */
    public int priority(int id) {
        Lpi lpi = lpis.get(id);
        return lpi == null ? 0 : lpi.priority;
    }

    /**
     * Writes the pending bits of all LPIs to the guest's pending tables, as a VMM has it done before it saves the guest.
     *
     * @return whether the tables are memory
     */
    public boolean savePending() {
        for (Map.Entry<Integer, Lpi> entry : lpis.entrySet()) {
            Lpi lpi = entry.getValue();
            if (lpi.vcpu.isEmpty()) {
                continue;
            }
            int id = entry.getKey();
            int vcpu = lpi.vcpu.getAsInt();
            OptionalInt bits = pendingBits(id, vcpu);
            if (bits.isEmpty()) {
                return false;
            }
            int next = lpi.isPendingForKvm(id) ? bits.getAsInt() | mask(id) : bits.getAsInt() & ~mask(id);
            if (next != bits.getAsInt() && !setPendingBits(id, vcpu, next)) {
                return false;
            }
        }
        return true;
    }
}
