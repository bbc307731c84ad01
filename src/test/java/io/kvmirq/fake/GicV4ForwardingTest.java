/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.testing.GuestIts.message;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Errno;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.forward.ErrorInCall;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Search;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The effect of {@link Forwarding} on the hardware of an arm64 host: a random use of one vector. */
class GicV4ForwardingTest {
    private static final int NONE = 1023;
    private static final int STEPS = 2000;
    private static final List<String> WORDS = List.of("mask", "unmask", "reroute", "forward again", "send", "send");

    /** A vector that is masked, re-routed and closed at random, with the LPI that its message is for. */
    private static final class Use {
        final GicV4World world;
        final Forwarding forwarding;
        final Choices random;
        private ForwardedIrq irq;
        private int event;
        private boolean masked;
        private boolean waits;
        private int sent;
        private int taken;

        Use(String profile, VlpiKernel kernel, Choices random) {
            world = new GicV4World(profile);
            MirrorHost host = MirrorHost.arm64(profile.endsWith("gicv4"), kernel);
            Mirror mirror = Mirror.create(host);
            mirror.apply(new Event.IrqchipCreated(Event.Irqchip.VGIC));
            mirror.apply(new Event.ItsAdded(GuestIts.ITS));
            mirror.apply(mapped(0, GicV4World.LPI));
            mirror.apply(mapped(1, GicV4World.SECOND));
            forwarding =
                    Forwarding.builder(world.vm, world.device).mirror(mirror).build();
            this.random = random;
            irq = forwarding.forward(world.device.msix().get(0), message(0));
        }

        /** Event 0 is for vCPU 0, and event 1 for vCPU 1. */
        private static Event mapped(int event, int lpi) {
            return new Event.EventMapped(GuestIts.ITS, GuestIts.DEVICE, event, lpi, new VcpuId(event));
        }

        int lpi() {
            return event == 0 ? GicV4World.LPI : GicV4World.SECOND;
        }

        FakeArmVcpu vcpu() {
            return world.vcpus.get(event);
        }

        void step() {
            int what = random.nextInt(WORDS.size());
            random.note(WORDS.get(what));
            switch (what) {
                case 0 -> mask();
                case 1 -> unmask();
                case 2 -> reroute();
                case 3 -> again();
                default -> send();
            }
            taken += take();
        }

        private void mask() {
            irq.mask();
            masked = true;
        }

        private void unmask() {
            irq.unmask();
            masked = false;
        }

        private void reroute() {
            event = 1 - event;
            irq.reroute(message(event));
        }

        private void again() {
            unmask();
            taken += take();
            irq.close();
            irq = forwarding.forward(world.device.msix().get(0), message(event));
        }

        private void send() {
            world.hardware.sendMessage(0);
            sent += masked && waits ? 0 : 1;
            waits = masked;
        }

        /** @return 1 if the guest got an interrupt, which is for the right LPI */
        private int take() {
            int id = vcpu().acknowledge();
            assertThat(world.vcpus.get(1 - event).acknowledge())
                    .as("the other vCPU")
                    .isEqualTo(NONE);
            if (id == NONE) {
                return 0;
            }
            assertThat(id).isEqualTo(lpi());
            assertThat(masked).isFalse();
            waits = false;
            return 1;
        }

        boolean isVlpi() {
            return vcpu().hostIrq(lpi()).isPresent();
        }
    }

    /** The end of a vLPI drops its pending bit. An Error between that and the signal that stands for it loses nothing. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void pendingVlpiSurvivesAnErrorInEachCallOfAMask(boolean after) {
        int call = 0;
        boolean failed;
        do {
            ErrorInCall errors = new ErrorInCall();
            GicV4World world = new GicV4World("gicv4", errors::over);
            ForwardedIrq irq = Forwarding.create(world.vm, world.device)
                    .forward(world.device.msix().get(0), message(0));
            assertThat(world.vcpu().hostIrq(GicV4World.LPI)).isPresent();
            world.hardware.sendMessage(0);
            errors.arm(++call, after);
            Throwable thrown = catchThrowable(irq::mask);
            failed = errors.disarm();
            irq.unmask();
            assertThat(world.vcpu().acknowledge()).as("after " + thrown).isEqualTo(GicV4World.LPI);
        } while (failed);
        assertThat(call).as("calls of a mask, and one").isEqualTo(3);
    }

    /** The irqfd stays as it is: neither the old event is lost, nor does one come that the device did not send. */
    @Test
    void refusedRerouteChangesNothing() {
        Faults faults = new Faults();
        GicV4World world = new GicV4World("gicv4", faults::over);
        ForwardedIrq irq = Forwarding.create(world.vm, world.device)
                .forward(world.device.msix().get(0), message(0));
        faults.fail("irqfdDeassign", 1, Errno.EIO);
        assertThatThrownBy(() -> irq.reroute(message(1))).hasMessageContaining("EIO");
        assertThat(irq.message()).contains(message(0));
        assertThat(irq.isMasked()).isFalse();
        assertThat(world.vcpu().acknowledge()).as("not signalled again").isEqualTo(NONE);
        world.hardware.sendMessage(0);
        assertThat(world.vcpu().acknowledge()).isEqualTo(GicV4World.LPI);
        irq.reroute(message(1));
        world.hardware.sendMessage(0);
        assertThat(world.vcpus.get(1).acknowledge()).isEqualTo(GicV4World.SECOND);
    }

    /** A new assignment of the irqfd would end the vLPI. */
    @Test
    void eventKeepsItsLpiIfItIsReroutedToTheMessageThatIsThere() {
        Faults faults = new Faults();
        GicV4World world = new GicV4World("gicv4", faults::over);
        ForwardedIrq irq = Forwarding.create(world.vm, world.device)
                .forward(world.device.msix().get(0), message(0));
        faults.listen();
        irq.reroute(message(0));
        assertThat(faults.calls()).as("calls of a reroute to the same message").isEmpty();
        assertThat(irq.path().known(Hop.GUEST_VECTOR))
                .as("the ITS gives the event an LPI")
                .isInstanceOf(Known.Unknown.class);
    }

    @ParameterizedTest
    @CsvSource({"gicv4,BY_HOST_IRQ", "'6.12,gicv4',BY_ROUTE", "'6.1,gicv4',BY_ROUTE", "gicv3,BY_HOST_IRQ"})
    void nothingIsLostAndTheMirrorAgrees(String profile, VlpiKernel kernel) {
        int[] posted = {0};
        Search.run(profile, 1, 1, random -> {
            Use use = new Use(profile, kernel, random);
            int vlpis = 0;
            while (random.step(STEPS)) {
                use.step();
                Posting predicted = use.irq.predicted();
                assertThat(predicted instanceof Posting.Posted)
                        .as("the mirror says %s", predicted.text())
                        .isEqualTo(use.isVlpi());
                vlpis += use.isVlpi() ? 1 : 0;
            }
            use.unmask();
            use.taken += use.take();
            if (vlpis > 0) {
                assertThat(use.taken).as("one more where a vLPI ended").isGreaterThanOrEqualTo(use.sent);
            } else {
                assertThat(use.taken).isEqualTo(use.sent);
            }
            System.out.println(profile + ": sent " + use.sent + ", taken " + use.taken + ", posted in " + vlpis + " of "
                    + STEPS + " steps");
            assertThat(Refusals.rules(use.world.fake)).doesNotContain(VgicAnswer.VLPI_WARNS);
            posted[0] += vlpis;
        });
        assertThat(posted[0] > 0).isEqualTo(profile.endsWith("gicv4"));
    }

    @Test
    void naiveRerouteLeavesAVlpiBehind() {
        GicV4World world = new GicV4World("6.12,gicv4");
        world.device.msix(0, 2).arm(world.events);
        var irqfd = world.forward();
        world.vm.routes().replace(irqfd.gsi(), message(1));
        world.hardware.sendMessage(0);
        assertThat(world.vcpus.get(1).acknowledge())
                .as("the vCPU of the new route")
                .isEqualTo(NONE);
        assertThat(Refusals.rules(world.fake)).contains(VgicAnswer.VLPI_WARNS);
    }
}
