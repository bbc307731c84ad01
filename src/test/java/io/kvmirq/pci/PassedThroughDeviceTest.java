/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.PassedWorld.BAR_0;
import static io.kvmirq.pci.PassedWorld.COMMAND;
import static io.kvmirq.pci.PassedWorld.MEMORY_AND_MASTER;
import static io.kvmirq.pci.PassedWorld.PENDING;
import static io.kvmirq.pci.PassedWorld.PIN;
import static io.kvmirq.pci.PassedWorld.REGISTERS;
import static io.kvmirq.pci.PassedWorld.SIZE;
import static io.kvmirq.pci.PassedWorld.SLOT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A guest's accesses to a device on its bus, and what becomes of the device. */
class PassedThroughDeviceTest {
    private static final long ONES = 0xffff_ffffL;

    private final PassedWorld world = new PassedWorld();

    @AfterEach
    void close() {
        world.close();
    }

    private Set<IrqKind> forwarded() {
        return world.kinds();
    }

    // The bus

    @Test
    void busIsFoundByMechanism1() {
        assertThat(world.config(0, 0, 4)).isEqualTo(0x0008_1b36);
        assertThat(world.config(0, 0xa, 2)).isEqualTo(0x0600);
        assertThat(world.config(SLOT, 0, 4)).isEqualTo(0x10d3_8086);
        assertThat(world.config(2, 2)).isEqualTo(0x10d3);
        assertThat(world.config(1, 1)).isEqualTo(0x80);
        assertThat(world.config(5, 0, 4) & ONES).isEqualTo(ONES);
        assertThat(world.bus.read(true, 0xcf8, 4)).isEqualTo(1L << 31 | 5 << 11);
        world.bus.write(true, 0xcf8, 4, SLOT << 11); // not enabled
        assertThat(world.bus.read(true, 0xcfc, 4)).isEqualTo(0xffff_ffffL);
        world.bus.write(true, 0xcf8, 4, 1L << 31 | SLOT << 11 | 1 << 8); // another function
        assertThat(world.bus.read(true, 0xcfc, 4)).isEqualTo(0xffff_ffffL);
        world.bus.write(true, 0xcf8, 4, 1L << 31 | 1 << 16 | SLOT << 11); // another bus
        assertThat(world.bus.read(true, 0xcfc, 4)).isEqualTo(0xffff_ffffL);
        for (int[] other : new int[][] {{0xcf8, 1}, {0xcfb, 1}, {0xcf9, 1}, {0xcf8, 2}, {0x3f8, 1}, {0xd00, 4}}) {
            assertThat(world.bus.isOurs(true, other[0], other[1])).isFalse();
        }
        assertThat(world.bus.lines()).containsExactly(new PciHostBridge.Line(SLOT, 0, PIN));
        assertThat(world.config(0x3c, 2)).isEqualTo(1 << 8 | 16);
    }

    @Test
    void slotsAndHolesThatAreNoneAreRefused() {
        assertThatThrownBy(() -> world.builder().build())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("0000:3b:00.0 in slot 3 is already there: choose a free slot");
        assertThatThrownBy(() -> new PciHostBridge(0x1000, 0x800)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> new PciHostBridge(0xfffff000L, 0x2000)).isInstanceOf(IllegalArgumentException.class);
        assertThat(world.config(0, 2)).isEqualTo(0x8086);
    }

    @Test
    void forwardingOfAnotherDeviceOrVmIsRefused() {
        world.fake.pciDevice("0000:3c:00.0", 9).intx().bar(0, 0x1000).add();
        try (Vm other = Vm.create(world.kernel);
                VfioDevice second = VfioDevice.open(world.kernel, PciAddress.parse("0000:3c:00.0"))) {
            for (Vm vm : List.of(world.vm, other)) {
                VfioDevice device = vm == other ? world.device : second;
                assertThatThrownBy(() -> PassedThroughDevice.builder(world.bus, SLOT + 1, vm, device, world.forwarding))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessage(world.forwarding + " cannot be that of " + device.name() + " in " + vm
                                + ": create the Forwarding of this VM and this device");
            }
        }
    }

    // Configuration space

    @Test
    void barsSayTheirSizesAndKeepTheirAddresses() {
        assertThat(world.config(BAR_0, 4)).isEqualTo(REGISTERS);
        assertThat(world.config(BAR_0 + 8, 4)).isEqualTo(REGISTERS + SIZE);
        for (int i = 0; i < 6; i++) {
            world.setConfig(BAR_0 + 4 * i, 4, ONES);
        }
        assertThat(world.config(BAR_0, 4)).isEqualTo(-SIZE & ONES);
        assertThat(world.config(BAR_0 + 8, 4)).isEqualTo(-0x1000 & ONES);
        assertThat(world.config(BAR_0 + 4, 4)).isZero();
        world.setConfig(BAR_0, 4, 0x12345678);
        assertThat(world.config(BAR_0, 4)).isEqualTo(0x12344000);
        world.setConfig(0x30, 4, ONES); // the ROM is hidden
        assertThat(world.config(0x30, 4)).isZero();
    }

    @Test
    void readOnlyRegistersKeepTheirValues() {
        world.setConfig(0x34, 1, 0xff);
        world.setConfig(0x3c, 2, 0xffff);
        assertThat(world.config(0x34, 1)).isEqualTo(0x40);
        assertThat(world.config(0x3c, 2)).isEqualTo(0x1ff);
        int msix = world.capability(0x11);
        assertThat(world.config(msix + 2, 2)).isEqualTo(7);
        world.setConfig(msix + 4, 4, ONES);
        assertThat(world.config(msix + 4, 4)).isZero();
        assertThat(world.config(msix + 1, 1)).isZero();
    }

    // BARs

    @Test
    void guestReachesRegistersAndTheTableIsTrapped() {
        assertThat(world.store(REGISTERS + 0x1004, 7)).isTrue(); // the device does not answer yet
        world.command(MEMORY_AND_MASTER);
        assertThat(world.store(REGISTERS + 0x1004, 8)).isFalse();
        assertThat(world.hardware.register(0, 0x1004)).isEqualTo(8);
        assertThat(world.store(REGISTERS + SIZE, 9)).isFalse();
        assertThat(world.hardware.register(2, 0)).isEqualTo(9);
        // The table's page: beside the table the device has the access
        assertThat(world.store(REGISTERS + 0x200, 10)).isTrue();
        assertThat(world.hardware.register(0, 0x200)).isEqualTo(10);
        assertThat(world.store(REGISTERS, 11)).isTrue();
        assertThat(world.hardware.register(0, 0)).isZero();
        assertThat(world.bus.read(false, REGISTERS + 12, 4)).isEqualTo(1);
        world.command(0);
        assertThat(world.store(REGISTERS + 0x1004, 12)).isTrue();
        assertThat(world.hardware.register(0, 0x1004)).isEqualTo(8);
    }

    /** 256 vectors fill a page. */
    @Test
    void pageBehindAFullTableIsMapped() {
        try (PassedWorld other = new PassedWorld(builder -> builder.msix(256))) {
            other.command(MEMORY_AND_MASTER);
            assertThat(other.store(REGISTERS + 0x1004, 8)).as("exit").isFalse();
        }
    }

    @Test
    void accessBesideTheTableIsOneOfTheDevice() {
        world.command(MEMORY_AND_MASTER);
        world.bus.write(false, REGISTERS + 0x200, 8, 0x1122334455667788L);
        assertThat(world.bus.read(false, REGISTERS + 0x200, 8)).isEqualTo(0x1122334455667788L);
        assertThat(world.bus.read(false, REGISTERS + 0x201, 1)).isEqualTo(0x77);
        assertThat(world.bus.read(false, REGISTERS + 0x202, 2)).isEqualTo(0x5566);
        assertThat(world.bus.read(false, REGISTERS + 0x201, 4)).isEqualTo(0x44556677);
        world.bus.write(false, REGISTERS + 0x203, 3, 0xaabbcc);
        assertThat(world.bus.read(false, REGISTERS + 0x200, 8)).isEqualTo(0x1122aabbcc667788L);
    }

    @Test
    void barsMove() {
        world.command(MEMORY_AND_MASTER);
        world.setConfig(BAR_0 + 8, 4, 0xe000);
        assertThat(world.store(0xe004, 5)).isFalse();
        assertThat(world.hardware.register(2, 4)).isEqualTo(5);
        assertThat(world.store(REGISTERS + SIZE + 4, 6)).isTrue();
        assertThat(world.hardware.register(2, 4)).isEqualTo(5);
        assertThat(world.notices).isEmpty();
    }

    @Test
    void barOnMemoryOrOnAnotherBarIsNotReached() {
        world.command(MEMORY_AND_MASTER);
        world.setConfig(BAR_0 + 8, 4, 0x2000);
        assertThat(world.config(BAR_0 + 8, 4)).isEqualTo(0x2000);
        assertThat(world.store(0x2004, 5)).isFalse();
        assertThat(world.memory.mapping().getByte(0x2004)).isEqualTo((byte) 5);
        assertThat(world.notices)
                .containsExactly("0000:3b:00.0 in slot 3: BAR 2 at 0x2000 lies outside of the hole for"
                        + " BARs, 0x8000 to 0xffff: the guest does not reach it");
        world.setConfig(BAR_0 + 8, 4, 0x9000);
        assertThat(world.notices).hasSize(1);
        assertThat(world.store(0x9008, 6)).isFalse();
        assertThat(world.hardware.register(0, 0x1008)).isEqualTo(6);
        world.setConfig(BAR_0 + 8, 4, 0xd000);
        assertThat(world.store(0xd004, 7)).isFalse();
        assertThat(world.hardware.register(2, 4)).isEqualTo(7);
        world.passed.reset(); // then a sentence is said again
        world.command(MEMORY_AND_MASTER);
        world.setConfig(BAR_0 + 8, 4, 0x9000);
        assertThat(world.notices.get(1))
                .endsWith("BAR 2 at 0x9000 lies on BAR 0 of 0000:3b:00.0 in slot 3, which answers there");
        world.setConfig(BAR_0, 4, 0xc000); // its memory follows without a write of BAR 2
        assertThat(world.store(0x9004, 9)).isFalse();
        assertThat(world.hardware.register(2, 4)).isEqualTo(9);
    }

    // Interrupts

    @Test
    void oneKindOfInterruptIsForwardedAtATime() {
        assertThat(forwarded()).isEmpty();
        world.command(MEMORY_AND_MASTER);
        assertThat(forwarded()).containsExactly(IrqKind.INTX);
        world.command(MEMORY_AND_MASTER | 1 << 10);
        assertThat(forwarded()).isEmpty();
        world.command(MEMORY_AND_MASTER);
        assertThat(world.msixEnabled(true)).isEqualTo(1 << 15 | 7);
        world.entry(3, 0x43);
        assertThat(forwarded()).containsExactly(IrqKind.MSIX);
        world.hardware.sendMessage(3);
        assertThat(world.taken()).containsExactly(0x43);
        world.msixEnabled(false);
        assertThat(forwarded()).containsExactly(IrqKind.INTX);
        assertThat(world.notices).isEmpty();
    }

    /** A driver that is not loaded yet could not serve it. */
    @Test
    void lineWaitsForABarThatDecodes() {
        world.command(4);
        assertThat(forwarded()).isEmpty();
        world.command(MEMORY_AND_MASTER);
        assertThat(forwarded()).containsExactly(IrqKind.INTX);
        world.command(4);
        assertThat(forwarded()).isEmpty();
    }

    @Test
    void msiThatTheGuestEnabledMeanwhileFollowsMsix() {
        try (PassedWorld other = new PassedWorld(builder -> builder.msi(4).resettable())) {
            other.command(MEMORY_AND_MASTER);
            other.msixEnabled(true);
            int msi = other.capability(5);
            other.setConfig(msi + 4, 4, 0xfee00000L);
            other.setConfig(msi + 12, 2, 0x44);
            other.setConfig(msi + 2, 2, 1);
            assertThat(other.kinds()).containsExactly(IrqKind.MSIX);
            other.msixEnabled(false);
            assertThat(other.kinds()).containsExactly(IrqKind.MSI);
            other.hardware.sendMessage(0);
            assertThat(other.taken()).containsExactly(0x44);
        }
    }

    @Test
    void guestUsesMsi() {
        try (PassedWorld other = new PassedWorld(builder -> builder.msi(4).resettable())) {
            other.command(MEMORY_AND_MASTER);
            int msi = other.capability(5);
            assertThat(other.config(msi + 2, 2)).isEqualTo(1 << 7 | 2 << 1);
            other.setConfig(msi + 4, 4, 0xfee00000L);
            other.setConfig(msi + 12, 2, 0x44);
            other.setConfig(msi + 2, 2, 2 << 4 | 1);
            assertThat(other.config(msi, 4)).isEqualTo((1L << 7 | 2 << 4 | 2 << 1 | 1) << 16 | other.config(msi, 2));
            assertThat(other.forwarding.irqs())
                    .hasSize(4)
                    .allMatch(irq -> irq.irq().info().kind() == IrqKind.MSI);
            other.hardware.sendMessage(2);
            assertThat(other.taken()).containsExactly(0x46);
            other.setConfig(msi + 2, 2, 0);
            assertThat(other.forwarding.irqs())
                    .allMatch(irq -> irq.irq().info().kind() == IrqKind.INTX)
                    .hasSize(1);
            other.setConfig(msi + 2, 2, 1);
            other.bus.reset();
            assertThat(other.config(msi + 2, 2)).isEqualTo(1 << 7 | 2 << 1);
            assertThat(other.forwarding.irqs()).isEmpty();
            assertThat(other.notices).isEmpty();
        }
    }

    @Test
    void heldMessagesArriveOnceWhateverTheGuestWrites() {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(3, 0x43);
        world.passed.hold();
        world.passed.hold();
        world.hardware.sendMessage(3);
        world.hardware.sendMessage(3);
        assertThat(world.bus.read(false, REGISTERS + PENDING, 8)).isEqualTo(1 << 3);
        world.entry(3, 0x53);
        world.entry(4, 0x44);
        world.hardware.sendMessage(3);
        assertThat(world.taken()).as("the guest opens a vector").isEmpty();
        world.msixEnabled(false);
        assertThat(forwarded()).as("INTx waits").isEmpty();
        world.msixEnabled(true);
        assertThat(world.taken()).as("the guest enables MSI-X again").isEmpty();
        world.passed.release();
        assertThat(world.taken()).containsExactly(0x53);
        world.hardware.sendMessage(4);
        world.hardware.sendMessage(3);
        assertThat(world.taken()).containsExactlyInAnyOrder(0x44, 0x53);
        world.passed.release();
        assertThat(world.taken()).isEmpty();
        assertThat(world.notices).isEmpty();
    }

    @Test
    void interruptsAreHeldAcrossAReset() {
        world.passed.hold();
        world.bus.reset();
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(2, 0x42);
        world.hardware.sendMessage(2);
        assertThat(world.taken()).isEmpty();
        world.passed.release();
        assertThat(world.taken()).containsExactly(0x42);
        assertThat(world.notices).isEmpty();
    }

    @Test
    void heldMsiArrivesOnce() {
        try (PassedWorld other = new PassedWorld(builder -> builder.msi(4).resettable())) {
            other.command(MEMORY_AND_MASTER);
            int msi = other.capability(5);
            other.setConfig(msi + 4, 4, 0xfee00000L);
            other.setConfig(msi + 12, 2, 0x44);
            other.passed.hold();
            other.setConfig(msi + 2, 2, 1);
            other.hardware.sendMessage(0);
            other.hardware.sendMessage(0);
            assertThat(other.taken()).isEmpty();
            other.passed.release();
            assertThat(other.taken()).containsExactly(0x44);
            assertThat(other.notices).isEmpty();
        }
    }

    @Test
    void heldLineStaysAsserted() {
        world.command(MEMORY_AND_MASTER);
        world.passed.hold();
        world.hardware.requestService();
        assertThat(world.forwarding.irqs()).hasSize(1).allMatch(irq -> irq.isMasked() && irq.isPending());
        world.passed.release();
        assertThat(world.forwarding.irqs()).hasSize(1).noneMatch(ForwardedIrq::isMasked);
        world.passed.hold();
        world.command(MEMORY_AND_MASTER | 1 << 10);
        world.command(MEMORY_AND_MASTER);
        assertThat(forwarded()).as("the guest lets it interrupt again").isEmpty();
        world.passed.release();
        assertThat(world.forwarding.irqs()).hasSize(1).noneMatch(ForwardedIrq::isMasked);
        assertThat(world.notices).isEmpty();
        world.passed.close();
        assertThat(world.forwarding.irqs()).isEmpty();
    }

    @Test
    void holdOfADeviceThatIsGoneIsASentence() {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(3, 0x43);
        world.forwarding.close();
        world.passed.hold();
        assertThat(world.notices).hasSize(1).allMatch(sentence -> sentence.contains("interrupts cannot be held"));
    }

    /** What is saved during a hold must not change: a hold that the kernel refuses is none. */
    @Test
    void refusedHoldHoldsNone() {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(3, 0x43);
        world.faults.fail("irqfdDeassign", 1, Errno.EIO);
        assertThatThrownBy(world.passed::hold)
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("EIO");
        assertThat(world.passed.isHeld()).isFalse();
        world.hardware.sendMessage(3);
        assertThat(world.taken()).containsExactly(0x43);
        world.entry(4, 0x44);
        world.hardware.sendMessage(4);
        assertThat(world.taken()).as("the guest opens a vector").containsExactly(0x44);
        assertThat(world.notices).isEmpty();
    }

    @Test
    void lineThatCannotBeForwardedIsToldAndTriedAgain() {
        world.faults.fail("vfioIrqsSet", 1, Errno.EBUSY);
        world.command(MEMORY_AND_MASTER);
        assertThat(world.notices)
                .singleElement()
                .asString()
                .contains("in slot 3: INTx: ")
                .contains("EBUSY");
        assertThat(forwarded()).isEmpty();
        world.command(MEMORY_AND_MASTER);
        assertThat(forwarded()).containsExactly(IrqKind.INTX);
    }

    // Resets

    private void assertAsNew() {
        assertThat(forwarded()).isEmpty();
        assertThat(world.config(COMMAND, 2)).isZero();
        assertThat(world.config(world.capability(0x11) + 2, 2)).isEqualTo(7);
        assertThat(world.hardware.sendMessage(3)).isFalse();
        assertThat(world.store(REGISTERS + 0x1004, 1)).isTrue();
    }

    @Test
    void functionResetLeavesTheDeviceAsNew() {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(3, 0x43);
        world.faults.listen();
        world.setConfig(world.capability(0x10) + 8, 2, 1 << 15);
        assertThat(world.faults.calls()).contains("vfioDeviceReset");
        assertAsNew();
        assertThat(world.config(BAR_0, 4)).isZero();
        // As Linux restores it
        world.setConfig(BAR_0, 4, REGISTERS);
        world.command(MEMORY_AND_MASTER);
        assertThat(world.bus.read(false, REGISTERS + 3 * 16 + 8, 8)).isEqualTo(1L << 32);
        world.msixEnabled(true);
        world.entry(3, 0x44);
        world.hardware.sendMessage(3);
        assertThat(world.taken()).containsExactly(0x44);
    }

    @Test
    void resetOfTheGuestGivesBarsTheirFirstPlaces() {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(3, 0x43);
        world.setConfig(BAR_0 + 8, 4, 0xe000);
        world.bus.reset();
        assertThat(world.bus.read(true, 0xcf8, 4)).isZero();
        assertAsNew();
        assertThat(world.config(BAR_0, 4)).isEqualTo(REGISTERS);
        assertThat(world.config(BAR_0 + 8, 4)).isEqualTo(REGISTERS + SIZE);
        world.command(MEMORY_AND_MASTER);
        assertThat(world.store(REGISTERS + 0x1004, 8)).isFalse();
        assertThat(forwarded()).containsExactly(IrqKind.INTX);
    }

    // The host

    @Test
    void hostIsHeardInTheLoop() {
        world.hardware.reportError();
        world.hardware.askBack();
        world.loop.pollNanos(0);
        assertThat(world.notices).containsExactlyInAnyOrder("failed", "asked back");
    }

    @Test
    void guestOfADeviceThatIsGoneReadsOnes() {
        world.command(MEMORY_AND_MASTER);
        world.device.close();
        assertThat(world.bus.read(false, REGISTERS + 0x200, 4)).isEqualTo(0xffff_ffffL);
        world.bus.write(false, REGISTERS + 0x200, 4, 1);
        assertThat(world.config(0, 4)).isEqualTo(ONES);
        world.command(0);
        world.entry(1, 0x41);
        world.msixEnabled(true);
        world.bus.reset();
        assertThat(world.notices).isNotEmpty().allMatch(text -> text.startsWith("0000:3b:00.0 in slot 3: "));
        world.passed.close();
        assertThat(world.config(0, 4)).isEqualTo(ONES);
        assertThat(world.bus.read(false, REGISTERS + 0x200, 4)).isEqualTo(0xffff_ffffL);
    }

    @Test
    void endTakesAllFromTheGuest() {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(3, 0x43);
        world.passed.close();
        world.passed.close();
        assertThat(forwarded()).isEmpty();
        assertThat(world.store(REGISTERS + 0x1004, 1)).isTrue();
        assertThat(world.hardware.sendMessage(3)).isFalse();
        assertThat(world.bus.lines()).isEmpty();
        world.passed.reset();
        try (PassedThroughDevice again = world.builder().build()) {
            assertThat(again.toString()).isEqualTo("0000:3b:00.0 in slot 3");
            world.command(MEMORY_AND_MASTER);
            assertThat(world.store(REGISTERS + 0x1004, 1)).isFalse();
        }
    }

    /** Set-up that fails leaves nothing. */
    @Test
    void tooLittleLockedMemoryIsOneSentence() {
        world.passed.close();
        world.faults.listen();
        world.fake.limitLockedMemory(4096);
        assertThatThrownBy(() -> world.builder().build())
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("RLIMIT_MEMLOCK of this process is 4 KiB, and this needs 32 KiB beside 0 KiB");
        assertThat(world.config(0, 4)).isEqualTo(ONES);
        world.fake.limitLockedMemory(0x8000);
        world.builder().build().close();
    }

    // Other devices

    private static final byte[] VENDORS = {9, 0, 8, 1, 2, 3, 4, 5};
    private static final byte[] AGP = {0xe, 0, 1, 2, 3, 4, 5, 6};

    @Test
    void portsAndWideBarsAreReached() {
        try (PassedWorld other = new PassedWorld(builder -> builder.ioBar(1, 32).bar64(4, 0x1000))) {
            assertThat(other.config(BAR_0 + 4, 4)).isEqualTo(0xc001);
            assertThat(other.config(BAR_0 + 16, 4)).isEqualTo(0xd000 | 0xc);
            other.setConfig(BAR_0 + 4, 4, ONES);
            other.setConfig(BAR_0 + 16, 4, ONES);
            other.setConfig(BAR_0 + 20, 4, ONES);
            assertThat(other.config(BAR_0 + 4, 4)).isEqualTo(-32 & ONES | 1);
            assertThat(other.config(BAR_0 + 16, 4)).isEqualTo(-0x1000 & ONES | 0xc);
            assertThat(other.config(BAR_0 + 20, 4)).isEqualTo(ONES);
            other.setConfig(BAR_0 + 4, 4, 0x1001);
            other.setConfig(BAR_0 + 16, 4, 0xe000);
            other.setConfig(BAR_0 + 20, 4, 0);
            other.command(MEMORY_AND_MASTER);
            assertThat(other.bus.isOurs(true, 0x1004, 4)).isFalse();
            other.command(3);
            assertThat(other.bus.isOurs(true, 0x1004, 4)).isTrue();
            other.bus.write(true, 0x1004, 2, 0x1234);
            assertThat(other.hardware.register(1, 4)).isEqualTo(0x1234);
            assertThat(other.bus.read(true, 0x1005, 1)).isEqualTo(0x12);
            assertThat(other.bus.read(true, 0x101e, 4)).isEqualTo(0xffff_ffffL); // across its end
            assertThat(other.store(0xe008, 5)).isFalse();
            assertThat(other.hardware.register(4, 8)).isEqualTo(5);
            other.setConfig(BAR_0 + 20, 4, 1); // above 4 GiB is no hole
            assertThat(other.store(0xe008, 6)).isTrue();
            assertThat(other.notices)
                    .singleElement()
                    .asString()
                    .contains("BAR 4 at 0x10000e000 lies outside of the hole");
        }
    }

    @Test
    void capabilitiesArePassedOrHidden() {
        try (PassedWorld other =
                new PassedWorld(builder -> builder.express().capability(VENDORS).capability(AGP))) {
            int vendors = other.capability(9);
            assertThat(other.config(vendors + 4, 4)).isEqualTo(0x05040302);
            other.setConfig(vendors + 4, 2, 0x1122);
            assertThat(other.config(vendors + 4, 4)).isEqualTo(0x05041122);
            other.setConfig(vendors + 6, 2, 0x3344);
            assertThat(other.config(vendors + 4, 4)).as("its last register").isEqualTo(0x33441122);
            assertThat(other.capability(0xe)).isZero();
            assertThat(other.capability(1)).isNotZero();
            int express = other.capability(0x10);
            assertThat(other.config(express + 2, 2) >> 4 & 0xf)
                    .as("no port leads to it")
                    .isEqualTo(9);
            other.setConfig(express + 2, 2, 0);
            assertThat(other.config(express + 2, 2) >> 4 & 0xf).isEqualTo(9);
            assertThat(other.config(0xe, 2)).isZero();
            assertThat(other.notices).isEmpty();
        }
    }

    @Test
    void resetByAdvancedFeaturesLeavesTheDeviceAsNew() {
        try (PassedWorld other = new PassedWorld(FakePciDevice.Builder::resettable)) {
            other.command(MEMORY_AND_MASTER);
            other.setConfig(other.capability(0x13) + 4, 1, 1);
            assertThat(other.config(COMMAND, 2)).isZero();
            assertThat(other.config(BAR_0, 4)).isZero();
            assertThat(other.notices).isEmpty();
        }
    }

    /** A device without a reset of its own, alone on its bus. */
    @Test
    void deviceWithoutResetIsResetByItsBus() {
        try (PassedWorld other = new PassedWorld(builder -> {})) {
            other.faults.listen();
            other.hardware.requestService();
            other.bus.reset();
            assertThat(other.config(6, 2) & 1 << 3).as("INTx is pending").isZero();
            assertThat(other.notices).isEmpty();
        }
    }

    private boolean sends(int vector) {
        return world.hardware.sendMessage(vector) || !world.taken().isEmpty();
    }

    private void open(int vector) {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(vector, 0x40 + vector);
    }

    /** What the guest before left in its registers would be DMA of the next guest. */
    @Test
    void deviceThatIsNotResetIsNoBusMasterUntilItIs() {
        open(3);
        world.hardware.setRegister(0, 0x1004, 0);
        assertThat(world.store(REGISTERS + 0x1004, 7)).isFalse();
        assertThat(sends(3)).isTrue();
        world.hardware.lockByHost(true);
        world.bus.reset();
        assertThat(world.notices)
                .singleElement()
                .asString()
                .startsWith("0000:3b:00.0 in slot 3: it is not reset: vfio reset ")
                .contains("EAGAIN (another host thread holds the device's lock")
                .endsWith("; bus mastering is off, so it cannot do DMA");
        open(3);
        assertThat(world.config(COMMAND, 2)).as("of the guest").isEqualTo(MEMORY_AND_MASTER);
        assertThat(world.device.config().getShort(COMMAND) & 4)
                .as("of the device")
                .isZero();
        assertThat(world.hardware.register(0, 0x1004)).isEqualTo(7);
        assertThat(sends(3)).isFalse();
        world.hardware.lockByHost(false);
        world.command(MEMORY_AND_MASTER);
        assertThat(world.hardware.register(0, 0x1004)).isZero();
        assertThat(sends(3)).isTrue();
        assertThat(world.notices).hasSize(1);
    }

    @Test
    void resetWaitsForAShortLock() {
        world.faults.fail("vfioDeviceReset", 1, Errno.EAGAIN).fail("vfioDeviceReset", 3, Errno.EAGAIN);
        world.bus.reset();
        world.bus.reset();
        assertThat(world.faults.unused()).isEmpty();
        assertThat(world.notices).isEmpty();
    }

    /** The function's reset is refused, and that of the bus is not. */
    @Test
    void deviceWhoseResetFailsIsResetByItsBus() {
        world.command(MEMORY_AND_MASTER);
        assertThat(world.store(REGISTERS + 0x1004, 7)).isFalse();
        world.faults.failEvery("vfioDeviceReset", Errno.EAGAIN);
        world.bus.reset();
        assertThat(world.hardware.register(0, 0x1004)).isZero();
        assertThat(world.notices).isEmpty();
    }

    @Test
    void deviceThatCannotBeStoppedIsTold() {
        world.command(MEMORY_AND_MASTER);
        world.hardware.lockByHost(true);
        world.faults.failEvery("pwrite", Errno.EIO);
        world.bus.reset();
        assertThat(world.notices)
                .last()
                .asString()
                .contains("; it may still read and write memory: vfio region write ");
        world.hardware.lockByHost(false);
        world.faults.clear();
    }

    @Test
    void sleepingDeviceIsNotReached() {
        world.command(MEMORY_AND_MASTER);
        int power = world.capability(1) + 4;
        world.setConfig(power, 2, 3);
        assertThat(world.config(power, 2) & 3).isEqualTo(3);
        assertThat(world.store(REGISTERS + 0x1004, 1)).isTrue();
        world.setConfig(power, 2, 0);
        assertThat(world.store(REGISTERS + 0x1004, 2)).isFalse();
        assertThat(world.hardware.register(0, 0x1004)).isEqualTo(2);
        world.setConfig(power, 2, 3);
        world.bus.reset();
        world.command(MEMORY_AND_MASTER);
        assertThat(world.store(REGISTERS + 0x1004, 3)).as("awake after a reset").isFalse();
        assertThat(world.notices).isEmpty();
    }

    @Test
    void guestReadsPendingBits() {
        world.command(MEMORY_AND_MASTER);
        world.msixEnabled(true);
        world.entry(3, 0x43);
        world.bus.write(false, REGISTERS + 3 * 16 + 12, 4, 1);
        world.hardware.sendMessage(3);
        assertThat(world.bus.read(false, REGISTERS + PENDING, 8)).isEqualTo(1 << 3);
        assertThat(world.store(REGISTERS + PENDING, 0)).isTrue();
        assertThat(world.bus.read(false, REGISTERS + PENDING, 4)).isEqualTo(1 << 3);
        world.bus.write(false, REGISTERS + 3 * 16 + 12, 4, 0);
        assertThat(world.taken()).containsExactly(0x43);
        assertThat(world.bus.read(false, REGISTERS + PENDING, 8)).isZero();
        // Beside the bits the device answers
        world.bus.write(false, REGISTERS + PENDING + 8, 4, 7);
        assertThat(world.hardware.register(0, PENDING + 8)).isEqualTo(7);
    }

    @Test
    void tableAccessOfWrongSizeDoesNothing() {
        world.command(MEMORY_AND_MASTER);
        world.entry(7, 0x47);
        for (int size : new int[] {1, 2, 3}) {
            world.bus.write(false, REGISTERS + 7 * 16 + 8, size, 0xff);
            assertThat(world.bus.read(false, REGISTERS + 7 * 16 + 8, size)).isZero();
        }
        world.bus.write(false, REGISTERS + 7 * 16 + 12, 8, 1); // across its end
        world.bus.write(false, REGISTERS + 7 * 16 + 4, 8, 1); // not aligned
        assertThat(world.bus.read(false, REGISTERS + 7 * 16 + 8, 8)).isEqualTo(0x47);
        assertThat(world.hardware.register(0, 8 * 16)).isZero();
        assertThat(world.notices).isEmpty();
    }

    @Test
    void memoryInTheHoleOrWhereMessagesAreIsRefused() {
        world.passed.close();
        try (GuestMemory inHole = world.vm.addMemory(0xf000, 0x1000);
                GuestMemory atMessages = world.vm.addMemory(0xfee0_1000L, 0x1000)) {
            assertThatThrownBy(() -> world.builder().memory(inHole).build())
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageEndingWith(
                            "is in the hole for BARs, 0x8000 to 0xffff: add the memory below and above it separately");
            assertThatThrownBy(() -> world.builder().memory(atMessages).build())
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageEndingWith(
                            "has addresses that the IOMMU does not translate, such as those of messages: add memory"
                                    + " only in the ranges [0x0-0xfedfffff, 0xfef00000-0x7fffffffff]");
        }
        PciHostBridge narrow = new PciHostBridge(0x10000, 0x4000);
        assertThatThrownBy(() -> PassedThroughDevice.builder(narrow, 1, world.vm, world.device, world.forwarding)
                        .build())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageEndingWith("which does not fit on the bus: make the hole larger");
        assertThat(narrow.toString()).isEqualTo("PCI bus 0 with devices []");
    }

    @Test
    void endOfInterruptAtAnIoapicOfTheVmmLetsTheLineInterruptAgain() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
        FakePciDevice hardware =
                fake.pciDevice("0000:3b:00.0", 7).intx().bar(0, 0x1000).add();
        Gsi pin = new Gsi(11);
        InterruptVector vector = new InterruptVector(0x51);
        PciHostBridge bus = new PciHostBridge(0xc000_0000L, 0x10000);
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            GuestIoapic ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    EventLoop loop = EventLoop.create(kernel);
                    VfioDevice device = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"));
                    Forwarding forwarding = Forwarding.builder(vm, device)
                            .userspace(Userspace.of(loop, ioapic.source()))
                            .build();
                    PassedThroughDevice passed = PassedThroughDevice.builder(bus, 1, vm, device, forwarding)
                            .intx(pin)
                            .build()) {
                vcpu.x86().enableLapic();
                passed.endOfInterrupt(); // INTx is not forwarded yet
                ioapic.addEndListener(pin, passed::endOfInterrupt);
                ioapic.write(0, 4, 0x10 + 2 * pin.number());
                ioapic.write(0x10, 4, 1 << 15 | vector.number());
                passed.writeConfig(4, 2, 2);
                hardware.requestService();
                loop.poll(Duration.ZERO);
                assertThat(vcpu.x86().isRequested(vector)).isTrue();
                assertThat(ioapic.isHigh(pin.number())).isTrue();
                ioapic.endOfInterrupt(vector); // the device still asserts
                assertThat(ioapic.isHigh(pin.number())).isFalse();
                loop.poll(Duration.ZERO);
                assertThat(ioapic.isHigh(pin.number()))
                        .as("it interrupts again")
                        .isTrue();
                hardware.serve();
                ioapic.endOfInterrupt(vector);
                loop.poll(Duration.ZERO);
                assertThat(ioapic.isHigh(pin.number())).isFalse();
            }
        }
    }

    @Test
    void msixWaitsForTheEndOfMsiAndBegins() {
        try (PassedWorld both =
                new PassedWorld(builder -> builder.express().msi(1).resettable())) {
            int msi = both.capability(5);
            int msix = both.capability(0x11);
            both.command(PassedWorld.MEMORY_AND_MASTER);
            both.setConfig(msi + 2, 2, 1);
            both.bus.write(false, PassedWorld.REGISTERS, 4, 0xfee00000);
            both.bus.write(false, PassedWorld.REGISTERS + 8, 4, 0x61);
            both.bus.write(false, PassedWorld.REGISTERS + 12, 4, 0);
            both.setConfig(msix + 2, 2, 1 << 15);
            assertThat(both.kinds()).containsOnly(IrqKind.MSI);
            both.setConfig(msi + 2, 2, 0);
            assertThat(both.kinds()).containsOnly(IrqKind.MSIX);
        }
    }

    @Test
    void barStaysHiddenWhenTheDeviceDoesNotHearOfMemorySpace() {
        world.faults.fail("pwrite", 1, Errno.EIO);
        world.command(PassedWorld.MEMORY_AND_MASTER);
        assertThat(world.bus.read(false, PassedWorld.REGISTERS, 4)).isEqualTo(0xffff_ffffL);
        assertThat(world.notices).hasSize(1);
        world.command(PassedWorld.MEMORY_AND_MASTER);
        assertThat(world.bus.read(false, PassedWorld.REGISTERS + 4, 4))
                .as("it is written again")
                .isZero();
    }

    @Test
    void pendingBitOfAVectorThatWasNeverOpenIsTheDevices() {
        world.command(MEMORY_AND_MASTER);
        world.setConfig(world.capability(0x11) + 2, 2, 1 << 15);
        assertThat(world.hardware.sendMessage(5)).isFalse();
        assertThat(world.bus.read(false, PassedWorld.REGISTERS + PassedWorld.PENDING, 8))
                .isEqualTo(1 << 5);
    }
}
