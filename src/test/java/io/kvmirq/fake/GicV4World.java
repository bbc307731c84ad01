/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** A host, its device, and a guest that has mapped event 0 to an LPI of vCPU 0, and event 1 to one of vCPU 1. */
class GicV4World {
    private static final String BDF = "0000:00:03.0";
    static final int LPI = GuestIts.lpi(0);
    static final int SECOND = GuestIts.lpi(1);

    final FakeKernel fake;
    final FakePciDevice hardware;
    final Vm vm;
    final VfioDevice device;
    final VgicV3 vgic;
    final GuestIts service;
    final List<FakeArmVcpu> vcpus = new ArrayList<>();
    final List<EventFd> events = new ArrayList<>();

    GicV4World(String profile) {
        this(profile, backend -> backend);
    }

    /** @param kernelSeen what the library sees of the fake's backend */
    GicV4World(String profile, UnaryOperator<KernelBackend> kernelSeen) {
        fake = new FakeKernel(Profile.parse(profile));
        hardware = fake.pciDevice(BDF, 4).msix(2).add();
        Kernel kernel = Kernel.over(kernelSeen.apply(fake.backend()));
        vm = Vm.create(kernel);
        List<VcpuId> ids = List.of(new VcpuId(0), new VcpuId(1));
        ids.forEach(id -> vm.createVcpu(id).arm64().initialize());
        service = new GuestIts(vm, ids.size(), new Undo());
        vgic = service.vgic();
        service.map(0);
        service.map(1);
        ids.forEach(id -> vcpus.add(fake.armVcpu(Numbers.of(vm.fd()), id)));
        device = VfioDevice.open(kernel, PciAddress.parse(BDF));
        device.config().enableBusMaster();
        events.add(EventFd.create(kernel));
        events.add(EventFd.create(kernel));
    }

    /** A vector of the device is an event of the guest: route, then irqfd. */
    Irqfd forward(int vector, MsiMessage message) {
        Gsi gsi = vm.routes().add(message);
        return vm.assignIrqfd(events.get(vector), gsi);
    }

    Irqfd forward() {
        return forward(0, GuestIts.message(0));
    }

    FakeArmVcpu vcpu() {
        return vcpus.get(0);
    }

    /** How often each vector interrupted the host, as /proc/interrupts says. */
    List<Integer> counts() {
        String interrupts = fake.hostFiles().text("proc/interrupts").orElseThrow();
        assertThat(new HostInterrupts(interrupts).armed(PciAddress.parse(BDF))).isNotEmpty();
        return Pattern.compile("(\\d+)  ITS-PCI-MSIX-")
                .matcher(interrupts)
                .results()
                .map((MatchResult line) -> Integer.parseInt(line.group(1)))
                .toList();
    }
}
