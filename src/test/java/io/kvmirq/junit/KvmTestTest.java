/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static io.kvmirq.junit.KvmAssertions.exactly;
import static io.kvmirq.junit.KvmAssertions.notAtAll;
import static io.kvmirq.junit.KvmAssertions.once;
import static io.kvmirq.junit.KvmAssertions.vector;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.junit.KitRun.Outcome;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.opentest4j.TestAbortedException;

/** Runs, parameters, leaks and mistakes of {@link KvmTest}. The classes of tests in it are run by these tests alone. */
class KvmTestTest {
    private static List<String> statuses(List<Outcome> outcomes) {
        return outcomes.stream()
                .map(outcome -> outcome.name() + " " + outcome.status())
                .toList();
    }

    /** {@code KvmTestTest.java:12}, for the line that ends with a comment. */
    private static String line(String comment) throws IOException {
        List<String> lines =
                Files.readAllLines(Machine.root().resolve("src/test/java/io/kvmirq/junit/KvmTestTest.java"));
        List<Integer> found = new ArrayList<>();
        for (int i = 0; i < lines.size(); i++) {
            if (lines.get(i).endsWith("// " + comment)) {
                found.add(i + 1);
            }
        }
        assertThat(found).hasSize(1);
        return "KvmTestTest.java:" + found.get(0);
    }

    // Failures

    static class Failing {
        @KvmTest
        void throwsWithALostAndAWaitingMessage(KvmHost host, VfioDevice nic, FakePciDevice device) {
            Irqfd irqfd = host.vm().maskedIrqfd(host.eventFd(), new Gsi(5));
            irqfd.event().signal();
            host.fake().pciDevice("0000:04:00.0", 2).msix(1).add().sendMessage(0);
            throw new IllegalStateException("of the test");
        }
    }

    @Test
    void failureHasWhatTheKitKnowsAsOneSuppressed() {
        Outcome outcome = KitRun.single(Failing.class);
        assertThat(outcome.status()).isEqualTo("FAILED");
        assertThat(outcome.said().split(" \\+ ")).hasSize(2);
        assertThat(outcome.said())
                .startsWith("of the test + lost: vector 0 of 0000:04:00.0 was not sent: ")
                .contains("\nwaits: eventfd ", "\nthe test left ");
    }

    static class FailingWithNothingToSay {
        @KvmTest
        void throwsAfterAnInterrupt(KvmHost host) {
            host.interrupt(0, vector(0x31)).signal();
            throw new IllegalStateException("of the test");
        }

        @KvmTest
        void assertsWhatTheKitKnows(KvmHost host, FakePciDevice device) {
            device.sendMessage(3);
            KvmAssertions.assertThat(host).lostNothing();
        }

        @KvmTest
        void aborts(KvmHost host, FakePciDevice device) {
            device.sendMessage(3);
            throw new TestAbortedException("of the test");
        }
    }

    @Test
    void failureThatSaysAllHasNothingSuppressed() {
        assertThat(KitRun.of(FailingWithNothingToSay.class))
                .hasSize(3)
                .allSatisfy(outcome -> assertThat(outcome.said()).doesNotContain(" + "))
                .extracting(Outcome::status)
                .containsExactlyInAnyOrder("FAILED", "FAILED", "ABORTED");
    }

    // Runs

    static class ByProfile {
        private static final Set<String> KERNELS = ConcurrentHashMap.newKeySet();

        @KvmTest(profiles = {"6.1", "vtd-posting", "amd-avic"})
        void runs(FakeKernel fake) {
            KERNELS.add(fake.toString());
        }
    }

    @Test
    void eachProfileIsARunOfItsName() {
        assertThat(statuses(KitRun.of(ByProfile.class)))
                .containsExactly(
                        "[fake 6.1] SUCCESSFUL", "[fake vtd-posting] SUCCESSFUL", "[fake amd-avic] SUCCESSFUL");
        assertThat(ByProfile.KERNELS)
                .containsExactlyInAnyOrder(
                        "fake kernel 6.1", "fake kernel 6.18,vtd-posting", "fake kernel 6.18,amd-avic");
    }

    @KvmTest(profiles = {"6.1", "6.12"})
    static class OfTheClass {
        @KvmTest
        void takesTheClass() {}

        @KvmTest(profiles = "7.1")
        void hasItsOwn() {}
    }

    @Test
    void aMethodTakesTheSettingsOfItsClass() {
        assertThat(statuses(KitRun.of(OfTheClass.class)))
                .containsExactlyInAnyOrder("[fake 6.1] SUCCESSFUL", "[fake 6.12] SUCCESSFUL", "[fake 7.1] SUCCESSFUL");
    }

    @KvmTest(profiles = "6.1", vcpus = 2)
    static class Outer {
        @Nested
        class Inner {
            @KvmTest
            void takesTheOuterClass(Vm vm, Vcpu first, Vcpu second) {}
        }

        @Nested
        @KvmTest(profiles = "6.12")
        class WithItsOwn {
            @KvmTest
            void takesItsOwn(Vcpu first) {}

            @Interleavings
            void takesItsOwnToo(Actors actors) {
                actors.add("device", () -> {});
            }
        }
    }

    @Test
    void aNestedClassTakesTheSettingsOfTheOneAroundIt() {
        assertThat(KitRun.of(Outer.class).stream().map(outcome -> outcome.name() + outcome.said()))
                .containsExactlyInAnyOrder("[fake 6.1]", "[fake 6.12]", "[fake 6.12]");
    }

    static class TakesItsVcpuTooEarly {
        @BeforeEach
        void before(Vcpu vcpu) {
            assertThat(vcpu.isWithinInstruction()).isFalse();
        }

        @KvmTest(real = Real.REQUIRED)
        void test() {}
    }

    @io.kvmirq.testing.RealKvm
    @Test
    void onKvmAVcpuIsOfTheTestMethodOrOfTheGuest() {
        assertThat(KitRun.single(TakesItsVcpuTooEarly.class).said())
                .contains("the kit's guest runs the vCPUs of this test: the test method itself takes a parameter Vcpu"
                        + " where the test runs them");
    }

    static class WithoutBinding {
        @KvmTest(real = Real.IF_PRESENT, backend = "none")
        void asksPolitely(KvmHost host) {
            assertThat(host.isReal()).isFalse();
        }

        @KvmTest(real = Real.REQUIRED, backend = "none")
        void insists() {}
    }

    @Test
    void withoutKvmARunIsDisabledOrFailsForTheSameReason() {
        List<Outcome> outcomes = KitRun.of(WithoutBinding.class);
        assertThat(outcomes.stream().map(Outcome::status)).containsExactlyInAnyOrder("SUCCESSFUL", "SKIPPED", "FAILED");
        assertThat(outcomes.stream().filter(outcome -> !outcome.status().equals("SUCCESSFUL")))
                .hasSize(2)
                .allSatisfy(outcome -> {
                    assertThat(outcome.name()).startsWith("[real KVM");
                    assertThat(outcome.said())
                            .containsOnlyOnce("real KVM cannot be used: ")
                            .contains("none");
                });
    }

    @io.kvmirq.testing.RealKvm
    @Test
    void onKvmTheRunNamesKernelAndBinding() {
        assertThat(KitRun.of(OnBoth.class)).hasSize(2).allSatisfy(outcome -> {
            assertThat(outcome.status()).as(outcome.said()).isEqualTo("SUCCESSFUL");
            assertThat(outcome.name()).matches("\\[fake 6\\.12]|\\[real KVM \\d+\\.\\d+ through \\w+]");
        });
    }

    static class OnBoth {
        @KvmTest(real = Real.IF_PRESENT, vcpus = 2)
        void countsEach(KvmHost host) {
            EventFd first = host.interrupt(0, vector(0x31));
            EventFd second = host.interrupt(1, vector(0x32));
            first.signal();
            KvmAssertions.assertThat(host.vcpu(0)).received(vector(0x31), once());
            first.signal();
            second.signal();
            KvmAssertions.assertThat(host.vcpu(0))
                    .received(vector(0x31), exactly(2))
                    .received(vector(0x32), notAtAll());
            KvmAssertions.assertThat(host.vcpu(1))
                    .received(vector(0x32), once())
                    .received(vector(0x31), notAtAll());
            KvmAssertions.assertThat(host).commits(0).calls("KVM_IRQFD", 0);
        }
    }

    // Parameters

    static class AllParameters {
        private Kernel ofBefore;

        @BeforeEach
        void before(Kernel kernel) {
            ofBefore = kernel;
        }

        @KvmTest(vcpus = 2)
        void all(
                KvmHost host,
                Kernel kernel,
                Vm vm,
                Vcpu first,
                Vcpu second,
                EventFd event,
                EventFd other,
                FakeKernel fake,
                FakePciDevice device,
                VfioDevice vfio,
                Faults faults) {
            assertThat(kernel).isSameAs(host.kernel()).isSameAs(ofBefore);
            assertThat(vm).isSameAs(host.vm());
            assertThat(first.x86().isRequested(vector(0x31))).isFalse();
            assertThat(second).isNotSameAs(first);
            assertThat(other).isNotSameAs(event);
            assertThat(fake).isSameAs(host.fake());
            assertThat(vfio.name()).isEqualTo(device.address());
            assertThat(faults.calls()).as("calls of the kit do not count").containsOnly("KVM_GET_LAPIC");
        }
    }

    @Test
    void everyParameterIsGiven() {
        Outcome outcome = KitRun.single(AllParameters.class);
        assertThat(outcome.said()).isEmpty();
    }

    // Leaks

    static class Leaks {
        private static final List<Thread> SILENT = new CopyOnWriteArrayList<>();

        @KvmTest
        void eventFd(Kernel kernel) {
            EventFd.create(kernel); // leaks an eventfd
        }

        @KvmTest
        void irqfd(Vm vm, EventFd event) {
            vm.assignIrqfd(event, new Gsi(5)); // leaks an irqfd
        }

        @KvmTest
        void irqfds(Vm vm, EventFd event, EventFd other) {
            vm.assignIrqfds(List.of(event, other), List.of(new Gsi(6), new Gsi(7))); // leaks two irqfds
        }

        @KvmTest
        void ioEventFd(Vm vm, EventFd event) {
            vm.assignIoEventFd(IoAddress.port(0x80, 1), event); // leaks an ioeventfd
        }

        @KvmTest
        void silentThread() {
            Thread waiting = new Thread(
                    () -> {
                        try {
                            new CountDownLatch(1).await(); // waits for nothing
                        } catch (InterruptedException e) {
                            // Ends.
                        }
                    },
                    "never calls");
            SILENT.add(waiting);
            waiting.start();
            while (waiting.getState() != Thread.State.WAITING) {
                Thread.onSpinWait();
            }
        }

        @KvmTest
        void route(Vm vm) {
            vm.routes().add(MsiMessage.to(new VcpuId(0), vector(0x31))); // leaks a route
        }

        @KvmTest
        void thread(Kernel kernel) {
            EventFd event = EventFd.create(kernel);
            Thread waiting = new Thread(
                    () -> {
                        event.signal(); // first call of a thread
                        Object never = new Object();
                        synchronized (never) {
                            try {
                                never.wait();
                            } catch (InterruptedException e) {
                                // Ends.
                            }
                        }
                    },
                    "waits forever");
            waiting.setDaemon(true);
            waiting.start();
            while (event.drain() == 0) {
                Thread.onSpinWait();
            }
            event.close();
        }

        @KvmTest
        void vmInHelper(Kernel kernel) {
            new LeakyVmm(kernel); // through a VMM
        }
    }

    private static String said(List<Outcome> outcomes, String part) {
        List<String> with = outcomes.stream()
                .map(Outcome::said)
                .filter(said -> said.contains(part))
                .toList();
        assertThat(with).as(part + " in " + outcomes).hasSize(1);
        return with.get(0);
    }

    @Test
    void aLeakNamesTheThingAndItsLine() throws IOException {
        List<Outcome> outcomes = KitRun.of(Leaks.class);
        Leaks.SILENT.forEach(Thread::interrupt);
        assertThat(outcomes).hasSize(8).allMatch(outcome -> outcome.status().equals("FAILED"));
        assertThat(said(outcomes, line("leaks an eventfd")))
                .matches("the test left eventfd \\(fd \\d+\\), made at " + line("leaks an eventfd"));
        assertThat(said(outcomes, line("leaks an irqfd")))
                .matches("the test left irqfd \\(eventfd fd \\d+ → GSI 5\\), assigned at " + line("leaks an irqfd"));
        assertThat(said(outcomes, line("leaks two irqfds")))
                .matches("the test left irqfd .* → GSI 6\\), assigned at " + line("leaks two irqfds")
                        + "\nthe test left irqfd .* → GSI 7\\), assigned at " + line("leaks two irqfds"));
        assertThat(said(outcomes, line("leaks an ioeventfd")))
                .matches("the test left ioeventfd \\(0x80 → eventfd fd \\d+\\), assigned at "
                        + line("leaks an ioeventfd"));
        assertThat(said(outcomes, line("waits for nothing")))
                .isEqualTo("the test left thread never calls, which never called the kernel and is at "
                        + line("waits for nothing"));
        assertThat(said(outcomes, line("leaks a route")))
                .isEqualTo("the test left the route of gsi 24 in the kit's Vm, made at " + line("leaks a route"));
        assertThat(said(outcomes, line("first call of a thread")))
                .isEqualTo("the test left thread waits forever, which first called the kernel at "
                        + line("first call of a thread"));
        assertThat(said(outcomes, line("through a VMM"))).contains(", made at LeakyVmm.java:");
    }

    static class Interrupted {
        @KvmTest
        void itsThreadEndsSoon(Kernel kernel) {
            EventFd event = EventFd.create(kernel);
            new Thread(() -> {
                        event.signal();
                        LockSupport.parkNanos(50_000_000);
                    })
                    .start();
            while (event.drain() == 0) {
                Thread.onSpinWait();
            }
            event.close();
            Thread.currentThread().interrupt();
        }
    }

    @Test
    void aThreadHasTimeToEndAlsoWhenTheTestWasInterrupted() {
        try {
            assertThat(KitRun.single(Interrupted.class).said()).isEmpty();
        } finally {
            Thread.interrupted();
        }
    }

    static class LeaksAndFails {
        @KvmTest
        void both(Kernel kernel) {
            EventFd.create(kernel);
            throw new IllegalStateException("of the test");
        }
    }

    @Test
    void aLeakOfATestThatFailedIsAddedToItsFailure() {
        assertThat(KitRun.single(LeaksAndFails.class).said()).startsWith("of the test + the test left eventfd (fd ");
    }

    static class Neat {
        @KvmTest(profiles = {"6.1", "6.18", "6.18,split", "7.1", "vtd-posting", "amd-avic", "6.18,arm64", "6.12,cdev"})
        void leavesNothing(KvmHost host) {
            host.vm();
            host.eventFd();
            host.vfio();
        }

        @KvmTest
        void closesItsOwn(Vm vm, EventFd event) {
            Gsi gsi = vm.routes().add(MsiMessage.to(new VcpuId(0), vector(0x31)));
            try (Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
                assertThat(irqfd.gsi()).isEqualTo(gsi);
            }
            vm.routes().remove(gsi);
        }
    }

    @Test
    void theKitLeavesNothingItself() {
        assertThat(KitRun.of(Neat.class)).hasSize(9).allSatisfy(outcome -> assertThat(outcome.said())
                .as(outcome.name())
                .isEmpty());
    }

    // Mistakes

    static class ClosesTheKits {
        @KvmTest
        void vm(Vm vm) {
            vm.close();
        }

        @KvmTest
        void kernel(Kernel kernel) {
            kernel.close();
        }

        @KvmTest
        void event(EventFd event) {
            event.close();
        }

        @KvmTest
        void vcpu(Vcpu vcpu) {
            vcpu.close();
        }

        @KvmTest
        void device(VfioDevice device) {
            device.close();
        }
    }

    @Test
    void whatTheKitGaveIsTheKitsToClose() {
        assertThat(KitRun.of(ClosesTheKits.class).stream().map(Outcome::said).collect(Collectors.toSet()))
                .isEqualTo(Set.of("Vm", "Kernel", "EventFd", "Vcpu", "VfioDevice").stream()
                        .map(name -> "the test closed the " + name
                                + " that the kit passed to it: leave that to the kit, which closes it after the test")
                        .collect(Collectors.toSet()));
    }

    static class UnknownProfile {
        @KvmTest(profiles = "6.2")
        void test() {}
    }

    @Test
    void anUnknownProfileListsTheKnownOnes() {
        assertThat(KitRun.single(UnknownProfile.class).said())
                .isEqualTo("UnknownProfile.test: @KvmTest: profile '6.2' is unknown: expected one of "
                        + Profile.expected());
    }

    static class FakeOnReal {
        @KvmTest(real = Real.REQUIRED)
        void test(FakeKernel fake) {}
    }

    @Test
    void realKvmHasNoFakeKernel() {
        assertThat(KitRun.single(FakeOnReal.class).said())
                .isEqualTo("FakeOnReal.test: @KvmTest(real = REQUIRED) with a parameter FakeKernel, which real KVM does"
                        + " not have: set real = NEVER, or take a KvmHost");
    }

    static class TwoRunners {
        @KvmTest
        @ParameterizedTest
        @ValueSource(ints = 1)
        void test(int value) {}
    }

    static class TwoExtensions {
        @RegisterExtension
        static final KvmExtension SECOND = new KvmExtension();

        @KvmTest
        void test() {}
    }

    @Test
    void twoRunnersAtOnceAreRefused() {
        assertThat(KitRun.of(TwoRunners.class).stream().map(Outcome::said))
                .contains("TwoRunners.test: @KvmTest and @ParameterizedTest both run the method: choose one of them");
    }

    @Test
    void anExtensionRegisteredTwiceIsOne() {
        assertThat(statuses(KitRun.of(TwoExtensions.class))).containsExactly("[fake 6.12] SUCCESSFUL");
    }

    static class ActorsOfKvmTest {
        @KvmTest
        void test(Actors actors) {}
    }

    @Test
    void actorsAreOfInterleavings() {
        assertThat(KitRun.single(ActorsOfKvmTest.class).said())
                .contains("ActorsOfKvmTest.test: a parameter Actors is passed to a method with @Interleavings instead"
                        + " of @KvmTest");
    }

    static class NoSuchVcpu {
        @KvmTest(vcpus = 2)
        void test(KvmHost host) {
            host.interrupt(2, vector(0x31));
        }
    }

    @Test
    void anInterruptOfAVcpuThatIsNotThereIsRefused() {
        assertThat(KitRun.single(NoSuchVcpu.class).said())
                .isEqualTo("the kit's Vm has no vcpu 2: its first is 0, and vcpus of @KvmTest is 2");
    }

    @KvmTest
    static class PlainTest {
        @Test
        void test(Vm vm) {}
    }

    @Test
    void aParameterOfAPlainTestIsRefused() {
        assertThat(KitRun.single(PlainTest.class).said())
                .contains("PlainTest.test: a parameter Vm is passed to a method with @KvmTest instead of @Test");
    }

    // Parallel

    static class Parallel {
        @KvmTest(profiles = {"6.1", "6.12", "6.18", "7.1", "6.18,split", "vtd-posting", "amd-avic", "6.18,cdev"})
        void countsItsOwn(KvmHost host) {
            for (int i = 0; i < 20; i++) {
                host.interrupt(0, vector(0x31)).signal();
            }
            KvmAssertions.assertThat(host.vcpu(0)).received(vector(0x31), exactly(20));
        }

        @KvmTest(profiles = {"6.1", "6.12", "6.18", "7.1"})
        void leavesItsOwn(Kernel kernel) {
            EventFd.create(kernel);
        }
    }

    @Test
    void testsMayRunInParallel() {
        Map<String, Long> byStatus = KitRun.of(
                        Parallel.class,
                        Map.of(
                                "junit.jupiter.execution.parallel.enabled", "true",
                                "junit.jupiter.execution.parallel.mode.default", "concurrent",
                                "junit.jupiter.execution.parallel.config.strategy", "fixed",
                                "junit.jupiter.execution.parallel.config.fixed.parallelism", "4"))
                .stream()
                .collect(Collectors.groupingBy(Outcome::status, Collectors.counting()));
        assertThat(byStatus).isEqualTo(Map.of("SUCCESSFUL", 8L, "FAILED", 4L));
    }
}
