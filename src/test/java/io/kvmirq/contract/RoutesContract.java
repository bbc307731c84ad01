/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** KVM_SET_GSI_ROUTING: virt/kvm/irqchip.c. */
@Contract
class RoutesContract {
    private final World world;
    private final KernelBackend kernel;

    RoutesContract(World world) {
        this.world = world;
        this.kernel = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    private static final int IOAPIC = 2;

    private MsiRoute msi(int gsi) {
        return new MsiRoute(gsi, MSI_ADDRESS, VECTOR, 0);
    }

    @Test
    void needAnInKernelIrqchip() {
        assertErrno(Errno.EINVAL, world.setMsiRoutes(world.bareVm(), msi(0)));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(world.bareVm()));
    }

    @Test
    void holdFourThousandAndNinetySix() {
        int vm = world.fullVm();
        MsiRoute[] routes = new MsiRoute[4096];
        for (int i = 0; i < routes.length; i++) {
            routes[i] = msi(i);
        }
        assertOk(world.setMsiRoutes(vm, routes));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm, msi(4096)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm, pins(4097)));
        assertOk(world.setPinRoutes(vm, pins(4096)));
        assertOk(world.setMsiRoutes(vm));
    }

    /** As many entries as asked for, three chips to a GSI, so that their number is all that can be wrong. */
    private static PinRoute[] pins(int count) {
        PinRoute[] routes = new PinRoute[count];
        for (int i = 0; i < count; i++) {
            routes[i] = new PinRoute(i / 3, i % 3, 0, 0);
        }
        return routes;
    }

    @Test
    void gsiTakesOneMessageOrPinsOfDifferentChips() {
        int vm = world.fullVm();
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm, msi(30), msi(30)));
        assertOk(world.setPinRoutes(vm, new PinRoute(3, IOAPIC, 3, 0), new PinRoute(3, 0, 3, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm, new PinRoute(3, IOAPIC, 3, 0), new PinRoute(3, IOAPIC, 4, 0)));
        assertOk(world.setPinRoutes(vm, new PinRoute(3, IOAPIC, 3, 0), new PinRoute(4, IOAPIC, 3, 0)));
    }

    @Test
    void pinsAndChipsExist() {
        int vm = world.fullVm();
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm, new PinRoute(0, IOAPIC, 24, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm, new PinRoute(0, 0, 8, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm, new PinRoute(0, 1, 8, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm, new PinRoute(0, 3, 0, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(world.splitVm(), new PinRoute(0, IOAPIC, 0, 0)));
    }

    @Test
    void flagsAreChecked() {
        int vm = world.fullVm();
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm, new MsiRoute(0, MSI_ADDRESS, VECTOR, 2)));
        assertOk(world.setMsiRoutes(vm, new MsiRoute(0, MSI_ADDRESS, VECTOR, KernelBackend.ROUTE_FLAG_DEVID)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm, new PinRoute(0, IOAPIC, 0, 1)));
    }

    @Test
    void highAddressIsCheckedOnceApicIdsAreLong() {
        int vm = world.fullVm();
        MsiRoute odd = new MsiRoute(0, 0x1_0000_0000L | MSI_ADDRESS, VECTOR, 0);
        assertOk(world.setMsiRoutes(vm, odd));
        assertOk(kernel.x2apicEnable(vm, 1));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm, odd));
        assertOk(world.setMsiRoutes(vm, new MsiRoute(0, 0x100_0000_0000L | MSI_ADDRESS, VECTOR, 0)));
    }

    @Test
    void refusedTableLeavesTheOldOne() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int event = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm, new MsiRoute(30, MSI_ADDRESS, 0x77, 0), msi(4096)));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the old route delivers", () -> world.requested(vcpu, VECTOR));
        assertThat(world.requested(vcpu, 0x77)).isFalse();
    }

    @Test
    void emptyTableClearsTheDefaultRoutes() {
        int vm = world.fullVm();
        ByteBuffer status = Buffers.allocate(4);
        assertOk(kernel.lineSetStatus(vm, 4, 1, status));
        assertThat(status.getInt(0)).isPositive();
        assertOk(kernel.lineSetStatus(vm, 4, 0, status));
        assertOk(world.setMsiRoutes(vm));
        assertOk(kernel.lineSetStatus(vm, 4, 1, status));
        assertThat(status.getInt(0)).isEqualTo(-1);
    }
}
