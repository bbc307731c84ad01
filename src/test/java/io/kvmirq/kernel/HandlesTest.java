/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.testing.CpuTime;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.Warnings;
import java.nio.file.Path;
import java.text.MessageFormat;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@RealKvm
class HandlesTest {
    /** The collector decides when; the report comes with the first new handle after it. */
    @Test
    void forgottenHandleIsReportedAndNotClosed() {
        List<String> said = new CopyOnWriteArrayList<>();
        Logger logger = Logger.getLogger("io.kvmirq");
        Handler handler = recorder(said);
        logger.addHandler(handler);
        logger.setUseParentHandlers(false);
        try (Kernel kernel = Kernel.open()) {
            kernel.traceHandles(() -> "MyVmm.java:33");
            int forgotten = forget(kernel);
            Duration limit = CpuTime.ofThread().plusSeconds(60);
            while (said.isEmpty() && CpuTime.ofThread().compareTo(limit) < 0) {
                System.gc();
                EventFd.create(kernel).close();
            }
            assertThat(said)
                    .singleElement()
                    .asString()
                    .startsWith("eventfd (fd " + forgotten + "), made at MyVmm.java:33 was never closed");
            assertThat(kernel.backend().eventfdSignal(forgotten, 1)).isZero();
            kernel.backend().fdClose(forgotten);
        } finally {
            logger.removeHandler(handler);
            logger.setUseParentHandlers(true);
        }
    }

    @Test
    void manyThatWereMadeTogetherAreOneReport() {
        try (Kernel kernel = new FakeKernel(Profile.V6_12).open()) {
            EventFd.createAll(kernel, 200);
            List<String> said = new ArrayList<>();
            Duration limit = CpuTime.ofThread().plusSeconds(60);
            while (said.isEmpty() && CpuTime.ofThread().compareTo(limit) < 0) {
                System.gc();
                said.addAll(Warnings.of(() -> EventFd.create(kernel).close()));
            }
            assertThat(said)
                    .singleElement()
                    .asString()
                    .contains(" and 199 more that were made with it were never closed and stay open");
        }
    }

    /** A handler of the user that throws fails no call of the library, and leaves no descriptor. */
    @Test
    void logHandlerThatThrowsLeaksNothing() {
        List<String> said = new CopyOnWriteArrayList<>();
        Logger logger = Logger.getLogger("io.kvmirq");
        Handler handler = recorder(new ArrayList<>() {
            @Override
            public boolean add(String message) {
                said.add(message);
                throw new IllegalStateException("no disk");
            }
        });
        logger.addHandler(handler);
        logger.setUseParentHandlers(false);
        try (Kernel kernel = Kernel.open()) {
            int forgotten = forget(kernel);
            long before = Machine.openFds();
            Duration limit = CpuTime.ofThread().plusSeconds(60);
            while (said.isEmpty() && CpuTime.ofThread().compareTo(limit) < 0) {
                System.gc();
                EventFd.create(kernel).close();
            }
            assertThat(said).hasSize(1);
            assertThat(Machine.openFds()).isEqualTo(before);
            kernel.backend().fdClose(forgotten);
        } finally {
            logger.removeHandler(handler);
            logger.setUseParentHandlers(true);
        }
    }

    /** Nor does a failing handler of the debug message keep the kernel from closing. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void closeOfTheKernelIgnoresALogHandlerThatThrows(boolean isError) {
        Logger logger = Logger.getLogger("io.kvmirq");
        List<String> said = new CopyOnWriteArrayList<>();
        Handler handler = recorder(new ArrayList<>() {
            @Override
            public boolean add(String message) {
                said.add(message);
                if (isError) {
                    throw new AssertionError("no disk");
                }
                throw new IllegalStateException("no disk");
            }
        });
        logger.addHandler(handler);
        logger.setUseParentHandlers(false);
        logger.setLevel(Level.ALL);
        try {
            Kernel kernel = Kernel.open();
            try (EventFd left = EventFd.create(kernel)) {
                kernel.close();
                assertThat(said).containsExactly("kernel closed before [" + left + "], which their owners close");
            }
        } finally {
            logger.removeHandler(handler);
            logger.setUseParentHandlers(true);
            logger.setLevel(null);
        }
    }

    @Test
    void openHandlesAreThoseThatAreNotReleasedWhateverTheOrder() {
        int[][] orders = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        for (int[] order : orders) {
            try (Kernel kernel = Kernel.open()) {
                List<EventFd> events = List.of(EventFd.create(kernel), EventFd.create(kernel), EventFd.create(kernel));
                List<String> open = new ArrayList<>(
                        events.stream().map(EventFd::toString).sorted().toList());
                assertThat(kernel.handles().stillOpen()).isEqualTo(open);
                for (int next : order) {
                    events.get(next).close();
                    events.get(next).close();
                    open.remove(events.get(next).toString());
                    assertThat(kernel.handles().stillOpen()).isEqualTo(open);
                }
            }
        }
    }

    private static int forget(Kernel kernel) {
        Fd fd = EventFd.create(kernel).fd();
        int number = fd.enter();
        fd.exit();
        return number;
    }

    private static Handler recorder(List<String> said) {
        return new Handler() {
            @Override
            public void publish(LogRecord record) {
                said.add(MessageFormat.format(record.getMessage(), record.getParameters()));
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
    }

    /** A process of which the last act is a mistake. */
    public static final class Mistaken {
        public static void main(String[] arguments) {
            // java.util.logging makes its handlers at the first use, and none once the JVM ends.
            Logger.getLogger("").getHandlers();
            if (arguments[0].equals("blocked")) {
                Logger.getLogger("").addHandler(recorder(new ArrayList<>() {
                    @Override
                    public boolean add(String message) {
                        while (true) {
                            LockSupport.park();
                        }
                    }
                }));
            }
            try (Kernel kernel = new FakeKernel(Profile.V6_12).open()) {
                kernel.reports().warn("the last words", null);
            }
            if (arguments[0].equals("exit")) {
                System.exit(0);
            }
        }
    }

    /** A log that is there until the JVM has ended: that of the JDK takes its handlers away while hooks still run. */
    public static final class LastingLog extends LogManager {
        @Override
        public void reset() {}
    }

    /** Also where the handler of the log never returns, the process ends. */
    @ParameterizedTest
    @ValueSource(strings = {"exit", "return", "blocked"})
    void processThatEndsSaysItsLastWarning(String how) throws Exception {
        List<String> java = List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Djava.util.logging.manager=" + LastingLog.class.getName(),
                "-cp",
                System.getProperty("java.class.path"),
                Mistaken.class.getName(),
                how);
        assertThat(Program.output(java)).contains("the last words");
    }
}
