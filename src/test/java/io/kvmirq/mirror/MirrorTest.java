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
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class MirrorTest {
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    private static final int LOGICAL = 1 << 2;

    private static EventFdId fd(int number) {
        return new EventFdId(number);
    }

    private static VcpuId vcpu(int number) {
        return new VcpuId(number);
    }

    private static Producer msix(int vector) {
        return new Producer(NIC, Producer.Kind.MSI_X, vector);
    }

    private static Gsi gsi(int vector) {
        return new Gsi(24 + vector);
    }

    private static MsiMessage message(int vcpu, int vector) {
        return MsiMessage.to(vcpu(vcpu), new InterruptVector(vector));
    }

    private static Event route(int vector, MsiMessage message) {
        return Event.RoutesCommitted.of(new Route.Msi(gsi(vector), message));
    }

    private static Event consumer(int vector) {
        return new Event.ConsumerAdded(fd(vector), gsi(vector));
    }

    private static Event producer(int vector) {
        return new Event.ProducerAdded(fd(vector), msix(vector));
    }

    /** A VM with four vCPUs and one vector that is posted to vCPU 1. */
    private static List<Event> postedVector() {
        List<Event> events = new ArrayList<>();
        events.add(new Event.IrqchipCreated(Event.Irqchip.FULL));
        IntStream.range(0, 4).forEach(number -> events.add(new Event.VcpuAdded(vcpu(number))));
        events.add(route(0, message(1, 0x41)));
        events.add(consumer(0));
        events.add(producer(0));
        return events;
    }

    private static Mirror mirror(PostingHost host, List<? extends Event> events) {
        Mirror mirror = Mirror.create(MirrorHost.x86(host, AvicKernel.FROM_6_17));
        events.forEach(mirror::apply);
        return mirror;
    }

    private static Mirror mirror(Vendor vendor) {
        return mirror(PostingHost.of(vendor), postedVector());
    }

    private static PredictedIrq irq(Mirror mirror, int vector) {
        return mirror.now().of(fd(vector)).orElseThrow();
    }

    private static Posting postedTo(int vcpu, int vector) {
        return new Posting.Posted(new Posting.ToVcpu(vcpu(vcpu), new InterruptVector(vector)), Optional.empty());
    }

    @ParameterizedTest
    @EnumSource
    void aVectorOfOneVcpuIsPosted(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(1, 0x41));
        assertThat(irq(mirror, 0).posting().text()).isEqualTo("posted to vcpu 1, vector 0x41");
        assertThat(irq(mirror, 0).gsi()).contains(gsi(0));
        assertThat(mirror.now().byVcpu(vcpu(1))).containsExactly(irq(mirror, 0));
    }

    private static Event delivery(DeliveryPath delivery) {
        return new Event.DeliveryChanged(fd(0), delivery);
    }

    /** A vCPU whose number is no xAPIC id is in x2APIC mode. */
    @ParameterizedTest
    @EnumSource
    void vcpuAboveTheXapicIdsIsReachedWith32BitIds(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(List.of(
                new Event.ApicIdsWidened(),
                new Event.VcpuAdded(vcpu(300)),
                route(0, MsiMessage.to(vcpu(300), new InterruptVector(0x41)))));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(300, 0x41));
    }

    /** Destination 255 is the broadcast, unless the VM has ended that for x2APIC mode. */
    @ParameterizedTest
    @EnumSource
    void vcpu255IsReachedWithoutTheBroadcastQuirk(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(List.of(
                new Event.ApicIdsWidened(),
                new Event.VcpuAdded(vcpu(255)),
                route(0, new MsiMessage(0xfeeff000L, 0x41))));
        assertThat(irq(mirror, 0).posting()).isInstanceOf(Posting.NotPosted.class);
        mirror.apply(new Event.BroadcastQuirkDisabled());
        assertThat(irq(mirror, 0).posting()).as("KVM does not write the entry").isInstanceOf(Posting.NotPosted.class);
        assertThat(irq(mirror, 0).update().known().orElseThrow().next()).contains(postedTo(255, 0x41));
        mirror.apply(route(0, new MsiMessage(0xfeeff000L, 0x42)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(255, 0x42));
        assertThat(irq(mirror, 0).update().known())
                .contains(new EntryUpdate(EntryUpdate.Moment.ROUTE_CHANGED, Optional.empty()));
    }

    /** Without 32-bit ids, KVM ignores the upper bits of a destination. */
    @ParameterizedTest
    @EnumSource
    void addedVcpuIsNamedByTheLowBitsOfADestination(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(route(0, new MsiMessage(0xfee05000L | 1L << 40, 0x41)));
        mirror.apply(new Event.VcpuAdded(vcpu(5)));
        assertThat(irq(mirror, 0).update().known().orElseThrow().next()).contains(postedTo(5, 0x41));
    }

    /** For a LAPIC in xAPIC mode, as each has whose number is below 255, destination 255 stays the broadcast. */
    @ParameterizedTest
    @EnumSource
    void xapicLapicTakesTheBroadcastWithoutTheQuirk(Vendor vendor) {
        Mirror mirror = mirror(
                PostingHost.of(vendor),
                List.of(
                        new Event.IrqchipCreated(Event.Irqchip.FULL),
                        new Event.ApicIdsWidened(),
                        new Event.VcpuAdded(vcpu(0)),
                        new Event.BroadcastQuirkDisabled(),
                        route(0, new MsiMessage(0xfeeff000L, 0x41)),
                        consumer(0),
                        producer(0)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(0, 0x41));
    }

    /** A prediction is that of the entry's last write, and names a later fact that the next write will find. */
    @ParameterizedTest
    @EnumSource
    void factAfterTheWriteIsThatOfTheNextUpdate(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        assertThat(irq(mirror, 0).update().known())
                .contains(new EntryUpdate(EntryUpdate.Moment.VECTOR_ENABLED, Optional.empty()));
        mirror.apply(List.of(new Event.ConsumerRemoved(fd(0), gsi(0)), route(0, message(9, 0x41)), consumer(0)));
        Posting before = irq(mirror, 0).posting();
        assertThat(before.text()).contains("physical destination 0x9 matches no vCPU");
        assertThat(irq(mirror, 0).update().known())
                .contains(new EntryUpdate(EntryUpdate.Moment.IRQFD_ASSIGNED, Optional.empty()));
        mirror.apply(new Event.VcpuAdded(vcpu(9)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(before);
        assertThat(mirror.now().byVcpu(vcpu(9))).isEmpty();
        assertThat(irq(mirror, 0).update().known())
                .contains(new EntryUpdate(EntryUpdate.Moment.IRQFD_ASSIGNED, Optional.of(postedTo(9, 0x41))));
        mirror.apply(List.of(new Event.ConsumerRemoved(fd(0), gsi(0)), consumer(0)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(9, 0x41));
        mirror.apply(new Event.VcpuRemoved(vcpu(9)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(9, 0x41));
        mirror.apply(new Event.ConsumerRemoved(fd(0), gsi(0)));
        assertThat(irq(mirror, 0).update().known()).isEmpty();
    }

    @ParameterizedTest
    @EnumSource
    void onlyAnIrqfdIsPosted(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(delivery(DeliveryPath.MASKED));
        assertThat(irq(mirror, 0).posting()).isEqualTo(new Posting.NotPosted("it is masked", "unmask it"));
        mirror.apply(delivery(DeliveryPath.USERSPACE));
        assertThat(irq(mirror, 0).posting())
                .isEqualTo(new Posting.NotPosted("this process injects it", "move it to irqfd"));
        mirror.apply(delivery(DeliveryPath.KERNEL));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(1, 0x41));
    }

    @ParameterizedTest
    @EnumSource
    void closedDeviceInterruptsNeverAgain(Vendor vendor) {
        Mirror mirror = mirror(vendor);
        mirror.apply(List.of(delivery(DeliveryPath.CLOSED), delivery(DeliveryPath.KERNEL), consumer(0)));
        assertThat(irq(mirror, 0).posting().text())
                .isEqualTo("not posted because 0000:3b:00.0 is closed; remedy: open it again, and forward it again");
        assertThat(mirror.now().byVcpu(vcpu(1))).isEmpty();
        mirror.apply(List.of(
                new Event.ProducerRemoved(fd(0), msix(0)), new Event.ConsumerRemoved(fd(0), gsi(0)), producer(0)));
        assertThat(irq(mirror, 0).posting().text()).doesNotContain("is closed");
    }

    @Test
    void interruptsComeInTheOrderOfTheirEventFdsUnsigned() {
        Mirror mirror = mirror(Vendor.INTEL);
        for (int number : new int[] {-1, 7, Integer.MIN_VALUE, 3}) {
            mirror.apply(new Event.ProducerAdded(new EventFdId(number), msix(1)));
        }
        assertThat(mirror.now().irqs().stream().map(irq -> irq.event().number()))
                .containsExactly(0L, 3L, 7L, (long) Integer.MIN_VALUE, -1L);
        assertThat(mirror.irq(fd(3))).isEqualTo(mirror.now().of(fd(3))).isPresent();
    }

    /** An eventfd that nothing meets at has no delivery. */
    @Test
    void deliveryOfAnUnknownEventFdIsIgnored() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(new Event.DeliveryChanged(fd(9), DeliveryPath.MASKED));
        assertThat(mirror.now().of(fd(9))).isEmpty();
    }

    /** A mirror for which one row of the table holds, by another host or by more events. */
    private static Mirror spoilt(PostingObstacle row, Vendor vendor) {
        PostingHost host = PostingHost.of(vendor);
        List<Event> events = postedVector();
        switch (row) {
            case NO_REMAPPING -> host = host.without(Feature.REMAPPING);
            case SWITCHED_OFF -> host = host.withCommandLine("quiet intremap=nopost");
            case UNIT_CANNOT_POST, NO_VIRTUAL_APIC -> host = host.without(Feature.POSTING_UNITS);
            case NO_APIC_VIRTUALIZATION -> host = host.without(Feature.APIC_VIRTUALIZATION);
            case DEVICES_NOT_POSTED -> host = host.without(Feature.DEVICE_POSTED_IRQS);
            case NO_LAPIC_IN_KERNEL -> {
                events.remove(new Event.IrqchipCreated(Event.Irqchip.FULL));
                events.remove(consumer(0));
            }
            case NO_PRODUCER -> events.add(new Event.ProducerRemoved(fd(0), msix(0)));
            case NO_CONSUMER -> events.add(new Event.ConsumerRemoved(fd(0), gsi(0)));
            case EVENTFD_TAKEN -> {
                events.add(new Event.ProducerAdded(fd(0), msix(7)));
                events.add(new Event.ProducerRemoved(fd(0), msix(0)));
            }
            case NOT_ONE_MESSAGE -> events.add(Event.RoutesCommitted.without(gsi(0)));
            case NOT_DECODED -> {
                events.add(new Event.ApicIdsWidened());
                events.add(route(0, new MsiMessage(1L << 32 | 0xfee01000L, 0x41)));
            }
            case MODE_NOT_POSTABLE -> events.add(route(0, new MsiMessage(0xfee01000L, DeliveryMode.NMI.number() << 8)));
            case NOT_ONE_VCPU -> events.remove(new Event.VcpuAdded(vcpu(1)));
            case DOMAIN_NOT_UNMANAGED -> events.add(0, new Event.DomainChanged(NIC, false));
            case INHIBITED ->
                events.addAll(
                        List.of(new Event.Inhibited(Set.of(InhibitReason.PIT_REINJ)), new Event.GuestEntered(vcpu(1))));
        }
        return mirror(host, events);
    }

    private static boolean exists(PostingObstacle row, Vendor vendor) {
        return switch (row) {
            case UNIT_CANNOT_POST -> vendor == Vendor.INTEL;
            case NO_VIRTUAL_APIC, DOMAIN_NOT_UNMANAGED, INHIBITED -> vendor == Vendor.AMD;
            default -> true;
        };
    }

    @ParameterizedTest
    @EnumSource
    void everyReasonOfTheTableComesFromEvents(Vendor vendor) {
        for (PostingObstacle row : PostingObstacle.values()) {
            if (exists(row, vendor)) {
                PredictedIrq irq = irq(spoilt(row, vendor), 0);
                Posting.NotPosted posting = (Posting.NotPosted) irq.posting();
                assertThat(posting.reason()).as("%s %s", vendor, row).startsWith(row.text());
                assertThat(posting.remedy())
                        .isEqualTo(
                                switch (row) {
                                    case NOT_ONE_VCPU -> "have the guest direct the vector to an existing vCPU";
                                    case INHIBITED -> InhibitReason.PIT_REINJ.remedy();
                                    default -> row.remedy();
                                });
                assertThat(irq.irte().known().isPresent())
                        .as("%s has a remapped entry", row)
                        .isEqualTo(row != PostingObstacle.NO_REMAPPING && row != PostingObstacle.NO_PRODUCER);
                irq.irte().known().ifPresent(entry -> assertThat(entry)
                        .isInstanceOfAny(PredictedIrte.VtdRemapped.class, PredictedIrte.AmdRemapped.class));
            }
        }
    }

    @Test
    void anInhibitedVectorStaysOnTheListOfItsVcpu() {
        PredictedIrq irq = irq(spoilt(PostingObstacle.INHIBITED, Vendor.AMD), 0);
        assertThat(irq.vcpu().known()).contains(vcpu(1));
    }

    private static Mirror upTo616() {
        Mirror mirror = Mirror.create(MirrorHost.x86(PostingHost.of(Vendor.AMD), AvicKernel.UP_TO_6_16));
        postedVector().forEach(mirror::apply);
        return mirror;
    }

    private static Event inhibited(InhibitReason... reasons) {
        return new Event.Inhibited(Set.of(reasons));
    }

    private static List<Event> forward1(int vector) {
        return List.of(route(1, message(1, vector)), consumer(1), producer(1));
    }

    /** AvicKernel.UP_TO_6_16 says how older kernels differ. */
    @Test
    void upTo616AnEntrySetWhileInhibitedStaysRemapped() {
        Mirror mirror = upTo616();
        mirror.apply(List.of(
                new Event.VcpuLoaded(vcpu(1), new HostApicId(5)),
                inhibited(InhibitReason.LOGICAL_ID_ALIASED),
                new Event.GuestEntered(vcpu(1))));
        mirror.apply(forward1(0x51));
        assertThat(irq(mirror, 0).vcpu().known()).contains(vcpu(1));
        assertThat(irq(mirror, 1).vcpu().known()).isEmpty();

        mirror.apply(List.of(inhibited(), new Event.GuestEntered(vcpu(1))));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(1, 0x41));
        PredictedIrte.AmdGuest again =
                (PredictedIrte.AmdGuest) irq(mirror, 0).irte().known().orElseThrow();
        assertThat(again.isRun()).as("clear until the vCPU is loaded again").isNotEqualTo(Optional.of(true));
        assertThat(again.gaLogIntr()).contains(true);
        assertThat(irq(mirror, 1).posting()).isEqualTo(X86Rules.WRITTEN_ONCE);
        assertThat(irq(mirror, 1).update().known().orElseThrow().next()).contains(postedTo(1, 0x51));
        assertThat(irq(mirror, 1).irte().known()).containsInstanceOf(PredictedIrte.AmdRemapped.class);
        mirror.apply(route(1, message(1, 0x51)));
        assertThat(irq(mirror, 1).posting()).as("the same route").isEqualTo(X86Rules.WRITTEN_ONCE);

        PredictedIrte.AmdGuest unknown = new PredictedIrte.AmdGuest(
                vcpu(1), new InterruptVector(0x52), Optional.empty(), Optional.of(true), OptionalInt.empty());
        mirror.apply(route(1, message(1, 0x52)));
        assertThat(irq(mirror, 1).posting()).isEqualTo(postedTo(1, 0x52));
        assertThat(irq(mirror, 1).irte().known())
                .as("written while the vCPU ran")
                .contains(unknown);
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)));
        assertThat(irq(mirror, 1).irte().known())
                .as("the same load, told again")
                .contains(unknown);
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(6)));
        assertThat(irq(mirror, 1).irte().known())
                .contains(new PredictedIrte.AmdGuest(
                        vcpu(1), new InterruptVector(0x52), Optional.of(true), Optional.of(true), OptionalInt.of(6)));
    }

    /** KVM_REQ_APICV_UPDATE waits for the vCPU's next entry: until then AVIC is as it was. */
    @Test
    void upTo616AnEntryWrittenBetweenAnInhibitAndTheNextEntryIsNotGuessed() {
        Mirror mirror = upTo616();
        mirror.apply(inhibited(InhibitReason.PIT_REINJ));
        mirror.apply(forward1(0x51));
        assertThat(irq(mirror, 1).posting()).isInstanceOf(Posting.Unknown.class);
        mirror.apply(inhibited());
        assertThat(irq(mirror, 1).posting()).isInstanceOf(Posting.Unknown.class);
        assertThat(irq(mirror, 1).irte().known()).isEmpty();
        assertThat(irq(mirror, 0).posting()).as("written before").isInstanceOf(Posting.Unknown.class);
        mirror.apply(new Event.GuestEntered(vcpu(1)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(1, 0x41));
        assertThat(irq(mirror, 1).posting()).as("written earlier").isInstanceOf(Posting.Unknown.class);
        assertThat(irq(mirror, 1).update().known().orElseThrow().next()).contains(postedTo(1, 0x51));
        mirror.apply(route(1, message(1, 0x52)));
        assertThat(irq(mirror, 1).posting()).isEqualTo(postedTo(1, 0x52));
    }

    /** A new vCPU has AVIC on until its first entry. */
    @Test
    void upTo616AVcpuThatIsMadeWhileInhibitedMayHaveAvicOn() {
        Mirror mirror = upTo616();
        mirror.apply(List.of(inhibited(InhibitReason.PIT_REINJ), new Event.VcpuAdded(vcpu(7))));
        mirror.apply(List.of(route(1, message(7, 0x51)), consumer(1), producer(1), inhibited()));
        assertThat(irq(mirror, 1).posting()).isInstanceOf(Posting.Unknown.class);
    }

    @Test
    void inhibitsOfIntelLeaveTheEntryPosted() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(new Event.Inhibited(Set.of(InhibitReason.HYPERV)));
        Posting.Posted posted = (Posting.Posted) irq(mirror, 0).posting();
        assertThat(posted.note()).hasValueSatisfying(note -> assertThat(note).contains("AutoEOI"));
        assertThat(irq(mirror, 0).irte().known())
                .contains(new PredictedIrte.VtdPosted(vcpu(1), new InterruptVector(0x41)));
    }

    /** The events of three vectors, none of which undoes another. */
    private static List<Event> commuting() {
        List<Event> events = new ArrayList<>(postedVector());
        for (int vector = 1; vector < 4; vector++) {
            events.add(route(vector, message(vector % 2, 0x50 + vector)));
            events.add(consumer(vector));
            events.add(producer(vector));
        }
        events.add(route(9, new MsiMessage(0xfee00000L | 0xff << 12, 0x77)));
        events.add(consumer(9));
        events.add(producer(9));
        events.add(new Event.ProducerAdded(fd(20), new Producer(NIC, Producer.Kind.INTX, 0)));
        events.add(new Event.ConsumerAdded(fd(20), new Gsi(11), Optional.of(fd(21))));
        events.add(Event.RoutesCommitted.of(new Route.Pin(new Gsi(11), Route.Chip.IOAPIC, 11)));
        events.add(new Event.LineForwarded(fd(20)));
        events.add(new Event.Inhibited(Set.of(InhibitReason.APIC_BASE_MODIFIED)));
        events.add(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)));
        events.add(new Event.VcpuBlocked(vcpu(0)));
        return events;
    }

    /** The moment of an entry's last write is that of the last event that joins it. */
    @ParameterizedTest
    @EnumSource
    void theOrderOfEventsDoesNotMatterOnceTheVcpusExist(Vendor vendor) {
        List<Event> events = commuting();
        Snapshot expected = mirror(PostingHost.of(vendor), events).now();
        int first = postedVector().indexOf(route(0, message(1, 0x41)));
        Random random = new Random(17);
        for (int round = 0; round < 300; round++) {
            Collections.shuffle(events.subList(first, events.size()), random);
            Snapshot other = mirror(PostingHost.of(vendor), events).now();
            assertThat(facts(other.irqs())).as("%s", events).isEqualTo(facts(expected.irqs()));
            for (int number = 0; number < 4; number++) {
                assertThat(facts(other.byVcpu(vcpu(number)))).isEqualTo(facts(expected.byVcpu(vcpu(number))));
            }
        }
    }

    private static List<List<Object>> facts(List<PredictedIrq> irqs) {
        return irqs.stream()
                .map(irq -> List.<Object>of(irq.event(), irq.posting(), irq.vcpu(), irq.irte(), irq.handler()))
                .toList();
    }

    @Test
    void theFirstOfTwoProducersKeepsTheEventfd() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(new Event.ProducerAdded(fd(0), msix(7)));
        assertThat(irq(mirror, 0).producer()).contains(msix(0));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(1, 0x41));
        List<PredictedIrq> both = mirror.now().irqs();
        assertThat(both).extracting(PredictedIrq::producer).containsExactly(Optional.of(msix(0)), Optional.of(msix(7)));
        assertThat(both.get(1).posting().text()).contains(PostingObstacle.EVENTFD_TAKEN.text());

        // The kernel does not offer the second again when the first is gone.
        mirror.apply(new Event.ProducerRemoved(fd(0), msix(0)));
        assertThat(irq(mirror, 0).posting().text()).contains(PostingObstacle.EVENTFD_TAKEN.text());
        mirror.apply(List.of(new Event.ProducerRemoved(fd(0), msix(7)), new Event.ProducerAdded(fd(0), msix(7))));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(1, 0x41));
    }

    @Test
    void aMovedVectorLeavesTheListOfTheOldVcpu() {
        Mirror mirror = mirror(Vendor.AMD);
        Snapshot before = mirror.now();
        mirror.apply(route(0, message(3, 0x42)));
        assertThat(mirror.now().byVcpu(vcpu(1))).isEmpty();
        assertThat(mirror.now().byVcpu(vcpu(3))).containsExactly(irq(mirror, 0));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(3, 0x42));
        // The old snapshot is as it was.
        assertThat(before.byVcpu(vcpu(1))).isEqualTo(List.of(before.of(fd(0)).orElseThrow()));
        assertThat(before.byVcpu(vcpu(3))).isEmpty();
        assertThat(before.of(fd(0)).orElseThrow().posting()).isEqualTo(postedTo(1, 0x41));
    }

    @Test
    void removalsLeaveNothingBehind() {
        Mirror mirror = mirror(Vendor.AMD);
        mirror.apply(new Event.ProducerRemoved(fd(0), msix(0)));
        assertThat(mirror.now().byVcpu(vcpu(1))).isEmpty();
        mirror.apply(new Event.ConsumerRemoved(fd(0), gsi(0)));
        assertThat(mirror.now().irqs()).isEmpty();
        // Tear-down may tell things twice.
        mirror.apply(new Event.ConsumerRemoved(fd(0), gsi(0)));
        mirror.apply(new Event.ProducerRemoved(fd(0), msix(0)));
        assertThat(mirror.now().irqs()).isEmpty();
    }

    /** The removal of the irqfd of an old GSI may be told after the irqfd of the new one. */
    @Test
    void removalOfAConsumerOfAnotherGsiLeavesTheNewOne() {
        Mirror mirror = mirror(Vendor.AMD);
        mirror.apply(List.of(
                route(1, message(2, 0x51)),
                new Event.ConsumerAdded(fd(0), gsi(1)),
                new Event.ConsumerRemoved(fd(0), gsi(0))));
        assertThat(irq(mirror, 0).gsi()).contains(gsi(1));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(2, 0x51));
    }

    @Test
    void entriesInGuestModeFollowTheirVcpu() {
        Mirror mirror = mirror(Vendor.AMD);
        InterruptVector vector = new InterruptVector(0x41);
        assertThat(irq(mirror, 0).irte().known())
                .contains(new PredictedIrte.AmdGuest(
                        vcpu(1), vector, Optional.empty(), Optional.empty(), OptionalInt.empty()));
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)));
        assertThat(irq(mirror, 0).irte().known())
                .contains(new PredictedIrte.AmdGuest(
                        vcpu(1), vector, Optional.of(true), Optional.of(false), OptionalInt.of(5)));
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        assertThat(irq(mirror, 0).irte().known())
                .contains(new PredictedIrte.AmdGuest(
                        vcpu(1), vector, Optional.of(false), Optional.of(false), OptionalInt.empty()));
        mirror.apply(new Event.VcpuBlocked(vcpu(1)));
        assertThat(irq(mirror, 0).irte().known())
                .contains(new PredictedIrte.AmdGuest(
                        vcpu(1), vector, Optional.of(false), Optional.of(true), OptionalInt.empty()));
    }

    @Test
    void aDescriptorFollowsItsVcpu() {
        Mirror mirror = mirror(Vendor.INTEL);
        assertThat(mirror.now().pid(vcpu(1)).known()).isEmpty();
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(new PredictedPid(0xf2, false, OptionalInt.of(5)));
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(new PredictedPid(0xf2, true, OptionalInt.of(5)));
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(6)));
        mirror.apply(new Event.VcpuBlocked(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(new PredictedPid(0xf1, false, OptionalInt.of(6)));
        // It is woken and does not run yet.
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(new PredictedPid(0xf1, false, OptionalInt.of(6)));
        mirror.apply(List.of(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)), new Event.VcpuLeft(vcpu(1))));
        assertThat(mirror.now().pid(vcpu(1)).known())
                .as("a call in user space loads it anywhere")
                .contains(new PredictedPid(0xf2, true, OptionalInt.empty()));
    }

    @Test
    void hostThatPostsNothingHasNoDescriptors() {
        Mirror mirror = mirror(PostingHost.of(Vendor.INTEL).without(PostingHost.Feature.POSTING_UNITS), postedVector());
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)));
        assertThat(mirror.now().pid(vcpu(1)).known()).isEmpty();
    }

    /** The entry that turns AVIC on may come before or after any load. */
    @Test
    void upTo616IsRunOfALoadedVcpuIsKnownFromTheLoadAfterItsEntry() {
        Mirror mirror = upTo616();
        mirror.apply(List.of(
                new Event.VcpuPreempted(vcpu(1)),
                inhibited(InhibitReason.PIT_REINJ),
                inhibited(),
                new Event.VcpuLoaded(vcpu(1), new HostApicId(5))));
        assertThat(irq(mirror, 0).irte().known()).isEmpty();
        mirror.apply(new Event.GuestEntered(vcpu(1)));
        assertThat(isRun(mirror)).isEmpty();
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)));
        assertThat(isRun(mirror)).contains(true);
    }

    private static Optional<Boolean> isRun(Mirror mirror) {
        return ((PredictedIrte.AmdGuest) irq(mirror, 0).irte().known().orElseThrow()).isRun();
    }

    /** A prediction of a step that was missed would be wrong. */
    @ParameterizedTest
    @EnumSource
    void nothingFollowsAVcpuThatIsNotSeen(Vendor vendor) {
        Mirror unseen = mirror(vendor);
        Mirror mirror = mirror(vendor);
        for (Event event : List.of(
                new Event.VcpuLoaded(vcpu(1), new HostApicId(5)),
                new Event.VcpuPreempted(vcpu(1)),
                new Event.VcpuBlocked(vcpu(1)),
                new Event.VcpuLeft(vcpu(1)))) {
            mirror.apply(List.of(event, new Event.VcpuUnseen(vcpu(1))));
            assertThat(mirror.now().pid(vcpu(1)).known()).isEmpty();
            assertThat(irq(mirror, 0).irte().known())
                    .isEqualTo(irq(unseen, 0).irte().known());
        }
        mirror.apply(List.of(new Event.VcpuBlocked(vcpu(1)), new Event.VcpuUnseen(vcpu(1))));
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known().isPresent()).isEqualTo(vendor == Vendor.INTEL);
    }

    @ParameterizedTest
    @CsvSource({"6.12, false", "6.16, false", "6.17, true"})
    void notificationsOfAVcpuInUserSpaceAreSuppressedSince617(String kernel, boolean suppressed) {
        PostingHost host = PostingHost.of(Vendor.INTEL)
                .withKernel(LinuxVersion.parse(kernel).orElseThrow());
        Mirror mirror = mirror(host, postedVector());
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)));
        mirror.apply(new Event.VcpuLeft(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(new PredictedPid(0xf2, suppressed, OptionalInt.empty()));
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(new PredictedPid(0xf2, true, OptionalInt.empty()));
    }

    /** KVM asks for an interrupt that irqbypass has joined, posted or not, and a load needs none. */
    @ParameterizedTest
    @CsvSource({"6.12, true", "6.17, false"})
    void descriptorIsKnownWithoutAPostedInterrupt(String kernel, boolean left) {
        PostingHost host = PostingHost.of(Vendor.INTEL)
                .withKernel(LinuxVersion.parse(kernel).orElseThrow());
        Mirror mirror = mirror(host, postedVector());
        mirror.apply(route(0, new MsiMessage(0xfee01000L, DeliveryMode.NMI.number() << 8)));
        assertThat(mirror.now().byVcpu(vcpu(1))).isEmpty();
        mirror.apply(List.of(new Event.VcpuLoaded(vcpu(1), new HostApicId(5)), new Event.VcpuPreempted(vcpu(1))));
        PredictedPid preempted = new PredictedPid(0xf2, true, OptionalInt.of(5));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(preempted);
        mirror.apply(new Event.VcpuLeft(vcpu(2)));
        mirror.apply(new Event.ProducerRemoved(fd(0), msix(0)));
        assertThat(mirror.now().pid(vcpu(1)).known()).as("until its next load").contains(preempted);
        assertThat(mirror.now().pid(vcpu(2)).known().isPresent())
                .as("a call in user space clears SN")
                .isEqualTo(left);
        mirror.apply(new Event.VcpuLoaded(vcpu(1), new HostApicId(6)));
        assertThat(mirror.now().pid(vcpu(1)).known()).contains(new PredictedPid(0xf2, false, OptionalInt.of(6)));
        mirror.apply(new Event.VcpuPreempted(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known()).isEmpty();
        mirror.apply(new Event.VcpuLeft(vcpu(1)));
        assertThat(mirror.now().pid(vcpu(1)).known().isPresent()).isEqualTo(left);
    }

    /** KVM sets PID.SN only while irqbypass has joined an interrupt. */
    @Test
    void theDescriptorOfAVcpuThatStoppedBeforeAnythingWasPostedIsUnknown() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(List.of(new Event.ProducerRemoved(fd(0), msix(0)), new Event.VcpuPreempted(vcpu(1)), producer(0)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(1, 0x41));
        assertThat(mirror.now().pid(vcpu(1)).known()).isEmpty();
    }

    @Test
    void logicalIdsAreKnownOnlyToTheGuest() {
        Mirror mirror = mirror(Vendor.INTEL);
        mirror.apply(route(0, new MsiMessage(0xfee02000L | LOGICAL, 0x41)));
        assertThat(irq(mirror, 0).posting().text())
                .isEqualTo(
                        "posting is unknown because the guest assigns logical destination 0x2 to its LAPICs, and not all"
                                + " LAPICs were read when KVM wrote the entry");
        assertThat(irq(mirror, 0).irte().known()).isEmpty();
        mirror.apply(new Event.ProducerRemoved(fd(0), msix(0)));
        assertThat(irq(mirror, 0).posting().text()).contains(PostingObstacle.NO_PRODUCER.text());
    }

    @Test
    void withoutKnownVcpusNoDestinationIsKnown() {
        Mirror mirror =
                mirror(PostingHost.of(Vendor.AMD), List.of(route(0, message(9, 0x41)), consumer(0), producer(0)));
        assertThat(irq(mirror, 0).posting().text())
                .isEqualTo(
                        "posting is unknown because no vCPU of the VM is known, and destination 0x9 need not be a vCPU"
                                + " id");
        mirror.apply(new Event.VcpuAdded(vcpu(9)));
        assertThat(irq(mirror, 0).posting()).as("written before").isInstanceOf(Posting.Unknown.class);
        mirror.apply(route(0, message(9, 0x42)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(postedTo(9, 0x42));
        mirror.apply(route(0, message(8, 0x42)));
        assertThat(irq(mirror, 0).posting().text()).contains("physical destination 0x8 matches no vCPU");
    }

    @Test
    void withoutKnownVcpusAnotherObstacleIsKnown() {
        Mirror mirror = mirror(
                PostingHost.of(Vendor.AMD), List.of(route(0, MsiMessage.nmiTo(vcpu(9))), consumer(0), producer(0)));
        assertThat(irq(mirror, 0).posting().text()).contains(PostingObstacle.MODE_NOT_POSTABLE.text());
    }

    /** All vCPUs of such a VM are reported. */
    @Test
    void vmThatThisProcessCreatedHasNoOtherVcpus() {
        Mirror mirror = mirror(
                PostingHost.of(Vendor.AMD),
                List.of(new Event.VmCreated(), route(0, message(9, 0x41)), consumer(0), producer(0)));
        Posting none = irq(mirror, 0).posting();
        assertThat(none.text()).contains("physical destination 0x9 matches no vCPU");
        mirror.apply(new Event.VcpuAdded(vcpu(9)));
        assertThat(irq(mirror, 0).posting()).isEqualTo(none);
        assertThat(irq(mirror, 0).update().known().orElseThrow().next()).contains(postedTo(9, 0x41));
    }

    @Test
    void anUnknownHostGivesItsReason() {
        Mirror mirror = Mirror.create(MirrorHost.unknown("the host's files are not readable"));
        postedVector().forEach(mirror::apply);
        assertThat(irq(mirror, 0).posting()).isEqualTo(new Posting.Unknown("the host's files are not readable"));
    }

    @Test
    void aLineHasAHandlerAndNoEntry() {
        Mirror mirror = mirror(PostingHost.of(Vendor.INTEL), commuting());
        PredictedIrq line = mirror.now().line(NIC).known().orElseThrow();
        assertThat(line.event()).isEqualTo(fd(20));
        assertThat(line.handler().known()).contains(LineHandler.DIRECT_EOI);
        assertThat(line.irte()).isEqualTo(Known.none());
        assertThat(line.posting().text())
                .isEqualTo(
                        "not posted because only MSIs can be posted, and INTx is a line; remedy: have the guest use MSI"
                                + " or MSI-X");
        mirror.apply(new Event.LineUnforwarded(fd(20)));
        assertThat(mirror.now().line(NIC).known().orElseThrow().handler().known())
                .contains(LineHandler.AUTO_MASK);
    }

    @Test
    void knownBitsOfEntriesAgreeWithThoseOfTheKernel() {
        InterruptVector vector = new InterruptVector(0x41);
        // irte.amd.ga.vapic and irte.vtd.posted as compiled from the kernel's definitions.
        PredictedIrte running =
                new PredictedIrte.AmdGuest(vcpu(0), vector, Optional.of(true), Optional.of(false), OptionalInt.of(5));
        assertThat(running.agrees(0x00001000000005c1L, 0x0000000123456041L)).isTrue();
        assertThat(running.agrees(0x0000100000000585L, 0x0000000123456041L)).isFalse();
        PredictedIrte far = new PredictedIrte.AmdGuest(
                vcpu(0), vector, Optional.of(true), Optional.of(false), OptionalInt.of(0x01000007));
        assertThat(far.agrees(0x00001000000007c1L, 0x0100000123456041L)).isTrue();
        assertThat(far.agrees(0x00001000000007c1L, 0x0000000123456041L)).isFalse();
        PredictedIrte posted = new PredictedIrte.VtdPosted(vcpu(0), new InterruptVector(0x66));
        assertThat(posted.agrees(0x0000404000668001L, 0x0000000000040200L)).isTrue();
        assertThat(posted.agrees(0x000040400066c001L, 0x0000000000040200L))
                .as("urgent")
                .isFalse();
        assertThat(new PredictedIrte.VtdRemapped().agrees(0x0000404000668001L, 0))
                .isFalse();
    }
}
