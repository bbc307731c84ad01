/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.recording.Faults;
import java.util.Optional;

/** Makes fresh hosts. The caller ends each with {@link KvmHost#end}. */
final class KvmHosts {
    private KvmHosts() {}

    /** A host on a fake kernel. */
    static KvmHost open(Profile profile, Faults faults) {
        return open(profile, faults, KvmHost.Plan.DEFAULT);
    }

    static KvmHost open(Profile profile, Faults faults, KvmHost.Plan plan) {
        FakeKernel fake = new FakeKernel(profile);
        return new KvmHost(Optional.of(fake), fake.backend(), faults, plan);
    }

    static KvmHost open(KernelBackend real, Faults faults, KvmHost.Plan plan) {
        return new KvmHost(Optional.empty(), real, faults, plan);
    }
}
