/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static io.kvmirq.junit.KvmAssertions.vector;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.junit.KitRun.Outcome;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;

/** {@link Fault} and {@link EveryCallInTurn}. */
class FaultAnnotationsTest {
    static class Second {
        @KvmTest
        @Fault(call = "KVM_IRQFD", nth = 2, errno = "EBUSY")
        void secondIsBusy(Vm vm, EventFd event, EventFd other) {
            try (Irqfd irqfd = vm.assignIrqfd(event, new Gsi(5))) {
                assertThat(irqfd.isMasked()).isFalse();
                assertThatThrownBy(() -> vm.assignIrqfd(other, new Gsi(6)))
                        .isInstanceOfSatisfying(KernelException.class, e -> assertThat(e.errno())
                                .isEqualTo(Errno.EBUSY));
            }
        }

        @KvmTest
        @Fault(call = "KVM_IRQFD", nth = 3, errno = "EBUSY")
        @Fault(call = "KVM_CREATE_VM", errno = "ENOMEM")
        void neverComes(Vm vm, EventFd event) {
            vm.assignIrqfd(event, new Gsi(5)).close();
        }
    }

    @Test
    void theNthCallOfTheTestFailsAndOneThatNeverComesIsSaid() {
        List<Outcome> outcomes = KitRun.of(Second.class);
        assertThat(outcomes.stream().map(Outcome::said))
                .containsExactlyInAnyOrder(
                        "",
                        "the fault of KVM_IRQFD 3 did not occur: the test made 2 such calls\n"
                                + "the fault of KVM_CREATE_VM 1 did not occur: the test made 0 such calls");
    }

    static class UnknownNames {
        @KvmTest
        @Fault(call = "KVM_IRQFX", errno = "EBUSY")
        void call() {}

        @KvmTest
        @Fault(call = "KVM_IRQFD", errno = "EBUZY")
        void errno() {}

        @KvmTest
        @Fault(call = "KVM_IRQFD", nth = 0, errno = "EBUSY")
        void nth() {}
    }

    @Test
    void unknownNamesAreOneSentence() {
        assertThat(KitRun.of(UnknownNames.class).stream().map(Outcome::said))
                .anyMatch(said -> said.startsWith("UnknownNames.call: @Fault: no call is named 'KVM_IRQFX': near are ")
                        && said.contains("KVM_IRQFD"))
                .contains(
                        "UnknownNames.errno: @Fault: 'EBUZY' is not an errno: expected a name such as EBUSY",
                        "UnknownNames.nth: @Fault: call 0 is out of range: the first is 1");
    }

    static class Neat {
        @KvmTest
        @EveryCallInTurn(errno = "ENOMEM")
        void undoesAll(Kernel kernel) {
            try (Vm vm = Vm.create(kernel);
                    EventFd event = EventFd.create(kernel)) {
                vm.x86().createIrqchip();
                vm.assignIrqfd(event, new Gsi(5)).close();
            }
        }
    }

    @Test
    void everyCallFailsOnceAndANeatTestPasses() {
        List<Outcome> outcomes = KitRun.of(Neat.class);
        assertThat(outcomes).hasSizeGreaterThan(5).allMatch(outcome -> outcome.status()
                .equals("SUCCESSFUL"));
        assertThat(outcomes.get(0).name()).isEqualTo("[fake 6.12]");
        assertThat(outcomes.get(1).name()).isEqualTo("[fake 6.12, call 1: kvmOpen fails with ENOMEM]");
        assertThat(outcomes.stream().map(Outcome::name))
                .anyMatch(name -> name.matches("\\[fake 6\\.12, call \\d+: irqfdAssign fails with ENOMEM]"));
    }

    static class WithSetUp {
        private static final List<String> RAN = new ArrayList<>();
        private Optional<Vm> vm = Optional.empty();

        @BeforeEach
        void setUp(Kernel kernel) {
            vm = Optional.of(Vm.create(kernel));
        }

        @KvmTest
        @EveryCallInTurn(errno = "ENOMEM")
        void usesIt() {
            RAN.add("with a VM: " + vm.isPresent());
            vm.orElseThrow().x86().createIrqchip();
        }

        @AfterEach
        void tearDown() {
            vm.ifPresent(Vm::close);
        }
    }

    @Test
    void aTestWhoseSetUpEndedDoesNotRun() {
        assertThat(KitRun.of(WithSetUp.class)).hasSizeGreaterThan(3).allMatch(outcome -> outcome.status()
                .equals("SUCCESSFUL"));
        assertThat(WithSetUp.RAN).isNotEmpty().containsOnly("with a VM: true");
    }

    static class WithoutKvm {
        @KvmTest(real = Real.REQUIRED, backend = "none")
        @EveryCallInTurn(errno = "ENOMEM")
        void test() {}
    }

    @Test
    void aWalkThatCannotBeginSaysWhyOnce() {
        assertThat(KitRun.single(WithoutKvm.class).said())
                .startsWith("real KVM cannot be used: ")
                .doesNotContain(" + real KVM");
    }

    static class Sloppy {
        @KvmTest
        @EveryCallInTurn(errno = "ENOMEM")
        void forgetsTheVm(Kernel kernel) {
            Vm vm = Vm.create(kernel);
            vm.x86().createIrqchip();
            vm.close();
        }

        @KvmTest
        @EveryCallInTurn(errno = "EEXIST")
        void translates(Kernel kernel) {
            try (Vm vm = Vm.create(kernel)) {
                vm.x86().createIrqchip();
            } catch (KernelException e) {
                throw new IllegalStateException("not of the kernel");
            }
        }
    }

    @Test
    void aRunThatLeavesOrFailsOtherwiseFails() {
        List<Outcome> failures = KitRun.of(Sloppy.class).stream()
                .filter(outcome -> outcome.status().equals("FAILED"))
                .toList();
        assertThat(failures)
                .anyMatch(outcome -> outcome.name()
                                .matches("\\[fake 6\\.12, call \\d+: irqchipCreate fails with ENOMEM]")
                        && outcome.said().matches(Pattern.quote(outcome.name()) + " the test left vm.*made at .*"))
                .anyMatch(outcome -> outcome.name()
                                .matches("\\[fake 6\\.12, call \\d+: irqchipCreate fails with EEXIST]")
                        && outcome.said()
                                .equals(outcome.name() + " java.lang.IllegalStateException: not of the kernel"));
    }

    static class Kicked {
        @KvmTest
        @EveryCallInTurn(errno = "EINTR")
        void runEndsByAKick(Vcpu vcpu) {
            vcpu.setState(VcpuState.HALTED);
            Thread test = Thread.currentThread();
            AtomicBoolean ended = new AtomicBoolean();
            Thread kicker = new Thread(() -> {
                // Not while it waits for a monitor, as of a class that is loaded: a kick before the run makes other
                // calls.
                while (test.getState() != Thread.State.WAITING && !ended.get()) {
                    Thread.onSpinWait();
                }
                if (!ended.get()) {
                    vcpu.kick();
                }
            });
            kicker.start();
            try {
                assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR); // waits for a kick
            } finally {
                ended.set(true);
            }
        }
    }

    /** Linux never fails getpid and gettid. With the id of no thread, the kick would be lost and the run never end. */
    @Test
    void callsThatCannotFailHaveNoTurn() {
        assertThat(KitRun.of(Kicked.class))
                .hasSizeGreaterThan(2)
                .allMatch(outcome -> outcome.status().equals("SUCCESSFUL"))
                .noneMatch(outcome -> outcome.name().matches(".*: get[pt]id fails.*"));
    }

    static class Waiting {
        @KvmTest
        @EveryCallInTurn(errno = "EINTR")
        void forTheHelper(EventFd event) throws InterruptedException {
            CountDownLatch done = new CountDownLatch(1);
            Thread helper = new Thread(() -> {
                try {
                    event.signal();
                    done.countDown();
                } catch (KernelException e) {
                    // The test waits for ever.
                }
            });
            helper.start();
            done.await();
        }
    }

    @Test
    void aRunThatWaitsForEverIsInterruptedAndNamesTheCallThatFailed() {
        List<Outcome> outcomes = KitRun.of(Waiting.class, Map.of("kvmirq.silence.seconds", "1"));
        assertThat(outcomes.stream().map(Outcome::said).filter(said -> !said.isEmpty()))
                .singleElement()
                .asString()
                .matches(
                        "\\[fake 6\\.12, call 1: eventfdSignal 1 of thread FaultAnnotationsTest\\.java:\\d+ fails with EINTR]"
                                + " nothing called the kernel for 1 s, and the run was interrupted at FaultAnnotationsTest.*");
    }

    static class Failing {
        @KvmTest
        @EveryCallInTurn(errno = "ENOMEM")
        @Fault(call = "KVM_IRQFD", nth = 3, errno = "EBUSY")
        void failsWithoutAFault(Kernel kernel) {
            try (EventFd event = EventFd.create(kernel)) {
                throw new IllegalStateException("as it is: " + (event == null));
            }
        }
    }

    @Test
    void aTestThatFailsWithoutAFaultIsNotWalked() {
        assertThat(KitRun.single(Failing.class).said()).isEqualTo("as it is: false");
    }

    static class WithoutKvmTest {
        @Test
        @Fault(call = "KVM_IRQFD", errno = "EBUSY")
        void one() {}

        @Test
        @Fault(call = "KVM_IRQFD", errno = "EBUSY")
        @Fault(call = "KVM_RUN", errno = "EBUSY")
        void two() {}

        @Test
        @EveryCallInTurn(errno = "ENOMEM")
        void inTurn() {}
    }

    @Test
    void aFaultThatNothingMakesIsRefused() {
        assertThat(KitRun.of(WithoutKvmTest.class).stream().map(Outcome::said))
                .containsExactlyInAnyOrder(
                        "WithoutKvmTest.one: @Fault needs @KvmTest instead of @Test",
                        "WithoutKvmTest.two: @Fault needs @KvmTest instead of @Test",
                        "WithoutKvmTest.inTurn: @EveryCallInTurn needs @KvmTest instead of @Test");
    }

    static class WithoutCalls {
        @KvmTest
        @EveryCallInTurn(errno = "ENOMEM")
        void makesNone() {}
    }

    @Test
    void aTestWithoutCallsProvesNothing() {
        assertThat(KitRun.single(WithoutCalls.class).said())
                .isEqualTo("@EveryCallInTurn: the test made no kernel call, so none can fail");
    }

    /** The end of a VMM: it closes the vCPU, whose thread halts in KVM_RUN, and joins the thread. */
    abstract static class EndOfVmm {
        static void end(Kernel kernel) throws InterruptedException {
            try (Vm vm = Vm.create(kernel)) {
                vm.x86().createIrqchip();
                Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                Thread runner = new Thread(() -> {
                    try {
                        vcpu.moveHere();
                        vcpu.setState(VcpuState.HALTED);
                        vcpu.run();
                    } catch (KernelException | IllegalStateException e) {
                        // The main thread ends all.
                    }
                });
                runner.setDaemon(true);
                runner.start();
                while (runner.getState() != Thread.State.WAITING && runner.isAlive()) {
                    Thread.onSpinWait();
                }
                vcpu.close();
                runner.join();
            }
        }
    }

    static class NoMemory extends EndOfVmm {
        @KvmTest
        @EveryCallInTurn(errno = "ENOMEM")
        void ends(Kernel kernel) throws InterruptedException {
            end(kernel);
        }
    }

    static class NoThread extends EndOfVmm {
        @KvmTest
        @EveryCallInTurn(errno = "ESRCH")
        void ends(Kernel kernel) throws InterruptedException {
            end(kernel);
        }
    }

    /** tgkill(2) allocates, and says EAGAIN if it cannot. The kernel never made ENOMEM of it. */
    @Test
    void callsFailOnlyWithErrnosThatLinuxReturns() {
        assertThat(KitRun.of(NoMemory.class, Map.of("kvmirq.silence.seconds", "1")))
                .hasSizeGreaterThan(5)
                .allMatch(outcome -> outcome.status().equals("SUCCESSFUL"))
                .noneMatch(outcome -> outcome.name().matches(".*: (tgkill|KVM_SET_MP_STATE|fdClose).*"))
                .anyMatch(outcome -> outcome.name().contains(": vmCreate fails with ENOMEM"));
    }

    @Test
    void aKickThatFailsOnceEndsTheRun() {
        assertThat(KitRun.of(NoThread.class, Map.of("kvmirq.silence.seconds", "1")))
                .hasSize(3)
                .allMatch(outcome -> outcome.status().equals("SUCCESSFUL"))
                .anyMatch(outcome -> outcome.name().contains(": tgkill fails with ESRCH"));
    }

    static class NoErrno {
        @KvmTest
        @EveryCallInTurn(errno = "ENOSPC")
        void ofAnyCall(EventFd event) {
            event.signal();
        }

        @KvmTest
        @Fault(call = "tgkill", errno = "ENOMEM")
        void ofTheCall() {}

        @KvmTest
        @Fault(call = "irqfdDeassign", errno = "EBUSY")
        void ofThePrimitive() {}
    }

    @Test
    void anErrnoThatTheCallCannotHaveIsOneSentence() {
        assertThat(KitRun.of(NoErrno.class).stream().map(Outcome::said))
                .containsExactlyInAnyOrder(
                        "@EveryCallInTurn: Linux returns ENOSPC for none of the test's calls: eventfdSignal",
                        "NoErrno.ofTheCall: @Fault: tgkill never fails with ENOMEM in Linux: expected EAGAIN, EINVAL,"
                                + " ESRCH",
                        "NoErrno.ofThePrimitive: @Fault: irqfdDeassign never fails with EBUSY in Linux: expected EBADF,"
                                + " EFAULT, EINVAL, EIO, ENOEXEC, ENOTTY");
    }

    /** Two threads, which come in another order in every other run. */
    static class TwoThreads {
        private static final List<String> SEEN = new ArrayList<>();
        private static int runs;

        @KvmTest
        @EveryCallInTurn(errno = "EINVAL")
        void comeInAnyOrder(Kernel kernel, TestInfo info) throws InterruptedException {
            try (Vm vm = Vm.create(kernel)) {
                vm.x86().createIrqchip();
                Runnable routes = () -> note(info, () -> vm.routes().add(MsiMessage.to(new VcpuId(0), vector(0x31))));
                Runnable line = () -> {
                    note(info, () -> vm.x86().setLine(new Gsi(5), true));
                    note(info, () -> vm.x86().setLine(new Gsi(5), false));
                };
                runs++;
                for (Runnable runnable : runs % 2 == 0 ? List.of(line, routes) : List.of(routes, line)) {
                    Thread thread = new Thread(runnable);
                    thread.start();
                    thread.join();
                }
            }
        }

        private static void note(TestInfo info, Runnable call) {
            try {
                call.run();
            } catch (KernelException e) {
                SEEN.add(info.getDisplayName() + " " + e.getMessage());
            }
        }
    }

    @Test
    void aFailureNamesTheCallAndTheThreadThatFailed() {
        for (int i = 0; i < 4; i++) {
            TwoThreads.SEEN.clear();
            TwoThreads.runs += i % 2;
            assertThat(KitRun.of(TwoThreads.class)).hasSizeGreaterThan(4).allMatch(outcome -> outcome.status()
                    .equals("SUCCESSFUL"));
            assertThat(TwoThreads.SEEN)
                    .hasSize(3)
                    .anyMatch(
                            seen -> seen.matches(
                                    ".*: routesSet 1 of thread FaultAnnotationsTest\\.java:\\d+ fails with EINVAL\\] routes set .*"))
                    .anyMatch(seen ->
                            seen.matches(".*: lineSetStatus 1 of thread .* fails with EINVAL\\] line set .*level=1.*"))
                    .anyMatch(seen ->
                            seen.matches(".*: lineSetStatus 2 of thread .* fails with EINVAL\\] line set .*level=0.*"));
        }
    }

    static class Sometimes {
        private static int runs;

        @KvmTest
        @EveryCallInTurn(errno = "EAGAIN")
        void callsTwiceAtFirst(EventFd event) {
            event.signal();
            if (runs++ == 0) {
                event.signal();
            }
        }
    }

    /** It is no failure of the test, because a scheduler may decide which calls a test makes. */
    @Test
    void aCallThatDoesNotComeAgainIsAborted() {
        assertThat(KitRun.of(Sometimes.class))
                .extracting(Outcome::status)
                .containsExactly("SUCCESSFUL", "SUCCESSFUL", "ABORTED");
    }
}
