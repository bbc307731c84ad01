/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.Recorder;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FromTapeTest {
    @TempDir
    private Path temporary;

    /** A VMM's start-up: two VMs, and an eventfd that feeds a GSI of the first. */
    private Path startUp(boolean shared) throws IOException {
        Path tape = temporary.resolve("start-up");
        KernelBackend fake = new FakeKernel(Profile.V6_18).backend();
        try (Recorder recorder = Recorder.of(fake, Files.newOutputStream(tape))) {
            Kernel kernel = Kernel.over(recorder.backend());
            Vm first = Vm.create(kernel);
            Vm second = Vm.create(kernel);
            first.createIrqchip();
            second.createIrqchip();
            EventFd event = EventFd.create(kernel);
            first.assignIrqfd(event, new Gsi(5));
            if (shared) {
                assertThatExceptionOfType(KernelException.class)
                        .isThrownBy(() -> second.assignIrqfd(event, new Gsi(5)));
            }
        }
        return tape;
    }

    @Test
    void kernelIsWhereTheStartUpLeftIt() throws IOException {
        FakeKernel fake = FakeKernel.from(startUp(false));
        try (Kernel kernel = fake.open();
                Vm second = Vm.adopt(kernel, fake.descriptor("vm#2"), Ownership.OWNED, List.of(), new Gsi(24));
                EventFd event = EventFd.adopt(kernel, fake.descriptor("eventfd#1"), Ownership.OWNED)) {
            assertThatExceptionOfType(KernelException.class)
                    .isThrownBy(() -> second.assignIrqfd(event, new Gsi(5)))
                    .withMessageContaining("EBUSY");
        }
    }

    @Test
    void kernelThatAnswersOtherwiseIsNotGiven() throws IOException {
        Path tape = startUp(true);
        assertThat(FakeKernel.from(tape, Profile.V7_1).descriptor("vm#1")).isPositive();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> FakeKernel.from(tape, Profile.V6_1))
                .withMessageContaining("vm#2 KVM_IRQFD fd=eventfd#1 gsi=5 = EBUSY: expected EBUSY, got 0");
    }

    @Test
    void fileThatTheTapeDidNotLeaveOpenIsNotFound() throws IOException {
        FakeKernel fake = FakeKernel.from(startUp(false));
        assertIllegalArgument(
                () -> fake.descriptor("vcpu#1"), "the tape left no vcpu#1 open, but [eventfd#1, kvm#1, vm#1, vm#2]");
    }

    /** As of a recorder that was not closed. */
    @Test
    void tapeWithoutItsEndIsNotGiven() throws IOException {
        Path tape = startUp(false);
        List<String> lines = Files.readAllLines(tape);
        Files.write(tape, lines.subList(0, lines.size() - 1));
        assertIllegalArgument(
                () -> FakeKernel.from(tape),
                tape + " has no end: close its Recorder, or record it again; a start-up may lack calls");
    }

    /** As if the real kernel of that profile had answered. A kernel of another version is never the measured one. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {"6.18,pvm | 6.18.44 | 6.18,pvm", "6.18 | 6.18.44 | 6.18", "6.12 | 6.12.90 | 6.12"})
    void capabilitiesShowAKernelWithPvm(String profile, String release, String expected) throws IOException {
        Path tape = temporary.resolve("capabilities");
        KernelBackend fake = new FakeKernel(Profile.of(profile)).backend();
        try (Recorder recorder = Recorder.of(fake, Files.newOutputStream(tape))) {
            int kvm = recorder.backend().kvmOpen(Buffers.cString("/dev/kvm"));
            recorder.backend().capabilityCheck(kvm, Uapi.KVM_CAP_IRQFD);
            recorder.backend().capabilityCheck(kvm, Uapi.KVM_CAP_MAX_VCPUS);
        }
        Files.writeString(
                tape,
                Files.readString(tape)
                        .replaceFirst("\"kernel\":\"[^\"]*\"", "\"kernel\":\"" + release + "\"")
                        .replaceFirst("\"backend\":\"[^\"]*\"", "\"backend\":\"jni\""));
        assertThat(FakeKernel.profileOf(tape)).isEqualTo(Profile.of(expected));
    }

    @Test
    void missingTapeIsSaidToBeMissing() {
        assertThatExceptionOfType(UncheckedIOException.class)
                .isThrownBy(() -> FakeKernel.from(temporary.resolve("none")));
    }
}
