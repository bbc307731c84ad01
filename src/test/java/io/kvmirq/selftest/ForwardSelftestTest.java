/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static io.kvmirq.testing.Refusals.assertIllegalState;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.selftest.ForwardSelftest.Choice;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Devices of fake kernels, whose interrupts are forwarded into a throwaway VM. */
class ForwardSelftestTest {
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    private static final MirrorHost UNKNOWN = MirrorHost.unknown("nothing is known");

    @AutoClose
    private final Undo made = new Undo();

    private final Faults faults = new Faults();
    private final List<ForwardAnswer> heard = new ArrayList<>();
    private final ForwardSelftest.Listener journal = new ForwardSelftest.Listener() {
        @Override
        public void begin(ForwardPlan plan) {
            assertThat(heard).isEmpty();
        }

        @Override
        public void answered(ForwardAnswer answer) {
            heard.add(answer);
        }
    };

    private Kernel kernel(String profile, UnaryOperator<FakePciDevice.Builder> shape) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        shape.apply(fake.pciDevice(NIC.toString(), 15)).add();
        return made.add(Kernel.over(faults.over(fake.backend())));
    }

    private ForwardResult run(Kernel kernel, Choice choice) {
        return new ForwardSelftest(kernel, NIC, () -> Mirror.create(UNKNOWN), choice, journal).run();
    }

    private static Choice of(IrqKind kind) {
        return new Choice(Optional.of(kind), 0, Optional.empty());
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.18", "6.18,split", "7.1,cdev", "6.1,arm64", "gicv4"})
    void everyVectorArrivesOnceInRoundsAndNothingIsLeft(String profile) {
        int vectors = 2 * ForwardTarget.AT_ONCE + 1;
        Kernel kernel = kernel(profile, device -> device.intx().msi(4).msix(vectors));
        ForwardResult result = run(kernel, Choice.ALL);
        assertThat(result.failure()).isEmpty();
        assertThat(result.left()).isEmpty();
        assertThat(result.passed()).isTrue();
        assertThat(result.plan().kind()).isEqualTo(IrqKind.MSIX);
        assertThat(result.plan().rounds()).isEqualTo(3);
        assertThat(result.answers()).isEqualTo(heard);
        assertThat(heard)
                .extracting(ForwardAnswer::vector)
                .isEqualTo(IntStream.range(0, vectors).boxed().toList());
        assertThat(heard).allSatisfy(answer -> {
            assertThat(answer.arrived()).isEqualTo(1);
            assertThat(answer.mechanism()).isEqualTo(Mechanism.IRQFD);
            assertThat(answer.predicted()).isInstanceOf(Posting.Unknown.class);
        });
        assertThat(kernel.openHandles()).containsExactly("/dev/kvm (fd 3)");
    }

    /** As many as MSI-X can have. Where vectors can be added, the host needs those of one round and vector 0. */
    @ParameterizedTest
    @CsvSource({"6.12, 193", "6.1, 2048"})
    void largestTableIsTested(String profile, int onHost) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        fake.pciDevice(NIC.toString(), 15).msix(2048).add();
        fake.limitVectors(onHost);
        Kernel kernel = made.add(fake.open());
        ForwardResult result = run(kernel, Choice.ALL);
        assertThat(result.failure()).isEmpty();
        assertThat(result.answered()).isEqualTo(2048);
    }

    @Test
    void lastVectorsOfTheLargestTableAreTestedOnArm64() {
        FakeKernel fake = new FakeKernel(Profile.parse("gicv3"));
        fake.pciDevice(NIC.toString(), 15).msix(2048).add();
        fake.limitVectors(2048);
        Kernel kernel = made.add(fake.open());
        ForwardResult result = run(kernel, new Choice(Optional.empty(), 2046, Optional.of(2)));
        assertThat(result.failure()).isEmpty();
        assertThat(heard).extracting(ForwardAnswer::target).containsExactly("LPI 10238", "LPI 10239");
    }

    @Test
    void hostWithTooFewVectorsIsToldAfterThoseThatItHas() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.1"));
        fake.pciDevice(NIC.toString(), 15).msix(512).add();
        fake.limitVectors(200);
        Kernel kernel = made.add(fake.open());
        ForwardResult result = run(kernel, Choice.ALL);
        assertThat(result.answered()).isEqualTo(ForwardTarget.AT_ONCE);
        assertThat(result.failure())
                .hasValueSatisfying(failure -> assertThat(failure).contains("only vectors 0-199 are available"));
        assertThat(result.left()).isEmpty();
    }

    @ParameterizedTest
    @CsvSource({"6.12, vector 0x30", "6.12 arm64, SPI 42"})
    void deviceWithoutMessagesIsTestedByItsLine(String profile, String target) {
        Kernel kernel = kernel(profile.replace(' ', ','), FakePciDevice.Builder::intx);
        ForwardResult result = run(kernel, Choice.ALL);
        assertThat(result.failure()).isEmpty();
        assertThat(result.passed()).isTrue();
        assertThat(heard).singleElement().satisfies(answer -> {
            assertThat(answer.kind()).isEqualTo(IrqKind.INTX);
            assertThat(answer.mechanism()).isEqualTo(Mechanism.RESAMPLE);
            assertThat(answer.target()).isEqualTo(target);
        });
    }

    /** The guest counts an interrupt before its EOI: the next one waits for the answer, which follows the EOI. */
    @Test
    void lineIsTriggeredAgainOnlyAfterTheEoi() {
        Kernel kernel = kernel("6.12", FakePciDevice.Builder::intx);
        try (GuestTarget target = new GuestTarget(kernel, Irqchip.FULL, Patience.USUAL);
                EventFd interrupt = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel);
                Irqfd irqfd = target.vm().assignLevelIrqfd(interrupt, resample, target.line())) {
            target.start();
            for (int i = 0; i < 2000; i++) {
                assertThat(target.lineArrivals(irqfd.event()::signal))
                        .as("round " + i)
                        .isEqualTo(1);
            }
        }
    }

    @Test
    void kindAndRangeAreChosen() {
        Kernel kernel = kernel("6.12", device -> device.intx().msi(8).msix(64));
        ForwardResult result = run(kernel, new Choice(Optional.of(IrqKind.MSI), 2, Optional.of(3)));
        assertThat(result.passed()).isTrue();
        assertThat(result.plan().inDevice()).isEqualTo(8);
        assertThat(heard).extracting(ForwardAnswer::vector).containsExactly(2, 3, 4);
    }

    @Test
    void interruptsThatTheDeviceDoesNotHaveAreRefused() {
        Kernel kernel = kernel("6.12", device -> device.msix(4));
        assertThatThrownBy(() -> run(kernel, new Choice(Optional.empty(), 3, Optional.of(2))))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("do not exist: the device has MSI-X 0-3");
        assertThatThrownBy(() -> run(kernel, of(IrqKind.INTX))).hasMessageEndingWith("has no INTx");
        assertThatThrownBy(() -> run(kernel, of(IrqKind.MSI))).hasMessageEndingWith("has no MSI");
        assertThat(kernel.openHandles()).hasSize(1);
        Kernel bare = kernel("6.12", device -> device);
        assertThatThrownBy(() -> run(bare, Choice.ALL))
                .hasMessage("0000:3b:00.0 has no interrupts: neither MSI-X, MSI nor INTx");
        assertThat(heard).isEmpty();
    }

    @Test
    void lineNeedsTheFullIrqchip() {
        Kernel kernel = kernel("6.18,split", FakePciDevice.Builder::intx);
        ForwardResult result = run(kernel, Choice.ALL);
        assertThat(result.passed()).isFalse();
        assertThat(result.failure())
                .hasValueSatisfying(failure -> assertThat(failure).startsWith("INTx needs an in-kernel IOAPIC pin"));
        assertThat(result.left()).isEmpty();
    }

    @Test
    void deviceInUseIsRefusedAndNothingIsLeft() {
        Kernel kernel = kernel("6.12", device -> device.msix(4));
        try (VfioDevice inUse = VfioDevice.open(kernel, NIC)) {
            kernel.device();
            List<String> before = kernel.openHandles();
            refused(Errno.EBUSY, () -> run(kernel, Choice.ALL));
            assertThat(kernel.openHandles()).isEqualTo(before);
            assertThat(inUse.fd().isClosed()).isFalse();
        }
    }

    @Test
    void withoutKvmNothingIsOpened() {
        Kernel kernel = kernel("6.12", device -> device.msix(4));
        faults.fail("kvmOpen", 1, Errno.ENOENT);
        assertThatThrownBy(() -> run(kernel, Choice.ALL))
                .isInstanceOf(KernelException.class)
                .hasMessageStartingWith("open /dev/kvm: ENOENT");
        assertThat(kernel.openHandles()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"irqfdAssign", "routesSet", "eventfdCreate", "vfioIrqsSet"})
    void refusalIsAFailureAndNothingIsLeft(String call) {
        Kernel kernel = kernel("6.12", device -> device.msix(4));
        faults.fail(call, call.equals("eventfdCreate") ? 3 : 1, Errno.EINVAL);
        ForwardResult result = run(kernel, Choice.ALL);
        assertThat(result.failure())
                .hasValueSatisfying(failure -> assertThat(failure).contains("EINVAL"));
        assertThat(result.passed()).isFalse();
        assertThat(result.left()).isEmpty();
        assertThat(kernel.openHandles()).hasSize(1);
    }

    /** The routes do not reach the kernel: the interrupt is lost, and the test says so. */
    @Test
    void lostInterruptIsFound() {
        Kernel kernel = kernel("6.12", device -> device.msix(4));
        faults.shorten("routesSet", 1, 0);
        Choice choice = new Choice(Optional.empty(), 0, Optional.of(1));
        Duration patience = Duration.ofMillis(200);
        ForwardResult result =
                new ForwardSelftest(kernel, NIC, () -> Mirror.create(UNKNOWN), choice, journal, patience).run();
        assertThat(result.failure()).isEmpty();
        assertThat(result.answered()).isZero();
        assertThat(result.passed()).isFalse();
        assertThat(result.left()).isEmpty();
    }

    @Test
    void handleThatIsLeftIsTold() {
        Kernel kernel = kernel("6.12", device -> device.msix(1));
        List<EventFd> left = new ArrayList<>();
        ForwardSelftest.Listener careless = new ForwardSelftest.Listener() {
            @Override
            public void begin(ForwardPlan plan) {
                left.add(EventFd.create(kernel));
            }

            @Override
            public void answered(ForwardAnswer answer) {}
        };
        ForwardResult result =
                new ForwardSelftest(kernel, NIC, () -> Mirror.create(UNKNOWN), Choice.ALL, careless).run();
        assertThat(result.answered()).isEqualTo(1);
        assertThat(result.left()).containsExactly(left.get(0).toString());
        assertThat(result.passed()).isFalse();
        left.get(0).close();
    }

    /** As Ctrl-C does it: when stop returns, nothing is open. */
    @ParameterizedTest
    @ValueSource(strings = {"6.12", "gicv3"})
    void stopReturnsWhenNothingIsLeft(String profile) throws InterruptedException {
        Kernel kernel = kernel(profile, device -> device.msix(2048));
        ForwardSelftest[] selftest = new ForwardSelftest[1];
        List<String> open = new ArrayList<>(List.of("not stopped"));
        Thread hook = new Thread(() -> {
            selftest[0].stop();
            open.clear();
            open.addAll(kernel.openHandles());
        });
        ForwardSelftest.Listener stopping = new ForwardSelftest.Listener() {
            @Override
            public void begin(ForwardPlan plan) {
                hook.start();
            }

            @Override
            public void answered(ForwardAnswer answer) {
                heard.add(answer);
            }
        };
        selftest[0] = new ForwardSelftest(kernel, NIC, () -> Mirror.create(UNKNOWN), Choice.ALL, stopping);
        ForwardResult result = selftest[0].run();
        hook.join();
        assertThat(open).hasSize(1);
        assertThat(result.passed()).isFalse();
        assertThat(result.failure()).hasValue("the self-test was stopped");
    }

    @Test
    void testThatWasStoppedBeforeDoesNotBegin() {
        Kernel kernel = kernel("6.12", device -> device.msix(1));
        ForwardSelftest selftest = new ForwardSelftest(kernel, NIC, () -> Mirror.create(UNKNOWN), Choice.ALL, journal);
        selftest.stop();
        assertIllegalState(selftest::run, "the self-test was stopped");
        assertThat(kernel.openHandles()).hasSize(1);
    }
}
