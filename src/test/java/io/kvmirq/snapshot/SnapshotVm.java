/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.GuestMsix;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.UnaryOperator;

/** A VM of a fake kernel with an irqchip, vCPUs, an eventfd and a device with MSI-X. */
final class SnapshotVm implements AutoCloseable {
    static final int VECTORS = 8;
    private static final String NIC = "0000:3b:00.0";

    final FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
    final FakePciDevice hardware;
    final Kernel kernel;
    final Vm vm;
    final List<Vcpu> vcpus = new ArrayList<>();
    final EventFd event;
    final VfioDevice device;
    final GuestMsix msix;
    private final Undo open = new Undo();

    SnapshotVm() {
        this(1, VECTORS, 0x10d3);
    }

    SnapshotVm(int vcpuCount, int vectors, int deviceId) {
        this(vcpuCount, vectors, deviceId, backend -> backend);
    }

    /** A VM whose kernel is changed by what {@code over} does. */
    SnapshotVm(UnaryOperator<KernelBackend> over) {
        this(1, VECTORS, 0x10d3, over);
    }

    private SnapshotVm(int vcpuCount, int vectors, int deviceId, UnaryOperator<KernelBackend> over) {
        hardware = fake.pciDevice(NIC, 7)
                .ids(0x8086, deviceId)
                .msix(vectors)
                .express()
                .resettable()
                .add();
        kernel = open.add(Kernel.over(over.apply(fake.backend())));
        vm = open.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        for (int i = 0; i < vcpuCount; i++) {
            vcpus.add(open.add(vm.createVcpu(new VcpuId(i))));
        }
        event = open.add(EventFd.create(kernel));
        device = open.add(VfioDevice.open(kernel, PciAddress.parse(NIC), open.add(KvmVfio.create(vm))));
        device.config().enableBusMaster();
        Forwarding forwarding = open.add(Forwarding.create(vm, device));
        msix = new GuestMsix(forwarding, device, OptionalInt.empty());
    }

    VmParts parts() {
        return withVcpus(new VmParts(vm).event("rx", event).messages("nic", device, msix));
    }

    VmParts partsWithIrqfd(Irqfd irqfd) {
        return withVcpus(new VmParts(vm).irqfd("rx", irqfd).messages("nic", device, msix));
    }

    private VmParts withVcpus(VmParts parts) {
        for (int i = 0; i < vcpus.size(); i++) {
            parts.vcpu(new VcpuId(i), vcpus.get(i));
        }
        return parts;
    }

    /** With an irqfd of its eventfd, to a vector of vCPU 0. */
    Irqfd irqfd(int vector) {
        MsiMessage message = MsiMessage.to(new VcpuId(0), new InterruptVector(vector));
        return open.add(vm.assignIrqfd(event, vm.routes().add(message)));
    }

    /** The guest writes an entry of the table of MSI-X. */
    void entry(int vector, int guestVector, boolean masked) {
        MsiMessage message = MsiMessage.to(new VcpuId(0), new InterruptVector(guestVector));
        msix.writeTable(vector * 16L, 8, message.address());
        msix.writeTable(vector * 16L + 8, 8, message.data() | (masked ? 1L << 32 : 0));
    }

    VmSnapshot saved() {
        return VmSnapshot.take(parts());
    }

    boolean isRequested(int vector) {
        return vcpus.get(0).x86().isRequested(new InterruptVector(vector));
    }

    @Override
    public void close() {
        open.close();
    }
}
