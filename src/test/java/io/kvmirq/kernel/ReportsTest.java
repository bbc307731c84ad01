/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.CpuTime;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Latches;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.testing.Warnings;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

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

    /** On the fake, because the descriptors stay open. */
    @ParameterizedTest
    @CsvSource({"INFO, 5", "FINE, 200"})
    void forgottenHandlesOfOneKindHaveFewWarnings(String level, int named) {
        Logger logger = Logger.getLogger("io.kvmirq");
        logger.setLevel(Level.parse(level));
        List<String> said;
        try {
            said = Warnings.of(ReportsTest::forgetManyVms);
        } finally {
            logger.setLevel(null);
        }
        assertThat(said).filteredOn(text -> text.contains(" was never closed")).hasSize(named);
        assertThat(said)
                .filteredOn(text -> text.contains("(vm)"))
                .containsExactly(
                        "more warnings of forgotten handles (vm) go to level DEBUG; Kernel.close logs their number",
                        "195 more warnings of forgotten handles (vm) went to level DEBUG of the logger io.kvmirq");
    }

    private static void forgetManyVms() {
        try (Kernel kernel = new FakeKernel(Profile.V6_12).open()) {
            for (int i = 0; i < 200; i++) {
                Vm.create(kernel);
            }
            Duration limit = CpuTime.ofThread().plusSeconds(60);
            while (kernel.openHandles().size() > 1 && CpuTime.ofThread().compareTo(limit) < 0) {
                System.gc();
                EventFd.create(kernel).close();
            }
        }
    }

    @Test
    void logHandlerThatBlocksDoesNotKeepTheKernelFromClosing() {
        CountDownLatch closed = new CountDownLatch(1);
        Kernel kernel = new FakeKernel(Profile.V6_12).open();
        assertThat(Warnings.of(() -> Latches.await(closed), () -> {
                    SAID.forEach(mistake -> kernel.reports().warnOnce(mistake, mistake));
                    kernel.close();
                    closed.countDown();
                }))
                .isEqualTo(SAID);
    }
}
