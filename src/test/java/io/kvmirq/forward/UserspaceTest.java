/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.logging.Logger;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Interrupts that this process takes from their eventfds and injects. */
class UserspaceTest {
    private static final InterruptVector VECTOR = new InterruptVector(0x31);
    private static final InterruptVector OTHER = new InterruptVector(0x32);
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), VECTOR);
    private static final MsiMessage OTHER_MESSAGE = MsiMessage.to(new VcpuId(0), OTHER);
    private static final Gsi GSI = new Gsi(11);
    private static final Route.Pin PIN = new Route.Pin(GSI, Route.Chip.IOAPIC, 11);

    @AutoClose
    private final Undo made = new Undo();

    private final Kernel kernel = made.add(Kernels.FAKE.open());
    private final EventFd event = made.add(EventFd.create(kernel));
    private final EventLoop loop = made.add(EventLoop.create(kernel));

    // Into KVM

    private final AtomicInteger injected = new AtomicInteger();

    private Userspace counted(Userspace userspace) {
        return Userspace.of(userspace.loop(), new Userspace.Injector() {
            @Override
            public void message(MsiMessage message) {
                injected.incrementAndGet();
                userspace.injector().message(message);
            }

            @Override
            public void line(Gsi gsi, boolean high) {
                userspace.injector().line(gsi, high);
            }
        });
    }

    @OnBothKernels
    void messageIsInjectedIntoTheLapicOfASplitIrqchip(Kernels on) {
        try (Kernel kernel = on.open();
                Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel);
                EventLoop loop = EventLoop.create(kernel)) {
            vm.x86().createSplitIrqchip(24);
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    RelayedEdge relayed = RelayedEdge.message(counted(Userspace.into(vm, loop)), event, MESSAGE)) {
                relayed.release();
                vcpu.x86().enableLapic();
                event.signal(3);
                assertThat(vcpu.x86().isRequested(VECTOR)).isFalse();
                assertThat(loop.pollNanos(0)).isEqualTo(1);
                assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
                assertThat(event.drain()).as("left in the eventfd").isZero();
                assertThat(injected).as("of 3 signals").hasValue(1);
                relayed.hold();
                relayed.reroute(OTHER_MESSAGE);
                relayed.release();
                event.signal();
                loop.pollNanos(0);
                assertThat(vcpu.x86().isRequested(OTHER)).isTrue();
            }
            assertThat(vm.routes().commits()).isZero();
        }
    }

    @OnBothKernels
    void lineHoldsThePinOfTheIoapicUntilTheEndOfTheInterrupt(Kernels on) {
        try (Kernel kernel = on.open();
                Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel);
                EventLoop loop = EventLoop.create(kernel)) {
            vm.x86().createIrqchip();
            AtomicInteger unmasked = new AtomicInteger();
            try (RelayedLine relayed =
                    new RelayedLine(Userspace.into(vm, loop), event, GSI, unmasked::incrementAndGet)) {
                relayed.release();
                event.signal();
                loop.pollNanos(0);
                assertThat(vm.x86().ioapic().isHigh(PIN)).isTrue();
                relayed.endOfInterrupt();
                assertThat(vm.x86().ioapic().isHigh(PIN)).isFalse();
                assertThat(unmasked).hasValue(1);
                event.signal();
                loop.pollNanos(0);
            }
            assertThat(vm.x86().ioapic().isHigh(PIN)).as("after close").isFalse();
            assertThat(unmasked).hasValue(1);
        }
    }

    /** The VM was closed first: the tear-down says nothing. */
    @Test
    void closeNeverFails() {
        Vm vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        RelayedLine relayed = new RelayedLine(Userspace.into(vm, loop), event, GSI, () -> {});
        relayed.release();
        event.signal();
        loop.pollNanos(0);
        vm.close();
        relayed.close();
        relayed.close();
    }

    // Into a VMM's own controllers

    /** The irqchip of a VMM whose VM has none in the kernel: it keeps the calls that it gets. */
    private static final class Chip implements Userspace.Injector {
        private final List<String> told = new ArrayList<>();

        @Override
        public synchronized void message(MsiMessage message) {
            told.add("vector " + Integer.toHexString(message.data()));
        }

        @Override
        public synchronized void line(Gsi gsi, boolean high) {
            told.add(gsi.number() + (high ? " high" : " low"));
        }
    }

    @Test
    void messageIsMaskedRoutedAnewAndUnmaskedWithoutLoss() {
        Chip chip = new Chip();
        RelayedEdge relayed = RelayedEdge.message(Userspace.of(loop, chip), event, MESSAGE);
        relayed.release();
        relayed.hold();
        relayed.hold();
        event.signal();
        relayed.reroute(OTHER_MESSAGE);
        relayed.release();
        loop.pollNanos(0);
        assertThat(chip.told).isEmpty();
        relayed.release();
        loop.pollNanos(0);
        assertThat(chip.told).containsExactly("vector 32");
        event.signal(2);
        relayed.close();
        loop.pollNanos(0);
        assertThat(event.drain()).as("left in the eventfd").isEqualTo(2);
        assertThat(chip.told).hasSize(1);
    }

    @Test
    void edgeOfALineGoesHighAndLow() {
        Chip chip = new Chip();
        try (RelayedEdge relayed = RelayedEdge.line(Userspace.of(loop, chip), event, GSI)) {
            assertThat(relayed.event()).isSameAs(event);
            relayed.release();
            event.signal(2);
            loop.pollNanos(0);
            assertThat(event.drain()).as("left in the eventfd").isZero();
        }
        assertThat(chip.told).as("of 2 signals").containsExactly("11 high", "11 low");
    }

    @Test
    void endWithoutAnInterruptDoesNothing() {
        try (Line line = new Line()) {
            line.relayed.endOfInterrupt();
            line.device(true);
            line.loop.pollNanos(0);
            line.device(false);
            line.relayed.endOfInterrupt();
            line.relayed.endOfInterrupt();
            assertThat(line.chip.told).containsExactly("11 high", "11 low");
            assertThat(line.unmasks).isEqualTo(1);
        }
    }

    /** A later end of the interrupt tries again: the line is not left masked for ever. */
    @Test
    void injectorThatFailsIsTriedAgainAfterTheNextEoi() {
        try (Line line = new Line()) {
            failsFrom(line, 1, 4);
            line.device(true);
            Logger logger = Logger.getLogger("io.kvmirq");
            logger.setUseParentHandlers(false);
            for (int i = 0; i < 6; i++) {
                line.loop.pollNanos(0);
            }
            logger.setUseParentHandlers(true);
            assertThat(line.unmasks).as("tried again at once").isEqualTo(3);
            assertThat(line.chip.told).containsExactly("11 low", "11 low", "11 low");
            line.relayed.endOfInterrupt();
            line.loop.pollNanos(0);
            assertThat(line.chip.told).endsWith("11 low", "11 high");
            line.device(false);
            line.relayed.endOfInterrupt();
            failsFrom(line, line.steps + 1, 1);
            line.device(true);
            line.loop.pollNanos(0);
            line.loop.pollNanos(0);
            assertThat(line.chip.told).as("again at once, after a success").endsWith("11 low", "11 low", "11 high");
        }
    }

    /** The injector fails so often; each time the line goes low and the device is unmasked, which is four steps. */
    private static void failsFrom(Line line, int step, int times) {
        line.atStep(step, () -> {
            if (times > 1) {
                failsFrom(line, step + 5, times - 1);
            }
            throw new IllegalStateException("no controller yet");
        });
    }

    /** A level-triggered line, VFIO's mask of it, and a guest that ends each interrupt it sees. */
    private static final class Line implements AutoCloseable {
        final Kernel kernel = Kernels.FAKE.open();
        final EventFd event = EventFd.create(kernel);
        final EventLoop loop = EventLoop.create(kernel);
        final Chip chip = new Chip();
        final RelayedLine relayed;
        boolean high;
        boolean asserted;
        boolean masked;
        int unmasks;
        private int steps;
        private int chosen;
        private Runnable action = () -> {};

        Line() {
            relayed = new RelayedLine(
                    Userspace.of(loop, new Userspace.Injector() {
                        @Override
                        public void message(MsiMessage message) {
                            throw new AssertionError("a line has no message");
                        }

                        @Override
                        public void line(Gsi gsi, boolean to) {
                            step();
                            chip.line(gsi, to);
                            high = to;
                            step();
                        }
                    }),
                    event,
                    GSI,
                    () -> {
                        step();
                        unmasks++;
                        masked = false;
                        device(asserted);
                        step();
                    });
            loop.onFailure((registration, failure) -> {});
            relayed.release();
        }

        /** The nth step within the injector or the unmasking. */
        void atStep(int nth, Runnable what) {
            chosen = nth;
            action = what;
        }

        private void step() {
            if (++steps == chosen) {
                action.run();
            }
        }

        void device(boolean asserts) {
            asserted = asserts;
            if (asserted && !masked) {
                masked = true;
                event.signal();
            }
        }

        /** The guest serves the device and ends the interrupt, as long as its line is high. */
        void settle() {
            for (int round = 0; round < 10; round++) {
                loop.pollNanos(0);
                if (high) {
                    asserted = false;
                    relayed.endOfInterrupt();
                }
            }
        }

        @Override
        public void close() {
            relayed.close();
            loop.close();
            event.close();
            kernel.close();
        }
    }

    /** The action of another thread while this one is in the injector. */
    private enum Meanwhile {
        SIGNAL,
        SERVE_AND_END,
        MASK_AND_UNMASK,
        CLOSE;

        void of(Line line) {
            switch (this) {
                case SIGNAL -> {
                    line.event.signal();
                    pollUnlessPolled(line);
                }
                case SERVE_AND_END -> {
                    line.asserted = false;
                    line.relayed.endOfInterrupt();
                }
                case MASK_AND_UNMASK -> {
                    pollUnlessPolled(line);
                    line.relayed.hold();
                    line.relayed.settle();
                    line.relayed.release();
                }
                case CLOSE -> {
                    pollUnlessPolled(line);
                    line.relayed.close();
                }
            }
        }
    }

    private static void pollUnlessPolled(Line line) {
        try {
            line.loop.pollNanos(0);
        } catch (IllegalStateException e) {
            assertThat(e).hasMessageContaining("handlers run in one thread at a time");
        }
    }

    /** In another thread, to its end or until it waits for this one. */
    private static void aside(Runnable work, List<Thread> threads) {
        Thread other = new Thread(work);
        threads.add(other);
        other.start();
        while (other.isAlive()
                && other.getState() != Thread.State.WAITING
                && other.getState() != Thread.State.TIMED_WAITING) {
            Thread.onSpinWait();
        }
    }

    @ParameterizedTest
    @EnumSource
    void lineNeverSticksWhateverHappensWithinItsSteps(Meanwhile meanwhile) throws InterruptedException {
        int steps = 0;
        for (int step = 1; step <= steps + 1; step++) {
            List<Thread> threads = new ArrayList<>();
            try (Line line = new Line()) {
                line.atStep(step, () -> aside(() -> meanwhile.of(line), threads));
                line.device(true);
                line.loop.pollNanos(0);
                line.relayed.endOfInterrupt(); // the device still asserts: a second interrupt
                line.loop.pollNanos(0);
                for (Thread thread : threads) {
                    thread.join();
                }
                steps = Math.max(steps, line.steps);
                line.atStep(0, () -> {});
                if (meanwhile == Meanwhile.CLOSE && !threads.isEmpty()) {
                    assertThat(line.high)
                            .as("high after close at step %d", step)
                            .isFalse();
                } else {
                    line.settle();
                    assertThat(line.high).as("stuck high after step %d", step).isFalse();
                    assertThat(line.asserted)
                            .as("never served after step %d", step)
                            .isFalse();
                    assertThat(line.masked)
                            .as("left masked after step %d", step)
                            .isFalse();
                    line.device(true);
                    line.loop.pollNanos(0);
                    assertThat(line.high).as("dead after step %d", step).isTrue();
                }
            }
        }
        assertThat(steps).as("high, low, unmask, high").isGreaterThanOrEqualTo(8);
    }

    /** A VMM whose chip has one lock calls the end of the interrupt with it held, and takes it in the injector. */
    @Test
    void injectorAndEndMayShareALock() throws Exception {
        int interrupts = 2000;
        Object chip = new Object();
        ExecutorService threads = Executors.newFixedThreadPool(2);
        try {
            AtomicBoolean high = new AtomicBoolean();
            AtomicLong ended = new AtomicLong();
            CountDownLatch all = new CountDownLatch(interrupts);
            Userspace.Injector injector = new Userspace.Injector() {
                @Override
                public void message(MsiMessage message) {}

                @Override
                public void line(Gsi gsi, boolean to) {
                    synchronized (chip) {
                        high.set(to);
                    }
                }
            };
            RelayedLine relayed = new RelayedLine(Userspace.of(loop, injector), event, GSI, () -> {
                all.countDown();
                event.signal();
            });
            relayed.release();
            Future<?> running = threads.submit(loop::run);
            Future<?> guest = threads.submit(() -> {
                while (all.getCount() > 0) {
                    synchronized (chip) {
                        if (high.get()) {
                            ended.incrementAndGet();
                            relayed.endOfInterrupt();
                        }
                    }
                }
            });
            event.signal();
            all.await();
            guest.get();
            relayed.close();
            loop.close();
            running.get();
            assertThat(ended.get()).isGreaterThanOrEqualTo(interrupts);
        } finally {
            threads.shutdownNow();
        }
    }

    /** The guest's EOI and a new signal wait for the injector, and the mask comes while it lowers the line. */
    @Test
    void signalThatAMaskOvertakesUnmasksTheDevice() {
        AtomicInteger unmasked = new AtomicInteger();
        RelayedLine[] relayed = new RelayedLine[1];
        List<Boolean> levels = new ArrayList<>();
        Userspace.Injector injector = new Userspace.Injector() {
            @Override
            public void message(MsiMessage message) {}

            @Override
            public void line(Gsi gsi, boolean high) {
                levels.add(high);
                if (high) {
                    relayed[0].endOfInterrupt();
                    relayed[0].signalled();
                } else {
                    relayed[0].beginSettle();
                }
            }
        };
        relayed[0] = new RelayedLine(Userspace.of(loop, injector), event, GSI, unmasked::incrementAndGet);
        relayed[0].signalled();
        assertThat(levels).containsExactly(true, false);
        assertThat(unmasked)
                .as("for the EOI, and for the signal that the mask kept")
                .hasValue(2);
        relayed[0].close();
    }

    @Test
    void loopOfAnotherKernelIsRefused() {
        try (Kernel other = Kernels.FAKE.open();
                EventLoop foreign = EventLoop.create(other)) {
            Userspace userspace = Userspace.of(foreign, new Chip());
            assertThatThrownBy(() -> RelayedEdge.message(userspace, event, MESSAGE))
                    .isInstanceOf(IllegalArgumentException.class);
        }
    }
}
