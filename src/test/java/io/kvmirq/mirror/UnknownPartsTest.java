/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.PlatformName;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.path.Known;
import java.lang.reflect.Modifier;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A part of a prediction that is unknown differs from one that certainly does not exist. */
class UnknownPartsTest {
    private static final EventFdId EVENT = new EventFdId(1);
    private static final EventFdId RESAMPLE = new EventFdId(2);
    private static final Gsi GSI = new Gsi(40);
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    private static final PlatformName UART = new PlatformName("fff51000.serial");
    private static final Producer MSIX = new Producer(NIC, Producer.Kind.MSI_X, 0);
    private static final MsiMessage LOGICAL = new MsiMessage(0xfee02004L, 0x41);
    private static final long ITS = 0x808_0000L;
    private static final MirrorHost NOTHING = MirrorHost.unknown("no file can be read");

    private static Mirror mirror(MirrorHost host, Event... events) {
        Mirror mirror = Mirror.create(host);
        mirror.apply(List.of(new Event.VcpuAdded(FIRST), new Event.VcpuAdded(SECOND)));
        mirror.apply(List.of(events));
        return mirror;
    }

    private static Mirror joined(MirrorHost host, MsiMessage message) {
        return mirror(
                host,
                Event.RoutesCommitted.of(new Route.Msi(GSI, message)),
                new Event.ConsumerAdded(EVENT, GSI),
                new Event.ProducerAdded(EVENT, MSIX));
    }

    private static Mirror guest(MirrorHost host, Route... routes) {
        Mirror mirror = mirror(host, new Event.ConsumerAdded(EVENT, GSI));
        if (routes.length > 0) {
            mirror.apply(Event.RoutesCommitted.of(routes));
        }
        return mirror;
    }

    private static MirrorHost x86(Vendor vendor) {
        return MirrorHost.x86(PostingHost.of(vendor), AvicKernel.FROM_6_17);
    }

    private static MirrorHost arm64() {
        return MirrorHost.arm64(true, VlpiKernel.BY_HOST_IRQ);
    }

    private static PredictedIrq irq(Mirror mirror) {
        return mirror.now().of(EVENT).orElseThrow();
    }

    private static Route.Msi message(MsiMessage message) {
        return new Route.Msi(GSI, message);
    }

    private static void isUnknown(Known<?> part, String reason) {
        assertThat(part).isInstanceOf(Known.Unknown.class);
        assertThat(((Known.Unknown<?>) part).why()).contains(reason);
    }

    private static Event sample(VcpuId vcpu, int logical) {
        return new Event.LapicSampled(
                vcpu,
                LapicSample.of(
                        vcpu,
                        0xfee00800L,
                        vcpu.number() << 24,
                        logical << 24,
                        LapicPage.DFR_FLAT,
                        0x1ff,
                        Instant.EPOCH));
    }

    /** Each Optional that is left has one meaning: a part of the set-up, or a fact that no event reported. */
    @Test
    void optionalsOfPredictionsHaveOneMeaning() {
        List<Class<?>> types = List.of(
                PredictedIrq.class,
                PredictedPid.class,
                PredictedListRegister.class,
                EntryUpdate.class,
                Snapshot.class,
                PredictedIrte.AmdGuest.class,
                PredictedIrte.AmdRemapped.class,
                PredictedIrte.VtdPosted.class,
                PredictedIrte.VtdRemapped.class,
                Posting.Posted.class,
                Posting.NotPosted.class);
        assertThat(types.stream()
                        .flatMap(type -> Stream.of(type.getDeclaredMethods()))
                        .filter(method -> Modifier.isPublic(method.getModifiers()))
                        .filter(method ->
                                List.of(Optional.class, OptionalInt.class).contains(method.getReturnType()))
                        .map(method -> method.getDeclaringClass().getSimpleName() + "." + method.getName()))
                .containsExactlyInAnyOrder(
                        "PredictedIrq.producer",
                        "PredictedIrq.consumer",
                        "PredictedIrq.gsi",
                        "EntryUpdate.next", // nothing changes: a Posting may be unknown itself
                        "Snapshot.of",
                        "Snapshot.held",
                        "Posted.note",
                        // not known
                        "PredictedPid.cpu",
                        "Snapshot.stage",
                        "Snapshot.lapic",
                        "Snapshot.lapicsTaken",
                        "AmdRemapped.bits",
                        "AmdGuest.isRun",
                        "AmdGuest.gaLogIntr",
                        "AmdGuest.destination");
    }

    @ParameterizedTest
    @EnumSource
    void logicalMessageBeforeTheLapicsAreReadMayBeForEachVcpu(Vendor vendor) {
        Mirror mirror = joined(x86(vendor), LOGICAL);
        isUnknown(irq(mirror).vcpu(), "not all LAPICs were read when KVM wrote the entry");
        isUnknown(irq(mirror).irte(), "not all LAPICs were read when KVM wrote the entry");
        isUnknown(irq(mirror).destination(), "not all LAPICs were read");
        isUnknown(mirror.now().vcpuStructure(SECOND), "not all LAPICs were read");
        assertThat(mirror.now().byVcpu(FIRST)).containsExactly(irq(mirror));
        assertThat(mirror.now().byVcpu(SECOND)).containsExactly(irq(mirror));
        mirror.apply(List.of(sample(FIRST, 1), sample(SECOND, 2)));
        assertThat(irq(mirror).destination()).isEqualTo(new Known.Predicted<>(SECOND));
        mirror.apply(Event.RoutesCommitted.of(message(new MsiMessage(LOGICAL.address(), 0x42))));
        assertThat(irq(mirror).vcpu()).isEqualTo(new Known.Predicted<>(SECOND));
        assertThat(mirror.now().byVcpu(FIRST)).isEmpty();
        assertThat(mirror.now().vcpuStructure(FIRST)).isEqualTo(Known.none());
    }

    @Test
    void guestChoosesTheVcpuOfAPin() {
        Route pin = new Route.Pin(GSI, Route.Chip.IOAPIC, 10);
        Route msi = message(MsiMessage.to(FIRST, new InterruptVector(0x41)));
        MirrorHost host = x86(Vendor.INTEL);
        isUnknown(irq(guest(host, pin)).destination(), "interrupt controller");
        isUnknown(irq(guest(host)).destination(), "no event reported the routes");
        assertThat(irq(guest(host, msi)).destination()).isEqualTo(new Known.Predicted<>(FIRST));
        assertThat(irq(guest(host, msi, msi)).destination()).as("two messages").isEqualTo(Known.none());
        assertThat(irq(mirror(host, new Event.ProducerAdded(EVENT, MSIX))).destination())
                .as("no irqfd")
                .isEqualTo(Known.none());
    }

    @Test
    void guestKnowsTheLpiOfAMessage() {
        MirrorHost host = arm64();
        MsiMessage toIts = MsiMessage.toIts(ITS, 0x10, 5);
        Mirror mirror = guest(host, message(toIts));
        isUnknown(irq(mirror).listRegister(), "only the guest knows the LPI of event 5 of device 0x10");
        mirror.apply(new Event.EventMapped(ITS, 0x10, 5, 8192, FIRST));
        assertThat(irq(mirror).listRegister().known()).isPresent();
        mirror.apply(new Event.EventUnmapped(ITS, 0x10, 5));
        assertThat(irq(mirror).listRegister()).as("no LPI").isEqualTo(Known.none());
        mirror = mirror(host, new Event.ItsAdded(ITS + 0x10000), new Event.ConsumerAdded(EVENT, GSI));
        mirror.apply(Event.RoutesCommitted.of(message(toIts)));
        assertThat(irq(mirror).listRegister()).as("to no ITS").isEqualTo(Known.none());
        assertThat(irq(guest(host, message(new MsiMessage(toIts.address(), 5)))).listRegister())
                .as("without device id")
                .isEqualTo(Known.none());
        isUnknown(irq(guest(host)).listRegister(), "no event reported the routes");
        assertThat(irq(guest(host, Route.Pin.to(GSI, new Spi(40))))
                        .listRegister()
                        .known())
                .isPresent();
        assertThat(irq(guest(x86(Vendor.AMD))).listRegister()).isEqualTo(Known.none());
    }

    @Test
    void hostThatMayHaveGicv4MayNeedNoListRegister() {
        Mirror mirror = joined(MirrorHost.arm64(VlpiKernel.BY_HOST_IRQ), MsiMessage.toIts(ITS, 0x10, 5));
        mirror.apply(new Event.ConsumerRemoved(EVENT, GSI));
        mirror.apply(List.of(new Event.EventMapped(ITS, 0x10, 5, 8192, FIRST), new Event.ConsumerAdded(EVENT, GSI)));
        isUnknown(irq(mirror).listRegister(), "whether KVM uses GICv4");
        isUnknown(irq(mirror).vcpu(), "whether KVM uses GICv4");
    }

    @Test
    void platformInterruptWithoutResampleMayBeEdgeTriggered() {
        Producer first = new Producer(UART, Producer.Kind.PLATFORM, 0);
        Mirror mirror = mirror(arm64(), new Event.ProducerAdded(EVENT, first));
        isUnknown(irq(mirror).handler(), "edge-triggered");
        isUnknown(mirror.now().line(UART), "edge-triggered");
        mirror.apply(List.of(
                new Event.ProducerAdded(RESAMPLE, new Producer(UART, Producer.Kind.PLATFORM, 1)),
                new Event.ConsumerAdded(RESAMPLE, GSI, Optional.of(new EventFdId(3)))));
        assertThat(mirror.now().line(UART).known().orElseThrow().event()).isEqualTo(RESAMPLE);
        mirror = joined(arm64(), MsiMessage.toIts(ITS, 0x10, 5));
        assertThat(irq(mirror).handler()).isEqualTo(Known.none());
        assertThat(mirror.now().line(NIC)).isEqualTo(Known.none());
        assertThat(irq(guest(arm64())).handler()).as("no producer").isEqualTo(Known.none());
    }

    @Test
    void onlyProcessorsWithApicvHaveDescriptors() {
        Event stopped = new Event.VcpuPreempted(FIRST);
        MsiMessage message = MsiMessage.to(FIRST, new InterruptVector(0x41));
        PostingHost intel = PostingHost.of(Vendor.INTEL)
                .withKernel(LinuxVersion.parse("6.12").orElseThrow());
        Mirror mirror = joined(MirrorHost.x86(intel), message);
        isUnknown(mirror.now().pid(FIRST), "no event has shown how the vCPU is scheduled");
        mirror.apply(new Event.VcpuEntered(FIRST));
        isUnknown(mirror.now().pid(FIRST), "in KVM_RUN");
        mirror.apply(stopped);
        assertThat(mirror.now().pid(FIRST).known()).isPresent();
        for (MirrorHost without :
                List.of(x86(Vendor.AMD), arm64(), MirrorHost.x86(intel.without(Feature.APIC_VIRTUALIZATION)))) {
            mirror = joined(without, message);
            mirror.apply(stopped);
            assertThat(mirror.now().pid(FIRST)).isEqualTo(Known.none());
        }
        mirror = joined(MirrorHost.x86(intel.without(Feature.POSTING_UNITS)), message);
        mirror.apply(stopped);
        isUnknown(mirror.now().pid(FIRST), "no device interrupt is posted on this host");
        isUnknown(joined(NOTHING, message).now().pid(FIRST), "no file can be read");
    }

    @Test
    void onAnUnknownHostOnlyThePartsThatMayExistAreUnknown() {
        Mirror mirror = joined(NOTHING, LOGICAL);
        PredictedIrq irq = irq(mirror);
        Stream.of(irq.vcpu(), irq.destination(), irq.irte(), irq.listRegister(), irq.update())
                .forEach(part -> isUnknown(part, "no file can be read"));
        isUnknown(mirror.now().vcpuStructure(FIRST), "no file can be read");
        assertThat(mirror.now().byVcpu(FIRST)).containsExactly(irq);
        PredictedIrq alone = irq(mirror(NOTHING, new Event.ProducerAdded(EVENT, MSIX)));
        isUnknown(alone.irte(), "no file can be read");
        assertThat(List.of(alone.vcpu(), alone.destination(), alone.listRegister(), alone.update()))
                .as("no irqfd")
                .containsOnly(Known.none());
        Mirror line = mirror(
                NOTHING,
                Event.RoutesCommitted.of(new Route.Pin(GSI, Route.Chip.IOAPIC, 10)),
                new Event.ConsumerAdded(EVENT, GSI, Optional.of(RESAMPLE)),
                new Event.ProducerAdded(EVENT, new Producer(NIC, Producer.Kind.INTX, 0)));
        assertThat(List.of(
                        irq(line).vcpu(),
                        irq(line).irte(),
                        irq(line).listRegister(),
                        irq(line).update()))
                .as("a line of x86")
                .containsOnly(Known.none());
    }
}
