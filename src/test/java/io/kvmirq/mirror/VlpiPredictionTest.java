/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.PlatformName;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.mirror.PredictedListRegister.Eoi;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Predictions for LPIs that GICv4 may deliver. */
class VlpiPredictionTest {
    private static final long ITS = 0x808_0000L;
    private static final int DEVICE = 0x10;
    private static final EventFdId FIRST = new EventFdId(1);
    private static final EventFdId SECOND = new EventFdId(2);
    private static final Gsi GSI = new Gsi(0);
    private static final Gsi OTHER = new Gsi(1);

    private static Producer vector(int number) {
        return new Producer(PciAddress.parse("0000:01:00.0"), Producer.Kind.MSI_X, number);
    }

    private static Event route(Gsi gsi, int event) {
        return Event.RoutesCommitted.of(new Route.Msi(gsi, MsiMessage.toIts(ITS, DEVICE, event)));
    }

    private static Event mapped(int event, int lpi, int vcpu) {
        return new Event.EventMapped(ITS, DEVICE, event, lpi, new VcpuId(vcpu));
    }

    private static Mirror mirror(VlpiKernel kernel, Event... events) {
        Mirror mirror = Mirror.create(MirrorHost.arm64(true, kernel));
        mirror.apply(new Event.IrqchipCreated(Event.Irqchip.VGIC));
        for (Event event : events) {
            mirror.apply(event);
        }
        return mirror;
    }

    private static Mirror paired(VlpiKernel kernel) {
        return mirror(
                kernel,
                mapped(5, 8192, 1),
                route(GSI, 5),
                new Event.ConsumerAdded(FIRST, GSI),
                new Event.ProducerAdded(FIRST, vector(0)));
    }

    private static PredictedIrq irq(Mirror mirror, EventFdId event) {
        return mirror.now().of(event).orElseThrow();
    }

    private static Posting forwarded(int lpi, int vcpu) {
        return new Posting.Posted(new Posting.ToLpi(lpi, new VcpuId(vcpu)), Optional.empty());
    }

    private static void assertRefused(Mirror mirror, EventFdId event, VlpiObstacle refusal) {
        assertThat(irq(mirror, event).posting()).isEqualTo(new Posting.NotPosted(refusal.text(), refusal.remedy()));
    }

    private static void again(Mirror mirror, EventFdId event, Gsi gsi) {
        mirror.apply(new Event.ConsumerRemoved(event, gsi));
        mirror.apply(new Event.ConsumerAdded(event, gsi));
    }

    @ParameterizedTest
    @EnumSource
    void anLpiThatIsMappedAtRegistrationIsAVlpi(VlpiKernel kernel) {
        Mirror mirror = paired(kernel);
        assertThat(irq(mirror, FIRST).posting()).isEqualTo(forwarded(8192, 1));
        assertThat(irq(mirror, FIRST).posting().text()).isEqualTo("posted to vcpu 1, LPI 8192");
        assertThat(irq(mirror, FIRST).listRegister().known()).isEmpty();
        assertThat(mirror.now().byVcpu(new VcpuId(1))).containsExactly(irq(mirror, FIRST));
    }

    @Test
    void eventNumberInPlaceOfAnLpiIsRefused() {
        assertThatThrownBy(() -> mapped(8192, 5, 1)).hasMessage("LPI 5 is out of range: expected 8192 or more");
    }

    @Test
    void aChangedRouteEndsTheVlpiUntilTheIrqfdIsAssignedAgain() {
        Mirror mirror = paired(VlpiKernel.BY_HOST_IRQ);
        mirror.apply(mapped(6, 8193, 0));
        mirror.apply(route(GSI, 6));
        assertThat(irq(mirror, FIRST).posting().text()).contains("remove the irqfd and assign it again");
        assertThat(irq(mirror, FIRST).listRegister().known()).contains(new PredictedListRegister(8193, Eoi.NONE));
        assertThat(mirror.now().byVcpu(new VcpuId(1))).isEmpty();
        mirror.apply(route(GSI, 5));
        assertThat(irq(mirror, FIRST).posting()).isInstanceOf(Posting.NotPosted.class);
        mirror.apply(route(GSI, 6));
        again(mirror, FIRST, GSI);
        assertThat(irq(mirror, FIRST).posting()).isEqualTo(forwarded(8193, 0));
        mirror.apply(mapped(7, 8194, 1));
        mirror.apply(route(OTHER, 7));
        mirror.apply(new Event.ConsumerAdded(FIRST, OTHER));
        assertThat(irq(mirror, FIRST).posting()).as("of another GSI").isEqualTo(forwarded(8194, 1));
    }

    /** Before 6.16 hardware goes on with the LPI of the old route. */
    @Test
    void onAnOldKernelAChangedRouteLeavesTheVlpiOfTheOldOne() {
        Mirror mirror = paired(VlpiKernel.BY_ROUTE);
        mirror.apply(mapped(6, 8193, 0));
        mirror.apply(route(GSI, 6));
        Posting.Posted old = (Posting.Posted) irq(mirror, FIRST).posting();
        assertThat(old.what()).isEqualTo(new Posting.ToLpi(8192, new VcpuId(1)));
        assertThat(old.note()).hasValueSatisfying(note -> assertThat(note).contains("an old route"));
        // It outlives the irqfd, and follows the guest's moves.
        mirror.apply(new Event.ConsumerRemoved(FIRST, GSI));
        mirror.apply(mapped(5, 8192, 3));
        assertThat(((Posting.Posted) irq(mirror, FIRST).posting()).what())
                .isEqualTo(new Posting.ToLpi(8192, new VcpuId(3)));
        mirror.apply(new Event.ConsumerAdded(FIRST, GSI));
        assertThat(irq(mirror, FIRST).posting()).isEqualTo(forwarded(8193, 0));
        mirror.apply(mapped(5, 8192, 2));
        assertThat(irq(mirror, FIRST).posting()).as("the old LPI moves alone").isEqualTo(forwarded(8193, 0));
        mirror.apply(new Event.EventUnmapped(ITS, DEVICE, 5));
        assertThat(irq(mirror, FIRST).posting()).as("the old LPI ends alone").isEqualTo(forwarded(8193, 0));
        mirror.apply(new Event.ProducerRemoved(FIRST, vector(0)));
        assertThat(irq(mirror, FIRST).posting().text()).contains(PostingObstacle.NO_PRODUCER.text());
    }

    @Test
    void onAnOldKernelTheOldRouteCountsAgain() {
        Mirror mirror = paired(VlpiKernel.BY_ROUTE);
        mirror.apply(mapped(6, 8193, 0));
        mirror.apply(route(GSI, 6));
        mirror.apply(route(GSI, 5));
        assertThat(irq(mirror, FIRST).posting()).isEqualTo(forwarded(8192, 1));
        mirror.apply(route(GSI, 6));
        mirror.apply(new Event.EventUnmapped(ITS, DEVICE, 5));
        assertThat(irq(mirror, FIRST).posting()).isInstanceOf(Posting.NotPosted.class);
    }

    @ParameterizedTest
    @EnumSource
    void aMoveToAnotherVcpuKeepsTheVlpi(VlpiKernel kernel) {
        Mirror mirror = paired(kernel);
        mirror.apply(mapped(5, 8192, 3));
        assertThat(irq(mirror, FIRST).posting()).isEqualTo(forwarded(8192, 3));
        assertThat(mirror.now().byVcpu(new VcpuId(1))).isEmpty();
        assertThat(mirror.now().byVcpu(new VcpuId(3))).hasSize(1);
    }

    @ParameterizedTest
    @EnumSource
    void anEventThatIsDiscardedAndMappedAgainIsNoVlpi(VlpiKernel kernel) {
        Mirror mirror = paired(kernel);
        mirror.apply(new Event.EventUnmapped(ITS, DEVICE, 5));
        assertThat(irq(mirror, FIRST).posting().text()).contains("remove the irqfd and assign it again");
        mirror.apply(mapped(5, 8192, 1));
        assertThat(irq(mirror, FIRST).posting().text()).contains("remove the irqfd and assign it again");
        again(mirror, FIRST, GSI);
        assertThat(irq(mirror, FIRST).posting()).isEqualTo(forwarded(8192, 1));
    }

    @Test
    void everyRefusalComesFromEvents() {
        Mirror old = Mirror.create(MirrorHost.arm64(false, VlpiKernel.BY_HOST_IRQ));
        old.apply(new Event.ConsumerAdded(FIRST, GSI));
        assertRefused(old, FIRST, VlpiObstacle.NO_GICV4);

        Mirror mirror = paired(VlpiKernel.BY_HOST_IRQ);
        mirror.apply(Event.RoutesCommitted.of(new Route.Msi(
                GSI, new MsiMessage(MsiMessage.toIts(ITS, DEVICE, 5).address(), 5))));
        again(mirror, FIRST, GSI);
        assertRefused(mirror, FIRST, VlpiObstacle.NO_DEVICE_ID);

        mirror.apply(Event.RoutesCommitted.of(new Route.Msi(GSI, MsiMessage.toIts(ITS * 2, DEVICE, 5))));
        again(mirror, FIRST, GSI);
        assertRefused(mirror, FIRST, VlpiObstacle.NO_ITS);

        mirror.apply(new Event.EventUnmapped(ITS, DEVICE, 9));
        mirror.apply(route(GSI, 9));
        again(mirror, FIRST, GSI);
        assertRefused(mirror, FIRST, VlpiObstacle.UNMAPPED);

        Mirror two = paired(VlpiKernel.BY_HOST_IRQ);
        two.apply(route(OTHER, 5));
        two.apply(new Event.ProducerAdded(SECOND, vector(1)));
        two.apply(new Event.ConsumerAdded(SECOND, OTHER));
        assertRefused(two, SECOND, VlpiObstacle.TAKEN);
        assertThat(irq(two, FIRST).posting()).isEqualTo(forwarded(8192, 1));
    }

    /** KVM did not connect it, so its end is no end of the vLPI. */
    @Test
    void onAnOldKernelAnIrqfdWithoutAnLpiConcernsNoVlpi() {
        Mirror two = paired(VlpiKernel.BY_ROUTE);
        two.apply(new Event.EventUnmapped(ITS, DEVICE, 9));
        two.apply(route(OTHER, 9));
        two.apply(new Event.ProducerAdded(SECOND, vector(1)));
        two.apply(new Event.ConsumerAdded(SECOND, OTHER));
        assertRefused(two, SECOND, VlpiObstacle.UNMAPPED);
        two.apply(route(OTHER, 5));
        two.apply(new Event.ConsumerRemoved(SECOND, OTHER));
        assertThat(irq(two, FIRST).posting()).isEqualTo(forwarded(8192, 1));
    }

    @Test
    void onAnOldKernelTheLaterRegistrationTakesTheLpi() {
        Mirror two = paired(VlpiKernel.BY_ROUTE);
        two.apply(route(OTHER, 5));
        two.apply(new Event.ProducerAdded(SECOND, vector(1)));
        two.apply(new Event.ConsumerAdded(SECOND, OTHER));
        assertThat(irq(two, SECOND).posting()).isEqualTo(forwarded(8192, 1));
        assertRefused(two, FIRST, VlpiObstacle.TAKEN);
        // Removing the first irqfd unmaps the vLPI that the second one has taken.
        two.apply(new Event.ConsumerRemoved(FIRST, GSI));
        assertThat(irq(two, SECOND).posting()).isInstanceOf(Posting.NotPosted.class);
    }

    @Test
    void onAnOldKernelAnLpiIsFreeAgainOnceTheEventThatTookItHasAnother() {
        Mirror two = paired(VlpiKernel.BY_ROUTE);
        two.apply(mapped(6, 8192, 1));
        two.apply(route(OTHER, 6));
        two.apply(new Event.ProducerAdded(SECOND, vector(1)));
        two.apply(new Event.ConsumerAdded(SECOND, OTHER));
        assertRefused(two, FIRST, VlpiObstacle.TAKEN);
        two.apply(mapped(6, 8193, 1));
        assertThat(irq(two, FIRST).posting()).isEqualTo(ArmRules.LOST);
    }

    @Test
    void onAnOldKernelAnLpiIsFreeAgainOnceTheHostIrqThatTookItEnds() {
        Mirror two = paired(VlpiKernel.BY_ROUTE);
        two.apply(mapped(6, 8192, 1));
        two.apply(route(OTHER, 6));
        two.apply(new Event.ProducerAdded(SECOND, vector(1)));
        two.apply(new Event.ConsumerAdded(SECOND, OTHER));
        two.apply(Event.RoutesCommitted.without(OTHER)); // its vLPI stays
        assertRefused(two, FIRST, VlpiObstacle.TAKEN);
        two.apply(new Event.ProducerRemoved(SECOND, vector(1)));
        assertThat(irq(two, FIRST).posting()).isEqualTo(ArmRules.LOST);
    }

    @Test
    void whatOnlyTheGuestKnowsIsUnknown() {
        Mirror mirror = mirror(
                VlpiKernel.BY_HOST_IRQ,
                new Event.ItsAdded(ITS),
                route(GSI, 5),
                new Event.ProducerAdded(FIRST, vector(0)),
                new Event.ConsumerAdded(FIRST, GSI));
        assertThat(irq(mirror, FIRST).posting().text())
                .isEqualTo("posting is unknown because only the guest knows the LPI of event 5 of device 0x10");
        Mirror unknown = Mirror.create(MirrorHost.arm64(VlpiKernel.BY_HOST_IRQ));
        unknown.apply(mapped(5, 8192, 1));
        unknown.apply(route(GSI, 5));
        unknown.apply(new Event.ConsumerAdded(FIRST, GSI));
        assertThat(irq(unknown, FIRST).posting().text()).contains(PostingObstacle.NO_PRODUCER.text());
        unknown.apply(new Event.ProducerAdded(FIRST, vector(0)));
        assertThat(irq(unknown, FIRST).posting().text()).contains("whether KVM uses GICv4");
    }

    @Test
    void aLineIsAnSpiInAListRegister() {
        Producer line = new Producer(new PlatformName("fff51000.ethernet"), Producer.Kind.PLATFORM, 0);
        Mirror mirror = mirror(
                VlpiKernel.BY_HOST_IRQ,
                new Event.ProducerAdded(FIRST, line),
                new Event.ConsumerAdded(FIRST, GSI, Optional.of(SECOND)),
                Event.RoutesCommitted.of(Route.Pin.to(GSI, new Spi(40))));
        assertThat(irq(mirror, FIRST).handler().known()).contains(LineHandler.AUTO_MASK);
        assertThat(irq(mirror, FIRST).listRegister().known()).contains(new PredictedListRegister(40, Eoi.MAINTENANCE));
        mirror.apply(new Event.LineForwarded(FIRST));
        assertThat(irq(mirror, FIRST).handler().known()).contains(LineHandler.DIRECT_EOI);
        assertThat(irq(mirror, FIRST).listRegister().known()).contains(new PredictedListRegister(40, Eoi.PHYSICAL));
    }
}
