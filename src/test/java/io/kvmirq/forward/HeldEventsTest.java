/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.mirror.HeldMessage;
import io.kvmirq.mirror.Producer;
import io.kvmirq.testing.FiringKernel;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The messages that a mirror calls held back, before each call of an operation and after it: the order of the events. A
 * message may be held back on a GICv4, which tells no one whether a vLPI was pending.
 */
class HeldEventsTest {
    private static final String NONE = "none";
    private static final String POSSIBLE = HeldMessage.POSSIBLE.name();

    private final Undo made = new Undo();
    private final List<String> seen = new ArrayList<>();
    private boolean possible;
    private FakePciDevice hardware;
    private FiringKernel firing;
    private Kernel kernel;
    private SearchGuest guest;
    private VfioDevice device;
    private Forwarding forwarding;
    private Producer vector;

    private void use(String profile) {
        possible = profile.equals("gicv4");
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        hardware = fake.pciDevice(ForwardWorld.NIC.toString(), 15)
                .msix(LostSearch.VECTORS)
                .express()
                .add();
        firing = new FiringKernel(fake.backend(), true);
        kernel = made.add(Kernel.over(firing.backend()));
        guest = new SearchGuest(fake, kernel, Profile.parse(profile), new Random(0), made);
        device = made.add(VfioDevice.open(kernel, ForwardWorld.NIC, made.add(KvmVfio.create(guest.vm()))));
        device.config().enableBusMaster();
        forwarding = made.add(Forwarding.builder(guest.vm(), device)
                .userspace(Userspace.into(guest.vm(), made.add(EventLoop.create(kernel))))
                .build());
        vector = new Producer(device.name(), Producer.Kind.MSI_X, 0);
    }

    private void look() {
        String now = forwarding.mirror().now().held(vector).map(Enum::name).orElse(NONE);
        if (seen.isEmpty() || !seen.get(seen.size() - 1).equals(now)) {
            seen.add(now);
        }
    }

    private List<String> during(Runnable operation) {
        seen.clear();
        firing.before(this::look);
        operation.run();
        look();
        firing.before(() -> {});
        return List.copyOf(seen);
    }

    /** The states of an operation on a host where a message may be held back; on any other none is. */
    private void expect(Runnable operation, String... states) {
        List<String> expected = possible ? List.of(states) : List.of(NONE);
        assertThat(during(operation)).isEqualTo(expected);
    }

    private ForwardedIrq forwarded() {
        return forwarding.forward(device.msix().get(0), guest.message(0, 0));
    }

    @AfterEach
    void close() {
        made.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.18", "vtd-posting", "gicv3", "gicv4"})
    void heldFromTheMaskToTheUnmask(String profile) {
        use(profile);
        ForwardedIrq irq = forwarded();
        expect(irq::mask, NONE, POSSIBLE);
        expect(() -> hardware.sendMessage(0), POSSIBLE);
        expect(irq::unmask, POSSIBLE, NONE);
        expect(() -> forwarding.mask(List.of(irq)), NONE, POSSIBLE);
        expect(() -> forwarding.unmask(List.of(irq)), POSSIBLE, NONE);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.18", "gicv3", "gicv4"})
    void heldWhileItIsReroutedOrMoved(String profile) {
        use(profile);
        ForwardedIrq irq = forwarded();
        expect(() -> irq.reroute(guest.message(0, 1)), NONE, POSSIBLE, NONE);
        expect(() -> irq.moveTo(Mechanism.USERSPACE), NONE, POSSIBLE, NONE);
        expect(() -> irq.moveTo(Mechanism.IRQFD), NONE);
        irq.mask();
        expect(() -> irq.moveTo(Mechanism.USERSPACE), POSSIBLE);
        expect(irq::unmask, POSSIBLE, NONE);
        expect(irq::mask, NONE);
        expect(() -> irq.moveTo(Mechanism.IRQFD), NONE);
        expect(irq::unmask, NONE);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.18", "gicv3", "gicv4"})
    void heldAfterTheEndIfOneWaited(String profile) {
        use(profile);
        ForwardedIrq open = forwarded();
        expect(open::close, NONE, POSSIBLE);
        assertThat(open.isPending()).isEqualTo(possible);
        ForwardedIrq masked = forwarded();
        masked.mask();
        hardware.sendMessage(0);
        assertThat(during(masked::close))
                .isEqualTo(possible ? List.of(POSSIBLE) : List.of(NONE, HeldMessage.KNOWN.name()));
        assertThat(masked.isPending()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.18", "gicv3"})
    void nothingIsHeldAfterTheEndIfNoneCame(String profile) {
        use(profile);
        ForwardedIrq masked = forwarded();
        masked.mask();
        expect(masked::close, NONE);
        assertThat(masked.isPending()).isFalse();
    }

    /** The user of the former forwarding signals the message that waited, or gives it up. */
    @ParameterizedTest
    @ValueSource(strings = {"6.18", "gicv3", "gicv4"})
    void heldUntilItIsForwardedAnewAndOpen(String profile) {
        use(profile);
        String held = possible ? POSSIBLE : HeldMessage.KNOWN.name();
        leaveOne();
        assertThat(during(this::forwarded)).containsExactly(held, NONE);
        forwarding.irqs().get(0).close();
        leaveOne();
        List<ForwardedIrq> masked = new ArrayList<>();
        assertThat(during(() -> masked.addAll(forwarding.forwardMasked(device.msix(0, 1), i -> guest.message(0, 0)))))
                .containsExactly(held);
        assertThat(during(() -> masked.get(0).reroute(guest.message(0, 1)))).containsExactly(held);
        assertThat(during(masked.get(0)::unmask)).containsExactly(held, NONE);
        assertThat(during(masked.get(0)::close)).last().isEqualTo(possible ? POSSIBLE : NONE);
    }

    private void leaveOne() {
        ForwardedIrq masked = forwarded();
        masked.mask();
        hardware.sendMessage(0);
        masked.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.18", "gicv3", "gicv4"})
    void ownerOfTheEventfdHasItAfterTheEnd(String profile) {
        use(profile);
        List<EventFd> owners = List.of(made.add(EventFd.create(kernel)));
        made.add(device.msix(0, 1).arm(owners));
        ForwardedIrq irq = forwarding
                .takeOver(device.msix(0, 1), owners, i -> guest.message(0, 0))
                .get(0);
        assertThat(during(irq::close)).containsExactly(NONE);
    }
}
