/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** KVM_SET_GSI_ROUTING: virt/kvm/irqchip.c. */
@Contract
class RoutesContract extends KernelSuite {
    private MsiRoute msi(int gsi) {
        return new MsiRoute(gsi, MSI_ADDRESS, VECTOR, 0);
    }

    @Test
    void holdFourThousandAndNinetySix() {
        MsiRoute[] routes = new MsiRoute[4096];
        for (int i = 0; i < routes.length; i++) {
            routes[i] = msi(i);
        }
        assertOk(world.setMsiRoutes(vm(), routes));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm(), msi(4096)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), pins(4097)));
        assertOk(world.setPinRoutes(vm(), pins(4096)));
        assertOk(world.setMsiRoutes(vm()));
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
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm(), msi(30), msi(30)));
        assertOk(world.setPinRoutes(vm(), new PinRoute(3, IOAPIC, 3, 0), new PinRoute(3, 0, 3, 0)));
        assertErrno(
                Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(3, IOAPIC, 3, 0), new PinRoute(3, IOAPIC, 4, 0)));
        assertOk(world.setPinRoutes(vm(), new PinRoute(3, IOAPIC, 3, 0), new PinRoute(4, IOAPIC, 3, 0)));
    }

    @Test
    void pinsAndChipsExist() {
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(0, IOAPIC, 24, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(0, 0, 8, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(0, 1, 8, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(0, 3, 0, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(world.splitVm(), new PinRoute(0, IOAPIC, 0, 0)));
    }

    @Test
    void flagsAreChecked() {
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm(), new MsiRoute(0, MSI_ADDRESS, VECTOR, 2)));
        assertOk(world.setMsiRoutes(vm(), new MsiRoute(0, MSI_ADDRESS, VECTOR, KernelBackend.ROUTE_FLAG_DEVID)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(0, IOAPIC, 0, 1)));
    }

    @Test
    void highAddressIsCheckedOnceApicIdsAreLong() {
        MsiRoute odd = new MsiRoute(0, 0x1_0000_0000L | MSI_ADDRESS, VECTOR, 0);
        assertOk(world.setMsiRoutes(vm(), odd));
        assertOk(kernel.x2apicEnable(vm(), 1));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm(), odd));
        assertOk(world.setMsiRoutes(vm(), new MsiRoute(0, 0x100_0000_0000L | MSI_ADDRESS, VECTOR, 0)));
    }

    @Test
    void refusedTableLeavesTheOldOne() {
        int vcpu = world.vcpuWithLapic(vm());
        int event = world.eventfd();
        assertOk(world.routeToVector(vm(), 30));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertErrno(Errno.EINVAL, world.setMsiRoutes(vm(), new MsiRoute(30, MSI_ADDRESS, 0x77, 0), msi(4096)));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the old route delivers", () -> world.requested(vcpu, VECTOR));
        assertThat(world.requested(vcpu, 0x77)).isFalse();
    }

    @Test
    void emptyTableClearsTheDefaultRoutes() {
        ByteBuffer status = Buffers.allocate(4);
        assertOk(kernel.lineSetStatus(vm(), 4, 1, status));
        assertThat(status.getInt(0)).isPositive();
        assertOk(kernel.lineSetStatus(vm(), 4, 0, status));
        assertOk(world.setMsiRoutes(vm()));
        assertOk(kernel.lineSetStatus(vm(), 4, 1, status));
        assertThat(status.getInt(0)).isEqualTo(-1);
    }

    // The order of checks, with the kernel's own structure

    private static int header(ByteBuffer table, int count, int flags) {
        table.putInt(Uapi.KvmIrqRouting.NR, count).putInt(Uapi.KvmIrqRouting.FLAGS, flags);
        return Uapi.KvmIrqRouting.SIZE;
    }

    private int entry(int vm, int gsi, int type, int flags) {
        ByteBuffer table = Buffers.allocate(Uapi.KvmIrqRouting.SIZE + Uapi.KvmIrqRoutingEntry.SIZE);
        Structs.put(table, header(table, 1, 0), "kvm_irq_routing_entry", gsi, type, flags);
        return libc.ioctl(vm, Uapi.KVM_SET_GSI_ROUTING, table);
    }

    /** A table whose header is the last of its page, so that no entry can be read. */
    private int unreadable(int vm, int count, int flags) {
        long page = world.pageBeforeNothing();
        long at = page + PAGE - Uapi.KvmIrqRouting.SIZE;
        header(libc.view(at, Uapi.KvmIrqRouting.SIZE), count, flags);
        return libc.ioctl(vm, Uapi.KVM_SET_GSI_ROUTING, at);
    }

    @Test
    void headerIsCheckedBeforeTheEntriesAreCopied() {
        world.assumeFullIrqchip();
        assertErrno(Errno.EINVAL, unreadable(world.bareVm(), 1, 0));
        assertErrno(Errno.EINVAL, unreadable(vm(), 4097, 0));
        assertErrno(Errno.EINVAL, unreadable(vm(), -1, 0));
        assertErrno(Errno.EINVAL, unreadable(vm(), 1, 1));
        assertErrno(Errno.EFAULT, unreadable(vm(), 1, 0));
        assertErrno(Errno.EFAULT, unreadable(vm(), 4096, 0));
        assertOk(unreadable(vm(), 0, 0));
    }

    /** Types that a kernel may have built in or not: what it says it has, it takes. */
    @Test
    void typesAreThoseOfX86() {
        assertErrno(Errno.EINVAL, entry(vm(), 0, 0, 0));
        assertErrno(Errno.EINVAL, entry(vm(), 0, Uapi.KVM_IRQ_ROUTING_S390_ADAPTER, 0));
        assertErrno(Errno.EINVAL, entry(vm(), 0, 6, 0));
        if (kernel.capabilityCheck(vm(), Uapi.KVM_CAP_HYPERV_SYNIC) == 0) {
            assertErrno(Errno.EINVAL, entry(vm(), 0, Uapi.KVM_IRQ_ROUTING_HV_SINT, 0));
        } else {
            assertOk(entry(vm(), 0, Uapi.KVM_IRQ_ROUTING_HV_SINT, 0));
        }
        if (kernel.capabilityCheck(vm(), Uapi.KVM_CAP_XEN_HVM) == 0) {
            assertErrno(Errno.EINVAL, entry(vm(), 0, Uapi.KVM_IRQ_ROUTING_XEN_EVTCHN, 0));
        }
        assertErrno(Errno.EINVAL, entry(vm(), 4096, Uapi.KVM_IRQ_ROUTING_MSI, 0));
        assertErrno(Errno.EINVAL, entry(vm(), 0, Uapi.KVM_IRQ_ROUTING_MSI, 2));
        assertErrno(Errno.EINVAL, entry(vm(), 0, Uapi.KVM_IRQ_ROUTING_IRQCHIP, 1));
        assertOk(entry(vm(), 0, Uapi.KVM_IRQ_ROUTING_MSI, Uapi.KVM_MSI_VALID_DEVID));
        assertOk(entry(vm(), 4095, Uapi.KVM_IRQ_ROUTING_IRQCHIP, 0));
    }

    @Test
    void paddingAndWhatFollowsAMessageAreIgnored() {
        ByteBuffer table = Buffers.allocate(Uapi.KvmIrqRouting.SIZE + Uapi.KvmIrqRoutingEntry.SIZE);
        int at = header(table, 1, 0);
        for (int i = at + Uapi.KvmIrqRoutingEntry.FLAGS + Integer.BYTES; i < table.capacity(); i++) {
            table.put(i, (byte) 0xa5);
        }
        table.putInt(at + Uapi.KvmIrqRoutingEntry.TYPE, Uapi.KVM_IRQ_ROUTING_MSI);
        assertOk(libc.ioctl(vm(), Uapi.KVM_SET_GSI_ROUTING, table));
    }

    @Test
    void splitIrqchipTakesMessagesAndEmptyTablesButNoPins() {
        int vm = world.splitVm();
        assertOk(world.setMsiRoutes(vm));
        assertOk(world.setMsiRoutes(vm, msi(0), msi(4095)));
        for (int chip = 0; chip <= IOAPIC; chip++) {
            assertErrno(Errno.EINVAL, world.setPinRoutes(vm, new PinRoute(0, chip, 0, 0)));
        }
    }

    @Test
    void lastPinsOfEachChipExist() {
        assertOk(world.setPinRoutes(
                vm(), new PinRoute(0, 0, 7, 0), new PinRoute(0, 1, 7, 0), new PinRoute(0, IOAPIC, 23, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(0, -1, 0, 0)));
        assertErrno(Errno.EINVAL, world.setPinRoutes(vm(), new PinRoute(0, IOAPIC, -1, 0)));
    }

    @Test
    void gsiMayChangeFromPinsToAMessageAndBack() {
        int vcpu = world.vcpuWithLapic(vm());
        assertOk(world.routeToVector(vm(), 4));
        assertThat(world.status(vm(), 4, 1)).isEqualTo(1);
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        assertThat(world.ioapicLine(vm(), 4)).isFalse();
        assertOk(world.setPinRoutes(vm(), new PinRoute(4, IOAPIC, 4, 0)));
        assertOk(kernel.lineSet(vm(), 4, 1));
        assertThat(world.ioapicLine(vm(), 4)).isTrue();
    }

    @Test
    void pinStaysHighWhenItsRouteGoes() {
        assertOk(kernel.lineSet(vm(), 20, 1));
        assertOk(world.setMsiRoutes(vm()));
        assertThat(world.status(vm(), 20, 0)).isEqualTo(-1);
        assertThat(world.ioapicLine(vm(), 20)).isTrue();
    }
}
