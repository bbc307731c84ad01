/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.LocalApic;
import java.time.Instant;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * The vCPUs' LAPICs. APIC ids follow from the set-up, so physical messages are predicted without a sample, but the
 * guest chooses logical ids, so logical messages are predicted only when all LAPICs were sampled.
 */
final class SampledLapics {
    /** The highest xAPIC id, just below the broadcast id. A higher vCPU id can be addressed only in x2APIC mode. */
    private static final int LAST_XAPIC_ID = 0xfe;
    /** The vCPU whose APIC id is xAPIC mode's broadcast id. */
    private static final VcpuId NAMED_AS_BROADCAST = new VcpuId(ApicMessage.BROADCAST);

    /** The vCPUs in creation order, like KVM's indices. */
    private final Set<VcpuId> vcpus = new LinkedHashSet<>();

    private final Map<VcpuId, LapicSample> samples = new HashMap<>();
    /** The LAPICs whose ids may have changed since the last sample. */
    private final Set<VcpuId> unseen = new HashSet<>();
    /** Whether events report all vCPUs, so that a VM without a reported vCPU has no vCPU. */
    private boolean complete;
    /** Whether destination 255 is the broadcast even in x2APIC mode. */
    private boolean quirk = true;

    /** A sampled LAPIC. In x2APIC mode the logical id follows from the APIC id. */
    private record Sampled(int vcpuId, LapicSample sample) implements LocalApic {
        @Override
        public int id() {
            return sample.id();
        }

        @Override
        public boolean enabled() {
            return sample.enabled();
        }

        @Override
        public boolean isPresent() {
            return sample.mode() != LapicSample.Mode.OFF;
        }

        @Override
        public boolean isX2apic() {
            return sample.mode() == LapicSample.Mode.X2APIC;
        }

        @Override
        public int logicalId() {
            return isX2apic() ? LapicIds.x2apic(id()).logicalId() : sample.logicalId();
        }

        @Override
        public int logicalFormat() {
            return sample.logicalFormat();
        }
    }

    /** @return whether the vCPU is new */
    boolean add(VcpuId vcpu) {
        return vcpus.add(vcpu);
    }

    /** @return whether the vCPU was known */
    boolean remove(VcpuId vcpu) {
        samples.remove(vcpu);
        return vcpus.remove(vcpu);
    }

    void complete() {
        complete = true;
    }

    /** Whether the VM's vCPUs are known. */
    boolean isKnown() {
        return complete || !vcpus.isEmpty();
    }

    Set<VcpuId> vcpus() {
        return vcpus;
    }

    boolean quirk() {
        return quirk;
    }

    /** @return whether the quirk was enabled */
    boolean endQuirk() {
        boolean before = quirk;
        quirk = false;
        return before;
    }

    /** @return whether the known ids changed */
    boolean put(VcpuId vcpu, LapicSample sample) {
        boolean unknown = unseen.remove(vcpu);
        LapicSample before = samples.put(vcpu, sample);
        return unknown || before == null || !before.agrees(sample);
    }

    /** @return whether the ids were known */
    boolean forget(VcpuId vcpu) {
        return unseen.add(vcpu) && samples.containsKey(vcpu);
    }

    boolean isSampled() {
        return samples.keySet().containsAll(vcpus);
    }

    /** Whether all LAPICs' ids are currently known. */
    boolean isCurrent() {
        return isKnown() && isSampled() && Collections.disjoint(vcpus, unseen);
    }

    /**
     * The destinations of physical messages, by sampled ids, or by the set-up's ids for a LAPIC without a sample. A
     * LAPIC that was off when sampled counts as on, because a guest starts its processors one after another.
     */
    Destinations<LocalApic> setUp(boolean apicIds32Bit) {
        boolean x2apic = !quirk && vcpus.contains(NAMED_AS_BROADCAST);
        return new Destinations<>(
                vcpus.stream()
                        .map(vcpu -> {
                            LapicSample sample = samples.get(vcpu);
                            return sample == null || sample.mode() == LapicSample.Mode.OFF
                                    ? lapic(vcpu, x2apic)
                                    : new Sampled(vcpu.number(), sample);
                        })
                        .toList(),
                apicIds32Bit,
                quirk,
                true);
    }

    private static LocalApic lapic(VcpuId vcpu, boolean x2apic) {
        return x2apic || vcpu.number() > LAST_XAPIC_ID
                ? LapicIds.x2apic(vcpu.number())
                : LapicIds.flat(vcpu.number(), 0);
    }

    /** The destinations by all LAPICs' sampled ids. */
    Destinations<LocalApic> sampled(boolean apicIds32Bit) {
        return new Destinations<>(
                vcpus.stream()
                        .<LocalApic>map(vcpu -> new Sampled(vcpu.number(), Objects.requireNonNull(samples.get(vcpu))))
                        .toList(),
                apicIds32Bit,
                quirk,
                true);
    }

    Map<VcpuId, LapicSample> samples() {
        return Map.copyOf(samples);
    }

    /** The time of the oldest sample. Empty unless all LAPICs were sampled. */
    Optional<Instant> taken() {
        return isSampled()
                ? samples.values().stream().map(LapicSample::taken).min(Comparator.naturalOrder())
                : Optional.empty();
    }
}
