/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.contract.World.MsiRoute;
import io.kvmirq.contract.World.PinRoute;
import io.kvmirq.uapi.Uapi;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** A device's interrupt on its way through VFIO and an irqfd to a guest that runs. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#x86")
class VfioGuestContract extends VfioSuite {
    private static final int VECTORS = 5;
    private static final int GSI = 24;
    private static final int PIN = 10;

    private int vm;

    @BeforeEach
    void setUp() {
        vm = world.fullVm();
    }

    /** Opens a device whose group KVM knows, as a VMM does it: the KVM-VFIO device first. */
    private OpenedDevice deviceOf(TestDevice which) {
        int group = vfio.group(which);
        int container = vfio.attach(group);
        int files = world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        assertOk(kernel.deviceVfioAdd(files, group));
        OpenedDevice device = vfio.device(which, container, group);
        device.start();
        return device;
    }

    /** Routes each of as many GSIs as there are eventfds to a vector. */
    private void route(int first, int... events) {
        MsiRoute[] routes = new MsiRoute[events.length];
        for (int i = 0; i < events.length; i++) {
            routes[i] = new MsiRoute(GSI + i, MSI_ADDRESS, first + i, 0);
        }
        assertOk(world.setMsiRoutes(vm, routes));
    }

    private void assign(int... events) {
        for (int i = 0; i < events.length; i++) {
            assertOk(kernel.irqfdAssign(vm, events[i], GSI + i));
        }
    }

    /** Routes as many GSIs to vectors from {@code first} on, and arms as many messages that signal them. */
    private int[] feed(OpenedDevice device, int index, int first, int count) {
        int[] events = vfio.events(count);
        route(first, events);
        assertOk(device.arm(index, 0, events));
        assign(events);
        return events;
    }

    // Messages, to a vCPU that does not run: its IRR shows what came

    @Test
    void everyMessageRequestsTheVectorOfItsRoute() {
        int vcpu = world.vcpuWithLapic(vm);
        OpenedDevice device = deviceOf(E1000E);
        int[] events = feed(device, MSIX, 0x41, VECTORS);
        for (int i = 0; i < VECTORS; i++) {
            int vector = 0x41 + i;
            assertThat(world.requested(vcpu, vector)).isFalse();
            device.hardware.send(i);
            eventually("the vector is requested", () -> world.requested(vcpu, vector));
            assertThat(vfio.take(events[i])).as("the irqfd took the signal").isZero();
        }
    }

    @Test
    void loopbackRequestsTheVector() {
        int vcpu = world.vcpuWithLapic(vm);
        OpenedDevice device = deviceOf(EDU);
        feed(device, MSI, 0x41, 1);
        assertOk(device.loopback(MSI, 0, 1));
        eventually("the vector is requested", () -> world.requested(vcpu, 0x41));
    }

    @Test
    void messageFollowsANewRoute() {
        int vcpu = world.vcpuWithLapic(vm);
        OpenedDevice device = deviceOf(E1000E);
        int[] events = feed(device, MSIX, 0x41, VECTORS);
        route(0x61, events);
        device.hardware.send(0);
        eventually("the new vector is requested", () -> world.requested(vcpu, 0x61));
        assertThat(world.requested(vcpu, 0x41)).isFalse();
    }

    /** Masking: the eventfd counts while it feeds no GSI, and assigning it again delivers what it counted. */
    @Test
    void messageOfADeassignedVectorWaitsInItsEventfd() {
        int vcpu = world.vcpuWithLapic(vm);
        OpenedDevice device = deviceOf(E1000E);
        int[] events = feed(device, MSIX, 0x41, 1);
        assertOk(kernel.irqfdDeassign(vm, events[0], GSI));
        device.hardware.send(0);
        device.hardware.send(0);
        eventually("both messages are counted", () -> hasCounted(events[0], 2));
        assertThat(world.requested(vcpu, 0x41)).isFalse();
        assign(events);
        eventually("the vector is requested", () -> world.requested(vcpu, 0x41));
    }

    /** Reading an eventfd empties it, so the count is written back. QEMU's e1000e may repeat a message. */
    private boolean hasCounted(int event, long messages) {
        long taken = vfio.take(event);
        if (taken != 0) {
            assertOk(kernel.eventfdSignal(event, taken));
        }
        return taken >= messages;
    }

    @Test
    void irqfdMayComeBeforeTheVectorIsArmed() {
        int vcpu = world.vcpuWithLapic(vm);
        OpenedDevice device = deviceOf(EDU);
        int event = world.eventfd();
        route(0x41, event);
        assign(event);
        assertOk(device.arm(MSI, 0, event));
        device.hardware.send(0);
        eventually("the vector is requested", () -> world.requested(vcpu, 0x41));
        assertOk(device.disable(MSI));
        assertOk(kernel.irqfdDeassign(vm, event, GSI));
    }

    @Test
    void closingTheVmLeavesTheVectorArmed() {
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = feed(device, MSI, 0x41, 1)[0];
        world.close(vm);
        device.hardware.send(0);
        assertThat(vfio.await(event)).isEqualTo(1);
    }

    // A guest that runs

    @Test
    void guestHandlesTheMessageOfADevice() {
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        OpenedDevice device = deviceOf(E1000E);
        feed(device, MSIX, VECTOR, 2);
        for (int i = 0; i < 3; i++) {
            device.hardware.send(0);
            eventually("the vector is requested", () -> world.requested(guest.vcpu(), VECTOR));
            guest.answer();
        }
    }

    @Test
    void guestHandlesTheMessageOfEdu() {
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        OpenedDevice device = deviceOf(EDU);
        feed(device, MSI, VECTOR, 1);
        device.hardware.send(0);
        eventually("the vector is requested", () -> world.requested(guest.vcpu(), VECTOR));
        guest.answer();
    }

    /** INTx of edu through a level GSI whose resamplefd unmasks it, in QEMU's order: unmask eventfd after the irqfd. */
    private OpenedDevice levelDevice(int event, int resample) {
        assertOk(world.setPinRoutes(vm, new PinRoute(PIN, IOAPIC, PIN, 0)));
        world.redirect(vm, PIN, LEVEL | VECTOR);
        OpenedDevice device = deviceOf(EDU);
        assertOk(device.arm(INTX, 0, event));
        assertOk(kernel.irqfdAssignLevel(vm, event, resample, PIN));
        assertOk(device.unmaskBy(resample));
        return device;
    }

    @Test
    void intxRaisesThePinAndTheGuestsEoiUnmasksIt() {
        int event = world.eventfd();
        int resample = world.eventfd();
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        OpenedDevice device = levelDevice(event, resample);
        device.hardware.request();
        eventually("the pin is high", () -> world.ioapicLine(vm, PIN));
        guest.runTo(RealModeGuest.IN_SERVICE);
        device.hardware.serve();
        guest.runTo(RealModeGuest.ENDED);
        if (world.isPvm()) {
            guest.answer(); // The EOI came at injection, before the device was served: it raised the pin again.
        }
        eventually("the pin is low", () -> !world.ioapicLine(vm, PIN));
        device.hardware.request();
        eventually("the EOI unmasked INTx", () -> world.ioapicLine(vm, PIN));
        guest.runTo(RealModeGuest.IN_SERVICE);
        device.hardware.serve();
        guest.runTo(RealModeGuest.ENDED);
    }

    /** Level held: EOI, resamplefd, unmask and the next interrupt follow one another until the device is served. */
    @Test
    void intxComesAgainAfterEachEoiUntilTheDeviceIsServed() {
        int event = world.eventfd();
        int resample = world.eventfd();
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        OpenedDevice device = levelDevice(event, resample);
        device.hardware.request();
        for (int i = 0; i < 3; i++) {
            eventually("the pin is high", () -> world.ioapicLine(vm, PIN));
            guest.answer();
        }
        eventually("the pin is high", () -> world.ioapicLine(vm, PIN));
        guest.runTo(RealModeGuest.IN_SERVICE);
        device.hardware.serve();
        guest.runTo(RealModeGuest.ENDED);
        assertOk(device.disable(INTX));
        assertOk(kernel.irqfdDeassign(vm, event, PIN));
        assertThat(world.ioapicLine(vm, PIN)).isFalse();
        assertThat(vfio.take(event)).as("served, so quiet").isZero();
    }

    @Test
    void deassigningTheResamplingIrqfdLowersThePin() {
        int event = world.eventfd();
        int resample = world.eventfd();
        world.vcpuWithLapic(vm);
        OpenedDevice device = levelDevice(event, resample);
        device.hardware.request();
        eventually("the pin is high", () -> world.ioapicLine(vm, PIN));
        assertOk(kernel.irqfdDeassign(vm, event, PIN));
        assertThat(world.ioapicLine(vm, PIN)).isFalse();
        vfio.signal(resample);
        assertThat(vfio.await(event)).as("unmasked, and still requested").isEqualTo(1);
        device.hardware.serve();
    }
}
