/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.RulesSeen;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.stream.IntStream;

/** A device with MSI-X and a VM with vCPUs on a host that may post, by the typed calls. */
final class PostingSetup implements AutoCloseable {
    static final int VECTORS = 4;
    static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final String NAME = "0000:3b:00.0";

    final FakeKernel fake;
    final FakePciDevice hardware;
    final Kernel kernel;
    final Vm vm;
    final VfioDevice device;
    final List<Vcpu> vcpus;
    final Undo undo = new Undo();

    PostingSetup(String profile) {
        this(profile, 2);
    }

    PostingSetup(String profile, int vcpus) {
        fake = new FakeKernel(Profile.parse(profile));
        hardware = fake.pciDevice(NAME, 7)
                .intx()
                .msi(1)
                .msix(VECTORS)
                .express()
                .resettable()
                .add();
        kernel = undo.add(fake.open());
        vm = undo.add(Vm.create(kernel));
        if (profile.contains("split")) {
            vm.x86().createSplitIrqchip(24);
        } else {
            vm.x86().createIrqchip();
        }
        device = undo.add(VfioDevice.open(kernel, PciAddress.parse(NAME)));
        device.config().enableBusMaster();
        this.vcpus = IntStream.range(0, vcpus)
                .mapToObj(i -> undo.add(vm.createVcpu(new VcpuId(i))))
                .toList();
        this.vcpus.forEach(vcpu -> vcpu.x86().enableLapic());
    }

    FakeVcpu vcpu(int index) {
        return fake.vcpus().get(index);
    }

    EventFd event() {
        return undo.add(EventFd.create(kernel));
    }

    Gsi routeTo(int vcpu) {
        return vm.routes().add(MsiMessage.to(new VcpuId(vcpu), VECTOR));
    }

    Irqfd irqfd(EventFd event, Gsi gsi) {
        return undo.add(vm.assignIrqfd(event, gsi));
    }

    ArmedVectors arm(EventFd event) {
        return undo.add(device.msix(0, 1).arm(List.of(event)));
    }

    /** How often the host was interrupted by a vector of the device. */
    long interrupts(int vector) {
        return fake.hostFiles()
                .text("proc/interrupts")
                .orElseThrow()
                .lines()
                .filter(line -> line.contains("vfio-msix[" + vector + "]"))
                .map(line -> line.strip().split("\\s+")[1])
                .mapToLong(Long::parseLong)
                .findFirst()
                .orElseThrow();
    }

    /** Closes a descriptor behind the back of its object. */
    void kill(Fd fd) {
        assertThat(fake.libc().close(fd.lease().number())).isZero();
    }

    /** Every rule of the models holds now. */
    List<String> brokenRules() {
        return fake.vcpus().stream()
                .flatMap(vcpu -> vcpu.brokenRules().stream())
                .toList();
    }

    @Override
    public void close() {
        undo.close();
        RulesSeen.addRefusals(fake);
    }
}
