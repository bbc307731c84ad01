/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.Recordings;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ReplayTest {
    @TempDir
    private Path temporary;

    private Path file() {
        return temporary.resolve("recording");
    }

    private static Replay.Outcome replay(Path file, Profile profile) throws IOException {
        try (Replay replay = new Replay(new FakeKernel(profile).backend().libc())) {
            Replay.Outcome outcome = replay.run(file);
            assertThat(replay.unknown()).as("the guest's memory is on the tape").isZero();
            return outcome;
        }
    }

    @ParameterizedTest
    @EnumSource
    void everyScenarioOfTheFakeReplaysOnTheFake(Scenario scenario) throws IOException {
        Path file = Recordings.ofSelftest(file(), Recordings.fake(Profile.V6_18), scenario);
        assertThat(replay(file, Profile.V6_18)).isInstanceOf(Replay.Same.class);
    }

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @EnumSource
    void everyScenarioOfRealKvmReplaysOnTheFake(Scenario scenario) throws IOException {
        Path file = Recordings.ofSelftest(file(), Backends.ofThisMachine().open("jni"), scenario);
        assertThat(replay(file, Profile.V6_18)).isInstanceOf(Replay.Same.class);
    }

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @EnumSource
    void everyScenarioOfRealKvmReplaysOnRealKvm(Scenario scenario) throws IOException {
        long before = Machine.openFds();
        Path file = Recordings.ofSelftest(file(), Backends.ofThisMachine().open("jni"), scenario);
        try (Replay replay = new Replay(Backends.ofThisMachine().open("jni").libc())) {
            assertThat(replay.run(file)).isInstanceOf(Replay.Same.class);
        }
        assertThat(Machine.openFds()).isEqualTo(before);
    }

    @Test
    void eventfdOfTwoVmsDivergesWhereOlderKernelsAllowIt() throws IOException {
        Path file = Recordings.of(file(), Recordings.fake(Profile.V6_18), kernel -> {
            try (Vm one = Vm.create(kernel);
                    Vm other = Vm.create(kernel);
                    EventFd event = EventFd.create(kernel)) {
                one.createIrqchip();
                other.createIrqchip();
                one.assignIrqfd(event, new Gsi(5));
                other.assignIrqfd(event, new Gsi(5));
            } catch (KernelException e) {
                // Busy, since 6.17.
            }
        });
        assertThat(replay(file, Profile.V6_18)).isInstanceOf(Replay.Same.class);
        assertThat(replay(file, Profile.V6_1))
                .hasToString("call 12: vm#2 KVM_IRQFD fd=eventfd#1 gsi=5 = EBUSY: expected EBUSY, got 0; open:"
                        + " eventfd#1, kvm#1, vm#1, vm#2");
    }
}
