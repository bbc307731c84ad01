/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.DistributorRegister.*;
import static io.kvmirq.arch.gic.model.RedistributorRegister.PRIVATE_FRAME;
import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/**
 * How interrupts become pending in a VGICv3 while no guest runs: arch/arm64/kvm/vgic/vgic.c, vgic-irqfd.c, vgic-its.c.
 */
@ArmContract
class VgicDeliveryContract extends ArmVms {
    private static final Spi EDGE = new Spi(42);
    private static final Spi OTHER = new Spi(44);
    private static final Spi LEVEL = new Spi(43);
    private static final Ppi PRIVATE = new Ppi(23);
    private static final MsiMessage MESSAGE = MsiMessage.toIts(ITS, 0x10, 1);

    private final Vm vm = vm();

    VgicDeliveryContract(World world) {
        super(world);
    }

    private static Gsi gsi(Spi spi) {
        return new Gsi(spi.pin());
    }

    private Irqfd assign(Vm vm, EventFd event, Gsi gsi) {
        return made.add(vm.assignIrqfd(event, gsi));
    }

    // Routes

    @Test
    void initRoutesEachGsiToItsPin() {
        VgicV3 vgic = vgic(vm);
        vgic.setInterrupts(96);
        vgic.init();
        assertThat(vm.routes().routes())
                .isEqualTo(IntStream.range(0, 64)
                        .mapToObj(pin -> (Route) new Route.Pin(new Gsi(pin), Route.Chip.VGIC, pin))
                        .toList());
        EventFd event = event();
        assign(vm, event, new Gsi(63));
        event.signal();
        latched(vgic, new Spi(95));
        assertThat(vm.routes().add(MESSAGE)).as("the first GSI without pin").isEqualTo(new Gsi(64));
    }

    /** A change replaces the whole table: the default routes stay because they are known. */
    @Test
    void changeKeepsTheDefaultRoutes() {
        VgicV3 vgic = ready(vm);
        Gsi added = new Gsi(300);
        vm.routes().edit(edit -> edit.add(Route.Pin.to(added, OTHER)));
        EventFd first = event();
        EventFd second = event();
        assign(vm, first, gsi(EDGE));
        assign(vm, second, added);
        first.signal();
        second.signal();
        latched(vgic, EDGE);
        latched(vgic, OTHER);
    }

    @Test
    void chipsOfX86AreRefusedBeforeTheKernel() {
        ready(vm);
        assertThatThrownBy(
                        () -> vm.routes().change(edit -> edit.add(new Route.Pin(new Gsi(300), Route.Chip.IOAPIC, 5))))
                .hasMessage(vm + " has no IOAPIC pins: x86 has them, use pins of Route.Chip.VGIC");
    }

    // Edges

    @Test
    void signalOfAnIrqfdLatchesTheSpiOfItsPin() {
        VgicV3 vgic = ready(vm);
        EventFd event = event();
        assign(vm, event, gsi(EDGE));
        assertThat(vgic.isLatched(EDGE)).isFalse();
        event.signal();
        latched(vgic, EDGE);
        assertThat(vgic.readDistributor(0x204)).isEqualTo(1 << EDGE.number() - 32);
        assertThat(vgic.isHigh(EDGE)).isFalse();
        vgic.setLatched(EDGE, false);
        assertThat(vgic.isLatched(EDGE)).isFalse();
        event.signal();
        latched(vgic, EDGE);
    }

    @Test
    void fallingLineOfAnEdgeIsNothing() {
        VgicV3 vgic = ready(vm);
        vm.arm64().setSpi(EDGE, false);
        assertThat(vgic.isLatched(EDGE)).isFalse();
        vm.arm64().setSpi(EDGE, true);
        vm.arm64().setSpi(EDGE, false);
        assertThat(vgic.isLatched(EDGE)).isTrue();
        assertThat(vgic.isHigh(EDGE)).isFalse();
    }

    @Test
    void deassignedIrqfdKeepsItsSignals() {
        VgicV3 vgic = ready(vm);
        EventFd event = event();
        Irqfd irqfd = assign(vm, event, gsi(EDGE));
        irqfd.mask();
        event.signal(3);
        irqfd.unmask();
        latched(vgic, EDGE);
    }

    @Test
    void signalWithoutRouteOrPinIsLost() {
        VgicV3 vgic = ready(vm);
        EventFd event = event();
        vm.routes().edit(edit -> edit.add(new Route.Pin(new Gsi(300), Route.Chip.VGIC, 900)));
        for (int gsi : new int[] {300, 301}) {
            Irqfd irqfd = assign(vm, event, new Gsi(gsi));
            event.signal();
            irqfd.close();
            assertThat(event.drain()).as("count after gsi " + gsi).isZero();
        }
        for (int word = 0x204; word < 0x220; word += 4) {
            assertThat(vgic.readDistributor(word)).isZero();
        }
    }

    @Test
    void changedRouteTakesTheNextSignal() {
        VgicV3 vgic = ready(vm);
        EventFd event = event();
        Gsi gsi = new Gsi(300);
        vm.routes().edit(edit -> edit.add(Route.Pin.to(gsi, EDGE)));
        assign(vm, event, gsi);
        event.signal();
        latched(vgic, EDGE);
        vgic.setLatched(EDGE, false);
        vm.routes().edit(edit -> edit.remove(gsi).add(Route.Pin.to(gsi, OTHER)));
        event.signal();
        latched(vgic, OTHER);
        assertThat(vgic.isLatched(EDGE)).isFalse();
    }

    /** The latches of 32 interrupts are one register. */
    @Test
    void latchOfAnSpiLeavesItsNeighbours() {
        VgicV3 vgic = ready(vm);
        vgic.setLatched(EDGE, true);
        vgic.setLatched(OTHER, true);
        assertThat(vgic.isLatched(EDGE)).isTrue();
        vgic.setLatched(OTHER, false);
        assertThat(vgic.isLatched(EDGE)).isTrue();
        assertThat(vgic.isLatched(OTHER)).isFalse();
    }

    /** The configurations of 16 interrupts are one register. */
    @Test
    void configurationOfAnSpiLeavesItsNeighbours() {
        VgicV3 vgic = ready(vm);
        vgic.makeLevel(LEVEL);
        vm.arm64().setSpi(EDGE, true);
        assertThat(vgic.isLatched(EDGE)).isTrue();
        vgic.makeLevel(OTHER);
        vgic.makeEdge(OTHER);
        vm.arm64().setSpi(LEVEL, true);
        assertThat(vgic.isHigh(LEVEL)).isTrue();
        assertThat(vgic.isLatched(LEVEL)).isFalse();
    }

    // Levels

    @Test
    void ppiStaysLevelTriggered() {
        VgicV3 vgic = ready(vm);
        int configuration = PRIVATE_FRAME + GICD_ICFGR.offset() + Integer.BYTES;
        vgic.writeRedistributor(FIRST, configuration, 0xaaaa_aaaa);
        assertThat(vgic.readRedistributor(FIRST, configuration)).isZero();
        vgic.writeRedistributor(FIRST, configuration - Integer.BYTES, 0);
        assertThat(vgic.readRedistributor(FIRST, configuration - Integer.BYTES))
                .as("SGIs")
                .isEqualTo(0xaaaa_aaaa);
        vm.arm64().setPpi(FIRST, PRIVATE, true);
        assertThat(vgic.isHigh(FIRST, PRIVATE)).isTrue();
    }

    @Test
    void lineOfALevelIsHighAndNotLatched() {
        VgicV3 vgic = ready(vm);
        vgic.makeLevel(LEVEL);
        vm.arm64().setSpi(LEVEL, true);
        assertThat(vgic.isHigh(LEVEL)).isTrue();
        assertThat(vgic.isLatched(LEVEL)).isFalse();
        vm.arm64().setSpi(LEVEL, false);
        assertThat(vgic.isHigh(LEVEL)).isFalse();
        vgic.makeEdge(LEVEL);
        vm.arm64().setSpi(LEVEL, true);
        assertThat(vgic.isLatched(LEVEL)).isTrue();
    }

    @Test
    void resamplingIrqfdHoldsTheLineUntilItIsDeassigned() {
        VgicV3 vgic = ready(vm);
        vgic.makeLevel(LEVEL);
        EventFd event = event();
        EventFd resample = event();
        Irqfd irqfd = made.add(vm.assignLevelIrqfd(event, resample, gsi(LEVEL)));
        event.signal();
        eventually(LEVEL + " is high", () -> vgic.isHigh(LEVEL));
        assertThat(event.drain()).isZero();
        assertThat(resample.drain()).isZero();
        irqfd.close();
        assertThat(vgic.isHigh(LEVEL)).isFalse();
        assertThat(resample.drain()).isZero();
    }

    /** Without resampling no end of interrupt is seen, and nobody lowers what an irqfd has raised. */
    @Test
    void lineOfAPlainIrqfdStaysHigh() {
        VgicV3 vgic = ready(vm);
        vgic.makeLevel(LEVEL);
        EventFd event = event();
        Irqfd irqfd = assign(vm, event, gsi(LEVEL));
        event.signal();
        eventually(LEVEL + " is high", () -> vgic.isHigh(LEVEL));
        irqfd.close();
        assertThat(vgic.isHigh(LEVEL)).isTrue();
        vm.arm64().setSpi(LEVEL, false);
        assertThat(vgic.isHigh(LEVEL)).isFalse();
    }

    @Test
    void ppiIsOfOneVcpu() {
        VgicV3 vgic;
        VcpuId second = new VcpuId(1);
        vcpu(vm, 0).arm64().initialize();
        vcpu(vm, 1).arm64().initialize();
        vgic = made.add(vm.arm64().createVgicV3());
        vgic.init();
        vm.arm64().setPpi(second, PRIVATE, true);
        assertThat(vgic.isHigh(second, PRIVATE)).isTrue();
        assertThat(vgic.isHigh(FIRST, PRIVATE)).isFalse();
        vm.arm64().setPpi(second, PRIVATE, false);
        assertThat(vgic.isHigh(second, PRIVATE)).isFalse();
        refused(Errno.EINVAL, () -> vm.arm64().setPpi(new VcpuId(2), PRIVATE, true));
        refused(Errno.EINVAL, () -> vm.arm64().setPpi(new VcpuId(256), PRIVATE, true));
    }

    /** Lines are restored whatever the interrupts are; a high line of an edge latches nothing. */
    @Test
    void linesAreSavedAndRestored() {
        vcpu(vm, 0).arm64().initialize();
        VgicV3 vgic = made.add(vm.arm64().createVgicV3());
        vgic.init();
        vgic.makeLevel(LEVEL);
        vm.arm64().setSpi(LEVEL, true);
        vm.arm64().setPpi(FIRST, PRIVATE, true);
        int spis = vgic.readLines(FIRST, 32);
        assertThat(spis).isEqualTo(1 << LEVEL.number() - 32);
        assertThat(vgic.readLines(FIRST, 0)).isEqualTo(1 << PRIVATE.number());
        vgic.writeLines(FIRST, 32, 1 << EDGE.number() - 32);
        vgic.writeLines(FIRST, 0, 0);
        assertThat(vgic.isHigh(LEVEL)).isFalse();
        assertThat(vgic.isHigh(FIRST, PRIVATE)).isFalse();
        assertThat(vgic.isLatched(EDGE)).isFalse();
        assertThat(vgic.isHigh(EDGE)).as("an edge has no level").isFalse();
        vgic.makeLevel(EDGE);
        assertThat(vgic.isHigh(EDGE)).isTrue();
        vgic.writeLines(FIRST, 32, spis);
        assertThat(vgic.isHigh(LEVEL)).isTrue();
        assertThat(vgic.isHigh(EDGE)).isFalse();
    }

    @Test
    void linesNeedAVgic() {
        vcpu(vm, 0);
        assertThat(refused(Errno.ENXIO, () -> vm.arm64().setSpi(EDGE, true))).endsWith("ENXIO (the VM has no VGIC)");
        refused(Errno.ENXIO, () -> vm.arm64().setPpi(FIRST, PRIVATE, true));
    }

    // Messages

    @Test
    void messageNeedsVgicThenItsThenDevice() {
        MsiMessage withoutDevice = new MsiMessage(MESSAGE.address(), MESSAGE.data());
        assertThat(refused(Errno.EINVAL, () -> vm.signal(MESSAGE))).endsWith("EINVAL (the VM has no VGIC)");
        ready(vm);
        assertThat(refused(Errno.ENODEV, () -> vm.signal(MESSAGE))).endsWith("ENODEV (the VM has no ITS)");
        refused(Errno.ENODEV, () -> vm.signal(withoutDevice));
        Its service = made.add(vm.arm64().createIts());
        assertThat(refused(Errno.EINVAL, () -> vm.signal(withoutDevice)))
                .endsWith("EINVAL (an ITS needs the device: VALID_DEVID is missing)");
        assertThat(refused(Errno.EINVAL, () -> vm.signal(MESSAGE))).contains("no ITS is at that address");
        service.setAddress(ITS);
        assertThat(refused(Errno.EINVAL, () -> vm.signal(MsiMessage.toIts(0x909_0000L, 0x10, 1))))
                .contains("no ITS is at that address");
        refused(Errno.EINVAL, () -> vm.signal(withoutDevice));
    }

    /** Whatever the device: the ITS looks it up once the guest has turned it on. */
    @Test
    void messageToAnItsThatIsOffIsBusy() {
        ready(vm);
        made.add(vm.arm64().createIts()).setAddress(ITS);
        for (int device : new int[] {0, 0x10, -1}) {
            assertThat(refused(Errno.EBUSY, () -> vm.signal(MsiMessage.toIts(ITS, device, 1))))
                    .contains("the guest has not turned the ITS on");
        }
    }

    @Test
    void routedMessageToAnItsThatIsOffIsLost() {
        ready(vm);
        made.add(vm.arm64().createIts()).setAddress(ITS);
        Gsi gsi = vm.routes().add(MESSAGE);
        EventFd event = event();
        Irqfd irqfd = assign(vm, event, gsi);
        event.signal();
        irqfd.close();
        assertThat(event.drain()).isZero();
    }

    /** Route and message carry the device in the fields of their structures. */
    @Test
    void deviceIdIsPartOfTheMessage() {
        assertThat(MESSAGE).isEqualTo(new MsiMessage(ITS + 0x1_0040, 1, OptionalInt.of(0x10)));
        int number = world.own(world.createVm(world.kvm()));
        ByteBuffer route = World.message(records(1), 0, 5, MESSAGE.address(), 0, KernelBackend.ROUTE_FLAG_DEVID, 0x10);
        assertOk(world.kernel().routesSet(number, route, 1));
        route.putInt(KernelBackend.ROUTE_FLAGS, KernelBackend.ROUTE_FLAG_DEVID << 1);
        assertErrno(Errno.EINVAL, world.kernel().routesSet(number, route, 1));
        assertErrno(
                Errno.EINVAL, world.kernel().msiSignal(number, MESSAGE.address(), 1, Uapi.KVM_MSI_VALID_DEVID, 0x10));
    }

    // Ranges

    /** The kernel ignores writes of registers and bits that it does not have, and reads them as 0. */
    @Test
    void spiBeyondTheVgicIsRefused() {
        VgicV3 vgic = ready(vm);
        Spi beyond = new Spi(500);
        String sentence = "spi 500 is beyond this VGIC: expected 32-255, call setInterrupts before init for more";
        assertThatThrownBy(() -> vgic.makeLevel(beyond)).hasMessage(sentence);
        assertThatThrownBy(() -> vgic.makeEdge(beyond)).hasMessage(sentence);
        assertThatThrownBy(() -> vgic.setLatched(beyond, true)).hasMessage(sentence);
        assertThatThrownBy(() -> vgic.isLatched(beyond)).hasMessage(sentence);
        assertIllegalArgument(() -> vgic.isHigh(beyond), sentence);
        vgic.makeLevel(new Spi(255));
        assertThat(vgic.isHigh(new Spi(255))).isFalse();
    }

    @Test
    void offsetOfNoRegisterIsRefused() {
        VgicV3 vgic = ready(vm);
        assertThatThrownBy(() -> vgic.readRedistributor(FIRST, -4))
                .hasMessage("redistributor offset 0xfffffffc is invalid: expected a multiple of 4 below 0x20000");
        assertThatThrownBy(() -> vgic.writeRedistributor(FIRST, VgicV3.REDISTRIBUTOR_SIZE, 0))
                .isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> vgic.readDistributor(2)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> vgic.writeDistributor(0x402, 0))
                .hasMessage("distributor offset 0x402 is invalid: expected a multiple of 4 below 0x10000");
        assertThatThrownBy(() -> vgic.readDistributor(0x1_0000)).isInstanceOf(IllegalArgumentException.class);
    }

    // Adopted

    /** A VMM gives away VGIC and ITS too; the routes are those that it named. */
    @Test
    void adoptedVgicAndItsAreRead() {
        Vm mine = vm();
        VgicV3 vgic = ready(mine);
        Its service = made.add(mine.arm64().createIts());
        service.setAddress(ITS);
        try (var vm = mine.fd().lease();
                var ofVgic = vgic.fd().lease();
                var ofIts = service.fd().lease()) {
            Route kept = new Route.Msi(new Gsi(224), MESSAGE);
            Vm adopted = made.add(Vm.adopt(kernel, vm.number(), Ownership.BORROWED, List.of(kept), new Gsi(224)));
            try (VgicV3 theirs = adopted.arm64().adoptVgicV3(ofVgic.number(), Ownership.BORROWED);
                    Its theirIts = adopted.arm64().adoptIts(ofIts.number(), Ownership.BORROWED)) {
                theirs.init();
                assertThat(theirs.interrupts()).isEqualTo(vgic.interrupts());
                adopted.arm64().setSpi(EDGE, true);
                assertThat(theirs.isLatched(EDGE)).isTrue();
                assertThatThrownBy(() -> theirs.makeLevel(new Spi(500))).hasMessageContaining("expected 32-255");
                assertThat(theirIts.readRegister(8)).isEqualTo(service.readRegister(8));
            }
            assertThat(adopted.routes().routes()).containsExactly(kept);
            assertThat(vgic.isLatched(EDGE)).isTrue();
        }
    }

    /** A VMM has made VM, vCPU and VGIC, and gives the VM away with the routes that it knows. */
    @Test
    void adoptedVmTakesIrqfdsAndLines() {
        Vm mine = vm();
        VgicV3 vgic = ready(mine);
        try (var lease = mine.fd().lease()) {
            Vm adopted = made.add(Vm.adopt(
                    kernel, lease.number(), Ownership.BORROWED, mine.routes().routes(), new Gsi(224)));
            Gsi gsi = adopted.routes().add(MESSAGE);
            assertThat(gsi).isEqualTo(new Gsi(224));
            EventFd event = event();
            try (Irqfd irqfd = adopted.assignIrqfd(event, gsi(EDGE))) {
                irqfd.event().signal();
                latched(vgic, EDGE);
            }
            assertThatThrownBy(adopted::x86).hasMessage(adopted + " is arm64 and has no x86 parts: call Vm.arm64()");
            adopted.arm64().setSpi(OTHER, true);
            assertThat(vgic.isLatched(OTHER)).isTrue();
            assertThat(refused(Errno.EEXIST, adopted.arm64()::createVgicV3)).contains("the VM has a VGIC");
            List<Route> routes = List.of(new Route.Pin(new Gsi(0), Route.Chip.PIC_MASTER, 0));
            assertThatThrownBy(() -> Vm.adopt(kernel, lease.number(), Ownership.BORROWED, routes, new Gsi(224)))
                    .hasMessageContaining("has no PIC_MASTER pins: x86 has them");
        }
    }
}
