/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.INTX;
import static io.kvmirq.contract.OpenedDevice.MSIX;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.assertOk;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;

/** {@code main}: a process that has devices and a VM, says so, and waits to be killed. */
final class KilledUser {
    static final String READY = "ready";

    private KilledUser() {}

    public static void main(String[] arguments) throws IOException {
        VfioWorld vfio = VfioWorld.all().findFirst().orElseThrow();
        KernelBackend kernel = vfio.kernel();
        int vm = vfio.world.bareVm();
        int files = vfio.world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        OpenedDevice messages = vfio.device(E1000E);
        OpenedDevice line = vfio.device(EDU);
        assertOk(kernel.deviceVfioAdd(files, messages.group));
        assertOk(kernel.deviceVfioAdd(files, line.group));
        int[] events = vfio.events(6);
        assertOk(messages.arm(MSIX, 0, events[0], events[1], events[2], events[3], events[4]));
        assertOk(line.arm(INTX, 0, events[5]));
        assertOk(line.unmaskBy(vfio.world.eventfd()));
        if (!vfio.world.isArm64()) {
            vfio.world.createFullIrqchip(vm);
            vfio.world.vcpuWithLapic(vm);
            for (int i = 0; i < events.length; i++) {
                assertOk(kernel.irqfdAssign(vm, events[i], i));
            }
        }
        // Requests service, which nobody serves.
        line.start();
        line.hardware.request();
        System.out.println(READY);
        System.in.read();
        vfio.closeAll();
    }
}
