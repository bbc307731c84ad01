/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
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

/** {@link Fault} and {@link EveryCallInTurn}. */
class FaultAnnotationsTest {
    static class Second {
        @KvmTest
        @Fault(call = "KVM_IRQFD", nth = 2, errno = "EBUSY")
        void secondIsBusy(Vm vm, EventFd one, EventFd other) {
            try (Irqfd irqfd = vm.assignIrqfd(one, new Gsi(5))) {
                assertThat(irqfd.isMasked()).isFalse();
                assertThatThrownBy(() -> vm.assignIrqfd(other, new Gsi(6)))
                        .isInstanceOfSatisfying(KernelException.class, e -> assertThat(e.errno())
                                .isEqualTo(Errno.EBUSY));
            }
        }

        @KvmTest
        @Fault(call = "KVM_IRQFD", nth = 3, errno = "EBUSY")
        @Fault(call = "KVM_CREATE_VM", errno = "ENOMEM")
        void neverComes(Vm vm, EventFd one) {
            vm.assignIrqfd(one, new Gsi(5)).close();
        }
    }

    @Test
    void theNthCallOfTheTestFailsAndOneThatNeverComesIsSaid() {
        List<Outcome> outcomes = KitRun.of(Second.class);
        assertThat(outcomes.stream().map(Outcome::said))
                .containsExactlyInAnyOrder(
                        "",
                        "the fault of KVM_IRQFD 3 never came: the test made 2 such calls\n"
                                + "the fault of KVM_CREATE_VM 1 never came: the test made 0 such calls");
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
                vm.createIrqchip();
                vm.assignIrqfd(event, new Gsi(5)).close();
            }
        }
    }

    @Test
    void everyCallFailsOnceAndANeatTestPasses() {
        List<Outcome> outcomes = KitRun.of(Neat.class);
        assertThat(outcomes).hasSizeGreaterThan(6).allMatch(one -> one.status().equals("SUCCESSFUL"));
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
            vm.orElseThrow().createIrqchip();
        }

        @AfterEach
        void tearDown() {
            vm.ifPresent(Vm::close);
        }
    }

    @Test
    void aTestWhoseSetUpEndedDoesNotRun() {
        assertThat(KitRun.of(WithSetUp.class)).hasSizeGreaterThan(3).allMatch(one -> one.status()
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
            vm.createIrqchip();
            vm.close();
        }

        @KvmTest
        @EveryCallInTurn(errno = "EBUSY")
        void translates(Kernel kernel) {
            try (Vm vm = Vm.create(kernel)) {
                vm.createIrqchip();
            } catch (KernelException e) {
                throw new IllegalStateException("not of the kernel");
            }
        }
    }

    @Test
    void aRunThatLeavesOrFailsOtherwiseFails() {
        List<Outcome> failures = KitRun.of(Sloppy.class).stream()
                .filter(one -> one.status().equals("FAILED"))
                .toList();
        assertThat(failures)
                .anyMatch(one -> one.name().matches("\\[fake 6\\.12, call \\d+: irqchipCreate fails with ENOMEM]")
                        && one.said().matches(Pattern.quote(one.name()) + " the test left vm.*made at .*"))
                .anyMatch(one -> one.name().matches("\\[fake 6\\.12, call \\d+: irqchipCreate fails with EBUSY]")
                        && one.said().equals(one.name() + " java.lang.IllegalStateException: not of the kernel"));
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
                .hasSizeGreaterThan(3)
                .allMatch(one -> one.status().equals("SUCCESSFUL"))
                .noneMatch(one -> one.name().matches(".*: get[pt]id fails.*"));
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
                .startsWith("[fake 6.12, call 1: eventfdSignal fails with EINTR] nothing called the kernel for 1 s, and"
                        + " the run was interrupted at FaultAnnotationsTest.java:");
    }

    static class Failing {
        @KvmTest
        @EveryCallInTurn(errno = "ENOMEM")
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
                .isEqualTo("@EveryCallInTurn: the test made no call of the kernel, so none can fail");
    }
}
