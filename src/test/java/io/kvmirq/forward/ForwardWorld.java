/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.function.UnaryOperator;

/** A VM with two vCPUs and a device with 8 vectors on a fake kernel, whose calls can be seen and made to fail. */
final class ForwardWorld implements AutoCloseable {
    static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    static final int VECTORS = 8;
    /** The pin of the IOAPIC for INTx. */
    static final Gsi PIN = new Gsi(11);

    final FakeKernel fake;
    final FakePciDevice hardware;
    final Faults faults = new Faults();
    final Kernel kernel;
    final int firstFreeDescriptor;
    final Vm vm;
    final Vcpu first;
    final Vcpu second;
    final VfioDevice device;
    private final Undo parts = new Undo();

    ForwardWorld(String profile) {
        this(profile, backend -> backend);
    }

    /** @param kernelSeen what the library sees of the fake's backend */
    ForwardWorld(String profile, UnaryOperator<KernelBackend> kernelSeen) {
        fake = new FakeKernel(Profile.parse(profile));
        hardware = fake.pciDevice(NIC.toString(), 15)
                .intx()
                .msi(4)
                .msix(VECTORS)
                .express()
                .resettable()
                .add();
        firstFreeDescriptor = lowestFreeDescriptor();
        kernel = Kernel.over(faults.over(kernelSeen.apply(fake.backend())));
        parts.add(kernel);
        vm = parts.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        first = vcpu(0);
        second = vcpu(1);
        device = parts.add(VfioDevice.open(kernel, NIC, parts.add(KvmVfio.create(vm))));
        device.config().enableBusMaster();
    }

    private Vcpu vcpu(int id) {
        Vcpu vcpu = parts.add(vm.createVcpu(new VcpuId(id)));
        vcpu.x86().enableLapic();
        return vcpu;
    }

    static InterruptVector vector(int number) {
        return new InterruptVector(number);
    }

    /** To the first vCPU. */
    static MsiMessage message(int vector) {
        return to(0, vector);
    }

    static MsiMessage to(int vcpu, int vector) {
        return MsiMessage.to(new VcpuId(vcpu), vector(vector));
    }

    int lowestFreeDescriptor() {
        int number = fake.backend().libc().eventfd(0, 0);
        fake.backend().libc().close(number);
        return number;
    }

    @Override
    public void close() {
        parts.close();
    }

    /** Closes it; a descriptor that is left then is an error. */
    void closeAndExpectNothingLeft() {
        close();
        assertThat(kernel.openHandles()).isEmpty();
        assertThat(lowestFreeDescriptor()).isEqualTo(firstFreeDescriptor);
    }
}
