/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Latches;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.testing.Warnings;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;

/** What a program has done wrong is logged before its Kernel is closed, which no log handler can prevent. */
class ReportsTest {
    private static final List<String> SAID = List.of("first", "second");

    /** @param inHandler what the log handler does while another thread closes the kernel */
    private static void assertCloseWaits(Kernel kernel, Runnable inHandler) {
        Thread closing = Thread.currentThread();
        AtomicBoolean closed = new AtomicBoolean();
        List<Boolean> loggedBefore = new CopyOnWriteArrayList<>();
        Warnings.of(
                () -> {
                    while (closing.getState() != Thread.State.TIMED_WAITING && !closed.get()) {
                        Thread.onSpinWait();
                    }
                    inHandler.run();
                    loggedBefore.add(!closed.get());
                },
                () -> {
                    SAID.forEach(mistake -> kernel.reports().warnOnce(mistake, mistake));
                    kernel.close();
                    closed.set(true);
                });
        assertThat(loggedBefore).containsExactly(true, true);
    }

    @OnBothKernels
    void closeWaitsForAllWarnings(Kernels kernels) {
        assertCloseWaits(kernels.open(), () -> {});
    }

    @OnBothKernels
    void logHandlerMayCloseTheKernel(Kernels kernels) {
        Kernel kernel = kernels.open();
        assertCloseWaits(kernel, kernel::close);
    }

    @OnBothKernels
    void logHandlerThatBlocksDoesNotKeepTheKernelFromClosing(Kernels kernels) {
        CountDownLatch closed = new CountDownLatch(1);
        Kernel kernel = kernels.open();
        assertThat(Warnings.of(() -> Latches.await(closed), () -> {
                    SAID.forEach(mistake -> kernel.reports().warnOnce(mistake, mistake));
                    kernel.close();
                    closed.countDown();
                }))
                .isEqualTo(SAID);
    }
}
