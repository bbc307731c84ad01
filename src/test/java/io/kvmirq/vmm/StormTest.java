/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.RoutesNow;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.uapi.Uapi;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.opentest4j.TestAbortedException;

/** A whole VMM under load loses no interrupt, and takes none that nobody sent. */
class StormTest {
    private static final int MSIX = 0x11;

    private static final Storm.Load BRIEF = new Storm.Load(40, 2, 2);
    /** 100 000 interrupts. */
    private static final Storm.Load LONG = new Storm.Load(4_000, 100, 20);
    /** Fewer, because all threads of the fake's VM wait for one lock. */
    private static final Storm.Load LONG_ON_FAKE = new Storm.Load(500, 100, 20);

    private static final int SEED = 6;

    private enum Irqchip {
        FULL,
        SPLIT,
        ADOPTED
    }

    @ParameterizedTest
    @EnumSource
    void fakeGuestTakesWhatWasSent(Irqchip irqchip) {
        onFake("6.18", irqchip, BRIEF);
    }

    @ParameterizedTest
    @CsvSource({"6.18, FULL", "6.18, SPLIT", "6.12, SPLIT"})
    @Tag("long")
    void fakeGuestTakesWhatWasSentForLong(String profile, Irqchip irqchip) {
        onFake(profile, irqchip, LONG_ON_FAKE);
    }

    @ParameterizedTest
    @CsvSource({"jni, FULL", "ffm, SPLIT", "jna, ADOPTED", "jnr, FULL"})
    @RealKvm(fullIrqchip = true)
    void realGuestTakesWhatWasSent(String binding, Irqchip irqchip) {
        onKvm(binding, irqchip, BRIEF);
    }

    @ParameterizedTest
    @CsvSource({
        "jni, FULL",
        "ffm, FULL",
        "jna, FULL",
        "jnr, FULL",
        "jni, SPLIT",
        "ffm, SPLIT",
        "jna, SPLIT",
        "jnr, SPLIT"
    })
    @RealKvm(fullIrqchip = true)
    @Tag("long")
    void realGuestTakesWhatWasSentForLong(String binding, Irqchip irqchip) {
        onKvm(binding, irqchip, LONG);
    }

    private void onFake(String profile, Irqchip irqchip, Storm.Load load) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        FakePciDevice hardware = fake.pciDevice(StormMachine.HOST_DEVICE.toString(), 7)
                .ids(0x1b36, 0x10)
                .express()
                .resettable()
                .intx()
                .bar(0, 0x1000)
                .msix(2)
                .msixTable(0, 0)
                .msixPending(0, 0x800)
                .add();
        try (Kernel kernel = fake.open()) {
            new Storm(SEED, true).run(kind(kernel, irqchip, hardware), load);
            assertThat(fake.lost()).isEmpty();
            assertThat(fake.messages().waiting()).isEmpty();
            assertThat(fake.openDescriptors()).hasSize(1);
        }
    }

    private void onKvm(String binding, Irqchip irqchip, Storm.Load load) {
        KernelBackend backend;
        try {
            backend = Backends.ofThisMachine().open(binding);
        } catch (BackendUnavailableException e) {
            throw new TestAbortedException(e.getMessage());
        }
        try (Kernel kernel = Kernel.over(backend)) {
            new Storm(SEED, false).run(kind(kernel, irqchip, null), load);
            assertThat(kernel.openHandles()).hasSize(1);
        }
    }

    private static StormMachine.Kind kind(Kernel kernel, Irqchip irqchip, @Nullable FakePciDevice hardware) {
        return new StormMachine.Kind(
                kernel, irqchip == Irqchip.SPLIT, hardware, irqchip == Irqchip.ADOPTED ? foreign(kernel) : null);
    }

    /** A VM of other code. */
    private static Vm foreign(Kernel kernel) {
        Libc libc = kernel.libc();
        try (var device = kernel.device().lease()) {
            int vm = libc.ioctl(device.number(), Uapi.KVM_CREATE_VM, 0);
            assertThat(libc.ioctl(vm, Uapi.KVM_CREATE_IRQCHIP, 0)).isZero();
            return Vm.adopt(kernel, vm, Ownership.OWNED, RoutesNow.OF_FULL_IRQCHIP);
        }
    }
}
