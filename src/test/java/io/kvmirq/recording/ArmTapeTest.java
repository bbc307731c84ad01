/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.replay.Replay;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Tapes of VGICs: the values of attributes are on them. */
class ArmTapeTest {
    private static final Profile ARM64 = Profile.of("6.12,arm64");

    @TempDir
    private Path temporary;

    private Path file() {
        return temporary.resolve("recording");
    }

    private static Replay.Outcome replay(Path file) throws IOException {
        try (Replay replay = new Replay(new FakeKernel(ARM64).backend().libc())) {
            return replay.run(file);
        }
    }

    @Test
    void registersOfADistributorAreNoFilesOfVfio() {
        Path file = Recordings.of(file(), Recordings.fake(ARM64), kernel -> {
            try (Vm vm = Vm.create(kernel);
                    Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    VgicV3 vgic = vm.createVgicV3();
                    Its its = vm.createIts()) {
                vcpu.initialize();
                vgic.setDistributor(0x800_0000);
                vgic.setRedistributors(0x80a_0000);
                vgic.init();
                vgic.writeDistributor(0x104, 0x10);
                its.setAddress(0x808_0000);
            }
        });
        List<String> text = Recordings.text(file);
        assertThat(text).noneMatch(line -> line.contains("VFIO"));
        assertThat(text)
                .anyMatch(line -> line.startsWith("device#1 KVM_SET_DEVICE_ATTR group=1 attr=260 value=0x10"))
                .anyMatch(line -> line.startsWith("device#2 KVM_SET_DEVICE_ATTR group=0 attr=4 value=0x8080000"));
    }

    /** As if a real host with this GIC had answered. */
    private Path ofRealHost(String profile, Consumer<KernelBackend> program) throws IOException {
        Path file = file();
        try (Recorder recorder = Recorder.of(Recordings.fake(Profile.of(profile)), Files.newOutputStream(file))) {
            program.accept(recorder.backend());
        }
        return Files.writeString(
                file,
                Files.readString(file)
                        .replaceFirst("\"arch\":\"[^\"]*\"", "\"arch\":\"aarch64\"")
                        .replaceFirst("\"kernel\":\"[^\"]*\"", "\"kernel\":\"6.12.48\"")
                        .replaceFirst("\"backend\":\"[^\"]*\"", "\"backend\":\"jni\""));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {"6.12,gicv2 | 6.12,gicv2", "6.12,arm64 | 6.12,arm64"})
    void callsShowAHostWithAGicV2(String host, String profile) throws IOException {
        Path device = ofRealHost(host, backend -> {
            try (Kernel kernel = Kernel.over(backend);
                    Vm vm = Vm.create(kernel)) {
                KvmDevice vgic = vm.supports(KvmDevice.Type.VGIC_V3) ? vm.createVgicV3() : vm.createVgicV2();
                vgic.close();
            }
        });
        assertThat(FakeKernel.profileOf(device)).isEqualTo(Profile.of(profile));
        Path capability = ofRealHost(
                host,
                backend ->
                        backend.capabilityCheck(backend.kvmOpen(Buffers.cString("/dev/kvm")), Uapi.KVM_CAP_MAX_VCPUS));
        assertThat(FakeKernel.profileOf(capability)).isEqualTo(Profile.of(profile));
        assertThat(FakeKernel.profileOf(ofRealHost(host, backend -> {}))).isEqualTo(ARM64);
    }

    @ParameterizedTest
    @EnumSource
    void everyScenarioOfArm64Replays(Scenario scenario) throws IOException {
        Path file = Recordings.ofSelftest(file(), Recordings.fake(ARM64), scenario, Irqchip.PENDING);
        assertThat(FakeKernel.profileOf(file)).isEqualTo(ARM64);
        assertThat(replay(file)).isInstanceOf(Replay.Same.class);
    }
}
