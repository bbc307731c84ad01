/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class PostingDecisionTest {
    private static final Gsi GSI = new Gsi(24);
    private static final int LOWEST_PRIORITY = 1 << 8;
    private static final int LOGICAL = 1 << 2;
    private static final int HINT = 1 << 3;

    /** All that a decision looks at; a step spoils one part. */
    private static final class Case {
        PostingHost host;
        boolean lapicsInKernel = true;
        boolean apicIds32Bit;
        int vcpus = 4;
        Set<InhibitReason> inhibits = Set.of();
        boolean producer = true;
        boolean consumer = true;
        boolean alone = true;
        boolean unmanaged = true;
        boolean pinRoute;
        long highAddress;
        int mode;
        long destination = 1;
        long addressBits;

        Case(Vendor vendor) {
            host = PostingHost.of(vendor);
        }

        PostingDecision decide() {
            List<LapicIds> lapics = IntStream.range(0, vcpus)
                    .mapToObj(vcpu -> LapicIds.flat(vcpu, 1 << vcpu))
                    .toList();
            PostingVm vm = new PostingVm(
                    lapicsInKernel, apicIds32Bit, new Destinations<>(lapics, apicIds32Bit, true, true), inhibits);
            Route route = pinRoute
                    ? new Route.Pin(GSI, Route.Chip.IOAPIC, 4)
                    : new Route.Msi(
                            GSI,
                            new MsiMessage(highAddress | 0xfee00000L | destination << 12 | addressBits, mode | 0x41));
            return PostingDecision.decide(
                    host, vm, new PostingIrq(producer, consumer, alone, List.of(route), unmanaged));
        }
    }

    /** Makes one row hold, whatever else holds. */
    private static void spoil(Case all, PostingObstacle row) {
        PostingHost host = all.host;
        boolean none = false;
        switch (row) {
            case NO_REMAPPING -> all.host = host.without(Feature.REMAPPING);
            case SWITCHED_OFF -> all.host = host.withCommandLine(host.commandLine() + " intremap=nosid,nopost ");
            case UNIT_CANNOT_POST, NO_VIRTUAL_APIC -> all.host = host.without(Feature.POSTING_UNITS);
            case NO_APIC_VIRTUALIZATION -> all.host = host.without(Feature.APIC_VIRTUALIZATION);
            case DEVICES_NOT_POSTED -> all.host = host.without(Feature.DEVICE_POSTED_IRQS);
            case NO_LAPIC_IN_KERNEL -> all.lapicsInKernel = none;
            case NO_PRODUCER -> all.producer = none;
            case NO_CONSUMER -> all.consumer = none;
            case EVENTFD_TAKEN -> all.alone = none;
            case NOT_ONE_MESSAGE -> all.pinRoute = true;
            case NOT_DECODED -> {
                all.apicIds32Bit = true;
                all.highAddress = 1L << 32;
            }
            case MODE_NOT_POSTABLE -> all.mode = DeliveryMode.NMI.number() << 8;
            case NOT_ONE_VCPU -> all.destination = 0xff;
            case DOMAIN_NOT_UNMANAGED -> all.unmanaged = none;
            case INHIBITED -> all.inhibits = EnumSet.of(InhibitReason.PIT_REINJ);
        }
    }

    private static boolean exists(PostingObstacle row, Vendor vendor) {
        return switch (row) {
            case UNIT_CANNOT_POST -> vendor == Vendor.INTEL;
            case NO_VIRTUAL_APIC, DOMAIN_NOT_UNMANAGED, INHIBITED -> vendor == Vendor.AMD;
            default -> true;
        };
    }

    private static PostingObstacle rowOf(PostingDecision decision) {
        assertThat(decision).isInstanceOf(PostingDecision.Unposted.class);
        return ((PostingDecision.Unposted) decision).reason();
    }

    /** Each row from inputs, with a sentence of its own. */
    @ParameterizedTest
    @EnumSource
    void everyRowIsReached(Vendor vendor) {
        List<String> table = new ArrayList<>();
        for (PostingObstacle row : PostingObstacle.values()) {
            if (exists(row, vendor)) {
                Case spoilt = new Case(vendor);
                spoil(spoilt, row);
                PostingDecision decision = spoilt.decide();
                assertThat(rowOf(decision)).isEqualTo(row);
                table.add(vendor + " " + row + ": " + ((PostingDecision.Unposted) decision).detail());
            }
        }
        assertThat(table).hasSize(vendor == Vendor.AMD ? 15 : 13).doesNotHaveDuplicates();
    }

    @ParameterizedTest
    @EnumSource
    void theFirstOfTwoRowsIsTheAnswer(Vendor vendor) {
        int pairs = 0;
        for (PostingObstacle first : PostingObstacle.values()) {
            for (PostingObstacle second : PostingObstacle.values()) {
                if (first.compareTo(second) < 0 && exists(first, vendor) && exists(second, vendor)) {
                    Case spoilt = new Case(vendor);
                    spoil(spoilt, second);
                    spoil(spoilt, first);
                    assertThat(rowOf(spoilt.decide()))
                            .as("%s and %s", first, second)
                            .isEqualTo(first);
                    pairs++;
                }
            }
        }
        assertThat(pairs).isGreaterThan(70);
    }

    @ParameterizedTest
    @EnumSource
    void healthyHostPosts(Vendor vendor) {
        assertThat(new Case(vendor).decide())
                .isEqualTo(new PostingDecision.Posted(new VcpuId(1), new InterruptVector(0x41), Set.of()));
    }

    /** VT-d posts whatever the domain; only AMD asks for {@code use_vapic}. */
    @Test
    void domainCountsOnAmdOnly() {
        Case intel = new Case(Vendor.INTEL);
        intel.unmanaged = false;
        assertThat(intel.decide()).isInstanceOf(PostingDecision.Posted.class);
    }

    /** Intel's entry stays posted, AMD's is remapped; a reason that Intel's module does not know counts on AMD only. */
    @Test
    void inhibitRevertsOnAmdAndNotOnIntel() {
        for (InhibitReason reason : InhibitReason.values()) {
            Case intel = new Case(Vendor.INTEL);
            intel.inhibits = EnumSet.of(reason);
            assertThat(intel.decide())
                    .isEqualTo(new PostingDecision.Posted(
                            new VcpuId(1),
                            new InterruptVector(0x41),
                            reason.counts(Vendor.INTEL) ? Set.of(reason) : Set.of()));
            Case amd = new Case(Vendor.AMD);
            amd.inhibits = EnumSet.of(reason);
            assertThat(rowOf(amd.decide())).isEqualTo(PostingObstacle.INHIBITED);
            assertThat(((PostingDecision.Unposted) amd.decide()).detail()).contains(reason.cause());
        }
    }

    private static PostingDecision decide(PostingHost host, List<LapicIds> lapics, int destination, int bits) {
        Route route = new Route.Msi(GSI, new MsiMessage(0xfee00000L | (long) destination << 12 | bits, 0x41));
        return PostingDecision.decide(host, PostingVm.of(lapics, false), PostingIrq.of(route));
    }

    /** The reasons on AMD. Intel's entry stays posted and tells those that its module knows. */
    private static Set<InhibitReason> inhibits(LinuxVersion kernel, LapicIds... lapics) {
        Set<InhibitReason> reasons = PostingVm.of(List.of(lapics), false)
                .destinations()
                .inhibits(PostingHost.of(Vendor.AMD).withKernel(kernel));
        PostingDecision decision =
                decide(PostingHost.of(Vendor.INTEL).withKernel(kernel), List.of(lapics), lapics[0].id(), 0);
        assertThat(((PostingDecision.Posted) decision).inhibits())
                .isEqualTo(reasons.stream()
                        .filter(reason -> reason.counts(Vendor.INTEL))
                        .collect(Collectors.toSet()));
        return reasons;
    }

    /** {@code kvm_recalculate_apic_map} of 6.12 and 7.1. */
    @Test
    void idsOfTheLapicsInhibit() {
        LinuxVersion newest = LinuxVersion.NEWEST;
        LapicIds flat = LapicIds.flat(1, 2);
        assertThat(inhibits(newest, flat, LapicIds.flat(2, 4), LapicIds.x2apic(0x12c)))
                .as("flat and x2APIC")
                .containsExactly(InhibitReason.LOGICAL_ID_ALIASED);
        assertThat(inhibits(newest, flat, LapicIds.flat(2, 4), LapicIds.flat(3, 0)))
                .as("unique")
                .isEmpty();
        assertThat(inhibits(newest, flat, LapicIds.flat(9, 2)))
                .as("two with one")
                .containsExactly(InhibitReason.LOGICAL_ID_ALIASED);
        assertThat(inhibits(newest, flat, LapicIds.flat(2, 0xc)))
                .as("two bits")
                .containsExactly(InhibitReason.LOGICAL_ID_ALIASED);
        assertThat(inhibits(newest, flat, LapicIds.flat(2, 4).withId(7)))
                .as("another id")
                .containsExactly(InhibitReason.APIC_ID_MODIFIED);
        assertThat(inhibits(newest, flat, LapicIds.flat(2, 4).withId(3), LapicIds.flat(3, 8)))
                .as("the id of another one")
                .containsExactly(
                        InhibitReason.PHYSICAL_ID_ALIASED,
                        InhibitReason.APIC_ID_MODIFIED,
                        InhibitReason.LOGICAL_ID_ALIASED);
    }

    @Test
    void linux61KnowsNoAliasedIds() {
        LinuxVersion old = new LinuxVersion(6, 2);
        LapicIds[] lapics = {LapicIds.flat(1, 2), LapicIds.flat(2, 4).withId(3), LapicIds.flat(3, 4)};
        assertThat(inhibits(old, lapics)).containsExactly(InhibitReason.APIC_ID_MODIFIED);
        assertThat(inhibits(new LinuxVersion(6, 3), lapics)).hasSize(3);
        PostingHost host = PostingHost.of(Vendor.INTEL).withKernel(old);
        assertThat(decide(host, List.of(lapics), 4, LOGICAL))
                .as("the last one has the logical id")
                .isInstanceOfSatisfying(PostingDecision.Posted.class, posted -> assertThat(posted.vcpu())
                        .isEqualTo(new VcpuId(3)));
        assertThat(decide(host, List.of(lapics), 3, 0))
                .as("the first one has the physical id")
                .isInstanceOfSatisfying(PostingDecision.Posted.class, posted -> assertThat(posted.vcpu())
                        .isEqualTo(new VcpuId(2)));
        for (InhibitReason reason : InhibitReason.values()) {
            int minor = reason == InhibitReason.PHYSICAL_ID_TOO_BIG
                    ? 17
                    : reason.name().endsWith("ALIASED") ? 3 : 1;
            assertThat(reason.since()).as("%s", reason).isEqualTo(new LinuxVersion(6, minor));
        }
    }

    /** The table of AVIC ends before the ids of the vCPUs do. */
    @ParameterizedTest
    @CsvSource({
        "0xfe, 6.1, true, true, false",
        "0xff, 6.1, false, false, true",
        "0xff, 7.1, false, true, true",
        "0xff, 7.1, true, false, false",
        "0x1ff, 6.17, true, true, false",
        "0x200, 6.17, true, true, true",
        "0x200, 6.18, true, true, false",
        "0x200, 7.1, true, false, true",
        "0xfff, 7.1, true, true, false"
    })
    void vcpuIdAboveTheTableInhibits(int id, String kernel, boolean x2avic, boolean extended, boolean tooBig) {
        PostingHost host =
                PostingHost.of(Vendor.AMD).withKernel(LinuxVersion.parse(kernel).orElseThrow());
        host = x2avic ? host : host.without(Feature.X2AVIC);
        host = extended ? host : host.without(Feature.X2AVIC_EXT);
        PostingDecision decision = decide(host, List.of(LapicIds.x2apic(0), LapicIds.x2apic(id)), 0, 0);
        assertThat(decision instanceof PostingDecision.Unposted).isEqualTo(tooBig);
        if (tooBig) {
            assertThat(rowOf(decision)).isEqualTo(PostingObstacle.INHIBITED);
        }
    }

    /** The code reduces a message by priority to one vCPU first, whatever its comment says. */
    @ParameterizedTest
    @EnumSource
    void severalDestinationsByPriorityArePosted(Vendor vendor) {
        for (int bits : new int[] {0, HINT}) {
            Case several = new Case(vendor);
            several.destination = 0b1111;
            several.addressBits = LOGICAL | bits;
            several.mode = bits == 0 ? LOWEST_PRIORITY : 0;
            assertThat(several.decide()).isInstanceOf(PostingDecision.Posted.class);
        }
        Case fixed = new Case(vendor);
        fixed.destination = 0b1111;
        fixed.addressBits = LOGICAL;
        assertThat(rowOf(fixed.decide())).isEqualTo(PostingObstacle.NOT_ONE_VCPU);
    }

    /** The last word wins, as the kernel applies them in order. */
    @ParameterizedTest
    @CsvSource({
        "INTEL, quiet intremap=nosid,",
        "INTEL, xintremap=off,",
        "INTEL, ro nointremap, NO_REMAPPING",
        "INTEL, intremap=off, NO_REMAPPING",
        "INTEL, intremap=off intremap=on,",
        "INTEL, 'intremap=nopost,on',",
        "INTEL, 'intremap=on,nopost', SWITCHED_OFF",
        "INTEL, amd_iommu_intr=legacy,",
        "AMD, amd_iommu_intr=legacy, NO_VIRTUAL_APIC",
        "AMD, amd_iommu_intr=legacy amd_iommu_intr=vapic,",
        "AMD, intremap=nopost, SWITCHED_OFF"
    })
    void commandLineIsReadInOrder(Vendor vendor, String line, @Nullable PostingObstacle expected) {
        assertThat(PostingHost.of(vendor).withCommandLine(line).flaw()).isEqualTo(Optional.ofNullable(expected));
    }
}
