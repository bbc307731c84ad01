/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.model.Its;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** A host, its device, and a guest that has mapped event 0 to an LPI of vCPU 0, and event 1 to one of vCPU 1. */
class GicV4World {
    private static final String BDF = "0000:00:03.0";
    static final int DEVICE = 0x18;
    static final int LPI = 8200;
    static final int SECOND = 8201;
    static final long ITS = 0x808_0000L;

    // In guest memory
    private static final long MEMORY = 0x4000_0000L;
    private static final int RING = 0;
    private static final int DEVICES = 0x1_0000;
    private static final int COLLECTIONS = 0x2_0000;
    private static final int PROPERTIES = 0x3_0000;
    private static final int PENDING = 0x4_0000;
    private static final int EVENTS = 0x6_0000;
    private static final int SIZE = 0x7_0000;

    final FakeKernel fake;
    final FakePciDevice hardware;
    final Vm vm;
    final VfioDevice device;
    final VgicV3 vgic;
    final io.kvmirq.kvm.Its service;
    final List<FakeArmVcpu> vcpus = new ArrayList<>();
    final List<EventFd> events = new ArrayList<>();
    private final Mapping memory;
    private int end;

    GicV4World(String profile) {
        fake = new FakeKernel(Profile.of(profile));
        hardware = fake.pciDevice(BDF, 4).msix(2).add();
        Kernel kernel = Kernel.over(fake.backend(), Kernel.DEVICE);
        vm = Vm.create(kernel);
        List<VcpuId> ids = List.of(new VcpuId(0), new VcpuId(1));
        ids.forEach(id -> vm.createVcpu(id).initialize());
        vgic = vm.createVgicV3();
        vgic.setDistributor(0x800_0000L);
        vgic.setRedistributors(0x80a_0000L);
        vgic.init();
        GuestGic.enable(vgic);
        service = vm.createIts();
        service.setAddress(ITS);
        service.init();
        memory = vm.addMemory(MEMORY, SIZE).mapping();
        memory.putByte(PROPERTIES + LPI - 8192, (byte) 0xa1);
        memory.putByte(PROPERTIES + SECOND - 8192, (byte) 0xa1);
        for (VcpuId id : ids) {
            GuestGic.enable(vgic, id);
            write(vgic, id, RedistributorRegister.GICR_PROPBASER, MEMORY + PROPERTIES | 15);
            write(vgic, id, RedistributorRegister.GICR_PENDBASER, MEMORY + PENDING + 0x1_0000L * id.number());
            vgic.writeRedistributor(id, RedistributorRegister.GICR_CTLR.offset(), 1);
        }
        service.writeRegister(Its.CBASER, Its.VALID | MEMORY + RING);
        service.writeRegister(Its.BASER_DEVICES, Its.VALID | MEMORY + DEVICES);
        service.writeRegister(Its.BASER_COLLECTIONS, Its.VALID | MEMORY + COLLECTIONS);
        service.writeRegister(Its.CTLR, Its.ENABLED);
        send(ItsCommand.mapDevice(DEVICE, 5, MEMORY + EVENTS));
        send(ItsCommand.mapCollection(0, 0));
        send(ItsCommand.mapCollection(1, 1));
        mapEvent(0, LPI, 0);
        mapEvent(1, SECOND, 1);
        ids.forEach(id -> vcpus.add(fake.armVcpu(vmNumber(), id)));
        device = VfioDevice.open(kernel, PciAddress.parse(BDF));
        device.config().enableBusMaster();
        events.add(EventFd.create(kernel));
        events.add(EventFd.create(kernel));
    }

    private static void write(VgicV3 vgic, VcpuId vcpu, RedistributorRegister register, long value) {
        vgic.writeRedistributor(vcpu, register.offset(), (int) value);
        vgic.writeRedistributor(vcpu, register.offset() + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    private void send(long... words) {
        memory.put(RING + end, ItsCommand.bytes(words));
        end += ItsCommand.SIZE;
        service.writeRegister(Its.CWRITER, end);
    }

    int vmNumber() {
        try (Fd.Lease lease = vm.fd().lease()) {
            return lease.number();
        }
    }

    void mapEvent(int event, int lpi, int collection) {
        send(ItsCommand.mapEvent(DEVICE, event, lpi, collection));
    }

    void discard(int event) {
        send(ItsCommand.DISCARD.ofEvent(DEVICE, event));
    }

    /** A vector of the device is an event of the guest: route, then irqfd. */
    Irqfd forward(int vector, MsiMessage message) {
        Gsi gsi = vm.routes().add(message);
        return vm.assignIrqfd(events.get(vector), gsi);
    }

    Irqfd forward() {
        return forward(0, message(0));
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

    static MsiMessage message(int event) {
        return MsiMessage.toIts(ITS, DEVICE, event);
    }
}
