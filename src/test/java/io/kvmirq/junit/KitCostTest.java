/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static io.kvmirq.junit.KvmAssertions.once;
import static io.kvmirq.junit.KvmAssertions.vector;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * What the kit costs a test: time on a CPU, between the start and the end that JUnit reports, and what stays in the
 * process. The time does not depend on what else the machine does; a test on the fake waits for nothing.
 */
class KitCostTest {
    private static final int ROUNDS = 100;
    private static final int A_ROUND = 10;
    private static final double MOST_MILLIS = 1;

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    static class ByHand {
        @RepeatedTest(A_ROUND)
        void test() {
            try (Kernel kernel = new FakeKernel(Profile.V6_18).open();
                    Vm vm = Vm.create(kernel);
                    EventFd event = EventFd.create(kernel)) {
                vm.x86().createIrqchip();
                try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                    vcpu.x86().enableLapic();
                    assertThat(event.drain()).isZero();
                }
            }
        }
    }

    static class WithKit {
        @KvmTest(profiles = {"6.18", "6.18", "6.18", "6.18", "6.18", "6.18", "6.18", "6.18", "6.18", "6.18"})
        void test(KvmHost host, Vm vm, EventFd event) {
            assertThat(event.drain()).isZero();
        }
    }

    static class OnKvm {
        @KvmTest(real = Real.REQUIRED)
        void test(KvmHost host) {
            host.interrupt(0, vector(0x31)).signal();
            KvmAssertions.assertThat(host.vcpu(0)).received(vector(0x31), once());
        }
    }

    private static long cpu() {
        return THREADS.getCurrentThreadCpuTime();
    }

    private static final class Times implements TestExecutionListener {
        private final Map<TestIdentifier, Long> started = new ConcurrentHashMap<>();
        private final List<Long> nanos = new ArrayList<>();

        @Override
        public void executionStarted(TestIdentifier test) {
            started.put(test, cpu());
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            assertThat(result.getStatus()).isEqualTo(TestExecutionResult.Status.SUCCESSFUL);
            if (test.isTest()) {
                nanos.add(cpu() - started.get(test));
            }
        }
    }

    private static final class Runs {
        private final Launcher launcher = LauncherFactory.create(LauncherConfig.builder()
                .enableTestExecutionListenerAutoRegistration(false)
                .build());
        private final LauncherDiscoveryRequest request;
        private final Times times = new Times();

        Runs(Class<?> tests) {
            request = LauncherDiscoveryRequestBuilder.request()
                    .selectors(selectClass(tests))
                    .build();
        }

        void round() {
            launcher.execute(request, times);
        }

        double medianMillis() {
            List<Long> sorted = times.nanos.stream().sorted().toList();
            return sorted.get(sorted.size() / 2) / 1e6;
        }
    }

    @Test
    void addsLessThanAMillisecond() {
        Runs without = new Runs(ByHand.class);
        Runs with = new Runs(WithKit.class);
        for (int i = 0; i < ROUNDS; i++) {
            without.round();
            with.round();
        }
        double byHand = without.medianMillis();
        double kit = with.medianMillis();
        assertThat(kit - byHand)
                .as("%s ms without the kit, %s ms with it", byHand, kit)
                .isLessThan(MOST_MILLIS);
    }

    @RealKvm
    @Test
    void leavesNoDescriptorAndNoThread() {
        Runs onKvm = new Runs(OnKvm.class);
        Runs onFake = new Runs(WithKit.class);
        onKvm.round();
        onFake.round();
        long descriptors = Machine.openFds();
        long threads = threads();
        for (int i = 0; i < 20; i++) {
            onKvm.round();
            onFake.round();
        }
        assertThat(Machine.openFds()).isLessThanOrEqualTo(descriptors);
        assertThat(threads()).isLessThanOrEqualTo(threads);
    }

    /** The threads outside the JVM's own two groups, in which it starts some at will, such as the Attach Listener. */
    private static long threads() {
        return Thread.getAllStackTraces().keySet().stream()
                .map(Thread::getThreadGroup)
                .filter(group -> group != null
                        && !Set.of("system", "InnocuousThreadGroup").contains(group.getName()))
                .count();
    }
}
