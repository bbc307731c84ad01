/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.arch.apic.LapicPage;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * KVM's map from destinations to LAPICs, with the LAPICs' state at the time when the map was built. Immutable.
 *
 * <p>Source: {@code struct kvm_apic_map}, {@code kvm_recalculate_apic_map()} and {@code kvm_apic_map_get_dest_lapic()}
 * in arch/x86/kvm/lapic.c.
 *
 * @param <A> the LAPICs' type
 */
public final class ApicMap<A extends LocalApic> {
    private static final int CLUSTER = 16;

    /** The logical destination format shared by all enabled LAPICs that have a logical id. */
    public enum Logical {
        /** No LAPIC has a logical id. */
        NOBODY,
        /** xAPIC flat model: a logical id has one bit for each of eight LAPICs. */
        FLAT,
        /** xAPIC cluster model: a logical id is a cluster number and one bit for each of the cluster's four LAPICs. */
        CLUSTERS,
        /** x2APIC mode: a logical id is a cluster number and one bit for each of the cluster's sixteen LAPICs. */
        X2APIC,
        /** The formats differ, or an id is not one bit of one LAPIC, so the map has no logical destinations. */
        AMBIGUOUS
    }

    private final @Nullable LocalApic[] physical;
    private final @Nullable LocalApic[] flat = new LocalApic[8];
    private final @Nullable LocalApic[][] clusters = new LocalApic[16][4];
    private Logical logical = Logical.NOBODY;

    private ApicMap(int highestId) {
        physical = new LocalApic[highestId + 1];
    }

    /**
     * Builds the map from the LAPICs' ids and modes.
     *
     * @param before63 whether to build the map as Linux before 6.3 does. If LAPICs share a physical id, it belongs to
     *     the first, unless a later one is in x2APIC mode. A shared logical id belongs to the last. Only the lowest bit
     *     of a logical id counts, and a LAPIC in x2APIC mode is also found by the physical id that its logical id
     *     encodes
     * @return the map, or empty if two LAPICs share a physical id and neither {@code apicIds32Bit} nor {@code before63}
     *     is set
     */
    public static <A extends LocalApic> Optional<ApicMap<A>> build(
            List<A> lapics, boolean apicIds32Bit, boolean before63) {
        int highest = lapics.stream()
                .filter(LocalApic::isPresent)
                .mapToInt(lapic -> Math.max(lapic.vcpuId(), lapic.id()))
                .max()
                .orElse(0);
        ApicMap<A> map = new ApicMap<>(Math.max(highest, ApicMessage.BROADCAST));
        for (A lapic : lapics) {
            if (!lapic.isPresent()) {
                continue;
            }
            if (!map.addPhysical(lapic, apicIds32Bit || before63)) {
                return Optional.empty();
            }
            map.addLogical(lapic, before63);
        }
        return Optional.of(map);
    }

    /** @param sharesIds whether a LAPIC in xAPIC mode may have the id of another one */
    private boolean addPhysical(A lapic, boolean sharesIds) {
        if (sharesIds && lapic.vcpuId() > ApicMessage.BROADCAST) {
            physical[lapic.vcpuId()] = lapic;
        }
        boolean free = physical[lapic.id()] == null;
        if (free || sharesIds && lapic.isX2apic()) {
            physical[lapic.id()] = lapic;
        }
        return free || sharesIds;
    }

    private void addLogical(A lapic, boolean before63) {
        if (logical == Logical.AMBIGUOUS || !lapic.enabled() || lapic.logicalId() == 0) {
            return;
        }
        Logical own = lapic.isX2apic()
                ? Logical.X2APIC
                : lapic.logicalFormat() == LapicPage.DFR_FLAT ? Logical.FLAT : Logical.CLUSTERS;
        if (logical != Logical.NOBODY && logical != own) {
            logical = Logical.AMBIGUOUS;
            return;
        }
        logical = own;
        if (logical == Logical.X2APIC) {
            if (before63) {
                addX2apic(lapic);
            }
            return;
        }
        int id = (int) LapicPage.XAPIC_ID.of(Integer.toUnsignedLong(lapic.logicalId()));
        int bits = logical == Logical.FLAT ? id : id & 0xf;
        if (bits == 0) {
            return;
        }
        @Nullable LocalApic[] members = logical == Logical.FLAT ? flat : clusters[id >>> 4];
        int bit = Integer.numberOfTrailingZeros(bits);
        if (!before63 && (Integer.bitCount(bits) > 1 || members[bit] != null)) {
            logical = Logical.AMBIGUOUS;
        } else {
            members[bit] = lapic;
        }
    }

    /** Before 6.3, a LAPIC in x2APIC mode also occupies its logical id's slot in the physical map. */
    private void addX2apic(A lapic) {
        int bits = bits(lapic.logicalId());
        if (bits != 0) {
            physical[(int) firstOfCluster(lapic.logicalId()) + Integer.numberOfTrailingZeros(bits)] = lapic;
        }
    }

    public Logical logical() {
        return logical;
    }

    /** Whether a destination means every LAPIC. If KVM's broadcast quirk is on, only 0xff does. */
    public boolean isBroadcast(int destination, boolean quirk) {
        return quirk
                ? destination == ApicMessage.BROADCAST
                : destination == ApicMessage.X2APIC_BROADCAST
                        || destination == ApicMessage.BROADCAST && logical != Logical.X2APIC;
    }

    /** The LAPIC with this physical id, or null. Does not allocate. */
    @SuppressWarnings("unchecked") // The map holds what build() was given.
    public @Nullable A physical(int id) {
        return id >= 0 && id < physical.length ? (A) physical[id] : null;
    }

    /** The low bits of a logical destination. Each stands for the LAPIC that {@link #member} returns. */
    public int bits(int destination) {
        return switch (logical) {
            case FLAT -> destination & 0xff;
            case CLUSTERS -> destination & 0xf;
            case X2APIC -> {
                long first = firstOfCluster(destination);
                int size = (int) Math.max(0, Math.min(physical.length - first, CLUSTER));
                yield destination & (1 << size) - 1;
            }
            case NOBODY, AMBIGUOUS -> 0;
        };
    }

    private static long firstOfCluster(int destination) {
        return (long) (destination >>> 16) * CLUSTER;
    }

    /** The LAPIC for bit 0–15 of a logical destination. Null if no LAPIC has this bit. Does not allocate. */
    @SuppressWarnings("unchecked") // The map holds what build() was given.
    public @Nullable A member(int destination, int bit) {
        return (A)
                switch (logical) {
                    case FLAT -> flat[bit];
                    case CLUSTERS -> clusters[destination >>> 4 & 0xf][bit];
                    case X2APIC -> physical[(int) firstOfCluster(destination) + bit];
                    case NOBODY, AMBIGUOUS -> null;
                };
    }

    /**
     * Selects one set bit of {@code bits} by the vector, as {@code kvm_vector_to_index()} does. The caller uses {@link
     * #member} to check whether a LAPIC has this bit.
     *
     * @param bits the bits to select from, not 0
     */
    public static int byVector(int bits, int vector) {
        int left = bits;
        for (int skipped = vector % Integer.bitCount(bits); skipped > 0; skipped--) {
            left &= left - 1;
        }
        return Integer.lowestOneBit(left);
    }
}
