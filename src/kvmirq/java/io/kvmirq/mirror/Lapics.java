/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.LocalApic;
import java.time.Instant;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * The LAPICs of the vCPUs. The set-up decides the APIC ids, so that physical messages need no sample. The guest chooses
 * logical ids: samples decide logical messages, when all LAPICs were sampled.
 */
final class Lapics {
    /** xAPIC ids end below the broadcast. A vCPU with a higher number needs x2APIC mode to be reached. */
    private static final int LAST_XAPIC_ID = 0xfe;
    /** Its APIC id is the broadcast of xAPIC mode. */
    private static final VcpuId NAMED_AS_BROADCAST = new VcpuId(ApicMessage.BROADCAST);

    private final Set<VcpuId> vcpus = new TreeSet<>(Comparator.comparingInt(VcpuId::number));
    private final Map<VcpuId, LapicSample> samples = new HashMap<>();
    /** Whether destination 255 is the broadcast in x2APIC mode, too. */
    private boolean quirk = true;

    /** A LAPIC as it was sampled. In x2APIC mode the logical id follows from the APIC id. */
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

    /** @return whether it is new */
    boolean add(VcpuId vcpu) {
        return vcpus.add(vcpu);
    }

    /** @return whether it was there */
    boolean remove(VcpuId vcpu) {
        samples.remove(vcpu);
        return vcpus.remove(vcpu);
    }

    Set<VcpuId> vcpus() {
        return vcpus;
    }

    boolean quirk() {
        return quirk;
    }

    /** @return whether it was on */
    boolean endQuirk() {
        boolean before = quirk;
        quirk = false;
        return before;
    }

    /** @return whether the ids are others than before */
    boolean put(VcpuId vcpu, LapicSample sample) {
        LapicSample before = samples.put(vcpu, sample);
        return before == null || !before.agrees(sample);
    }

    boolean isSampled() {
        return samples.keySet().containsAll(vcpus);
    }

    /** As the set-up decides them. */
    Destinations<LocalApic> setUp(boolean apicIds32Bit) {
        boolean x2apic = !quirk && vcpus.contains(NAMED_AS_BROADCAST);
        return new Destinations<>(
                vcpus.stream().map(vcpu -> lapic(vcpu, x2apic)).toList(), apicIds32Bit, quirk, true);
    }

    private static LocalApic lapic(VcpuId vcpu, boolean x2apic) {
        return x2apic || vcpu.number() > LAST_XAPIC_ID
                ? LapicIds.x2apic(vcpu.number())
                : LapicIds.flat(vcpu.number(), 0);
    }

    /** As they were sampled, all of them. */
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

    /** When the oldest of all ids was read; empty if a LAPIC was not. */
    Optional<Instant> taken() {
        return isSampled()
                ? samples.values().stream().map(LapicSample::taken).min(Comparator.naturalOrder())
                : Optional.empty();
    }
}
