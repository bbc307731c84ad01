/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.junit.Actors;
import io.kvmirq.junit.Interleavings;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Stops;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Every order of a relay, the guest's EOI and a third thread at a pin of an IOAPIC of this process. The relay stops
 * before and after each call of its injector and each unmask of its device, the EOI before it reports the end of a line.
 */
class SplitLineOrdersTest {
    private static final Gsi PIN = new Gsi(11);
    private static final InterruptVector VECTOR = new InterruptVector(0x51);
    private static final int LEVEL = 1 << 15;
    private static final int MASKED = 1 << 16;
    private static final int POLLS = 14;

    /** A VM with devices that share a pin, and its guest. */
    private static final class World implements AutoCloseable {
        private final Undo parts = new Undo();
        final Stops stops = new Stops();
        private final boolean historic;
        private final EventLoop loop;
        private final Kernel kernel;
        final GuestIoapic ioapic;
        final List<Device> devices = new ArrayList<>();
        private boolean inService;
        private int taken;
        private boolean polls;
        /** Whether the host holds back signals. */
        boolean holds;
        /** The actors beside the loop and the devices that have steps left. */
        int left = 1;

        World(boolean historic, int devices) {
            this.historic = historic;
            kernel = parts.add(new FakeKernel(Profile.V6_18).open());
            Vm vm = parts.add(Vm.create(kernel));
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            Vcpu vcpu = parts.add(vm.createVcpu(new VcpuId(0)));
            vcpu.x86().enableLapic();
            ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            loop = parts.add(EventLoop.create(kernel));
            write(LEVEL | VECTOR.number());
            for (int i = 0; i < devices; i++) {
                this.devices.add(new Device());
            }
        }

        void write(int entry) {
            ioapic.write(0, 4, 0x10 + 2 * PIN.number());
            ioapic.write(0x10, 4, entry);
        }

        boolean isSent() {
            return IoapicEntry.REMOTE_IRR.isSet(ioapic.entry(PIN.number())) && !inService;
        }

        /** A device, VFIO's mask of its line, and the relay of the line. */
        final class Device implements Userspace.Injector {
            private final EventFd event = parts.add(EventFd.create(kernel));
            private final Userspace.Injector source = ioapic.source();
            final RelayedLine relay;
            boolean asserts;
            private boolean masked;
            /** Whether a signal has not reached the IOAPIC yet. */
            private boolean isOnItsWay;
            /** Whether a signal has reached it since the last EOI. */
            private boolean hasArrived;
            /** Whether the guest served the device while a signal was on its way, for which it finds nothing to do. */
            private boolean isServedEarly;

            Device() {
                relay = parts.add(new RelayedLine(Userspace.of(loop, this), event, PIN, this::unmask));
                relay.release();
                if (historic) {
                    ioapic.addEndListener(PIN, relay::endOfInterrupt);
                }
            }

            void asserts() {
                asserts = true;
                signal();
            }

            private void signal() {
                if (asserts && !masked) {
                    masked = true;
                    isOnItsWay = true;
                    event.signal();
                }
            }

            private void unmask() {
                stops.stop(true);
                masked = false;
                signal();
                stops.stop(true);
            }

            private void arrives() {
                isOnItsWay = false;
                hasArrived = true;
            }

            /** Whether the guest finds something to do for an interrupt, or may find nothing. */
            boolean isServed() {
                boolean early = isServedEarly;
                isServedEarly = asserts && isOnItsWay;
                boolean served = hasArrived && asserts;
                asserts &= !hasArrived;
                return served || early;
            }

            @Override
            public void message(MsiMessage message) {
                throw new AssertionError("a line has no message");
            }

            @Override
            public void line(Gsi gsi, boolean high) {
                stops.stop(true);
                if (high) {
                    arrives();
                }
                source.line(gsi, high);
                stops.stop(true);
            }

            @Override
            public boolean raiseUntilEoi(Gsi gsi, Runnable ended) {
                if (historic) {
                    line(gsi, true);
                    return false;
                }
                stops.stop(true);
                arrives();
                source.raiseUntilEoi(gsi, () -> {
                    stops.stop(false);
                    ended.run();
                });
                stops.stop(true);
                return true;
            }
        }

        /** The guest takes the pin's interrupt, and serves each device whose interrupt that is. */
        void take() {
            if (isSent()) {
                List<Device> served = devices.stream().filter(Device::isServed).toList();
                assertThat(served).as("devices of interrupt %d", ++taken).isNotEmpty();
                inService = true;
            }
        }

        void end() {
            if (inService) {
                inService = false;
                devices.forEach(device -> device.hasArrived = false);
                ioapic.endOfInterrupt(VECTOR);
            }
        }

        // Actors

        Stops.Task loop() {
            return stops.task("loop", () -> {
                for (int i = 0; i < POLLS; i++) {
                    polls = true;
                    loop.pollNanos(0);
                    polls = false;
                    stops.stop(false);
                }
            });
        }

        /** Whether a step of the loop does anything, or no other actor is left. */
        boolean mayPoll() {
            return polls || left == 0 || !holds && devices.stream().anyMatch(device -> device.event.awaitNanos(0));
        }

        /** All that is left happens. Then each device still interrupts. */
        void settle() {
            stops.finish();
            run();
            for (Device device : devices) {
                int before = taken;
                device.asserts();
                run();
                assertThat(taken).as("interrupts").isEqualTo(before + 1);
            }
        }

        private void run() {
            for (int i = 0; i < 4; i++) {
                loop.pollNanos(0);
                end();
                take();
            }
            assertThat(devices).as("asserts forever").noneMatch(device -> device.asserts);
        }

        @Override
        public void close() {
            stops.close();
            parts.close();
        }
    }

    private static World world(Actors actors, boolean historic, int devices) {
        World world = actors.closing(new World(historic, devices));
        Stops.Task loop = world.loop();
        for (World.Device device : world.devices) {
            actors.add("device", device::asserts);
        }
        World.Device first = world.devices.get(0);
        actors.add("device", Actors.when(() -> !first.asserts, first::asserts));
        actors.add("loop", loop.steps(POLLS, world::mayPoll));
        for (int i = 0; i < 2; i++) {
            Stops.Task end = world.stops.task("end", world::end);
            actors.add("guest", Actors.when(world::isSent, world::take));
            actors.add("guest", end.steps(7));
        }
        actors.add("guest", () -> world.left--);
        actors.after(world::settle);
        return world;
    }

    static class Historic {
        @Interleavings(preemptions = 1)
        void endListener(Actors actors) {
            world(actors, true, 1);
        }
    }

    @Test
    void endListenerSendsTwice() {
        List<String> failures = new ArrayList<>();
        LauncherFactory.create(LauncherConfig.builder()
                        .enableTestExecutionListenerAutoRegistration(false)
                        .build())
                .execute(
                        LauncherDiscoveryRequestBuilder.request()
                                .selectors(selectClass(Historic.class))
                                .build(),
                        new TestExecutionListener() {
                            @Override
                            public void executionFinished(TestIdentifier test, TestExecutionResult result) {
                                result.getThrowable().ifPresent(thrown -> failures.add(thrown.getMessage()));
                            }
                        });
        assertThat(failures).singleElement().asString().contains("devices of interrupt");
    }

    @Interleavings(preemptions = 2)
    void relayAndEoi(Actors actors) {
        world(actors, false, 1);
    }

    @Interleavings(preemptions = 1)
    void twoDevicesOfAPin(Actors actors) {
        world(actors, false, 2);
    }

    @Interleavings(preemptions = 1)
    void guestMasksThePin(Actors actors) {
        World world = world(actors, false, 1);
        Stops.Task unmask = world.stops.task("unmask", () -> world.write(LEVEL | VECTOR.number()));
        actors.add("second vCPU", () -> world.write(LEVEL | MASKED | VECTOR.number()));
        actors.add("second vCPU", unmask.steps(7));
    }

    /** A mask of the forwarded line, which does not wait. */
    @Interleavings(preemptions = 1)
    void hostMasksTheLine(Actors actors) {
        World world = world(actors, false, 1);
        RelayedLine relay = world.devices.get(0).relay;
        world.left++;
        Stops.Task mask = world.stops.task("mask", () -> {
            relay.hold();
            world.holds = true;
            relay.beginSettle();
        });
        actors.add("host", mask.steps(7));
        actors.add("host", () -> {
            relay.release();
            world.holds = false;
            world.left--;
        });
    }

    /** The guest's interrupt ends after the line of a device has gone. */
    @Interleavings(preemptions = 1)
    void hostClosesTheLine(Actors actors) {
        World world = actors.closing(new World(false, 1));
        world.left++;
        World.Device device = world.devices.get(0);
        actors.add("device", device::asserts);
        actors.add("loop", world.loop().steps(POLLS, world::mayPoll));
        actors.add("guest", world::take);
        actors.add("guest", world.stops.task("end", world::end).steps(7));
        actors.add("guest", () -> world.left--);
        actors.add("host", world.stops.task("close", device.relay::close).steps(5));
        actors.add("host", () -> world.left--);
        actors.after(() -> {
            world.stops.finish();
            world.end();
            assertThat(world.ioapic.isHigh(PIN.number())).isFalse();
        });
    }
}
