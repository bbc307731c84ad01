/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.contract.World.eventually;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.uapi.Uapi;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@RealKvm(fullIrqchip = true)
class VmTest {
    private static final VcpuId VCPU = new VcpuId(0);
    private static final InterruptVector VECTOR = new InterruptVector(0x31);
    private static final MsiMessage MESSAGE = MsiMessage.to(VCPU, VECTOR);

    private final Kernel kernel = Kernel.open();
    private final long fdsBefore;
    private final Vm vm;

    VmTest() {
        kernel.device();
        fdsBefore = Machine.openFds();
        vm = Vm.create(kernel);
    }

    @AfterEach
    void closeLeavesNothing() {
        vm.close();
        assertThat(Machine.openFds()).isEqualTo(fdsBefore);
        kernel.close();
    }

    /** In one change. */
    private void add(int routes) {
        vm.routes().change(edit -> {
            for (int i = 0; i < routes; i++) {
                edit.add(MESSAGE);
            }
            return edit;
        });
    }

    @Test
    void routesAreAllocatedLowestFirstAndReused() {
        vm.x86().createIrqchip();
        RouteTable routes = vm.routes();
        assertThat(routes.add(MESSAGE)).isEqualTo(new Gsi(24));
        assertThat(routes.add(MESSAGE)).isEqualTo(new Gsi(25));
        routes.remove(new Gsi(24));
        assertThat(routes.add(MESSAGE)).isEqualTo(new Gsi(24));
        assertThat(routes.add(MESSAGE)).isEqualTo(new Gsi(26));
    }

    @Test
    void gsiRemovedInTheSameChangeIsFreeAtOnce() {
        vm.x86().createIrqchip();
        Gsi first = vm.routes().add(MESSAGE);
        Gsi again = vm.routes().change(edit -> edit.remove(first).add(MESSAGE));
        assertThat(again).isEqualTo(first);
    }

    @Test
    void changeIsOneCommitAndNoneWhenNothingDiffers() {
        vm.x86().createIrqchip();
        RouteTable routes = vm.routes();
        add(100);
        assertThat(routes.commits()).isEqualTo(1);
        routes.replace(new Gsi(30), MESSAGE);
        assertThat(routes.commits()).isEqualTo(1);
        routes.replace(new Gsi(30), MsiMessage.to(VCPU, new InterruptVector(0x32)));
        assertThat(routes.commits()).isEqualTo(2);
    }

    @Test
    void fullTableSaysSoAndKeepsWhatItHas() {
        vm.x86().createSplitIrqchip(0);
        RouteTable routes = vm.routes();
        add(RouteTable.CAPACITY);
        List<Route> before = routes.routes();
        assertThatThrownBy(() -> routes.add(MESSAGE))
                .isInstanceOf(RoutesExhaustedException.class)
                .hasMessageStartingWith("no GSI of vm (fd ");
        assertThat(routes.routes()).isEqualTo(before).hasSize(4096);
        assertThat(routes.commits()).isEqualTo(1);
    }

    /** The sentence about threads would send its reader in a circle. */
    @Test
    void closedVcpuSaysSoInEveryThread() throws Exception {
        Vcpu vcpu = vm.createVcpu(new VcpuId(0));
        vcpu.close();
        List<Throwable> thrown = new CopyOnWriteArrayList<>();
        Thread other = new Thread(() -> List.<Runnable>of(vcpu::run, vcpu.x86()::registers, vcpu::moveHere)
                .forEach(use -> thrown.add(catchThrowable(use::run))));
        other.start();
        other.join();
        assertThat(thrown).hasSize(3).allSatisfy(e -> assertThat(e)
                .isInstanceOf(ClosedHandleException.class)
                .hasMessageContaining("vcpu 0"));
    }

    @Test
    void entriesOfTheDefaultTableCountToo() {
        vm.x86().createIrqchip();
        int defaults = 40;
        assertThatThrownBy(() -> add(RouteTable.CAPACITY - defaults + 1))
                .isInstanceOf(RoutesExhaustedException.class)
                .hasMessageContaining(
                        "has 4096 entries at most, 40 were used before this change, and it adds more than are left");
        assertThat(vm.routes().commits()).isZero();
        assertThat(vm.routes().routes()).hasSize(defaults);
    }

    @Test
    void gsiTakesOneMessageOrPinsOfDifferentChips() {
        vm.x86().createIrqchip();
        Route.Pin again = new Route.Pin(new Gsi(3), Route.Chip.IOAPIC, 4);
        assertThatThrownBy(() -> vm.routes().change(edit -> edit.add(again)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("a GSI has one route, or pins of different chips");
    }

    @Test
    void refusedChangeLeavesTheTableAndTheNumbers() {
        vm.x86().createSplitIrqchip(0);
        Gsi kept = vm.routes().add(MESSAGE);
        Route.Pin onSplit = new Route.Pin(new Gsi(9), Route.Chip.IOAPIC, 9);
        refused(Errno.EINVAL, () -> vm.routes().change(edit -> edit.add(onSplit)));
        assertThat(vm.routes().routes()).containsExactly(new Route.Msi(kept, MESSAGE));
    }

    @Test
    void busyEventfdNamesItsOperandsAndCause() {
        vm.x86().createIrqchip();
        try (EventFd event = EventFd.create(kernel);
                Irqfd first = vm.assignIrqfd(event, new Gsi(24))) {
            assertThat(first.gsi()).isEqualTo(new Gsi(24));
            assertThatThrownBy(() -> vm.assignIrqfd(event, new Gsi(25)))
                    .isInstanceOf(KernelException.class)
                    .hasMessage("irqfd assign vm=" + Numbers.of(vm.fd()) + " eventfd=" + Numbers.of(event.fd())
                            + " gsi=25: EBUSY (this eventfd" + " already feeds a GSI, maybe in another VM)");
        }
    }

    @Test
    void eventfdClosedEarlyGoesWithItsIrqfd() {
        vm.x86().createIrqchip();
        EventFd event = EventFd.create(kernel);
        Irqfd irqfd = vm.assignIrqfd(event, new Gsi(24));
        event.close();
        assertThat(Machine.openFds()).isEqualTo(fdsBefore + 2);
        irqfd.close();
        irqfd.close();
        assertThat(Machine.openFds()).isEqualTo(fdsBefore + 1);
    }

    @Test
    void vmClosedEarlyGoesWithItsLastIrqfd() {
        vm.x86().createIrqchip();
        try (EventFd event = EventFd.create(kernel)) {
            Irqfd irqfd = vm.assignIrqfd(event, new Gsi(24));
            vm.close();
            assertThat(Machine.openFds()).isEqualTo(fdsBefore + 2);
            irqfd.close();
            assertThat(Machine.openFds()).isEqualTo(fdsBefore + 1);
            assertThatThrownBy(irqfd::mask).isInstanceOf(IllegalStateException.class);
        }
    }

    @Test
    void messageOutcomesAreThree() {
        vm.x86().createIrqchip();
        assertThat(vm.signal(MESSAGE)).isEqualTo(MsiOutcome.NO_DESTINATION_MATCHED);
        try (Vcpu vcpu = vm.createVcpu(VCPU)) {
            assertThat(vm.signal(MESSAGE)).isEqualTo(MsiOutcome.NOT_ACCEPTED);
            vcpu.x86().enableLapic();
            assertThat(vm.signal(MESSAGE)).isEqualTo(new MsiOutcome(1));
            assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
        }
    }

    @Test
    void lineOutcomesAreTyped() {
        vm.x86().createIrqchip();
        assertThat(vm.x86().setLine(new Gsi(100), true)).isEqualTo(LineOutcome.IGNORED);
        assertThat(vm.x86().setLine(new Gsi(4), true).accepted()).isPositive();
    }

    @Test
    void ioeventfdConflictIsExplainedAndReleasesItsEventfd() {
        IoAddress port = IoAddress.port(0x80, 1);
        try (EventFd event = EventFd.create(kernel);
                EventFd other = EventFd.create(kernel)) {
            IoEventFd first = vm.assignIoEventFd(port, event);
            assertThatThrownBy(() -> vm.assignIoEventFd(port, other)).hasMessageContaining("EEXIST (another ioeventfd");
            first.close();
            vm.assignIoEventFd(port, other).close();
        }
    }

    @Test
    void ioAddressIsCheckedBeforeTheKernel() {
        assertThatThrownBy(() -> IoAddress.port(0x10000, 1)).hasMessageContaining("port 65536 is out of range");
        assertThatThrownBy(() -> IoAddress.mmio(0, 3))
                .hasMessageContaining("length 3 cannot be written there by a guest");
        assertThatThrownBy(() -> IoAddress.port(0, 0, 1)).hasMessageContaining("data cannot be compared");
        assertThatThrownBy(() -> IoAddress.port(0x80, 1, 0x180))
                .hasMessageContaining("data 0x180 does not fit into 1 bytes");
        assertThatThrownBy(() -> IoAddress.port(0x80, 8)).hasMessageContaining("length 8 cannot be written there");
    }

    @Test
    void deviceProbeIsABooleanAndMakesNothing() {
        long before = Machine.openFds();
        assertThat(vm.supports(KvmDevice.Type.VFIO)).isTrue();
        assertThat(Machine.openFds()).isEqualTo(before);
        try (KvmDevice device = vm.createDevice(KvmDevice.Type.VFIO)) {
            assertThat(device).hasToString(device.fd().toString()).asString().startsWith("device (fd ");
            assertThat(device.hasAttribute(1, 1)).isTrue();
            assertThat(device.hasAttribute(2, 1)).isFalse();
        }
    }

    @Test
    void adoptedVmKeepsTheRoutesItsOwnerNamed() {
        vm.x86().createIrqchip();
        Gsi theirs = vm.routes().add(MESSAGE);
        Vm adopted = Vm.adopt(
                kernel, Numbers.of(vm.fd()), Ownership.BORROWED, vm.routes().routes(), new Gsi(24));
        Gsi ours = adopted.routes().add(MsiMessage.to(VCPU, new InterruptVector(0x40)));
        assertThat(ours).isNotEqualTo(theirs);
        assertThat(adopted.routes().routes()).hasSize(42);
        adopted.close();
        assertThat(vm.supports(KvmDevice.Type.VFIO)).isTrue();
    }

    private Vm adopted() {
        return Vm.adopt(kernel, Numbers.of(vm.fd()), Ownership.BORROWED, List.of(), new Gsi(24));
    }

    /** Closing in any order leaves nothing registered in a VM that lives on. */
    @Test
    void borrowedVmIsLeftAsItWas() {
        vm.x86().createIrqchip();
        IoAddress port = IoAddress.port(0x80, 1);
        EventFd used = EventFd.create(kernel);
        Vm borrowed = adopted();
        Irqfd irqfd = borrowed.assignIrqfd(used, new Gsi(30));
        IoEventFd ioEventFd = borrowed.assignIoEventFd(port, used);
        GuestMemory memory = borrowed.addMemory(0, 4096);
        borrowed.close();
        used.close();
        irqfd.close();
        ioEventFd.close();
        memory.close();
        try (EventFd event = EventFd.create(kernel)) {
            vm.assignIoEventFd(port, event).close();
            vm.addMemory(0, 4096).close();
        }
    }

    @Test
    void irqfdOnABorrowedEventfdEndsThoughTheHandleIsClosed() {
        vm.x86().createIrqchip();
        try (EventFd owner = EventFd.create(kernel);
                Fd.Lease lease = owner.fd().lease()) {
            EventFd borrowed = EventFd.adopt(kernel, lease.number(), Ownership.BORROWED);
            Irqfd irqfd = vm.assignIrqfd(borrowed, new Gsi(24));
            borrowed.close();
            irqfd.mask();
            irqfd.unmask();
            irqfd.close();
            vm.assignIrqfd(owner, new Gsi(24)).close();
        }
    }

    @Test
    void gsiWithAnIrqfdIsGivenToNobodyElse() {
        vm.x86().createIrqchip();
        try (EventFd event = EventFd.create(kernel)) {
            Gsi gsi = vm.routes().add(MESSAGE);
            Irqfd irqfd = vm.assignIrqfd(event, gsi);
            vm.routes().remove(gsi);
            assertThat(vm.routes().add(MESSAGE)).isNotEqualTo(gsi);
            irqfd.close();
            assertThat(vm.routes().add(MESSAGE)).isEqualTo(gsi);
        }
    }

    @Test
    void changeWithinAChangeIsRefused() {
        vm.x86().createIrqchip();
        RouteTable routes = vm.routes();
        assertThatThrownBy(() -> routes.change(edit -> routes.add(MESSAGE)))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("use the edit that change() passed");
        assertThat(routes.add(MESSAGE)).isEqualTo(new Gsi(24));
    }

    /** The line goes low, the device hears of it, and what it signals again is kept. */
    @Test
    void maskedLevelInterruptIsNotLost() {
        vm.x86().createIrqchip();
        Route.Pin pin = new Route.Pin(new Gsi(5), Route.Chip.IOAPIC, 5);
        try (EventFd event = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel);
                Irqfd irqfd = vm.assignLevelIrqfd(event, resample, pin.gsi())) {
            event.signal();
            eventually("the pin is high", () -> vm.x86().ioapic().isHigh(pin));
            irqfd.mask();
            assertThat(vm.x86().ioapic().isHigh(pin)).isFalse();
            assertThat(resample.drain()).isEqualTo(1);
            event.signal();
            irqfd.unmask();
            eventually("the pin is high", () -> vm.x86().ioapic().isHigh(pin));
        }
    }

    @Test
    void longApicIdIsReachedOnceEnabled() {
        vm.x86().createIrqchip();
        VcpuId far = new VcpuId(256);
        try (Vcpu vcpu = vm.createVcpu(far)) {
            vm.x86().use32BitApicIds();
            vcpu.x86().enableLapic();
            assertThat(vm.signal(MsiMessage.to(far, VECTOR))).isEqualTo(new MsiOutcome(1));
            assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
        }
        assertThatThrownBy(() -> MsiMessage.to(new VcpuId(255), VECTOR)).hasMessageContaining("is the broadcast");
    }

    @Test
    void splitIrqchipWithAllPinsSaysWhoseTheGsisAre() {
        vm.x86().createSplitIrqchip(4096);
        assertThatThrownBy(() -> vm.routes().add(MESSAGE))
                .isInstanceOf(RoutesExhaustedException.class)
                .hasMessageContaining("the first 4096 belong to pins");
    }

    @Test
    void vcpuBelongsToItsThread() throws InterruptedException {
        vm.x86().createIrqchip();
        try (Vcpu vcpu = vm.createVcpu(VCPU)) {
            AtomicReference<String> refusal = new AtomicReference<>("");
            Thread other = new Thread(
                    () -> {
                        try {
                            vcpu.run();
                        } catch (IllegalStateException e) {
                            refusal.set(String.valueOf(e.getMessage()));
                        }
                    },
                    "other");
            other.start();
            other.join();
            assertThat(refusal.get()).contains("belongs to thread").contains("was used by 'other'");
            Thread nameless =
                    new Thread(() -> refusal.set(catchThrowable(vcpu::run).getMessage()), "");
            nameless.start();
            nameless.join();
            assertThat(refusal.get()).contains("was used by a thread without a name, which");
        }
    }

    @Test
    void memoryMayHaveMoreThan2Gib() {
        try (GuestMemory memory = vm.addMemory(1L << 32, 3L << 30)) {
            memory.mapping().putInt((3L << 30) - 4, 7);
            assertThat(memory.mapping().getInt((3L << 30) - 4)).isEqualTo(7);
            assertThatThrownBy(() -> vm.addMemory((7L << 30) - 4096, 4096))
                    .hasMessageContaining("EEXIST (the slot overlaps");
        }
    }

    @Test
    void closedVmRefusesNewWork() {
        vm.close();
        assertThatThrownBy(() -> vm.signal(MESSAGE)).isInstanceOf(ClosedHandleException.class);
        assertThatThrownBy(() -> vm.addMemory(0, 4096)).isInstanceOf(ClosedHandleException.class);
    }

    @ParameterizedTest
    @EnumSource
    void requestWithoutAMethodIsOneCall(Kernels kernels) {
        Fd closed;
        try (Kernel kernel = kernels.open();
                Vm vm = Vm.create(kernel)) {
            assertThat(vm.fd().ioctl(Uapi.KVM_CHECK_EXTENSION, Uapi.KVM_CAP_IRQCHIP))
                    .isEqualTo(vm.capability(Uapi.KVM_CAP_IRQCHIP));
            assertThatThrownBy(() -> vm.fd().ioctl(Uapi.KVM_CREATE_VCPU, 1L << 31))
                    .isInstanceOf(KernelException.class)
                    .hasMessageStartingWith("vcpu create " + vm + ": EINVAL (");
            assertThatThrownBy(() -> vm.fd().ioctl(Uapi.KVM_GET_LAPIC, Buffers.allocate(Uapi.KvmLapicState.SIZE)))
                    .hasMessageStartingWith("lapic get " + vm + ": ENOTTY");
            assertThatThrownBy(() -> vm.fd().ioctl(0x1234, 0)).hasMessage("ioctl 0x1234 " + vm + ": ENOTTY");
            closed = vm.fd();
        }
        assertThatThrownBy(() -> closed.ioctl(0x1234, 0)).isInstanceOf(ClosedHandleException.class);
    }
}
