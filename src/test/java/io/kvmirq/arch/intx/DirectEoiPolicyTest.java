/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.intx.DirectEoiPolicy.Trait;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DirectEoiPolicyTest {
    private static DirectEoiDecision decide(boolean platform, boolean safe, Set<NotDirect> spoiled) {
        Map<Trait, Boolean> traits = Map.of(
                Trait.PLATFORM_DEVICE,
                platform,
                Trait.LEVEL,
                !spoiled.contains(NotDirect.NOT_LEVEL),
                Trait.EOI_DEACTIVATES,
                !spoiled.contains(NotDirect.EOI_DOES_NOT_DEACTIVATE),
                Trait.SHAREABLE,
                spoiled.contains(NotDirect.SHAREABLE),
                Trait.ASSERTED_SAFE,
                safe);
        Set<Trait> holding = EnumSet.allOf(Trait.class);
        holding.removeIf(trait -> !traits.getOrDefault(trait, false));
        boolean handlers = spoiled.contains(NotDirect.SHARED) || spoiled.contains(NotDirect.REFUSED);
        return new DirectEoiPolicy(holding, handlers ? 1 : 0).decide();
    }

    /** The facts that can hold together: a shared line is shareable, and an exclusive request is not. */
    private static boolean isPossible(Set<NotDirect> reasons) {
        boolean shareable = reasons.contains(NotDirect.SHAREABLE);
        return reasons.contains(NotDirect.REFUSED) ? !shareable : shareable || !reasons.contains(NotDirect.SHARED);
    }

    private static List<Set<NotDirect>> subsets() {
        List<Set<NotDirect>> all = new ArrayList<>(List.of(Set.of()));
        for (NotDirect reason : NotDirect.values()) {
            for (Set<NotDirect> smaller : List.copyOf(all)) {
                List<NotDirect> larger = new ArrayList<>(smaller);
                larger.add(reason);
                all.add(Set.copyOf(larger));
            }
        }
        return all.stream()
                .filter(DirectEoiPolicyTest::isPossible)
                .filter(reasons -> !reasons.containsAll(Set.of(NotDirect.REFUSED, NotDirect.SHARED)))
                .toList();
    }

    private static List<NotDirect> ordered(Set<NotDirect> reasons) {
        return List.of(NotDirect.values()).stream().filter(reasons::contains).toList();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void allReasonsAreTold(boolean platform) {
        assertThat(subsets()).hasSize(16);
        for (Set<NotDirect> spoiled : subsets()) {
            DirectEoiDecision decision = decide(platform, false, spoiled);
            if (spoiled.isEmpty()) {
                assertThat(decision).isInstanceOf(DirectEoiDecision.Allowed.class);
            } else {
                assertThat(decision).isEqualTo(new DirectEoiDecision.Refused(ordered(spoiled)));
            }
        }
    }

    @Test
    void hardwareIsLookedAtFirst() {
        assertThat(NotDirect.values())
                .containsExactly(
                        NotDirect.NOT_LEVEL,
                        NotDirect.EOI_DOES_NOT_DEACTIVATE,
                        NotDirect.REFUSED,
                        NotDirect.SHARED,
                        NotDirect.SHAREABLE);
    }

    /** Linux grants no exclusive request of a line that is used, whoever asserts what. */
    @Test
    void assertionOutweighsSharingAndNeitherHardwareNorEbusy() {
        Set<NotDirect> sharing = Set.of(NotDirect.SHARED, NotDirect.SHAREABLE);
        for (Set<NotDirect> spoiled : subsets()) {
            DirectEoiDecision decision = decide(false, true, spoiled);
            if (spoiled.isEmpty()) {
                assertThat(decision).isEqualTo(decide(false, false, spoiled));
            } else if (sharing.containsAll(spoiled)) {
                assertThat(decision).isInstanceOfSatisfying(DirectEoiDecision.AllowedByAssertion.class, allowed -> {
                    assertThat(allowed.outweighed()).isEqualTo(ordered(spoiled));
                    assertThat(allowed.breaks()).first().isEqualTo(Breakage.OTHERS_WAIT);
                });
            } else {
                assertThat(decision).isEqualTo(new DirectEoiDecision.Refused(ordered(spoiled)));
            }
        }
    }

    @Test
    void exclusivePciLineMakesTheThreeConflicts() {
        assertThat(decide(false, false, Set.of()))
                .isEqualTo(new DirectEoiDecision.Allowed(
                        List.of(Breakage.TWO_VMS, Breakage.LATER_REBOOT, Breakage.TWO_DEVICES, Breakage.VM_GONE)));
    }

    @Test
    void platformDeviceMakesNone() {
        assertThat(decide(true, false, Set.of())).isEqualTo(new DirectEoiDecision.Allowed(List.of(Breakage.VM_GONE)));
    }

    @Test
    void sharedLineMakesOthersWait() {
        assertThat(decide(false, true, Set.of(NotDirect.SHAREABLE)))
                .isEqualTo(new DirectEoiDecision.AllowedByAssertion(
                        List.of(NotDirect.SHAREABLE), List.of(Breakage.OTHERS_WAIT, Breakage.VM_GONE)));
        assertThat(decide(true, true, Set.of(NotDirect.SHARED, NotDirect.SHAREABLE)))
                .isEqualTo(new DirectEoiDecision.AllowedByAssertion(
                        List.of(NotDirect.SHARED, NotDirect.SHAREABLE),
                        List.of(Breakage.OTHERS_WAIT, Breakage.VM_GONE)));
    }

    @Test
    void eachReasonAndBreakageIsOneSentence() {
        assertThat(NotDirect.values())
                .extracting(NotDirect::text)
                .doesNotHaveDuplicates()
                .allMatch(text -> !text.isBlank() && !text.endsWith("."));
        assertThat(Breakage.values())
                .extracting(Breakage::text)
                .doesNotHaveDuplicates()
                .allMatch(text -> !text.isBlank() && !text.endsWith("."));
    }

    @Test
    void negativeNumberOfHandlersIsRefused() {
        assertIllegalArgument(
                () -> DirectEoiPolicy.shared(-1), "-1 other handlers is out of range: expected 0 or more");
    }
}
