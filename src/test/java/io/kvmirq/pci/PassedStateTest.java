/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.PassedWorld.BAR_0;
import static io.kvmirq.pci.PassedWorld.COMMAND;
import static io.kvmirq.pci.PassedWorld.MEMORY_AND_MASTER;
import static io.kvmirq.pci.PassedWorld.PIN;
import static io.kvmirq.pci.PassedWorld.REGISTERS;
import static io.kvmirq.pci.PassedWorld.SIZE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.IrqKind;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.snapshot.SnapshotException;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A device that is passed through, and another one that goes on from what the guest saw of it. */
class PassedStateTest {
    private static final int INTX_OFF = 1 << 10;
    private static final int POWER = 0x01;
    private static final int EXPRESS = 0x10;
    private static final int MOVED = REGISTERS + SIZE;

    private final PassedWorld from = new PassedWorld();
    private final PassedWorld to = new PassedWorld();

    @AfterEach
    void close() {
        from.close();
        to.close();
    }

    private static VmParts parts(PassedWorld world) {
        return new VmParts(world.vm).vcpu(new VcpuId(0), world.vcpu).device("nic", world.passed);
    }

    private void move() {
        VmSnapshot.parse(VmSnapshot.take(parts(from)).text()).restore(parts(to));
    }

    private void moveBars() {
        from.setConfig(BAR_0, 4, MOVED);
        from.setConfig(BAR_0 + 8, 4, REGISTERS);
        from.setConfig(0x3c, 1, 9);
        from.command(MEMORY_AND_MASTER);
    }

    @Test
    void configurationSpaceIsAsTheGuestLeftIt() {
        moveBars();
        int control = from.capability(EXPRESS) + 8;
        from.setConfig(control, 2, 0x2810 | 5);
        move();
        for (int at = 0; at < 256; at += 4) {
            assertThat(to.config(at, 4)).as("at 0x%02x", at).isEqualTo(from.config(at, 4));
        }
        assertThat(to.config(BAR_0, 4)).isEqualTo(MOVED);
        assertThat(to.device.config().getShort(COMMAND) & 7).isEqualTo(MEMORY_AND_MASTER);
        assertThat(to.store(MOVED + 0x1004, 8)).isFalse();
        assertThat(to.hardware.register(0, 0x1004)).isEqualTo(8);
        assertThat(to.store(REGISTERS, 9)).isFalse();
        assertThat(to.hardware.register(2, 0)).isEqualTo(9);
        assertThat(from.passed.identity())
                .startsWith("8086:10d3 of class ")
                .contains(", BAR 0 0x0 of 0x4000 bytes", ", capability 0x11 at 0x")
                .endsWith(" at " + PIN);
    }

    @Test
    void deviceThatSleepsDoesSoAfterwards() {
        from.command(MEMORY_AND_MASTER);
        from.setConfig(from.capability(POWER) + 4, 2, 3);
        move();
        assertThat(to.config(to.capability(POWER) + 4, 2) & 3).isEqualTo(3);
        assertThat(to.store(REGISTERS + 0x1004, 8)).as("left the guest").isTrue();
        to.setConfig(to.capability(POWER) + 4, 2, 0);
        assertThat(to.store(REGISTERS + 0x1004, 8)).isFalse();
    }

    @Test
    void intxIsForwardedAgain() {
        from.command(MEMORY_AND_MASTER);
        move();
        assertThat(from.kinds()).containsExactly(IrqKind.INTX);
        assertThat(from.forwarding.irqs().get(0).isMasked())
                .as("of the first VM, which goes on")
                .isFalse();
        assertThat(to.kinds()).containsExactly(IrqKind.INTX);
    }

    @Test
    void intxThatTheGuestDisabledStaysSo() {
        from.command(MEMORY_AND_MASTER | INTX_OFF);
        move();
        assertThat(to.kinds()).isEmpty();
        to.command(MEMORY_AND_MASTER);
        assertThat(to.kinds()).containsExactly(IrqKind.INTX);
    }

    /** The device has none there: the guest uses no INTx. */
    @Test
    void irqfdOfAnotherDeviceOnItsPinIsMissed() {
        from.command(MEMORY_AND_MASTER | INTX_OFF);
        try (EventFd event = EventFd.create(from.kernel);
                Irqfd another = from.vm.assignIrqfd(event, PIN)) {
            assertThatThrownBy(() -> VmSnapshot.take(parts(from)))
                    .as(another.toString())
                    .hasMessageContaining(" has 1 irqfds, of which 0 are among the parts");
        }
        assertThat(VmSnapshot.take(parts(from)).text()).isNotEmpty();
    }

    @Test
    void messageThatWaitsArrivesInTheOtherVm() {
        from.command(MEMORY_AND_MASTER);
        from.entry(0, 0x41);
        from.entry(1, 0x42);
        from.msixEnabled(true);
        from.bus.write(false, REGISTERS + 12, 4, 1);
        from.hardware.sendMessage(0);
        move();
        assertThat(to.kinds()).containsExactly(IrqKind.MSIX);
        assertThat(to.bus.read(false, PassedWorld.PENDING + REGISTERS, 4)).isEqualTo(1);
        assertThat(to.config(to.capability(0x11) + 2, 2)).isEqualTo(0x8007);
        assertThat(to.taken()).isEmpty();
        to.bus.write(false, REGISTERS + 12, 4, 0);
        to.hardware.sendMessage(1);
        assertThat(to.taken()).containsExactly(0x42, 0x41);
        from.bus.write(false, REGISTERS + 12, 4, 0);
        assertThat(from.taken()).as("of the first VM, which goes on").containsExactly(0x41);
    }

    @Test
    void lineIsHeldWhileItIsReadAndWhenItMoves() {
        from.command(MEMORY_AND_MASTER);
        try (VmMove move = VmMove.from(parts(from))) {
            assertThat(from.forwarding.irqs().get(0).isMasked())
                    .as(move.toString())
                    .isTrue();
        }
        assertThat(from.forwarding.irqs().get(0).isMasked()).isFalse();
    }

    @Test
    void deviceThatDoesNotFitIsRefused() {
        VmSnapshot snapshot = VmSnapshot.take(parts(from));
        try (PassedWorld larger =
                new PassedWorld(builder -> builder.express().resettable().bar(4, 0x2000))) {
            assertThatThrownBy(() -> snapshot.restore(parts(larger)))
                    .isInstanceOf(SnapshotException.class)
                    .hasMessageContaining("its 'nic' is a device " + from.passed.identity() + ", but here it is "
                            + larger.passed.identity());
        }
        assertThatThrownBy(() -> to.passed.restore(new byte[9]))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("9 bytes are not the state of " + to.passed);
        assertThat(to.config(BAR_0, 4)).isEqualTo(REGISTERS);
    }

    @Test
    void barThatTheGuestCannotReachIsRefused() {
        moveBars();
        byte[] state = from.passed.state();
        state[BAR_0 + 8] = state[BAR_0];
        state[BAR_0 + 9] = state[BAR_0 + 1]; // both at one place
        assertThatThrownBy(() -> to.passed.restore(state))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("does not reach the same BARs as before: ")
                .hasMessageContaining(" lies ");
        assertThat(to.config(BAR_0, 4)).isEqualTo(REGISTERS);
        assertThat(to.config(COMMAND, 2)).isZero();
    }

    /** Else what the guest before left in its registers would be DMA of the restored one. */
    @Test
    void deviceThatIsNotResetIsNoBusMasterAfterARestore() {
        from.command(MEMORY_AND_MASTER);
        byte[] state = from.passed.state();
        to.hardware.lockByHost(true);
        to.passed.restore(state);
        assertThat(to.config(COMMAND, 2)).as("of the guest").isEqualTo(MEMORY_AND_MASTER);
        assertThat(to.device.config().getShort(COMMAND) & 7).as("of the device").isEqualTo(2);
        to.hardware.lockByHost(false);
        to.command(MEMORY_AND_MASTER);
        assertThat(to.device.config().getShort(COMMAND) & 7).isEqualTo(MEMORY_AND_MASTER);
    }

    @Test
    void closedDeviceHasNoState() {
        to.passed.close();
        assertThatThrownBy(to.passed::state)
                .isInstanceOf(IllegalStateException.class)
                .hasMessageEndingWith(" is closed: it was used after close(); create or open another");
    }
}
