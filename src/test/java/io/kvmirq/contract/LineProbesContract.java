/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.LiveProbesContract.handled;
import static io.kvmirq.contract.LiveProbesContract.host;
import static io.kvmirq.contract.LiveProbesContract.printed;
import static io.kvmirq.contract.LiveProbesContract.value;
import static io.kvmirq.contract.LiveProbesContract.watch;
import static io.kvmirq.contract.OpenedDevice.INTX;
import static io.kvmirq.contract.World.IOAPIC;
import static io.kvmirq.contract.World.LEVEL;
import static io.kvmirq.contract.World.MASKED;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.contract.World.PinRoute;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** INTx by probes: from VFIO's handler to the pin, which a worker raises. */
@VfioContract
class LineProbesContract extends VfioSuite {
    private static final int SENT = 5;
    private static final int PIN = 10;

    private int vm;
    private int event;
    private int resample;

    @BeforeEach
    void requireProbes() {
        LiveProbesContract.requireProbes(world);
        vm = world.fullVm();
        event = world.eventfd();
        resample = world.eventfd();
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    private OpenedDevice armed(TestDevice which) {
        OpenedDevice device = vfio.device(which);
        device.start();
        assertOk(device.arm(INTX, 0, event));
        return device;
    }

    /** In QEMU's order: the irqfd, and then the eventfd that unmasks. */
    private OpenedDevice levelDevice(TestDevice which, long entry, boolean byDefault) {
        if (byDefault) {
            world.maskPics(vm);
        } else {
            assertOk(world.setPinRoutes(vm, new PinRoute(PIN, IOAPIC, PIN, 0)));
        }
        world.redirect(vm, PIN, entry | LEVEL | World.VECTOR);
        OpenedDevice device = armed(which);
        assertOk(kernel.irqfdAssignLevel(vm, event, resample, PIN));
        assertOk(device.unmaskBy(resample));
        return device;
    }

    private static long handledBy(PciAddress device) {
        return handled("vfio-intx(" + device + ")");
    }

    /** @param byDefault by KVM's default routes, which have a pin of a PIC too */
    @ParameterizedTest
    @CsvSource({"E1000E, false", "EDU, false", "EDU, true"})
    void intxIsFollowedFromTheHandlerToTheVcpu(TestDevice which, boolean byDefault) throws IOException {
        PciAddress address = vfio.address(which);
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        OpenedDevice device = levelDevice(which, 0, byDefault);
        Live live;
        HostFacts after;
        long before = handledBy(address);
        long interrupts;
        try (LiveWindow window = watch(List.of(address))) {
            for (int i = 0; i < SENT; i++) {
                device.hardware.request();
                eventually("the pin is high", () -> world.ioapicLine(vm, PIN));
                guest.runTo(RealModeGuest.IN_SERVICE);
                device.hardware.serve();
                guest.runTo(RealModeGuest.ENDED);
                eventually("the pin is low", () -> !world.ioapicLine(vm, PIN));
            }
            interrupts = handledBy(address) - before;
            after = host();
            live = LiveProbesContract.ended(window, after);
        }
        assertThat(live.missing()).isEmpty();
        assertThat(live.stages()).hasSize(1);
        assertThat(interrupts).isGreaterThanOrEqualTo(SENT);
        assertThat(printed(live.stages().get(0)))
                .anyMatch(line -> line.startsWith("host irq " + interrupts + " "))
                .anyMatch(line -> line.equals("GSI " + interrupts + " gsi " + PIN))
                .anyMatch(line -> line.startsWith("irqfd after the handler: median in ("))
                .contains("by a worker " + interrupts + " a pin: " + interrupts + " raised")
                .endsWith("loses nothing");
        InterruptPath chain = LiveChains.of(live, after)
                .of(DeviceChains.read(after, after.pci(address).orElseThrow(), 0));
        assertThat(value(chain, Hop.EVENTFD)).isEqualTo("id " + LiveProbesContract.eventfdId(event));
        assertThat(value(chain, Hop.IRQFD))
                .isEqualTo("process " + ProcessHandle.current().pid());
        assertThat(value(chain, Hop.GSI)).isEqualTo("gsi " + PIN);
        assertThat(value(chain, Hop.GUEST_VECTOR)).isEqualTo("0x" + Integer.toHexString(World.VECTOR));
        assertThat(value(chain, Hop.VCPU)).isEqualTo("vcpu 0");
        assertThat(chain.fails()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void maskedPinIsNotRaisedAndWaits(boolean byDefault) {
        world.vcpuWithLapic(vm);
        OpenedDevice device = levelDevice(TestDevice.EDU, MASKED, byDefault);
        Live live;
        try (LiveWindow window = watch(List.of(vfio.address(TestDevice.EDU)))) {
            device.hardware.request();
            eventually("the pin is high", () -> world.ioapicLine(vm, PIN));
            live = LiveProbesContract.ended(window, host());
        }
        device.hardware.serve();
        assertThat(printed(live.stages().get(0)))
                .contains("by a worker 1 a pin: 0 raised, 1 not raised: the pin is masked, or its EOI is due")
                .endsWith(
                        "in doubt by a worker: 1 still waiting, unless the guest has since unmasked the pin or"
                                + " signalled its EOI",
                        "loses nothing");
    }

    /** A worker raises the pin and lowers it: nothing is there when it is unmasked. */
    @Test
    void maskedPinWithoutAResamplefdKeepsNothing() {
        world.vcpuWithLapic(vm);
        assertOk(world.setPinRoutes(vm, new PinRoute(PIN, IOAPIC, PIN, 0)));
        world.redirect(vm, PIN, MASKED | LEVEL | World.VECTOR);
        int pulsed = world.eventfd();
        assertOk(kernel.irqfdAssign(vm, pulsed, PIN));
        Live live;
        try (LiveWindow window = watch(List.of())) {
            assertOk(kernel.eventfdSignal(pulsed, 1));
            // Waits for the worker.
            assertOk(kernel.irqfdDeassign(vm, pulsed, PIN));
            live = LiveProbesContract.ended(window, host());
        }
        assertThat(world.ioapicLine(vm, PIN)).isFalse();
        assertThat(printed(live.stages().get(0)))
                .contains("by a worker 1 a pin: 0 raised, 1 not raised: the pin is masked, or its EOI is due")
                .endsWith(
                        "in doubt by a worker: 1 that were not raised, and KVM keeps none because the irqfd has no"
                                + " resample"
                                + " eventfd",
                        "loses nothing");
    }

    @Test
    void intxWithoutAnIrqfdIsLostThere() {
        PciAddress address = vfio.address(TestDevice.EDU);
        OpenedDevice device = armed(TestDevice.EDU);
        Live live;
        try (LiveWindow window = watch(List.of(address))) {
            long before = handledBy(address);
            device.hardware.request();
            eventually("the host handles it", () -> handledBy(address) > before);
            live = LiveProbesContract.ended(window, host());
        }
        device.hardware.serve();
        assertThat(printed(live.stages().get(0))).endsWith("loses irqfd: 1 signals that no irqfd consumed");
    }
}
