/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.apic.LapicPage;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where the kernel looks destinations up, as the LAPICs were when it was drawn; source: {@code struct kvm_apic_map} and
 * {@code kvm_recalculate_apic_map()} in arch/x86/kvm/lapic.c.
 */
final class ApicMap {
    private static final int CLUSTER = 16;

    /** How all LAPICs that are switched on and have a logical id understand logical destinations. */
    enum Logical {
        NOBODY,
        FLAT,
        CLUSTERS,
        X2APIC,
        /** They disagree, or an id is not one bit of one LAPIC. */
        AMBIGUOUS
    }

    private final @Nullable FakeLapic[] physical;
    private final @Nullable FakeLapic[] flat = new FakeLapic[8];
    private final @Nullable FakeLapic[][] clusters = new FakeLapic[16][4];
    private Logical logical = Logical.NOBODY;

    private ApicMap(int highestId) {
        physical = new FakeLapic[highestId + 1];
    }

    /**
     * Absent when two, without 32-bit ids, have the same id.
     *
     * @param firstHasId of such two, as kernels before 6.3 have it
     */
    static Optional<ApicMap> of(List<FakeLapic> lapics, boolean apicIds32Bit, boolean firstHasId) {
        int highest = lapics.stream().mapToInt(FakeLapic::vcpuId).max().orElse(0);
        ApicMap map = new ApicMap(Math.max(highest, Interrupt.BROADCAST));
        for (FakeLapic lapic : lapics) {
            if (!map.addPhysical(lapic, apicIds32Bit) && !firstHasId) {
                return Optional.empty();
            }
            map.addLogical(lapic);
        }
        return Optional.of(map);
    }

    private boolean addPhysical(FakeLapic lapic, boolean apicIds32Bit) {
        if (apicIds32Bit && lapic.vcpuId() > Interrupt.BROADCAST) {
            physical[lapic.vcpuId()] = lapic;
        }
        boolean free = physical[lapic.id()] == null;
        if (free || apicIds32Bit && lapic.isX2apic()) {
            physical[lapic.id()] = lapic;
        }
        return free || apicIds32Bit;
    }

    private void addLogical(FakeLapic lapic) {
        if (logical == Logical.AMBIGUOUS || !lapic.enabled() || lapic.logicalId() == 0) {
            return;
        }
        Logical its = lapic.isX2apic()
                ? Logical.X2APIC
                : lapic.logicalFormat() == LapicPage.DFR_FLAT ? Logical.FLAT : Logical.CLUSTERS;
        if (logical != Logical.NOBODY && logical != its) {
            logical = Logical.AMBIGUOUS;
            return;
        }
        logical = its;
        int id = (int) LapicPage.XAPIC_ID.of(lapic.logicalId());
        int bits = logical == Logical.FLAT ? id : id & 0xf;
        if (logical == Logical.X2APIC || bits == 0) {
            return;
        }
        @Nullable FakeLapic[] members = logical == Logical.FLAT ? flat : clusters[id >>> 4];
        int bit = Integer.numberOfTrailingZeros(bits);
        if (Integer.bitCount(bits) > 1 || members[bit] != null) {
            logical = Logical.AMBIGUOUS;
        } else {
            members[bit] = lapic;
        }
    }

    Logical logical() {
        return logical;
    }

    @Nullable
    FakeLapic physical(int id) {
        return id >= 0 && id < physical.length ? physical[id] : null;
    }

    /** The bits of a logical destination that a LAPIC can have. */
    int bits(int destination) {
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

    /** Who has a bit of a logical destination. */
    @Nullable
    FakeLapic member(int destination, int bit) {
        return switch (logical) {
            case FLAT -> flat[bit];
            case CLUSTERS -> clusters[destination >>> 4 & 0xf][bit];
            case X2APIC -> physical[(int) firstOfCluster(destination) + bit];
            case NOBODY, AMBIGUOUS -> null;
        };
    }
}
