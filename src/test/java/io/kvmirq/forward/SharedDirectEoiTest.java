/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.SharedLineWorld.DIS_INTX;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.vfio.ArmedLine;
import java.util.List;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A device with direct EOI, and another one on its line. */
class SharedDirectEoiTest {
    private static final int ROUNDS = 100;

    /** The line is shared with another handler, and the user asserts that this is safe. */
    private static final DirectEoiPolicy ASSERTED = DirectEoiPolicy.shared(1).assertSafe();

    private static final DirectEoiPolicy EXCLUSIVE = DirectEoiPolicy.exclusive();

    @AutoClose
    private final SharedLineWorld world = new SharedLineWorld("historic", false);

    private final SharedLineWorld.Owner a = world.new Owner(DIS_INTX);
    private final SharedLineWorld.Owner b = world.new Owner(DIS_INTX);

    private static ForwardedIrq forwardDirect(SharedLineWorld.Owner owner, DirectEoiPolicy policy) {
        return owner.forwarding.forwardDirect(owner.device.intx(), LineGuest.PIN, Abi2014.named(owner.kvmVfio), policy);
    }

    @Test
    void otherDeviceStarvesUntilTheGuestsEoi() {
        forwardDirect(a, ASSERTED);
        b.forward();
        a.request();
        a.guest.take(() -> {
            for (int i = 0; i < ROUNDS; i++) {
                b.request();
                b.run();
            }
            assertThat(b.served).as("the interrupt of the host is active").isZero();
            a.serve();
        });
        b.run();
        assertThat(b.served).as("after the EOI of the other guest").isEqualTo(1);
        assertThat(a.served).isEqualTo(1);
    }

    @Test
    void decisionSaysWhatTheAssertionOutweighsAndWhatBreaks() {
        assertThat(forwardDirect(a, EXCLUSIVE.ofPlatformDevice(false)).directEoi())
                .as("an interrupt of a PCI device, which is a level")
                .contains(EXCLUSIVE.decide());
        a.forwarding.irqs().get(0).close();
        assertThat(forwardDirect(a, ASSERTED).directEoi())
                .contains(new DirectEoiDecision.AllowedByAssertion(
                        List.of(NotDirect.SHARED, NotDirect.SHAREABLE),
                        List.of(Breakage.OTHERS_WAIT, Breakage.VM_GONE)));
        assertThat(world.new Owner(DIS_INTX).forward().directEoi()).isEmpty();
    }

    /** The handler of direct EOI does not ask its device. */
    @Test
    void guestGetsTheInterruptsOfTheOtherDevice() {
        forwardDirect(a, ASSERTED);
        b.forward();
        b.request();
        b.run();
        assertThat(b.served).isEqualTo(1);
        b.request();
        b.run();
        assertThat(b.served).as("the other guest has to end the first one").isEqualTo(1);
        a.run();
        b.run();
        assertThat(b.served).isEqualTo(2);
        assertThat(a.served).isZero();
        assertThat(a.spurious).isPositive();
    }

    @Test
    void endOfTheForwardingLetsTheOtherDeviceInterrupt() {
        ForwardedIrq direct = forwardDirect(a, ASSERTED);
        b.forward();
        a.request();
        a.guest.take(() -> {
            b.request();
            b.run();
            assertThat(b.served).isZero();
            a.serve();
            direct.close();
            b.run();
            assertThat(b.served).isEqualTo(1);
        });
    }

    /** Also without the rest of the forwarding, as after the death of a VMM. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void unforwardAndDisableEndTheActiveInterrupt(boolean unforwards) {
        Abi2014 abi = Abi2014.named(a.kvmVfio);
        abi.forward(a.device.intx(), LineGuest.PIN);
        b.forward();
        try (EventFd event = EventFd.create(world.kernel)) {
            ArmedLine armed = a.device.intx().arm(event);
            a.hardware.requestService();
            a.hardware.serve();
            b.request();
            b.run();
            assertThat(b.served).isZero();
            if (unforwards) {
                abi.unforward(a.device.intx());
            } else {
                armed.close();
            }
            b.run();
            assertThat(b.served).isEqualTo(1);
        }
    }

    @Test
    void lateEoiDoesNotEndTheInterruptOfAnotherDevice() {
        try (EventFd event = EventFd.create(world.kernel)) {
            SharedLineWorld.Owner c = world.new Owner(DIS_INTX);
            Abi2014.named(a.kvmVfio).forward(a.device.intx(), LineGuest.PIN);
            a.guest.vm().assignIrqfd(event, LineGuest.PIN);
            ArmedLine armed = a.device.intx().arm(event);
            forwardDirect(b, ASSERTED);
            c.forward();
            a.request();
            a.guest.take(() -> {
                a.serve();
                armed.close();
                b.hardware.requestService();
                b.hardware.serve();
            });
            c.request();
            c.run();
            assertThat(c.served).as("before the EOI of the second guest").isZero();
            b.run();
            c.run();
            assertThat(c.served).isEqualTo(1);
        }
    }

    @Test
    void lineWithDirectEoiIsExclusiveUnderNointxmask() {
        try (SharedLineWorld exclusive = new SharedLineWorld("historic", true)) {
            SharedLineWorld.Owner first = exclusive.new Owner(DIS_INTX);
            SharedLineWorld.Owner second = exclusive.new Owner(DIS_INTX);
            ForwardedIrq direct = forwardDirect(first, EXCLUSIVE);
            for (int i = 0; i < ROUNDS; i++) {
                first.request();
                first.run();
            }
            assertThat(first.served).isEqualTo(ROUNDS);
            assertThat(first.spurious).isZero();
            refused(Errno.EBUSY, () -> forwardDirect(second, EXCLUSIVE));
            direct.close();
            assertThat(forwardDirect(second, EXCLUSIVE).mechanism()).isEqualTo(Mechanism.DIRECT_EOI);
        }
    }
}
