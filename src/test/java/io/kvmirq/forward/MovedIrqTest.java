/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.vector;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Latches;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Interrupts that this process injects, and those that move between it and the kernel. The test is the loop's thread.
 */
class MovedIrqTest {
    private final ErrorInCall errors = new ErrorInCall();
    private final ForwardWorld world = new ForwardWorld("6.12", errors::over);
    private final EventLoop loop = EventLoop.create(world.kernel);
    private final List<String> injected = new ArrayList<>();
    private final Userspace own = Userspace.of(loop, new Notes());
    private final Forwarding forwarding = forwarding(world.vm, Userspace.into(world.vm, loop));

    /** Notes what it is to inject. */
    private class Notes implements Userspace.Injector {
        @Override
        public void message(MsiMessage message) {
            injected.add(message.toString());
        }

        @Override
        public void line(Gsi gsi, boolean high) {
            injected.add(gsi + (high ? " high" : " low"));
        }
    }

    @AfterEach
    void close() {
        forwarding.close();
        loop.close();
        world.closeAndExpectNothingLeft();
    }

    private Forwarding forwarding(Vm vm, Userspace userspace) {
        return Forwarding.builder(vm, world.device).userspace(userspace).build();
    }

    /** The line of the device, which asserts it, in a VM with a split irqchip. */
    private final class SplitLine implements AutoCloseable {
        final Vm vm = Vm.create(world.kernel);
        final Forwarding forwarding;
        final ForwardedIrq line;

        SplitLine(Userspace userspace) {
            vm.x86().createSplitIrqchip(24);
            forwarding = forwarding(vm, userspace);
            line = forwarding.forward(world.device.intx(), PIN);
            world.hardware.requestService();
            loop.pollNanos(0);
        }

        @Override
        public void close() {
            forwarding.close();
            vm.close();
        }
    }

    private void send(int vector) {
        world.hardware.sendMessage(vector);
    }

    private boolean isRequested(int vector) {
        return world.first.x86().isRequested(vector(vector));
    }

    private boolean isHigh() {
        return world.vm.x86().ioapic().isHigh(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()));
    }

    @Test
    void vmWithoutIrqchipIsInjectedByThisProcess() {
        try (Vm bare = Vm.create(world.kernel);
                Forwarding forwarding = forwarding(bare, own)) {
            List<ForwardedIrq> irqs = forwarding.forwardAll(world.device.msix(0, 2), i -> message(0x30 + i));
            assertThat(irqs.get(1).mechanism()).isEqualTo(Mechanism.USERSPACE);
            assertThat(irqs.get(1).gsi()).isEmpty();
            assertThat(irqs.get(1)).hasToString("MSI-X 1 of 0000:3b:00.0 → user space (userspace)");
            send(1);
            loop.pollNanos(0);
            irqs.get(1).reroute(message(0x40));
            send(1);
            loop.pollNanos(0);
            assertThat(injected).containsExactly("msi 0xfee00000/0x31", "msi 0xfee00000/0x40");
            assertThatThrownBy(() -> irqs.get(0).moveTo(Mechanism.IRQFD)).hasMessageContaining("EINVAL");
            send(0);
            loop.pollNanos(0);
            assertThat(injected).last().isEqualTo("msi 0xfee00000/0x30");
        }
    }

    /** A relay does not hide a refusal that has another reason. */
    @Test
    void refusedMessageIsNotRelayed() {
        try (Forwarding forwarding = forwarding(world.vm, own)) {
            world.vm.x86().use32BitApicIds();
            MsiMessage none = new MsiMessage(0x00ff_fee0_0000L << 8 | 0xfee00000L | 0x80_0000_0000L, 0x30);
            assertThatThrownBy(() -> forwarding.forward(world.device.msix().get(0), none))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("EINVAL");
            assertThat(forwarding.irqs()).isEmpty();
        }
    }

    /** A signal that waits in the eventfd is delivered by the next taker of the eventfd. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void messageMovesAndBackWithWhatWaits(boolean masked) {
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
        if (masked) {
            irq.mask();
        }
        irq.moveTo(Mechanism.USERSPACE);
        assertThat(irq.mechanism()).isEqualTo(Mechanism.USERSPACE);
        send(0);
        assertThat(isRequested(0x30)).isFalse();
        irq.moveTo(Mechanism.IRQFD);
        assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
        assertThat(isRequested(0x30)).isEqualTo(!masked);
        if (masked) {
            irq.unmask();
        }
        assertThat(isRequested(0x30)).isTrue();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void messageThatWaitsInTheKernelIsTakenByThisProcess(boolean moved) {
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
        irq.mask();
        send(0);
        if (moved) {
            irq.moveTo(Mechanism.USERSPACE);
            loop.pollNanos(0);
            assertThat(isRequested(0x30)).isFalse();
        }
        irq.unmask();
        loop.pollNanos(0);
        assertThat(isRequested(0x30)).isTrue();
    }

    /** What this process has not injected yet is pending, as what a masked vector sent is. */
    @Test
    void relayedMessageThatWaitsIsPendingAfterTheEnd() {
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
        irq.moveTo(Mechanism.USERSPACE);
        send(0);
        irq.close();
        assertThat(irq.isPending()).isTrue();
        loop.pollNanos(0);
        assertThat(isRequested(0x30)).isFalse();
    }

    @Test
    void movingKeepsTheGsiAndMakesNoCommit() {
        try (Forwarding forwarding = forwarding(world.vm, own)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
            Gsi gsi = irq.gsi().orElseThrow();
            long commits = world.vm.routes().commits();
            long changes = world.device.irqChanges();
            irq.moveTo(Mechanism.USERSPACE);
            irq.moveTo(Mechanism.USERSPACE);
            assertThat(world.vm.routes().add(message(0x50))).isNotEqualTo(gsi);
            irq.moveTo(Mechanism.IRQFD);
            irq.moveTo(Mechanism.IRQFD);
            assertThat(irq.gsi()).contains(gsi);
            assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
            assertThat(world.device.irqChanges()).isEqualTo(changes);
        }
    }

    @Test
    void refusedMoveLeavesTheInterruptWhereItWas() {
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
        irq.moveTo(Mechanism.USERSPACE);
        world.faults.fail("irqfdAssign", 1, Errno.ENOMEM);
        assertThatThrownBy(() -> irq.moveTo(Mechanism.IRQFD)).hasMessageContaining("ENOMEM");
        send(0);
        loop.pollNanos(0);
        assertThat(isRequested(0x30)).isTrue();
        assertThat(irq.mechanism()).isEqualTo(Mechanism.USERSPACE);
    }

    /** The move holds the relay beside the mask, and its undo ends that hold. */
    @Test
    void refusedMoveOfAMaskedRelayIsOpenAfterOneUnmask() {
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        line.moveTo(Mechanism.USERSPACE);
        line.mask();
        world.faults.fail("vfioIrqsSet", 1, Errno.ENOMEM);
        assertThatThrownBy(() -> line.moveTo(Mechanism.RESAMPLE)).hasMessageContaining("ENOMEM");
        world.faults.clear();
        world.hardware.requestService();
        loop.pollNanos(0);
        assertThat(isHigh()).as("masked").isFalse();
        line.unmask();
        loop.pollNanos(0);
        assertThat(isHigh()).as("unmasked").isTrue();
    }

    /** This process must not inject what the irqfd still delivers. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void refusedMoveOutOfTheKernelLeavesTheInterruptThere(boolean isLine) {
        ForwardedIrq irq = isLine
                ? forwarding.forward(world.device.intx(), PIN)
                : forwarding.forward(world.device.msix().get(0), message(0x30));
        Mechanism before = irq.mechanism();
        world.faults.fail("irqfdDeassign", 1, Errno.EIO);
        assertThatThrownBy(() -> irq.moveTo(Mechanism.USERSPACE)).hasMessageContaining("EIO");
        assertThat(irq.mechanism()).isEqualTo(before);
        assertThat(irq.isMasked()).isFalse();
        if (isLine) {
            world.hardware.requestService();
        } else {
            send(0);
        }
        assertThat(isLine ? isHigh() : isRequested(0x30)).isTrue();
        irq.moveTo(Mechanism.USERSPACE);
        assertThat(irq.mechanism()).isEqualTo(Mechanism.USERSPACE);
    }

    private int moves;

    /** The JVM's errors in each call in turn: the interrupt is where it was or where it should be, and not stuck. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void moveThatRunsOutOfMemoryHoldsNothingBack(boolean isLine) {
        for (boolean after : List.of(false, true)) {
            for (Mechanism from : List.of(isLine ? Mechanism.RESAMPLE : Mechanism.IRQFD, Mechanism.USERSPACE)) {
                int calls = 0;
                while (moveFailsAndHoldsNothingBack(isLine, from, calls + 1, after)) {
                    calls++;
                }
                assertThat(calls).as("calls of a move from " + from).isPositive();
            }
        }
    }

    /** @return false if the move does not fail by that */
    private boolean moveFailsAndHoldsNothingBack(boolean isLine, Mechanism from, int call, boolean after) {
        int vector = 0x30 + moves++;
        Mechanism inKernel = isLine ? Mechanism.RESAMPLE : Mechanism.IRQFD;
        try (ForwardedIrq irq = isLine
                ? forwarding.forward(world.device.intx(), PIN)
                : forwarding.forward(world.device.msix().get(0), message(vector))) {
            irq.moveTo(from);
            errors.arm(call, after);
            @Nullable
            Throwable failed =
                    catchThrowable(() -> irq.moveTo(from == Mechanism.USERSPACE ? inKernel : Mechanism.USERSPACE));
            if (!errors.disarm() || irq.mechanism() != from) { // the last call lets the device signal again
                return false;
            }
            String step = failed + " in call " + call + " of a move from " + from;
            assertThat(irq.isMasked()).as(step).isFalse();
            if (isLine) {
                world.hardware.requestService();
                loop.pollNanos(0);
                assertThat(isHigh()).as(step).isTrue();
                world.hardware.serve();
                irq.endOfInterrupt();
            } else {
                send(0);
                loop.pollNanos(0);
                assertThat(isRequested(vector)).as(step).isTrue();
            }
            return true;
        }
    }

    @Test
    void moveWithoutALoopIsExplained() {
        try (Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
            assertIllegalState(
                    () -> irq.moveTo(Mechanism.USERSPACE),
                    "MSI-X 0 of 0000:3b:00.0 cannot be relayed by this process: pass a Userspace to"
                            + " Forwarding.builder(vm, device).userspace");
            assertThatThrownBy(() -> irq.moveTo(Mechanism.RESAMPLE))
                    .isInstanceOf(UnsupportedOperationException.class)
                    .hasMessageContaining("is a message and cannot be moved to resample");
            assertThatThrownBy(irq::endOfInterrupt).isInstanceOf(UnsupportedOperationException.class);
        }
    }

    @Test
    void lineOfASplitIrqchipIsInjectedByThisProcess() {
        List<String> before = world.kernel.openHandles();
        try (SplitLine split = new SplitLine(own)) {
            assertThat(split.line.mechanism()).isEqualTo(Mechanism.USERSPACE);
            split.line.endOfInterrupt();
            loop.pollNanos(0);
            world.hardware.serve();
            split.line.endOfInterrupt();
            loop.pollNanos(0);
            assertThat(injected).containsExactly("gsi 11 high", "gsi 11 low", "gsi 11 high", "gsi 11 low");
            world.hardware.requestService();
            loop.pollNanos(0);
            assertThat(injected).hasSize(5);
        }
        assertThat(world.kernel.openHandles()).isEqualTo(before);
    }

    /** The device asserts its line all the time: it is high on the other side too, and not stuck. */
    @Test
    void assertedLineMovesAndBack() {
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        world.hardware.requestService();
        assertThat(isHigh()).isTrue();
        line.moveTo(Mechanism.USERSPACE);
        assertThat(isHigh()).isFalse();
        loop.pollNanos(0);
        assertThat(isHigh()).isTrue();
        line.moveTo(Mechanism.RESAMPLE);
        assertThat(isHigh()).isTrue();
        world.hardware.serve();
        line.mask();
        assertThat(isHigh()).isFalse();
        line.unmask();
        assertThat(isHigh()).isFalse();
        world.hardware.requestService();
        assertThat(isHigh()).isTrue();
    }

    /** A VMM tells the end of an interrupt with a lock held that its injector needs. */
    @Test
    void endOfInterruptWaitsForNobody() throws InterruptedException {
        CountDownLatch lowering = new CountDownLatch(1);
        CountDownLatch ended = new CountDownLatch(1);
        Userspace slow = Userspace.of(loop, new Notes() {
            @Override
            public void line(Gsi gsi, boolean high) {
                if (!high) {
                    lowering.countDown();
                    Latches.await(ended);
                }
            }
        });
        try (SplitLine split = new SplitLine(slow)) {
            Thread masking = new Thread(split.line::mask);
            masking.start();
            lowering.await();
            split.line.endOfInterrupt();
            assertThat(split.line.mechanism()).isEqualTo(Mechanism.USERSPACE);
            assertThat(split.forwarding.irqs()).containsExactly(split.line);
            ended.countDown();
            masking.join();
            assertThat(split.line.isMasked()).isTrue();
        }
    }

    /** A vCPU's thread that tells the end of an interrupt may raise the next one. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void maskAndCloseWaitForTheInjectionOfTheThreadThatEndsTheInterrupt(boolean masks) throws InterruptedException {
        CountDownLatch lowering = new CountDownLatch(1);
        CountDownLatch lower = new CountDownLatch(1);
        CountDownLatch raising = new CountDownLatch(1);
        CountDownLatch raise = new CountDownLatch(1);
        Userspace slow = Userspace.of(loop, new Notes() {
            @Override
            public void line(Gsi gsi, boolean high) {
                if (!high) {
                    lowering.countDown();
                    Latches.await(lower);
                } else if (lowering.getCount() == 0) {
                    raising.countDown();
                    Latches.await(raise);
                }
                super.line(gsi, high);
            }
        });
        try (SplitLine split = new SplitLine(slow)) {
            Thread vcpu = new Thread(split.line::endOfInterrupt);
            vcpu.start();
            lowering.await();
            split.line.trigger();
            loop.pollNanos(0);
            lower.countDown();
            raising.await();
            Thread ending = new Thread(masks ? split.line::mask : split.line::close);
            ending.start();
            while (ending.getState() != Thread.State.TIMED_WAITING) {
                assertThat(ending.isAlive()).as("it waits").isTrue();
                Thread.onSpinWait();
            }
            raise.countDown();
            ending.join();
            assertThat(injected).containsExactly("gsi 11 high", "gsi 11 low", "gsi 11 high", "gsi 11 low");
            vcpu.join();
        }
    }

    /** Nobody ends an interrupt that the guest never saw. */
    @Test
    void lineIsTriedAgainAfterItsInjectorFailed() {
        AtomicInteger failures = new AtomicInteger(2);
        Userspace shaky = Userspace.of(loop, new Notes() {
            @Override
            public void line(Gsi gsi, boolean high) {
                if (failures.getAndDecrement() > 0) {
                    throw new IllegalStateException("not now");
                }
                super.line(gsi, high);
            }
        });
        loop.onFailure((registration, failure) -> {});
        try (SplitLine split = new SplitLine(shaky)) {
            loop.pollNanos(0);
            loop.pollNanos(0);
            assertThat(injected).containsExactly("gsi 11 high");
            split.line.endOfInterrupt();
            assertThat(injected).last().isEqualTo("gsi 11 low");
        }
    }

    /** Each call of the device fails in turn: the line is where it was, and not stuck. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void refusedMoveOfALineLeavesItWhereItWas(int call) {
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        world.faults.fail("vfioIrqsSet", call, Errno.ENOMEM);
        assertThatThrownBy(() -> line.moveTo(Mechanism.USERSPACE)).hasMessageContaining("ENOMEM");
        world.faults.clear();
        assertThat(line.mechanism()).isEqualTo(Mechanism.RESAMPLE);
        world.hardware.requestService();
        assertThat(isHigh()).isTrue();
    }

    /** The signal was taken by the irqfd that is undone: the device signals again. */
    @Test
    void refusedMoveBackLosesNoSignal() {
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        line.moveTo(Mechanism.USERSPACE);
        world.hardware.requestService();
        world.faults.fail("vfioIrqsSet", 1, Errno.ENOMEM);
        assertThatThrownBy(() -> line.moveTo(Mechanism.RESAMPLE)).hasMessageContaining("ENOMEM");
        world.faults.clear();
        loop.pollNanos(0);
        assertThat(isHigh()).isTrue();
    }

    /** The irqfd of the refused move is still there: a mask of the relayed line has to hold it back, too. */
    @Test
    void maskHoldsBackWhatARefusedUndoLeft() {
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        line.moveTo(Mechanism.USERSPACE);
        world.faults.fail("vfioIrqsSet", 1, Errno.ENOMEM);
        world.faults.fail("irqfdDeassign", 1, Errno.EIO);
        assertThatThrownBy(() -> line.moveTo(Mechanism.RESAMPLE)).hasMessageContaining("ENOMEM");
        assertThat(line.mechanism()).isEqualTo(Mechanism.USERSPACE);
        line.mask();
        world.hardware.requestService();
        loop.pollNanos(0);
        assertThat(isHigh()).isFalse();
        line.unmask();
        loop.pollNanos(0);
        assertThat(isHigh()).isTrue();
    }

    /** Another forwarding to the GSI of a relayed message would lose its route with it. */
    @Test
    void gsiOfARelayedMessageIsInUse() {
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
        irq.moveTo(Mechanism.USERSPACE);
        assertThatThrownBy(() ->
                        forwarding.forward(world.device.msix().get(1), irq.gsi().orElseThrow(), message(0x30)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("is in use");
    }
}
