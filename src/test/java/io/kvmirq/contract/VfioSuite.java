/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.backend.KernelBackend;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.Parameter;

/** A suite that asks the kernel of a {@link VfioWorld}, which is closed after each test. */
abstract class VfioSuite {
    @Parameter
    VfioWorld vfio;

    World world;
    KernelBackend kernel;

    private @Nullable OpenedDevice e1000e;

    @SuppressWarnings("NullAway.Init")
    VfioSuite() {}

    /** The test's e1000e, opened when it is first asked for. */
    OpenedDevice e1000e() {
        if (e1000e == null) {
            e1000e = vfio.device(TestDevice.E1000E);
        }
        return e1000e;
    }

    /** Skips, with the reason, where this world's kernel cannot be used. */
    @BeforeEach
    void open() {
        world = vfio.world;
        kernel = vfio.kernel();
    }

    @AfterEach
    void close() {
        vfio.closeAll();
    }

    void closeFile(int fd) {
        world.close(fd);
    }
}
