/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.NotPromised;
import io.kvmirq.backend.BackendProvider;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeProvider;

/**
 * Provides the fake kernel to kvmirq if {@code -Dkvmirq.backend=fake} or {@code KVMIRQ_BACKEND=fake} selects it. Each
 * time the fake kernel is selected, a WARNING goes to the logger {@code io.kvmirq}. Thread-safe.
 */
@NotPromised
public final class FakeFromOutside implements BackendProvider {
    /** Called by {@link java.util.ServiceLoader}. */
    public FakeFromOutside() {}

    @Override
    public String name() {
        return new FakeProvider().name();
    }

    @Override
    public boolean isSelectedFromOutside() {
        return true;
    }

    @Override
    public KernelBackend open() {
        KernelBackend fake = new FakeProvider().open();
        System.getLogger("io.kvmirq")
                .log(
                        System.Logger.Level.WARNING,
                        "-Dkvmirq.backend or $KVMIRQ_BACKEND selects the fake kernel " + fake.description()
                                + ": no interrupt of this process is real");
        return fake;
    }
}
