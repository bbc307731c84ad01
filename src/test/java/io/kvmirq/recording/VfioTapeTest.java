/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.PlatformName;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Abi2014;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.replay.Replay;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Objects;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The start of QEMU 7.2 with two VFIO devices, e1000e and nvme, up to its first KVM_RUN. {@code kvmirq tape -o}
 * recorded it on Debian's kernel 6.1 in the lab.
 */
class VfioTapeTest {
    @TempDir
    private Path temporary;

    private Path tape() {
        return temporary.resolve("tape");
    }

    @BeforeEach
    void unpack() throws IOException {
        try (InputStream packed = new GZIPInputStream(
                Objects.requireNonNull(VfioTapeTest.class.getResourceAsStream("qemu-7.2-vfio.tape.gz")))) {
            Files.copy(packed, tape());
        }
    }

    @Test
    void filesAreShownByName() {
        List<String> text = Recordings.text(tape());
        assertThat(text)
                .containsSubsequence(
                        "open /dev/vfio/4 = group#1",
                        "group#1 VFIO_GROUP_SET_CONTAINER fd=container#1 = 0",
                        "container#1 VFIO_SET_IOMMU 3 = 0",
                        "vm#1 KVM_CREATE_DEVICE type=VFIO = kvm-vfio#1",
                        "kvm-vfio#1 KVM_SET_DEVICE_ATTR VFIO_FILE ADD fd=group#1 = 0",
                        "group#1 VFIO_GROUP_GET_DEVICE_FD 0000:00:05.0 = vfio-device#1",
                        "vfio-device#1 VFIO_DEVICE_SET_IRQS flags=DATA_EVENTFD|ACTION_TRIGGER index=0 start=0 count=1"
                                + " data=eventfd#11 = 0",
                        "kvm-vfio#1 KVM_SET_DEVICE_ATTR VFIO_FILE ADD fd=group#2 = 0",
                        "group#2 VFIO_GROUP_GET_DEVICE_FD 0000:00:07.0 = vfio-device#2");
    }

    @Test
    void fakeWithTheDevicesOfTheTapeAnswersAsTheRealKernelDid() throws IOException {
        FakeKernel kernel = new FakeKernel(Profile.V6_1);
        kernel.addDevicesOf(tape());
        try (Replay replay = new Replay(kernel.backend().libc())) {
            Replay.Outcome outcome = replay.run(tape());
            assertThat(outcome).isInstanceOf(Replay.Same.class);
            assertThat(outcome.calls()).isGreaterThan(250);
        }
    }

    /** Of 2014: the structure behind the attribute is on the tape, with the device by name. */
    @Test
    void forwardingOf2014IsOnATapeAndReplays() throws IOException {
        Profile historic = Profile.of("historic");
        FakeKernel recorded = withPlatformDevice(historic);
        Path file = Recordings.of(temporary.resolve("forwarding"), recorded.backend(), kernel -> {
            try (Vm vm = Vm.create(kernel);
                    Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    VgicV3 vgic = vm.createVgicV3();
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice device = VfioDevice.open(kernel, new PlatformName("serial"), kvmVfio)) {
                vcpu.initialize();
                vgic.init();
                Abi2014.named(kvmVfio).forward(device.platformIrq(1), new Gsi(10));
            }
        });
        assertThat(Recordings.text(file))
                .containsSubsequence(
                        "kvm-vfio#1 KVM_SET_DEVICE_ATTR VFIO_FILE ADD fd=group#1 = 0",
                        "kvm-vfio#1 KVM_SET_DEVICE_ATTR VFIO_DEVICE FORWARD_IRQ fd=vfio-device#1 index=1 subindex=0"
                                + " gsi=10 = 0",
                        "kvm-vfio#1 KVM_SET_DEVICE_ATTR VFIO_DEVICE UNFORWARD_IRQ fd=vfio-device#1 index=1 subindex=0"
                                + " gsi=10 = 0");
        try (Replay replay = new Replay(withPlatformDevice(historic).backend().libc())) {
            assertThat(replay.run(file)).isInstanceOf(Replay.Same.class);
        }
    }

    private static FakeKernel withPlatformDevice(Profile profile) {
        FakeKernel kernel = new FakeKernel(profile);
        kernel.platformDevice("serial", 3).level().level().add();
        return kernel;
    }

    /** Its recorder of then did not write how a tape ends. */
    @Test
    void testCanBeginAfterIt() throws IOException {
        Files.writeString(tape(), "{\"end\":true}\n", StandardOpenOption.APPEND);
        FakeKernel kernel = FakeKernel.from(tape(), Profile.V6_1);
        assertThat(kernel.descriptor("vfio-device#2")).isGreaterThan(kernel.descriptor("group#2"));
    }

    /** Opening a device resets it, whatever it is here. */
    @Test
    void devicesOfThisMachineAreNotOpened() throws IOException {
        FakeKernel kernel = new FakeKernel(Profile.V6_1);
        kernel.addDevicesOf(tape());
        Libc calls = kernel.backend().libc();
        Libc real = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, (proxy, method, arguments) -> {
                    try {
                        return method.getName().equals("isReal") ? true : method.invoke(calls, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getTargetException();
                    }
                });
        try (Replay replay = new Replay(real)) {
            // What the fake does not model is passed over before.
            assertThat(replay.run(tape()).toString())
                    .contains("VFIO_GROUP_GET_DEVICE_FD", "a device of this machine, which VFIO resets as it opens it");
        }
    }
}
