/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.path.Known;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Single steps of a mirror, each with the one fact that it changes. */
class MirrorStepsTest {
    private static final EventFdId EVENT = new EventFdId(1);
    private static final Gsi GSI = new Gsi(24);
    private static final VcpuId VCPU = new VcpuId(1);
    private static final VcpuId OTHER = new VcpuId(2);
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    private static final Producer MSIX = new Producer(NIC, Producer.Kind.MSI_X, 0);
    private static final Producer INTX = new Producer(NIC, Producer.Kind.INTX, 0);
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final long LOGICAL = 4;

    private static Mirror mirror(MirrorHost host) {
        Mirror mirror = Mirror.create(host);
        mirror.apply(List.of(
                new Event.IrqchipCreated(Event.Irqchip.FULL),
                new Event.VcpuAdded(new VcpuId(0)),
                new Event.VcpuAdded(VCPU),
                route(MsiMessage.to(VCPU, VECTOR)),
                new Event.ConsumerAdded(EVENT, GSI),
                new Event.ProducerAdded(EVENT, MSIX)));
        return mirror;
    }

    private static Mirror amd(AvicKernel kernel) {
        return mirror(MirrorHost.x86(PostingHost.of(Vendor.AMD), kernel));
    }

    private static Mirror mirror(Vendor vendor) {
        return mirror(MirrorHost.x86(PostingHost.of(vendor), AvicKernel.FROM_6_17));
    }

    private static Event route(MsiMessage message) {
        return Event.RoutesCommitted.of(new Route.Msi(GSI, message));
    }

    private static PredictedIrq irq(Mirror mirror) {
        return mirror.now().of(EVENT).orElseThrow();
    }

    private static EntryUpdate update(Mirror mirror) {
        return irq(mirror).update().known().orElseThrow();
    }

    private static Event sample(VcpuId vcpu, int logical, long second) {
        return new Event.LapicSampled(
                vcpu,
                LapicSample.of(
                        vcpu,
                        0xfee00800L,
                        vcpu.number() << 24,
                        logical << 24,
                        LapicPage.DFR_FLAT,
                        0x1ff,
                        Instant.ofEpochSecond(second)));
    }

    // Entries

    @ParameterizedTest
    @EnumSource
    void secondProducerWritesNoEntry(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(new Event.ConsumerRemoved(EVENT, GSI));
        mirror.apply(List.of(route(MsiMessage.to(OTHER, VECTOR)), new Event.ConsumerAdded(EVENT, GSI)));
        mirror.apply(new Event.VcpuAdded(OTHER));
        mirror.apply(List.of(
                new Event.ProducerAdded(EVENT, MSIX),
                new Event.ProducerAdded(EVENT, new Producer(NIC, MSIX.kind(), 7))));
        assertThat(irq(mirror).posting()).as("written before the vCPU").isInstanceOf(Posting.NotPosted.class);
        assertThat(update(mirror).last()).isEqualTo(EntryUpdate.Moment.IRQFD_ASSIGNED);
        assertThat(mirror.now().irqs())
                .as("a producer that is told twice is one")
                .hasSize(2);
        mirror.apply(new Event.ProducerRemoved(EVENT, MSIX));
        assertThat(mirror.now().irqs()).as("it ends once").hasSize(1);
    }

    @ParameterizedTest
    @EnumSource
    void vcpuThatTheMessageDoesNotMeanChangesNoLaterWrite(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(new Event.VcpuAdded(OTHER));
        assertThat(update(mirror).next()).isEmpty();
    }

    @Test
    void laterWriteOfAnUnknownResultIsSaidToBeUnknown() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(List.of(sample(new VcpuId(0), 1, 1), sample(VCPU, 2, 1)));
        mirror.apply(route(new MsiMessage(0xfee02000L | LOGICAL, 0x41)));
        assertThat(irq(mirror).posting()).isInstanceOf(Posting.Posted.class);
        mirror.apply(new Event.LapicUnseen(VCPU));
        assertThat(update(mirror).next()).containsInstanceOf(Posting.Unknown.class);
        mirror.apply(sample(VCPU, 2, 1));
        mirror.apply(List.of(new Event.VcpuRemoved(VCPU), new Event.VcpuAdded(VCPU)));
        mirror.apply(route(new MsiMessage(0xfee02000L | LOGICAL, 0x42)));
        assertThat(irq(mirror).posting()).as("a new vCPU was not sampled").isInstanceOf(Posting.Unknown.class);
    }

    @Test
    void domainOfADeviceDecidesTheNextWrite() {
        Mirror mirror = mirror(Vendor.AMD);
        mirror.apply(new Event.DomainChanged(NIC, false));
        assertThat(update(mirror).next()).containsInstanceOf(Posting.NotPosted.class);
        mirror.apply(new Event.DomainChanged(NIC, true));
        assertThat(update(mirror).next()).isEmpty();
    }

    @Test
    void entryWithoutPostingUnitsMayHave32Bits() {
        Mirror mirror = mirror(MirrorHost.x86(
                PostingHost.of(Vendor.AMD).without(PostingHost.Feature.POSTING_UNITS), AvicKernel.FROM_6_17));
        assertThat(irq(mirror).irte().known()).contains(new PredictedIrte.AmdRemapped(OptionalInt.empty()));
    }

    @Test
    void upTo616TheListOfAnEntryWrittenBetweenInhibitsIsNotKnown() {
        Mirror mirror = amd(AvicKernel.UP_TO_6_16);
        mirror.apply(new Event.Inhibited(Set.of(InhibitReason.PIT_REINJ)));
        mirror.apply(route(MsiMessage.to(VCPU, new InterruptVector(0x51))));
        assertThat(irq(mirror).vcpu()).isInstanceOf(Known.Unknown.class);
        assertThat(mirror.now().byVcpu(VCPU)).containsExactly(irq(mirror));
        assertThat(mirror.now().byVcpu(OTHER)).as("not that of the message").isEmpty();
        assertThat(irq(mirror).irte()).isInstanceOf(Known.Unknown.class);
        assertThat(mirror.now().vcpuStructure(VCPU)).isInstanceOf(Known.Unknown.class);
        mirror.apply(new Event.GuestEntered(VCPU));
        assertThat(irq(mirror).vcpu()).as("no later event tells it").isInstanceOf(Known.Unknown.class);
        assertThat(irq(mirror).irte().known())
                .as("on a list or not")
                .containsInstanceOf(PredictedIrte.AmdRemapped.class);
        assertThat(mirror.now().vcpuStructure(VCPU)).isEqualTo(Known.none());
    }

    @Test
    void upTo616ANewVcpuOfAnInhibitedVmMayHaveAvicOff() {
        Mirror mirror = amd(AvicKernel.UP_TO_6_16);
        mirror.apply(List.of(new Event.Inhibited(Set.of(InhibitReason.PIT_REINJ)), new Event.VcpuAdded(OTHER)));
        mirror.apply(route(MsiMessage.to(OTHER, VECTOR)));
        assertThat(irq(mirror).vcpu()).as("on a list only if AVIC was on").isInstanceOf(Known.Unknown.class);
    }

    @Test
    void upTo616AnEntryShowsTheCpuOnceItsVcpuIsLoadedWithAvicOn() {
        Mirror mirror = amd(AvicKernel.UP_TO_6_16);
        Event loaded = new Event.VcpuLoaded(VCPU, new HostApicId(3));
        Event entered = new Event.GuestEntered(VCPU);
        mirror.apply(List.of(new Event.Inhibited(Set.of(InhibitReason.PIT_REINJ)), entered));
        mirror.apply(List.of(loaded, new Event.Inhibited(Set.of()), entered, entered));
        assertThat(((PredictedIrte.AmdGuest) irq(mirror).irte().known().orElseThrow()).isRun())
                .isEmpty();
        mirror.apply(List.of(new Event.VcpuPreempted(VCPU), loaded));
        assertThat(((PredictedIrte.AmdGuest) irq(mirror).irte().known().orElseThrow()).isRun())
                .contains(true);
    }

    @Test
    void inhibitOfAnotherVendorDoesNotCount() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(new Event.Inhibited(Set.of(InhibitReason.PIT_REINJ)));
        assertThat(irq(mirror).posting())
                .isEqualTo(new Posting.Posted(new Posting.ToVcpu(VCPU, VECTOR), Optional.empty()));
    }

    @Test
    void vcpuBeyondTheTableOfAvicHasAvicOffAtOnce() {
        Mirror mirror = mirror(
                MirrorHost.x86(PostingHost.of(Vendor.AMD).without(PostingHost.Feature.X2AVIC), AvicKernel.FROM_6_17));
        VcpuId beyond = new VcpuId(300);
        mirror.apply(List.of(new Event.ApicIdsWidened(), new Event.VcpuAdded(beyond)));
        mirror.apply(route(MsiMessage.to(beyond, VECTOR)));
        assertThat(irq(mirror).posting()).isInstanceOf(Posting.NotPosted.class);
    }

    // Destinations

    @Test
    void messageOfSeveralVcpusHasNoDestination() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(List.of(sample(new VcpuId(0), 1, 5), sample(VCPU, 2, 3)));
        assertThat(mirror.now().lapicsTaken()).as("the oldest sample").contains(Instant.ofEpochSecond(3));
        mirror.apply(route(new MsiMessage(0xfee03000L | LOGICAL, 0x141)));
        assertThat(irq(mirror).destination().known())
                .as("lowest priority to two LAPICs")
                .isEmpty();
        mirror.apply(route(new MsiMessage(0xfee02000L | LOGICAL, 0x141)));
        assertThat(irq(mirror).destination().known()).contains(VCPU);
    }

    @Test
    void messageThatKvmDoesNotDecodeHasNoDestination() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(List.of(new Event.ApicIdsWidened(), route(new MsiMessage(1L << 32 | 0xfee01000L, 0x41))));
        assertThat(irq(mirror).destination().known()).isEmpty();
    }

    @ParameterizedTest
    @EnumSource
    void lapicThatWasOffAtItsSampleTakesALaterWrite(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(new Event.LapicSampled(VCPU, LapicSample.of(VCPU, 0, 0, 0, LapicPage.DFR_FLAT, 0, Instant.EPOCH)));
        mirror.apply(route(MsiMessage.to(VCPU, new InterruptVector(0x42))));
        assertThat(irq(mirror).posting().text()).isEqualTo("posted to vcpu 1, vector 0x42");
    }

    // Ends

    @Test
    void lineLeavesTheEventfdToAMessageAtIrqbypass() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(List.of(
                new Event.ProducerRemoved(EVENT, MSIX),
                new Event.ProducerAdded(EVENT, INTX),
                new Event.ProducerAdded(EVENT, MSIX)));
        assertThat(irq(mirror).posting()).isInstanceOf(Posting.Posted.class);
        assertThat(irq(mirror).producer()).contains(MSIX);
    }

    @Test
    void removedLineLosesItsDirectEoi() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(List.of(new Event.ProducerRemoved(EVENT, MSIX), new Event.ProducerAdded(EVENT, INTX)));
        mirror.apply(new Event.LineForwarded(EVENT));
        assertThat(irq(mirror).handler().known()).contains(LineHandler.DIRECT_EOI);
        mirror.apply(List.of(new Event.ProducerRemoved(EVENT, INTX), new Event.ProducerAdded(EVENT, INTX)));
        assertThat(irq(mirror).handler().known()).contains(LineHandler.AUTO_MASK);
    }

    @Test
    void releasedMessageIsHeldNoLonger() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(new Event.Held(MSIX, HeldMessage.KNOWN));
        assertThat(mirror.now().held(MSIX)).contains(HeldMessage.KNOWN);
        mirror.apply(new Event.Released(MSIX));
        assertThat(mirror.now().held(MSIX)).isEmpty();
    }

    @Test
    void eventOfAnotherDeviceIsAnotherEvent() {
        Mirror mirror = Mirror.create(MirrorHost.arm64(true, VlpiKernel.BY_HOST_IRQ));
        long its = 0x808_0000L;
        mirror.apply(List.of(
                new Event.IrqchipCreated(Event.Irqchip.VGIC),
                new Event.EventMapped(its, 1, 5, 8192, VCPU),
                new Event.EventMapped(its, 2, 5, 8193, OTHER),
                route(MsiMessage.toIts(its, 1, 5)),
                new Event.ConsumerAdded(EVENT, GSI),
                new Event.ProducerAdded(EVENT, MSIX)));
        assertThat(irq(mirror).posting())
                .isEqualTo(new Posting.Posted(new Posting.ToLpi(8192, VCPU), Optional.empty()));
    }

    // Schedules

    @Test
    void vcpuInUserSpaceHasNoCpuThatIsKnown() {
        Mirror mirror = mirror(MirrorHost.x86(PostingHost.of(Vendor.INTEL)
                .withKernel(LinuxVersion.parse("6.12").orElseThrow())));
        mirror.apply(List.of(
                new Event.VcpuLoaded(VCPU, new HostApicId(3)),
                new Event.VcpuBlocked(VCPU),
                new Event.VcpuLeft(VCPU),
                new Event.VcpuPreempted(VCPU)));
        assertThat(mirror.now().pid(VCPU).known().orElseThrow().cpu()).isEmpty();
        mirror.apply(List.of(new Event.VcpuLoaded(VCPU, new HostApicId(3)), new Event.VcpuBlocked(VCPU)));
        assertThat(mirror.now().pid(VCPU).known().orElseThrow().cpu()).hasValue(3);
        mirror.apply(List.of(new Event.VcpuUnseen(VCPU), new Event.VcpuPreempted(VCPU)));
        assertThat(mirror.now().pid(VCPU).known().orElseThrow().cpu()).isEmpty();
        mirror.apply(List.of(new Event.VcpuLoaded(VCPU, new HostApicId(3)), new Event.VcpuPreempted(VCPU)));
        mirror.apply(new Event.VcpuBlocked(VCPU));
        assertThat(mirror.now().pid(VCPU).known().orElseThrow().cpu()).isEmpty();
    }

    /** A phase whose number and kind a test sets. */
    private static final class Phase implements VcpuPhase {
        private long number;
        private boolean inRun;
        private boolean entered;
        private int asked;

        void become(boolean runs, boolean enters) {
            number++;
            inRun = runs;
            entered = enters;
        }

        @Override
        public long number() {
            return number;
        }

        @Override
        public boolean isInRun(long at) {
            return inRun;
        }

        @Override
        public boolean hasRun(long at) {
            return !inRun;
        }

        @Override
        public boolean hasEntered(long at) {
            return entered;
        }

        @Override
        public void askForLapic() {
            asked++;
        }
    }

    @Test
    void secondPhaseOfAVcpuReplacesTheFirst() {
        Mirror mirror = mirror(Vendor.INTEL);
        Phase first = new Phase();
        Phase second = new Phase();
        mirror.apply(List.of(new Event.VcpuWatched(VCPU, first), new Event.VcpuWatched(VCPU, second)));
        second.become(true, false);
        assertThat(mirror.now().stage(VCPU)).contains(new VcpuStage.InRun());
        first.become(false, false);
        assertThat(mirror.now().stage(VCPU)).contains(new VcpuStage.InRun());
    }

    @Test
    void runThatDidNotEnterTheGuestAppliesNoInhibit() {
        Mirror mirror = amd(AvicKernel.FROM_6_17);
        Phase phase = new Phase();
        mirror.apply(List.of(new Event.VcpuWatched(VCPU, phase), new Event.Inhibited(Set.of(InhibitReason.PIT_REINJ))));
        phase.become(false, false);
        assertThat(irq(mirror).posting()).as("not entered").isInstanceOf(Posting.Unknown.class);
        phase.become(false, true);
        assertThat(irq(mirror).posting()).as("entered").isInstanceOf(Posting.NotPosted.class);
    }

    @Test
    void lapicsAreAskedForOnlyWhileAMessageIsLogical() {
        Mirror mirror = mirror(Vendor.INTEL);
        Phase phase = new Phase();
        mirror.apply(List.of(new Event.VcpuWatched(VCPU, phase), route(new MsiMessage(0xfee02000L | LOGICAL, 0x41))));
        mirror.now();
        assertThat(phase.asked).isPositive();
        mirror.apply(route(MsiMessage.to(VCPU, VECTOR)));
        mirror.now();
        int asked = phase.asked;
        mirror.now();
        assertThat(phase.asked).as("asked once the message is physical").isEqualTo(asked);
    }
}
