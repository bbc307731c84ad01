/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.ENABLE;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IrqKind;
import io.kvmirq.Route;
import io.kvmirq.forward.ForwardedIrq;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A guest that changes between INTx, MSI and MSI-X of a device, which uses one of them at a time. */
class GuestSwitchTest {
    private static final Gsi PIN = new Gsi(11);
    private static final String LINE = "0:0x30";
    private static final String MSI = "0:0x40";
    private static final String MSIX = "1:0x50";

    private final MessagesWorld world = new MessagesWorld("vtd-posting");

    @BeforeEach
    void routeThePin() {
        world.vm
                .x86()
                .setIoapic(world.vm
                        .x86()
                        .ioapic()
                        .levelPin(
                                new Route.Pin(PIN, Route.Pin.Chip.IOAPIC, PIN.number()),
                                new InterruptVector(MessagesWorld.LINE)));
        world.msi.write(4, 4, 0xfee0_0000);
        world.msi.write(12, 2, 0x40);
        world.entry(0, 1, 0x50);
        world.mask(0, false);
    }

    @AfterEach
    void close() {
        world.close();
    }

    private ForwardedIrq line() {
        return world.forwarding.forward(world.device.intx(), PIN);
    }

    private void enable(IrqKind kind, boolean enabled) {
        if (kind == IrqKind.MSI) {
            world.msi.write(2, 2, enabled ? 1 : 0);
        } else {
            world.msix.writeMessageControl(enabled ? ENABLE : 0);
        }
    }

    private void settle(IrqKind kind) {
        if (kind == IrqKind.MSI) {
            world.msi.settle();
        } else {
            world.msix.settle();
        }
    }

    private static String target(IrqKind kind) {
        return kind == IrqKind.MSI ? MSI : MSIX;
    }

    private static IrqKind other(IrqKind kind) {
        return kind == IrqKind.MSI ? IrqKind.MSIX : IrqKind.MSI;
    }

    private List<IrqKind> forwarded() {
        return world.forwarding.irqs().stream()
                .map(irq -> irq.irq().info().kind())
                .toList();
    }

    /** A VMM learns of the change by the write: the line ends after it. */
    @ParameterizedTest
    @EnumSource(names = {"MSI", "MSIX"})
    void messagesThatAreEnabledWhileTheLineIsForwardedBeginWhenItHasEnded(IrqKind kind) {
        ForwardedIrq line = line();
        enable(kind, true);
        assertThat(forwarded()).containsExactly(IrqKind.INTX);
        world.hardware.requestService();
        assertThat(world.taken()).containsExactly(LINE);
        line.close();
        settle(kind);
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly(target(kind));
    }

    @ParameterizedTest
    @EnumSource(names = {"MSI", "MSIX"})
    void lineThatTheDeviceAssertsArrivesWhenMessagesHaveEnded(IrqKind kind) {
        enable(kind, true);
        world.hardware.sendMessage(0);
        enable(kind, false);
        world.hardware.requestService();
        assertThat(world.taken()).containsExactly(target(kind));
        line();
        assertThat(world.taken()).containsExactly(LINE);
    }

    /** The guest ends no interrupt of a line that it does not use any more: the pin must be low for its next device. */
    @Test
    void lineThatEndsWhileTheGuestServesItLeavesThePinLow() {
        ForwardedIrq line = line();
        world.hardware.requestService();
        Route.Pin pin = new Route.Pin(PIN, Route.Pin.Chip.IOAPIC, PIN.number());
        assertThat(world.vm.x86().ioapic().isHigh(pin)).isTrue();
        enable(IrqKind.MSI, true);
        line.close();
        world.msi.settle();
        assertThat(world.vm.x86().ioapic().isHigh(pin)).isFalse();
        world.taken();
        world.hardware.serve();
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly(MSI);
    }

    /** PCI forbids it; what is enabled first stays, and what waits there arrives later. */
    @ParameterizedTest
    @EnumSource(names = {"MSI", "MSIX"})
    void bothKindsOfMessagesAtOnceAreOneAfterTheOther(IrqKind first) {
        IrqKind second = other(first);
        enable(first, true);
        enable(second, true);
        enable(second, true);
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly(target(first));
        enable(first, false);
        settle(second);
        assertThat(forwarded()).containsExactly(second);
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly(target(second));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 20})
    void everyKindFollowsEveryOther(int rounds) {
        List<IrqKind> order = List.of(IrqKind.INTX, IrqKind.MSI, IrqKind.INTX, IrqKind.MSIX, IrqKind.MSI, IrqKind.MSIX);
        for (int i = 0; i < rounds * order.size(); i++) {
            IrqKind kind = order.get(i % order.size());
            if (kind == IrqKind.INTX) {
                ForwardedIrq line = line();
                world.hardware.requestService();
                assertThat(world.taken()).containsExactly(LINE);
                line.close();
            } else {
                enable(kind, true);
                world.hardware.sendMessage(0);
                assertThat(world.taken()).containsExactly(target(kind));
                enable(kind, false);
            }
            assertThat(world.forwarding.irqs()).isEmpty();
        }
    }

    /** A masked message that came while MSI was enabled is not lost by the line that is used meanwhile. */
    @Test
    void pendingMessageSurvivesTheLine() {
        enable(IrqKind.MSI, true);
        world.msi.write(16, 4, 1);
        world.hardware.sendMessage(0);
        enable(IrqKind.MSI, false);
        line().close();
        assertThat(world.msi.read(20, 4)).isEqualTo(1);
        enable(IrqKind.MSI, true);
        world.msi.write(16, 4, 0);
        assertThat(world.taken()).containsExactly(MSI);
    }
}
