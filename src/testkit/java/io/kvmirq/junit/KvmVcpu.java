/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import java.util.Map;

/** A vCPU of the host of a test, for {@link KvmAssertions}. Get it from {@link KvmHost#vcpu}. */
public final class KvmVcpu {
    private final KvmHost host;
    private final VcpuId id;

    KvmVcpu(KvmHost host, VcpuId id) {
        this.host = host;
        this.id = id;
    }

    /** The id in its VM. */
    public VcpuId id() {
        return id;
    }

    /**
     * The number of times that it got a vector since the test began. On the fake kernel every delivery counts, whether
     * the vCPU runs or not. On real KVM it is the number of times that the kit's guest took the vector: two requests
     * that came before the guest took the first count once.
     *
     * @throws IllegalStateException on real KVM, if the kit's guest does not run on the vCPU
     */
    public int received(InterruptVector vector) {
        return received(vector, 0).getOrDefault(vector, 0);
    }

    /** All vectors; on real KVM it waits for so many of one first. */
    Map<InterruptVector, Integer> received(InterruptVector vector, int times) {
        if (host.isReal()) {
            return host.guest().received(id, vector, times);
        }
        return host.fake().received(id);
    }

    KvmHost host() {
        return host;
    }

    @Override
    public String toString() {
        return id.toString();
    }
}
