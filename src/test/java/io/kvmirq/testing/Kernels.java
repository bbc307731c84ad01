/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.kernel.Kernel;

/** Where a test of the typed objects runs. */
public enum Kernels {
    FAKE,
    /** Skipped, with the reason, where this machine's KVM cannot be opened or has no full irqchip. */
    REAL;

    public KernelBackend backend() {
        if (this == FAKE) {
            return new FakeKernel(Machine.profile()).backend();
        }
        Machine.kvmFlaw().or(Machine::irqchipFlaw).ifPresent(flaw -> assumeTrue(false, flaw));
        return Backends.ofThisMachine().open(Backends.AUTO);
    }

    public Kernel open() {
        return Kernel.over(backend());
    }
}
