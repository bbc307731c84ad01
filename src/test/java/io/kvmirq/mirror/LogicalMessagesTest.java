/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import java.time.Instant;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Logical messages are predicted by the ids that the guest gave its LAPICs, when these were sampled. */
class LogicalMessagesTest {
    private static final EventFdId EVENT = new EventFdId(3);
    private static final Gsi GSI = new Gsi(24);
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final int LOGICAL = 1 << 2;
    private static final int LOWEST = 1 << 8;
    private static final long XAPIC = 0xfee00800L;
    private static final long X2APIC = 0xfee00c00L;
    private static final int ENABLED = 0x1ff;
    private static final Instant EARLY = Instant.parse("2026-01-02T03:04:05Z");
    private static final Instant LATE = EARLY.plusSeconds(60);

    private static VcpuId vcpu(int number) {
        return new VcpuId(number);
    }

    private static Event route(long destination, int mode) {
        MsiMessage message = new MsiMessage(
                0xfee00000L | (destination & 0xff) << 12 | LOGICAL | destination >>> 8 << 40, mode | VECTOR.number());
        return Event.RoutesCommitted.of(new Route.Msi(GSI, message));
    }

    private static Mirror mirror(int vcpus, long destination, Vendor vendor) {
        Mirror mirror = Mirror.create(MirrorHost.x86(PostingHost.of(vendor)));
        mirror.apply(new Event.IrqchipCreated(Event.Irqchip.FULL));
        for (int number = 0; number < vcpus; number++) {
            mirror.apply(new Event.VcpuAdded(vcpu(number)));
        }
        mirror.apply(List.of(
                route(destination, 0),
                new Event.ConsumerAdded(EVENT, GSI),
                new Event.ProducerAdded(
                        EVENT, new Producer(PciAddress.parse("0000:3b:00.0"), Producer.Kind.MSI_X, 0))));
        return mirror;
    }

    private static Event xapic(int number, int logical, int format, Instant taken) {
        return new Event.LapicSampled(
                vcpu(number), LapicSample.of(vcpu(number), XAPIC, number << 24, logical << 24, format, ENABLED, taken));
    }

    private static Event flat(int number, int logical) {
        return xapic(number, logical, LapicPage.DFR_FLAT, EARLY);
    }

    private static Event x2apic(int number) {
        return new Event.LapicSampled(vcpu(number), LapicSample.of(vcpu(number), X2APIC, number, 0, 0, ENABLED, EARLY));
    }

    /** Writes the entry again: KVM resolves the destination only then. */
    private static void update(Mirror mirror) {
        mirror.apply(List.of(new Event.ConsumerRemoved(EVENT, GSI), new Event.ConsumerAdded(EVENT, GSI)));
    }

    private static Posting posting(Mirror mirror) {
        return mirror.irq(EVENT).orElseThrow().posting();
    }

    private static Posting.Target target(Mirror mirror) {
        return ((Posting.Posted) posting(mirror)).what();
    }

    @ParameterizedTest
    @EnumSource(Vendor.class)
    void flatModel(Vendor vendor) {
        Mirror mirror = mirror(2, 0x2, vendor);
        assertThat(posting(mirror)).isInstanceOf(Posting.Unknown.class);
        mirror.apply(List.of(flat(0, 0x1), flat(1, 0x2)));
        assertThat(posting(mirror)).as("read after the write").isInstanceOf(Posting.Unknown.class);
        assertThat(mirror.irq(EVENT)
                        .orElseThrow()
                        .update()
                        .known()
                        .orElseThrow()
                        .next()
                        .orElseThrow()
                        .text())
                .startsWith("posted to vcpu 1, vector 0x41");
        update(mirror);
        assertThat(posting(mirror).text())
                .isEqualTo(
                        "posted to vcpu 1, vector 0x41; the guest's LAPICs had this logical destination when they were"
                                + " sampled");
        assertThat(mirror.now().byVcpu(vcpu(1))).hasSize(1);
        mirror.apply(route(0x3, 0));
        assertThat(posting(mirror)).as("both vCPUs").isInstanceOf(Posting.NotPosted.class);
        mirror.apply(route(0x3, LOWEST));
        assertThat(target(mirror)).as("hashed by the vector").isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
    }

    @Test
    void clusterModel() {
        Mirror mirror = mirror(2, 0x11, Vendor.INTEL);
        mirror.apply(
                List.of(xapic(0, 0x01, LapicPage.DFR_CLUSTER, EARLY), xapic(1, 0x11, LapicPage.DFR_CLUSTER, EARLY)));
        update(mirror);
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
    }

    /** The logical id follows from the APIC id. */
    @Test
    void x2apic() {
        Mirror mirror = mirror(18, 0x1_0002, Vendor.INTEL);
        mirror.apply(new Event.ApicIdsWidened());
        Stream.iterate(0, number -> number < 18, number -> number + 1).forEach(number -> mirror.apply(x2apic(number)));
        update(mirror);
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(17), VECTOR));
    }

    /** A sample is old. The id of a LAPIC seldom changes, but a guest starts its processors one after the other. */
    @Test
    void sampleDecidesNoPhysicalMessage() {
        Mirror mirror = mirror(2, 0x2, Vendor.INTEL);
        mirror.apply(Event.RoutesCommitted.of(new Route.Msi(GSI, MsiMessage.to(vcpu(1), VECTOR))));
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
        LapicSample off = LapicSample.of(vcpu(1), 0, 0, 0, LapicPage.DFR_FLAT, 0, EARLY);
        mirror.apply(List.of(flat(0, 0x1), new Event.LapicSampled(vcpu(1), off)));
        assertThat(target(mirror))
                .as("read before its processor was started")
                .isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
        mirror.apply(new Event.VcpuAdded(vcpu(2)));
        mirror.apply(new Event.VcpuRemoved(vcpu(2)));
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
    }

    @ParameterizedTest
    @CsvSource({
        "XAPIC, 256, 'APIC id 256 of a LAPIC in mode XAPIC is out of range: expected 0-255'",
        "OFF, -1, 'APIC id -1 of a LAPIC in mode OFF is out of range: expected 0-255'",
        "X2APIC, 4096, 'APIC id 4096 of a LAPIC in mode X2APIC is out of range: expected 0-4095'",
    })
    void idOutOfRangeIsRefused(LapicSample.Mode mode, int id, String refusal) {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new LapicSample(mode, id, true, 0, 0, EARLY))
                .withMessageStartingWith(refusal);
        assertThat(new LapicSample(LapicSample.Mode.X2APIC, VcpuId.MAX, true, 0, 0, EARLY).id())
                .isEqualTo(VcpuId.MAX);
    }

    /** Another LAPIC may have the same logical id. */
    @Test
    void oneLapicThatIsNotSampledKeepsThePredictionUnknown() {
        Mirror mirror = mirror(3, 0x2, Vendor.INTEL);
        mirror.apply(List.of(flat(0, 0x1), flat(1, 0x2)));
        update(mirror);
        assertThat(posting(mirror)).isInstanceOf(Posting.Unknown.class);
        mirror.apply(flat(2, 0x4));
        update(mirror);
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
        mirror.apply(new Event.VcpuAdded(vcpu(3)));
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
        update(mirror);
        assertThat(posting(mirror)).isInstanceOf(Posting.Unknown.class);
    }

    /** A processor that was never started has no logical id. */
    @Test
    void lapicThatIsOffIsNotMeant() {
        Mirror mirror = mirror(2, 0x2, Vendor.INTEL);
        mirror.apply(List.of(
                new Event.LapicSampled(
                        vcpu(0), LapicSample.of(vcpu(0), 0, 0, 0x2 << 24, LapicPage.DFR_FLAT, ENABLED, EARLY)),
                flat(1, 0x2)));
        update(mirror);
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
    }

    /** A write of LDR does not write an entry. */
    @Test
    void newerSampleDecidesTheNextUpdate() {
        Mirror mirror = mirror(2, 0x2, Vendor.INTEL);
        mirror.apply(List.of(flat(0, 0x1), flat(1, 0x2)));
        update(mirror);
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
        mirror.apply(List.of(xapic(0, 0x2, LapicPage.DFR_FLAT, LATE), xapic(1, 0x1, LapicPage.DFR_FLAT, LATE)));
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
        update(mirror);
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(0), VECTOR));
        assertThat(mirror.now().lapic(vcpu(1)).orElseThrow().taken()).isEqualTo(LATE);
    }

    /** The age of a sample is that of the last one, also when the ids are the same. */
    @Test
    void sampleWithTheSameIdsIsNewer() {
        Mirror mirror = mirror(1, 0x1, Vendor.INTEL);
        mirror.apply(flat(0, 0x1));
        assertThat(mirror.now().lapic(vcpu(0)).orElseThrow().taken()).isEqualTo(EARLY);
        mirror.apply(xapic(0, 0x1, LapicPage.DFR_FLAT, LATE));
        assertThat(mirror.now().lapic(vcpu(0)).orElseThrow().taken()).isEqualTo(LATE);
    }

    /** A guest may change ids while it runs, so an older sample does not decide a write. */
    @Test
    void idsThatMayHaveChangedDecideNothing() {
        Mirror mirror = mirror(1, 0x1, Vendor.INTEL);
        mirror.apply(List.of(flat(0, 0x1), new Event.LapicUnseen(vcpu(0))));
        update(mirror);
        assertThat(posting(mirror)).isInstanceOf(Posting.Unknown.class);
        mirror.apply(flat(0, 0x1));
        update(mirror);
        mirror.apply(new Event.LapicUnseen(vcpu(0)));
        assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(0), VECTOR));
    }

    /** A LAPIC in xAPIC mode has the id that the guest wrote to it. */
    @ParameterizedTest
    @EnumSource
    void idThatTheGuestWroteDecidesAPhysicalMessage(Vendor vendor) {
        Mirror mirror = mirror(2, 0x2, vendor);
        mirror.apply(new Event.LapicSampled(
                vcpu(1), LapicSample.of(vcpu(1), XAPIC, 7 << 24, 0, LapicPage.DFR_FLAT, ENABLED, EARLY)));
        mirror.apply(Event.RoutesCommitted.of(new Route.Msi(GSI, MsiMessage.to(vcpu(7), VECTOR))));
        if (vendor == Vendor.INTEL) {
            assertThat(target(mirror)).isEqualTo(new Posting.ToVcpu(vcpu(1), VECTOR));
        } else {
            assertThat(posting(mirror).text()).contains(InhibitReason.APIC_ID_MODIFIED.cause());
        }
    }

    /** Entries in guest mode follow their vCPU, also those of logical messages. */
    @Test
    void entryOfALogicalMessageFollowsItsVcpu() {
        Mirror mirror = mirror(1, 0x1, Vendor.AMD);
        mirror.apply(flat(0, 0x1));
        update(mirror);
        mirror.apply(List.of(new Event.VcpuLoaded(vcpu(0), new HostApicId(5))));
        PredictedIrte.AmdGuest entry = (PredictedIrte.AmdGuest)
                mirror.irq(EVENT).orElseThrow().irte().known().orElseThrow();
        assertThat(entry.isRun()).contains(true);
    }
}
