/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.Producer;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Search;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The mirror's predictions of vLPIs beside the fake's GICv4, through random schedules of irqfds, routes and the guest's
 * commands. It shows that our own parts are consistent, and nothing more: a rule that both share agrees with itself.
 * The evidence for the rules is what stock kernels did in the lab. Kernels before 6.16 leave vLPIs behind when a route
 * changes, which the mirror and the fake follow in different detail: they are not compared.
 */
class VlpiAgreementTest {
    private static final int SCHEDULES = 20;
    private static final int STEPS = 60;
    private static final int VECTORS = 2;
    private static final int NONE = 1023;

    /** Two vectors of a device, each with an irqfd that comes and goes. The guest has two events, each with an LPI. */
    private static final class Play {
        private final GicV4World arm;
        private final Mirror mirror;
        private final Choices random;
        private final List<Irqfd> irqfds = new ArrayList<>();
        private final boolean[] assigned = new boolean[VECTORS];

        Play(String profile, Choices random) {
            arm = new GicV4World(profile);
            arm.device.msix(0, VECTORS).arm(arm.events);
            mirror = Mirror.create(MirrorHost.arm64(true, VlpiKernel.BY_HOST_IRQ));
            this.random = random;
            mirror.apply(List.of(new Event.IrqchipCreated(Event.Irqchip.VGIC), new Event.ItsAdded(GuestIts.ITS)));
            mapped(0, 0);
            mapped(1, 1);
            for (int i = 0; i < VECTORS; i++) {
                Producer vector = new Producer(PciAddress.parse("0000:00:03.0"), Producer.Kind.MSI_X, i);
                mirror.apply(new Event.ProducerAdded(id(i), vector));
                Irqfd irqfd = arm.forward(i, GuestIts.message(i));
                irqfds.add(irqfd);
                routed(i, GuestIts.message(i));
                assigned(i);
            }
        }

        private static EventFdId id(int vector) {
            return new EventFdId(vector);
        }

        private Gsi gsi(int vector) {
            return irqfds.get(vector).gsi();
        }

        private void mapped(int event, int vcpu) {
            mirror.apply(new Event.EventMapped(
                    GuestIts.ITS, GuestIts.DEVICE, event, GicV4World.LPI + event, new VcpuId(vcpu)));
        }

        private void routed(int vector, MsiMessage message) {
            mirror.apply(Event.RoutesCommitted.of(new Route.Msi(gsi(vector), message)));
        }

        private void assigned(int vector) {
            assigned[vector] = true;
            mirror.apply(new Event.ConsumerAdded(id(vector), gsi(vector)));
        }

        String step() {
            int number = random.nextInt(VECTORS);
            switch (random.nextInt(5)) {
                case 0 -> {
                    arm.service.discard(number);
                    mirror.apply(new Event.EventUnmapped(GuestIts.ITS, GuestIts.DEVICE, number));
                    return "discard " + number;
                }
                case 1 -> {
                    int vcpu = random.nextInt(2);
                    arm.service.discard(number);
                    mirror.apply(new Event.EventUnmapped(GuestIts.ITS, GuestIts.DEVICE, number));
                    arm.service.map(number, vcpu);
                    mapped(number, vcpu);
                    return "map " + number + " to vCPU " + vcpu;
                }
                case 2 -> {
                    MsiMessage message = GuestIts.message(random.nextInt(2));
                    arm.vm.routes().replace(gsi(number), message);
                    routed(number, message);
                    return "route " + number + " to event " + message.data();
                }
                default -> {
                    if (assigned[number]) {
                        irqfds.get(number).mask();
                        assigned[number] = false;
                        mirror.apply(new Event.ConsumerRemoved(id(number), gsi(number)));
                        return "remove " + number;
                    }
                    irqfds.get(number).unmask();
                    assigned(number);
                    return "assign " + number;
                }
            }
        }

        private static void takeAll(FakeArmVcpu vcpu) {
            int taken = vcpu.acknowledge();
            while (taken != NONE) {
                taken = vcpu.acknowledge();
            }
        }

        void compare(Set<String> seen) {
            for (int i = 0; i < VECTORS; i++) {
                PredictedIrq irq = mirror.now().of(id(i)).orElseThrow();
                seen.add(irq.posting().getClass().getSimpleName());
                boolean posted = irq.posting() instanceof Posting.Posted;
                assertThat(arm.hardware.sendMessage(i))
                        .as("vector %d: %s", i, irq.posting())
                        .isEqualTo(!posted);
                if (irq.posting() instanceof Posting.Posted to && to.what() instanceof Posting.ToLpi lpi) {
                    assertThat(arm.vcpu().hostIrq(lpi.lpi()))
                            .as("HW of %s", lpi)
                            .isPresent();
                    assertThat(arm.vcpus.get(lpi.vcpu().number()).acknowledge())
                            .as("%s", lpi)
                            .isEqualTo(lpi.lpi());
                }
                arm.vcpus.forEach(Play::takeAll);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv4", "7.1,gicv4"})
    void predictionsAgreeWithTheFakesHardware(String profile) {
        Set<String> seen = new HashSet<>();
        Search.run(profile, 0, SCHEDULES, random -> {
            Play play = new Play(profile, random);
            while (random.step(STEPS)) {
                random.note(play.step());
                play.compare(seen);
            }
        });
        assertThat(seen).containsExactlyInAnyOrder("Posted", "NotPosted");
    }
}
