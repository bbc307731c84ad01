/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The end of a forwarding finishes: an Error may interrupt it at any call, then closing again ends the rest. */
class TearDownTest {
    private final ForwardWorld world = new ForwardWorld("6.12");

    @AfterEach
    void nothingIsLeft() {
        world.faults.clear();
        world.closeAndExpectNothingLeft();
    }

    private static void noMemory() {
        throw new OutOfMemoryError();
    }

    private void closeTwice(Forwarding forwarding, String call, int nth) {
        world.faults.delay(call, nth, TearDownTest::noMemory);
        Throwable first = catchThrowable(forwarding::close);
        world.faults.clear();
        assertThat(first).isInstanceOf(OutOfMemoryError.class);
        forwarding.close();
        assertThat(forwarding.irqs()).isEmpty();
    }

    @ParameterizedTest
    @CsvSource({"irqfdDeassign, 1", "vfioIrqsSet, 1", "routesSet, 1"})
    void secondCloseEndsTheMessagesThatAnErrorLeft(String call, int nth) {
        List<String> before = world.kernel.openHandles();
        Forwarding forwarding = Forwarding.create(world.vm, world.device);
        forwarding.forwardAll(world.device.msix(0, 3), i -> message(0x30 + i));
        closeTwice(forwarding, call, nth);
        assertThat(world.kernel.openHandles()).isEqualTo(before);
        assertThat(world.vm.routes().routes()).noneMatch(Route.Msi.class::isInstance);
        world.hardware.sendMessage(0);
        assertThat(world.first.x86().isRequested(ForwardWorld.vector(0x30))).isFalse();
    }

    @ParameterizedTest
    @CsvSource({"irqfdDeassign, 1", "vfioIrqsSet, 1", "vfioIrqsSet, 2"})
    void secondCloseEndsTheLineThatAnErrorLeft(String call, int nth) {
        List<String> before = world.kernel.openHandles();
        Forwarding forwarding = Forwarding.create(world.vm, world.device);
        forwarding.forward(world.device.intx(), PIN);
        closeTwice(forwarding, call, nth);
        assertThat(world.kernel.openHandles()).isEqualTo(before);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void secondCloseEndsTheRelayThatAnErrorLeft(int nth) {
        List<String> before = world.kernel.openHandles();
        try (EventLoop loop = EventLoop.create(world.kernel);
                Vm split = Vm.create(world.kernel)) {
            split.x86().createSplitIrqchip(24);
            List<String> within = world.kernel.openHandles();
            Forwarding forwarding = Forwarding.builder(split, world.device)
                    .userspace(Userspace.into(split, loop))
                    .build();
            forwarding.forward(world.device.intx(), PIN);
            closeTwice(forwarding, nth == 1 ? "epollCtl" : "vfioIrqsSet", 1);
            assertThat(world.kernel.openHandles()).isEqualTo(within);
        }
        assertThat(world.kernel.openHandles()).isEqualTo(before);
    }

    /** Another device may have been given the GSI between the two. */
    @Test
    void secondCloseLeavesAGsiThatWasGivenOutAnew() {
        Forwarding forwarding = Forwarding.create(world.vm, world.device);
        ForwardedIrq irq = forwarding
                .forwardAll(world.device.msix(0, 1), i -> message(0x30))
                .get(0);
        Gsi gsi = irq.gsi().orElseThrow();
        irq.close();
        world.vm.routes().edit(edit -> edit.replace(gsi, message(0x40)));
        irq.close();
        forwarding.close();
        assertThat(world.vm.routes().of(gsi)).containsExactly(new Route.Msi(gsi, message(0x40)));
    }

    /** A vector forwarded anew is not the closed interrupt's. */
    @Test
    void closingAgainLeavesTheInterruptThatCameAfter() {
        try (Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq before = forwarding.forward(world.device.msix().get(0), message(0x30));
            before.close();
            ForwardedIrq after = forwarding.forward(world.device.msix().get(0), message(0x31));
            before.close();
            assertThat(forwarding.irqs()).containsExactly(after);
            world.hardware.sendMessage(0);
            assertThat(world.first.x86().isRequested(ForwardWorld.vector(0x31))).isTrue();
        }
    }

    /** Closes one of many forwardings in each frame on the way back from the end of the stack. */
    private static final class Diver implements Runnable {
        private final List<Forwarding> all;
        private int next;
        private int failed;

        Diver(List<Forwarding> all) {
            this.all = all;
        }

        @Override
        @SuppressWarnings("InfiniteRecursion")
        public void run() {
            try {
                run();
            } catch (StackOverflowError e) {
                // the end
            }
            int attempt = next++;
            if (attempt < all.size()) {
                try {
                    all.get(attempt).close();
                } catch (StackOverflowError e) {
                    failed++;
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void closeThatTheEndOfTheStackInterruptsIsFinishedByAnother(boolean line) throws InterruptedException {
        List<ForwardWorld> worlds = new ArrayList<>();
        List<List<String>> before = new ArrayList<>();
        List<Forwarding> all = new ArrayList<>();
        for (int i = 0; i < 120; i++) {
            ForwardWorld world = new ForwardWorld("6.12", OwnStack::of);
            worlds.add(world);
            before.add(world.kernel.openHandles());
            Forwarding forwarding = Forwarding.create(world.vm, world.device);
            if (line) {
                forwarding.forward(world.device.intx(), PIN);
            } else {
                forwarding.forwardAll(world.device.msix(0, 2), v -> message(0x30 + v));
            }
            all.add(forwarding);
        }
        all.get(119).close(); // loads the classes
        Diver diver = new Diver(all);
        Thread thread = new Thread(null, diver, "diver", 512 << 10);
        thread.start();
        thread.join();
        assertThat(diver.failed).isPositive();
        List<String> left = new ArrayList<>();
        for (int i = 0; i < all.size(); i++) {
            ForwardWorld world = worlds.get(i);
            all.get(i).close();
            assertThat(all.get(i).irqs()).isEmpty();
            assertThat(world.hardware.sendMessage(0))
                    .as("world " + i + " has a trigger")
                    .isFalse();
            if (!world.kernel.openHandles().equals(before.get(i))) {
                left.add("world " + i + ": " + world.kernel.openHandles());
            }
            world.close();
            if (!world.kernel.openHandles().isEmpty()) {
                left.add("world " + i + ", closed: " + world.kernel.openHandles());
            }
        }
        // Where the stack ends in the very return of a call, its use of a descriptor cannot be given back.
        assertThat(left).hasSizeLessThanOrEqualTo(all.size() / 20);
    }

    /** What an injector does wrong is logged, and keeps nothing from ending. */
    @Test
    void injectorThatFailsWithAnErrorDoesNotKeepItsLineFromEnding() {
        try (EventLoop loop = EventLoop.create(world.kernel);
                Vm split = Vm.create(world.kernel)) {
            split.x86().createSplitIrqchip(24);
            List<String> before = world.kernel.openHandles();
            Forwarding forwarding = Forwarding.builder(split, world.device)
                    .userspace(Userspace.of(loop, new Userspace.Injector() {
                        @Override
                        public void message(MsiMessage message) {}

                        @Override
                        public void line(Gsi gsi, boolean high) {
                            if (!high) {
                                throw new AssertionError("a bug of the VMM");
                            }
                        }
                    }))
                    .build();
            forwarding.forward(world.device.intx(), PIN);
            world.hardware.requestService();
            loop.pollNanos(0);
            forwarding.close();
            assertThat(forwarding.irqs()).isEmpty();
            assertThat(world.kernel.openHandles()).isEqualTo(before);
        }
    }
}
