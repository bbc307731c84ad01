/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.vector;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventLoop;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Changes by a thread with a lock that the injector takes, too, while an injection waits for that lock. Without {@code
 * beginMask} each of these tests hangs.
 */
class LockedInjectorTest {
    private final ForwardWorld world = new ForwardWorld("6.12");
    private final EventLoop loop = EventLoop.create(world.kernel);
    private final List<String> injected = new ArrayList<>();
    private final Object device = new Object();
    private final CountDownLatch injecting = new CountDownLatch(1);
    private final Thread dispatching = new Thread(loop::run);
    private final Forwarding forwarding = Forwarding.builder(world.vm, world.device)
            .userspace(Userspace.of(loop, new Locking()))
            .build();

    /** Notes what it is to inject. */
    private final class Locking implements Userspace.Injector {
        @Override
        public void message(MsiMessage message) {
            note(message.toString());
        }

        @Override
        public void line(Gsi gsi, boolean high) {
            note(gsi + (high ? " high" : " low"));
        }

        private void note(String what) {
            injecting.countDown();
            synchronized (device) {
                injected.add(what);
            }
        }
    }

    @AfterEach
    void close() {
        forwarding.close();
        loop.close();
        world.closeAndExpectNothingLeft();
    }

    private ForwardedIrq message31() {
        return forwarding.forward(world.device.msix().get(0), message(0x31));
    }

    /** Injects in the loop's thread, and changes the interrupt with the lock that the injection waits for. */
    private void whileInjecting(ForwardedIrq irq, Consumer<ForwardedIrq> change) throws InterruptedException {
        irq.moveTo(Mechanism.USERSPACE);
        synchronized (device) {
            irq.trigger();
            dispatching.start();
            injecting.await();
            change.accept(irq);
            assertThat(injected).isEmpty();
        }
    }

    /** No handler runs after it. */
    private void endLoop() throws InterruptedException {
        loop.close();
        dispatching.join();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void beginMaskWaitsForNoInjection(boolean isLine) throws InterruptedException {
        ForwardedIrq irq = isLine ? forwarding.forward(world.device.intx(), PIN) : message31();
        whileInjecting(irq, ForwardedIrq::beginMask);
        assertThat(irq.isMasked()).isTrue();
        irq.mask();
        List<String> injectedThen = List.copyOf(injected);
        assertThat(injectedThen).hasSize(isLine ? 2 : 1);
        irq.trigger();
        endLoop();
        assertThat(injected).as("after the mask").isEqualTo(injectedThen);
    }

    /** A guest's write of a table entry is complete while its VMM has the lock. */
    @Test
    void rerouteOfAMaskedInterruptWaitsForNoInjection() throws InterruptedException {
        ForwardedIrq irq = message31();
        whileInjecting(irq, masked -> {
            masked.beginMask();
            masked.reroute(message(0x41));
            masked.trigger();
            masked.unmask();
        });
        forwarding.mask(List.of(irq)); // the second signal has reached the loop or waits in the eventfd
        irq.unmask();
        irq.moveTo(Mechanism.IRQFD);
        endLoop();
        assertThat(injected).first().isEqualTo("msi 0xfee00000/0x31");
        assertThat(injected).hasSizeBetween(1, 2);
        assertThat(injected.contains("msi 0xfee00000/0x41") || world.first.x86().isRequested(vector(0x41)))
                .isTrue();
    }

    /** Signals that come before the lock is free wait in the eventfd, and the mechanism in the kernel takes them. */
    @Test
    void moveAfterTheLockTakesWhatCameSinceBeginMask() throws InterruptedException {
        ForwardedIrq irq = message31();
        whileInjecting(irq, masked -> {
            masked.beginMask();
            masked.trigger();
        });
        irq.moveTo(Mechanism.IRQFD);
        assertThat(injected).containsExactly("msi 0xfee00000/0x31");
        assertThat(world.first.x86().isRequested(vector(0x31))).isFalse();
        irq.unmask();
        assertThat(world.first.x86().isRequested(vector(0x31))).isTrue();
        endLoop();
    }

    /** The guest sees no difference to a close with the lock: the close after it frees what is left. */
    @Test
    void closeAfterTheLockInjectsNothingThatCameSinceBeginMask() throws InterruptedException {
        ForwardedIrq irq = message31();
        whileInjecting(irq, masked -> {
            masked.beginMask();
            masked.trigger();
        });
        irq.close();
        assertThat(injected).containsExactly("msi 0xfee00000/0x31");
        assertThat(irq.isPending()).isTrue();
        endLoop();
        assertThat(injected).hasSize(1);
    }
}
