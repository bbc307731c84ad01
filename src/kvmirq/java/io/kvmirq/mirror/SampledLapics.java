/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.LocalApic;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/** Samples of the ids that a guest gives its LAPICs. A message is decided only when all LAPICs were sampled. */
final class SampledLapics {
    private final Map<VcpuId, LapicSample> samples = new HashMap<>();

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

    /** @return whether the ids are others than before */
    boolean put(VcpuId vcpu, LapicSample sample) {
        LapicSample before = samples.put(vcpu, sample);
        return before == null || !before.agrees(sample);
    }

    void remove(VcpuId vcpu) {
        samples.remove(vcpu);
    }

    boolean isEmpty() {
        return samples.isEmpty();
    }

    /** The first vCPU whose LAPIC was not sampled. */
    Optional<VcpuId> missing(Collection<VcpuId> vcpus) {
        return vcpus.stream().filter(vcpu -> !samples.containsKey(vcpu)).findFirst();
    }

    /** The LAPICs of vCPUs that were all sampled. */
    List<LocalApic> of(Collection<VcpuId> vcpus) {
        return vcpus.stream()
                .<LocalApic>map(vcpu -> new Sampled(vcpu.number(), Objects.requireNonNull(samples.get(vcpu))))
                .toList();
    }

    Map<VcpuId, LapicSample> copy() {
        return Map.copyOf(samples);
    }
}
