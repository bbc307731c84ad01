/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.trips;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/** Ways of an interrupt on a fake kernel, counted call by call. {@link TracedClasses} loads it. */
public final class TripsScenario {
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    private static final int VECTORS = 64;

    private TripsScenario() {}

    private static <T> T counted(String name, Supplier<T> step) {
        List<T> result = new ArrayList<>();
        Trips.count(name, () -> result.add(step.get()));
        return result.get(0);
    }

    /** Makes the trips of a profile, {@code 6.12} or {@code vtd-posting}; the second time what is cached is known. */
    public static void run(String profile) {
        for (String time : List.of("first", "again")) {
            try (Undo parts = new Undo()) {
                FakeKernel fake = new FakeKernel(Profile.parse(profile));
                FakePciDevice hardware = fake.pciDevice(NIC.toString(), 15)
                        .msix(VECTORS)
                        .express()
                        .resettable()
                        .add();
                Kernel kernel = parts.add(fake.open());
                Vm vm = parts.add(Vm.create(kernel));
                vm.x86().createIrqchip();
                Vcpu vcpu = parts.add(vm.createVcpu(new VcpuId(0)));
                vcpu.x86().enableLapic();
                String name = profile + ", " + time + ": ";
                KvmVfio holder = parts.add(KvmVfio.create(vm));
                VfioDevice device = parts.add(counted(name + "open", () -> VfioDevice.open(kernel, NIC, holder)));
                device.config().enableBusMaster();
                Forwarding forwarding = parts.add(Forwarding.create(vm, device));
                counted(
                        name + "forwardAll of one",
                        () -> forwarding.forwardAll(
                                device.msix(0, 1), index -> MsiMessage.to(new VcpuId(0), new InterruptVector(0x31))));
                Trips.count(name + "message", () -> hardware.sendMessage(0));
                Trips.count(name + "second message", () -> hardware.sendMessage(0));
            }
        }
    }
}
