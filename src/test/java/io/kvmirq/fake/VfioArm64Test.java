/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.MASTER;
import static io.kvmirq.contract.OpenedDevice.MSIX;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.TestDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** A PCI device of an arm64 host, and its messages on their way to the VGIC. */
class VfioArm64Test {
    @AutoClose
    private final Undo made = new Undo();

    private final VfioWorld vfio = made.add(VfioWorld.ofFake("6.12,arm64", TestDevice.E1000E));
    private final FakePciDevice hardware = vfio.hardware(TestDevice.E1000E);
    private final OpenedDevice device = vfio.device(TestDevice.E1000E);
    private final int number = vfio.world.eventfd();
    private final Kernel kernel = made.add(Kernel.over(vfio.kernel()));
    private final EventFd event = made.add(EventFd.adopt(kernel, number, Ownership.BORROWED));
    private final Vm vm = made.add(Vm.create(kernel));

    @Test
    void messageMakesTheLpiPending() {
        made.add(vm.createVcpu(new VcpuId(0))).arm64().initialize();
        GuestIts guest = new GuestIts(vm, 1, made);
        guest.map(3);
        made.add(vm.assignIrqfd(event, vm.routes().add(GuestIts.message(3))));
        assertOk(device.arm(MSIX, 2, number));
        assertThat(hardware.sendMessage(2)).as("bus mastering off").isFalse();
        device.writeCommand(MASTER);
        assertThat(taken(guest)).isEmpty();
        assertThat(hardware.sendMessage(2)).isTrue();
        assertThat(taken(guest)).containsExactly(3);
    }

    private static List<Integer> taken(GuestIts guest) {
        List<Integer> taken = new ArrayList<>();
        guest.take(taken::add);
        return taken;
    }

    @Test
    void messageReachesAnSpi() {
        made.add(vm.createVcpu(new VcpuId(0)));
        VgicV3 vgic = made.add(vm.arm64().createVgicV3());
        vgic.init();
        made.add(vm.assignIrqfd(event, new Gsi(7)));
        assertOk(device.arm(MSIX, 0, number));
        device.writeCommand(MASTER);
        assertThat(hardware.sendMessage(0)).isTrue();
        assertThat(vgic.isLatched(new Spi(32 + 7))).isTrue();
    }

    /** The window that the SMMU drivers reserve for the messages of the host. */
    @Test
    void windowOfMessagesIsReserved() {
        long memory = vfio.world.map(4096, -1);
        for (long reserved : new long[] {0x8000000L, 0x80ff000L}) {
            assertErrno(Errno.EINVAL, vfio.mapDma(device.container, memory, reserved, 4096));
        }
        for (long free : new long[] {0x7fff000L, 0x8100000L, 0xfee00000L}) {
            assertOk(vfio.mapDma(device.container, memory, free, 4096));
        }
    }
}
