/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.Parameter;

/** A suite that asks the kernel of a {@link World}, which is closed after each test. */
abstract class KernelSuite {
    @Parameter
    World world;

    KernelBackend kernel;
    Libc libc;

    private int vm = -1;

    @SuppressWarnings("NullAway.Init")
    KernelSuite() {}

    /** The test's VM with the full irqchip, made when it is first asked for. */
    int vm() {
        vm = vm < 0 ? world.fullVm() : vm;
        return vm;
    }

    /** Skips, with the reason, where this world's kernel cannot be used. */
    @BeforeEach
    void open() {
        kernel = world.kernel();
        libc = kernel.libc();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }
}
