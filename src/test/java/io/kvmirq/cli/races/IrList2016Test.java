/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.amd.model.AvicRaces;
import io.kvmirq.arch.amd.model.AvicScenario;
import io.kvmirq.arch.amd.model.AvicVariant;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class IrList2016Test {
    /** In the order in which they are told. */
    private static final List<AvicVariant> REPAIRS = List.of(
            AvicVariant.EMBEDDED_NODE,
            AvicVariant.WRAPPERS,
            AvicVariant.REFUSE_SECOND_ADD,
            AvicVariant.TWO_LOCKS,
            AvicVariant.UP_TO_6_16,
            AvicVariant.FROM_6_17);

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void sleeperIsWokenOnlyWithTheRepair(boolean repaired) {
        IrList2016.Side side = new IrList2016.Side(repaired);
        IrList2016.steps().forEach(step -> step.on(side));
        assertThat(side.isLost()).isNotEqualTo(repaired);
    }

    /** The steps are those of the search: the entry changes as in the shortest losing order. */
    @Test
    void stepsAreTheShortestLosingOrder() {
        Exploration found = AvicScenario.MOVE_TO_SLEEPER.explore(AvicVariant.WRAPPERS, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("vcpu 1 sleeps with a vector in its IRR");
        List<String> searched = found.order().stream()
                .filter(step ->
                        step.what().startsWith("entry = ") || step.actor().equals("device"))
                .map(step -> step.actor().replaceAll("guest.*", "guest") + ": " + step.what())
                .toList();
        IrList2016.Side side = new IrList2016.Side(false);
        List<String> told = new ArrayList<>();
        for (Race.Step<IrList2016.Side> step : IrList2016.steps().subList(0, searched.size())) {
            step.on(side);
            List<Long> entry = side.entry();
            told.add(step.actor() + ": "
                    + (step.actor().equals("device")
                            ? "IRR of vcpu 1 = {0x31}"
                            : "entry = vcpu " + entry.get(0) + ", IsRun " + entry.get(1) + ", Destination "
                                    + entry.get(2) + ", GALogIntr " + entry.get(3)));
        }
        assertThat(told).isEqualTo(searched);
        assertThat(side.isLost()).isTrue();
    }

    @Test
    void verdictsAreThoseOfTheSearch() {
        assertThat(IrList2016.repairs())
                .extracting(Race.Finding::bad)
                .containsExactlyElementsOf(REPAIRS.stream()
                        .map(repair ->
                                "L".equals(AvicRaces.VERDICTS.expected(repair).get(AvicScenario.MOVE)))
                        .toList());
    }
}
