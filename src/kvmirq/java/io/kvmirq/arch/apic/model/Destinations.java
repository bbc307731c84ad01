/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Finds the LAPICs that match a message's destination, from their state when this object was built. Immutable.
 *
 * @param <A> the LAPICs' type
 */
public final class Destinations<A extends LocalApic> {
    private final List<A> lapics;
    private final boolean apicIds32Bit;
    private final boolean quirk;
    private final boolean vectorHashing;
    private final Optional<ApicMap<A>> map;
    private final Optional<ApicMap<A>> mapBefore63;

    /**
     * Builds KVM's map from the LAPICs' current ids and modes.
     *
     * @param lapics the LAPICs of the VM's vCPUs, sorted by vCPU index
     * @param apicIds32Bit whether the VM uses 32-bit APIC ids (KVM_X2APIC_API_USE_32BIT_IDS)
     * @param quirk whether 0xff is a broadcast even in x2APIC mode, which it is until
     *     KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK
     * @param vectorHashing the module parameter kvm.vector_hashing, which is on by default
     */
    public Destinations(List<A> lapics, boolean apicIds32Bit, boolean quirk, boolean vectorHashing) {
        this.lapics = List.copyOf(lapics);
        this.apicIds32Bit = apicIds32Bit;
        this.quirk = quirk;
        this.vectorHashing = vectorHashing;
        this.map = ApicMap.build(this.lapics, apicIds32Bit, false);
        this.mapBefore63 = ApicMap.build(this.lapics, apicIds32Bit, true);
    }

    /**
     * The reasons for which the LAPICs' ids inhibit APIC virtualization ({@code kvm_recalculate_apic_map}, {@code
     * avic_init_backing_page}).
     */
    public Set<InhibitReason> inhibits(PostingHost host) {
        Set<InhibitReason> reasons = EnumSet.noneOf(InhibitReason.class);
        boolean knows = host.kernel().isSince(6, 3);
        if (knows && map.isEmpty()) {
            reasons.add(InhibitReason.PHYSICAL_ID_ALIASED);
        }
        if (knows && (map.isEmpty() || map.get().logical() == ApicMap.Logical.AMBIGUOUS)) {
            reasons.add(InhibitReason.LOGICAL_ID_ALIASED);
        }
        if (lapics.stream().anyMatch(Destinations::hasChangedId)) {
            reasons.add(InhibitReason.APIC_ID_MODIFIED);
        }
        if (lapics.stream().anyMatch(lapic -> lapic.vcpuId() > host.highestAvicId())) {
            reasons.add(InhibitReason.PHYSICAL_ID_TOO_BIG);
        }
        return reasons;
    }

    private static boolean hasChangedId(LocalApic lapic) {
        return !lapic.isX2apic() && lapic.id() != (lapic.vcpuId() & ApicMessage.BROADCAST);
    }

    /**
     * The LAPIC to which KVM posts a message. This is the only LAPIC in KVM's map entry or, if the map has no entry,
     * the only LAPIC that matches the destination. A lowest-priority message to a logical destination is first narrowed
     * to one LAPIC ({@code kvm_intr_is_single_vcpu}).
     *
     * @return the LAPIC, or empty if no LAPIC or several LAPICs match
     */
    public Optional<A> single(ApicMessage message) {
        return single(message, LinuxVersion.NEWEST);
    }

    /** Returns the LAPIC as {@link #single(ApicMessage)} does, but by the rules of Linux {@code kernel}. */
    public Optional<A> single(ApicMessage message, LinuxVersion kernel) {
        Optional<A> looked = mapped(message, kernel);
        if (looked.isPresent()) {
            return looked;
        }
        List<A> meant = meant(message);
        return meant.size() == 1 ? Optional.of(meant.get(0)) : Optional.empty();
    }

    /** The only LAPIC that the map has for a message. Empty if the map does not determine the LAPIC. */
    public Optional<A> mapped(ApicMessage message, LinuxVersion kernel) {
        return (kernel.isSince(6, 3) ? map : mapBefore63).flatMap(known -> byMap(message, known));
    }

    private Optional<A> byMap(ApicMessage message, ApicMap<A> known) {
        int destination = message.destination(apicIds32Bit);
        if (known.isBroadcast(destination, quirk)) {
            return Optional.empty();
        }
        if (!message.logical()) {
            return Optional.ofNullable(known.physical(destination));
        }
        int bits = known.bits(destination);
        if (message.isLowestPriority() && bits != 0) {
            bits = vectorHashing ? ApicMap.byVector(bits, message.vector()) : byPriority(bits, destination, known);
        }
        return Integer.bitCount(bits) == 1
                ? Optional.ofNullable(known.member(destination, Integer.numberOfTrailingZeros(bits)))
                : Optional.empty();
    }

    /** @return the bit of the first LAPIC with the lowest arbitration priority, or 0 if no LAPIC has a bit */
    private int byPriority(int bits, int destination, ApicMap<A> known) {
        int lowest = 0;
        long priority = Long.MAX_VALUE;
        for (int left = bits; left != 0; left &= left - 1) {
            A member = known.member(destination, Integer.numberOfTrailingZeros(left));
            if (member != null && member.arbitrationPriority() < priority) {
                lowest = Integer.lowestOneBit(left);
                priority = member.arbitrationPriority();
            }
        }
        return lowest;
    }

    /** All LAPICs that match a message's destination, each checked separately by {@link LocalApic#isFor}. */
    public List<A> meant(ApicMessage message) {
        int destination = message.destination(apicIds32Bit);
        return lapics.stream()
                .filter(lapic -> lapic.isPresent() && lapic.isFor(destination, message.logical(), quirk))
                .toList();
    }
}
