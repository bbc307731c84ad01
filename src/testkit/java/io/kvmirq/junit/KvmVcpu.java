/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * A vCPU of a {@link KvmHost} for {@link KvmAssertions} about its interrupts. Get a vCPU from {@link KvmHost#vcpu}.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="test"}
 */
public final class KvmVcpu {
    private final KvmHost host;
    private final VcpuId id;

    KvmVcpu(KvmHost host, VcpuId id) {
        this.host = host;
        this.id = id;
    }

    /** The vCPU's id in its VM. */
    public VcpuId id() {
        return id;
    }

    /**
     * The number of times that the vCPU received a vector since the test began. On the fake kernel every delivery
     * counts, whether the vCPU runs or not. On real KVM the kit's guest counts each vector that it takes, so two
     * interrupts of a vector count once if the second comes before the guest has taken the first.
     *
     * @throws IllegalStateException on the fake kernel, if no VM has had a vCPU with this id; on real KVM, if the kit's
     *     guest does not run on the vCPU
     */
    public int received(InterruptVector vector) {
        requireExisting();
        return received(vector, 0).getOrDefault(vector, 0);
    }

    /** The counts of all vectors. On real KVM it first waits for {@code times} of {@code vector}, up to a second. */
    Map<InterruptVector, Integer> received(InterruptVector vector, int times) {
        if (host.isReal()) {
            return host.guest().received(id, vector, times);
        }
        return host.fake().received(id);
    }

    /** Throws if no vCPU has had the id, because a count of 0 would prove nothing. The real guest checks it itself. */
    void requireExisting() {
        List<VcpuId> all = host.isReal() ? List.of(id) : host.fake().vcpuIds();
        if (!all.contains(id)) {
            String others = all.stream().map(VcpuId::toString).collect(Collectors.joining(", "));
            throw new IllegalStateException("no VM of this test has had a "
                    + (all.isEmpty() ? "vCPU: take a Vm as a parameter, or create one" : id + ", only " + others));
        }
    }

    /** Deliveries of a vector to each vCPU that received it. */
    Map<VcpuId, Integer> receivers(InterruptVector vector) {
        return host.isReal() ? host.guest().receivers(vector) : host.fake().receivers(vector);
    }

    KvmHost host() {
        return host;
    }

    @Override
    public String toString() {
        return id.toString();
    }
}
