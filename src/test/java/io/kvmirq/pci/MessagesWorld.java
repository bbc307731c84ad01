/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.Faults;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;

/** A guest with two vCPUs that was given a device with INTx, MSI and MSI-X, on a fake kernel. */
final class MessagesWorld implements AutoCloseable {
    static final int VECTORS = 8;
    /** The guest's vector of INTx. */
    static final int LINE = 0x30;

    static final int ENABLE = 1 << 15;
    static final int FUNCTION_MASK = 1 << 14;
    /** Message Control of MSI. */
    static final int CAPABLE_OF_8 = 3 << 1;

    static final int WIDE = 1 << 7;
    static final int MASKABLE = 1 << 8;
    private static final String NIC = "0000:3b:00.0";
    private static final int VCPUS = 2;

    final Faults faults = new Faults();
    final FakeKernel fake;
    final FakePciDevice hardware;
    final Vm vm;
    final VfioDevice device;
    final Forwarding forwarding;
    final GuestMsix msix;
    /** With 64-bit addresses and masks. */
    final GuestMsi msi;

    private final Kernel kernel;
    private final Undo parts = new Undo();

    MessagesWorld(String profile) {
        fake = new FakeKernel(Profile.of(profile));
        hardware = fake.pciDevice(NIC, 7)
                .intx()
                .msi(VECTORS)
                .msix(VECTORS)
                .express()
                .resettable()
                .add();
        kernel = parts.add(Kernel.over(faults.over(fake.backend()), Kernel.DEVICE));
        vm = parts.add(Vm.create(kernel));
        vm.createIrqchip();
        List<Vcpu> vcpus = IntStream.range(0, VCPUS)
                .mapToObj(i -> parts.add(vm.createVcpu(new VcpuId(i))))
                .toList();
        vcpus.forEach(Vcpu::enableLapic);
        device = parts.add(VfioDevice.open(kernel, PciAddress.parse(NIC), parts.add(KvmVfio.create(vm))));
        device.config().enableBusMaster();
        forwarding = parts.add(Forwarding.of(vm, device));
        msix = new GuestMsix(forwarding, device, OptionalInt.empty());
        msi = msi(WIDE | MASKABLE);
    }

    /** Another MSI of the same device: use one of them. */
    GuestMsi msi(int capabilities) {
        return new GuestMsi(forwarding, device, OptionalInt.empty(), CAPABLE_OF_8 | capabilities);
    }

    /** Writes an entry as Linux does, which leaves its mask as it is. */
    void entry(int vector, int vcpu, int guestVector) {
        MsiMessage message = MsiMessage.to(new VcpuId(vcpu), new InterruptVector(guestVector));
        msix.writeTable(vector * 16L, 4, message.address());
        msix.writeTable(vector * 16L + 4, 4, message.address() >>> 32);
        msix.writeTable(vector * 16L + 8, 4, message.data());
    }

    void mask(int vector, boolean masked) {
        msix.writeTable(vector * 16L + 12, 4, masked ? 1 : 0);
    }

    /** What the vCPUs take now: {@code vCPU:vector}, in any order. The handler of {@link #LINE} serves the device. */
    List<String> taken() {
        List<String> taken = new ArrayList<>();
        for (int i = 0; i < VCPUS; i++) {
            FakeVcpu vcpu = fake.vcpus().get(i);
            vcpu.enterGuest();
            for (Optional<InterruptVector> next = vcpu.acknowledge(); next.isPresent(); next = vcpu.acknowledge()) {
                taken.add(i + ":0x" + Integer.toHexString(next.get().number()));
                if (next.get().number() == LINE) {
                    hardware.serve();
                }
                vcpu.end();
            }
        }
        return taken;
    }

    /** @param bits reads the pending bits */
    MessageSearch.Device searched(LongSupplier bits) {
        return new MessageSearch.Device() {
            @Override
            public void send(int vector) {
                hardware.sendMessage(vector);
            }

            @Override
            public void reset() {
                device.reset();
            }

            @Override
            public List<String> taken(int least) {
                return MessagesWorld.this.taken();
            }

            @Override
            public long pending(long expected) {
                return bits.getAsLong();
            }
        };
    }

    @Override
    public void close() {
        parts.close();
        assertThat(kernel.openHandles()).isEmpty();
    }
}
