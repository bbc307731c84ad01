/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.PciAddress;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;

/** The e1000e of a real arm64 machine, which sends its own messages to a VM, and all that a test makes beside it. */
final class LpiDevice implements AutoCloseable {
    final Undo made = new Undo();
    final Kernel kernel;
    /** Whether its messages become vLPIs. */
    final boolean direct = Machine.hasVlpis();

    private final VfioWorld vfio;
    private final PciAddress address;
    private VfioDevice device;
    private Hardware hardware;

    /** @param fake the test that asks the fake */
    @SuppressWarnings("NullAway.Init")
    LpiDevice(VfioWorld vfio, String fake) {
        assumeTrue(vfio.world.fake().isEmpty(), "needs a real kernel: " + fake);
        this.vfio = vfio;
        address = vfio.address(E1000E);
        kernel = made.add(Kernel.over(vfio.kernel()));
    }

    /** Opens it for a VM, which is made before. */
    VfioDevice open(Vm vm) {
        device = made.add(VfioDevice.open(kernel, address, made.add(KvmVfio.create(vm))));
        hardware = vfio.hardwareOf(E1000E, Numbers.of(device.fd()));
        device.config().enableMemory();
        device.config().enableBusMaster();
        hardware.start();
        return device;
    }

    void send(int vector) {
        hardware.send(vector);
    }

    @Override
    public void close() {
        if (hardware != null && hardware.isCounting()) {
            device.reset();
        }
        made.close();
        vfio.closeAll();
    }
}
