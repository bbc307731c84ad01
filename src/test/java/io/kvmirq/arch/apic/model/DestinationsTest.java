/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.LapicPage;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class DestinationsTest {
    private static final int VECTORS = 256;
    private static final int NONE = -1;

    /** How a guest's LAPICs understand logical destinations. */
    enum Model {
        FLAT(8),
        CLUSTER(16),
        X2APIC(16);

        private final int max;

        Model(int max) {
            this.max = max;
        }

        LapicIds lapic(int vcpu) {
            return switch (this) {
                case FLAT -> LapicIds.flat(vcpu, 1 << vcpu);
                case CLUSTER -> LapicIds.cluster(vcpu, vcpu / 4, 1 << vcpu % 4);
                case X2APIC -> LapicIds.x2apic(vcpu);
            };
        }

        /** The vCPUs that have a bit of a logical destination, by the manual's words and not by the map's. */
        IntPredicate has(int destination) {
            return switch (this) {
                case FLAT -> vcpu -> (destination >> vcpu & 1) == 1;
                case CLUSTER -> vcpu -> (destination >> 4 & 0xf) == vcpu / 4 && (destination >> vcpu % 4 & 1) == 1;
                case X2APIC -> vcpu -> destination >>> 16 == vcpu / 16 && (destination >> vcpu % 16 & 1) == 1;
            };
        }
    }

    private static int single(Destinations<LapicIds> all, ApicMessage message) {
        return all.single(message).map(LapicIds::vcpuId).orElse(NONE);
    }

    private static Destinations<LapicIds> destinations(Model model, int vcpus) {
        List<LapicIds> lapics = IntStream.range(0, vcpus).mapToObj(model::lapic).toList();
        return new Destinations<>(lapics, model == Model.X2APIC, model != Model.X2APIC, true);
    }

    /** The only vCPU that is meant; without a stream, since there are a million of these. */
    private static int only(int vcpus, IntPredicate meant) {
        int only = NONE;
        for (int vcpu = 0; vcpu < vcpus; vcpu++) {
            if (meant.test(vcpu)) {
                if (only != NONE) {
                    return NONE;
                }
                only = vcpu;
            }
        }
        return only;
    }

    private static ApicMessage message(int destination, boolean logical, boolean hint, DeliveryMode mode, int vector) {
        return new ApicMessage(destination, false, logical, hint, mode, vector, false);
    }

    /** Every destination of 8 bits (x2APIC: of cluster 0, and some of cluster 1), every number of vCPUs. */
    @ParameterizedTest
    @EnumSource
    void everyLogicalDestinationIsReducedAsTheManualSays(Model model) {
        List<String> different = new ArrayList<>();
        int compared = 0;
        for (int vcpus = 1; vcpus <= model.max; vcpus++) {
            Destinations<LapicIds> all = destinations(model, vcpus);
            int last = model == Model.X2APIC ? 0x100ff : 0xff;
            for (int destination = 0; destination <= last; destination++) {
                boolean broadcast = model != Model.X2APIC && destination == ApicMessage.BROADCAST;
                int expected = only(vcpus, broadcast ? vcpu -> true : model.has(destination));
                int found = single(all, message(destination, true, false, DeliveryMode.FIXED, 0x41));
                if (found != expected) {
                    different.add(vcpus + " vCPUs, destination 0x" + Integer.toHexString(destination) + ": " + found
                            + ", expected " + expected);
                }
                compared++;
            }
        }
        assertThat(different).isEmpty();
        assertThat(compared).isGreaterThan(model.max * 200);
    }

    /** With all bits of a destination present, every vector selects the member of its rank. */
    @ParameterizedTest
    @EnumSource
    void priorityTakesTheMemberThatTheVectorSelects(Model model) {
        Destinations<LapicIds> all = destinations(model, model.max);
        List<String> different = new ArrayList<>();
        for (int destination = 1; destination < (model == Model.X2APIC ? 0xffff : 0xff); destination++) {
            int[] meant =
                    IntStream.range(0, model.max).filter(model.has(destination)).toArray();
            for (int vector = 0x10; vector < VECTORS && meant.length > 0; vector += 13) {
                int expected = meant[vector % meant.length];
                int hinted = single(all, message(destination, true, true, DeliveryMode.FIXED, vector));
                int lowest = single(all, message(destination, true, false, DeliveryMode.LOWEST_PRIORITY, vector));
                if (hinted != expected || lowest != expected) {
                    different.add("destination 0x" + Integer.toHexString(destination) + ", vector " + vector + ": "
                            + hinted + " and " + lowest + ", expected " + expected);
                }
            }
        }
        assertThat(different).isEmpty();
    }

    /** The bit that the vector selects has no vCPU: the map has no answer, and all are asked. */
    @Test
    void selectedBitWithoutVcpuLeavesTheQuestionToAll() {
        Destinations<LapicIds> first = destinations(Model.FLAT, 1);
        Destinations<LapicIds> two = destinations(Model.FLAT, 2);
        ApicMessage third = message(0b111, true, true, DeliveryMode.FIXED, 0x32 + 3 - 0x32 % 3 + 2);
        assertThat(third.vector() % 3).isEqualTo(2);
        assertThat(first.single(third).map(LapicIds::vcpuId)).contains(0);
        assertThat(two.single(third)).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 16})
    void physicalDestinationIsOneId(int vcpus) {
        Destinations<LapicIds> all = destinations(Model.X2APIC, vcpus);
        for (int id = 0; id < VECTORS; id++) {
            Optional<Integer> expected = id < vcpus ? Optional.of(id) : Optional.empty();
            for (DeliveryMode mode : List.of(DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)) {
                assertThat(all.single(message(id, false, true, mode, 0x41)).map(LapicIds::vcpuId))
                        .isEqualTo(expected);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 8})
    void broadcastIsForOneVcpuOnlyIfThereIsOne(int vcpus) {
        Destinations<LapicIds> all = destinations(Model.FLAT, vcpus);
        ApicMessage message = message(ApicMessage.BROADCAST, false, false, DeliveryMode.FIXED, 0x41);
        assertThat(all.single(message).isPresent()).isEqualTo(vcpus == 1);
        assertThat(all.meant(message)).hasSize(vcpus);
    }

    /** Only with 32-bit ids are the bits above the low 8 part of the destination. */
    @Test
    void highBitsCountOnlyWhereIdsHave32Bits() {
        List<LapicIds> lapics = List.of(LapicIds.x2apic(1), LapicIds.x2apic(0x101));
        ApicMessage message = message(0x101, false, false, DeliveryMode.FIXED, 0x41);
        assertThat(new Destinations<>(lapics, true, false, true).single(message).map(LapicIds::vcpuId))
                .contains(0x101);
        assertThat(new Destinations<>(List.of(LapicIds.x2apic(1)), false, true, true)
                        .single(message)
                        .map(LapicIds::vcpuId))
                .contains(1);
    }

    /** The last cluster ends with the map ({@code kvm_apic_map_get_logical_dest}). */
    @Test
    void bitsBeyondTheLastLapicAreNotSelected() {
        List<LapicIds> lapics = List.of(LapicIds.x2apic(0), LapicIds.x2apic(0x100));
        Destinations<LapicIds> all = new Destinations<>(lapics, true, false, true);
        for (int vector = 0x41; vector < 0x43; vector++) {
            assertThat(single(all, message(0x10_0003, true, true, DeliveryMode.FIXED, vector)))
                    .isEqualTo(0x100);
        }
        assertThat(single(all, message(0x11_0001, true, true, DeliveryMode.FIXED, 0x41)))
                .isEqualTo(NONE);
        assertThat(ApicMap.build(lapics, true, false).orElseThrow().bits(0x10_ffff))
                .isEqualTo(1);
        assertThat(ApicMap.build(lapics, true, false).orElseThrow().bits(0x11_ffff))
                .isZero();
    }

    /** The hotplug rule of {@code kvm_apic_match_physical_addr}: an xAPIC of a vCPU above 255 has its number as id. */
    @Test
    void xapicOfAHighVcpuIsReachedByItsNumber() {
        LapicIds high = new LapicIds(0x12c, 0x2c, false, 0, LapicPage.DFR_FLAT, 0);
        assertThat(high.isFor(0x12c, false, false)).isTrue();
        assertThat(high.isFor(0x2c, false, false)).isTrue();
        assertThat(high.isFor(0x12d, false, false)).isFalse();
        assertThat(LapicIds.flat(0x2c, 0).isFor(0x12c, false, false)).isFalse();
        Destinations<LapicIds> all = new Destinations<>(List.of(LapicIds.flat(0x2c, 0), high), true, false, true);
        assertThat(all.meant(message(0x12c, false, false, DeliveryMode.FIXED, 0x41)))
                .containsExactly(high);
        assertThat(single(all, message(0x12c, false, false, DeliveryMode.FIXED, 0x41)))
                .isEqualTo(0x12c);
    }

    /** Before 6.3 the map has the lowest bit of a logical id. KVM posts a message to another bit, and delivers none. */
    @Test
    void mapBefore63LacksTheHigherBitsOfALogicalId() {
        List<LapicIds> lapics = List.of(LapicIds.flat(0, 0b1), LapicIds.flat(9, 0b1100));
        Destinations<LapicIds> all = new Destinations<>(lapics, false, true, true);
        ApicMessage higher = message(0b1000, true, false, DeliveryMode.FIXED, 0x41);
        ApicMessage lower = message(0b100, true, false, DeliveryMode.FIXED, 0x41);
        LinuxVersion before = new LinuxVersion(6, 2);
        assertThat(all.single(higher, before)).contains(lapics.get(1));
        assertThat(all.mapped(higher, before)).isEmpty();
        assertThat(all.mapped(lower, before)).contains(lapics.get(1));
    }

    /** Two LAPICs with one id leave no map: each is asked, and two mean none. */
    @Test
    void aliasedIdsAreAskedOneByOne() {
        List<LapicIds> lapics = List.of(LapicIds.flat(0, 1), LapicIds.flat(1, 2).withId(0), LapicIds.flat(2, 4));
        Destinations<LapicIds> aliased = new Destinations<>(lapics, false, true, true);
        assertThat(aliased.single(message(0, false, false, DeliveryMode.FIXED, 0x41)))
                .isEmpty();
        assertThat(aliased.single(message(2, false, false, DeliveryMode.FIXED, 0x41))
                        .map(LapicIds::vcpuId))
                .contains(2);
    }

    /** Without vector hashing, the LAPIC that was taken least often; the first of several. */
    @Test
    void withoutHashingTheLeastTakenHasIt() {
        List<LapicIds> lapics = List.of(
                LapicIds.flat(0, 1).withPriority(3),
                LapicIds.flat(1, 2).withPriority(1),
                LapicIds.flat(2, 4).withPriority(1));
        Destinations<LapicIds> unhashed = new Destinations<>(lapics, false, true, false);
        assertThat(unhashed.single(message(0b111, true, true, DeliveryMode.FIXED, 0x41))
                        .map(LapicIds::vcpuId))
                .contains(1);
        assertThat(unhashed.single(message(0b1111101, true, true, DeliveryMode.FIXED, 0x41))
                        .map(LapicIds::vcpuId))
                .contains(2);
    }
}
