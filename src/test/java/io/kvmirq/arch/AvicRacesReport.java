/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.arch.amd.AvicRaces;
import io.kvmirq.arch.amd.AvicScenario;
import io.kvmirq.arch.amd.AvicVariant;
import io.kvmirq.explorer.Memory;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** The part of {@link RacesReport} on AMD. */
final class AvicRacesReport {
    private AvicRacesReport() {}

    /** Prints the searches. @return how many verdicts are not as expected */
    static int print() {
        System.out.println("""

                AMD: a device's entry is posted to one of two vCPUs, each on a processor of its own. Their threads enter the
                guest, exit, are preempted, loaded and put to sleep, while KVM changes the entry. An order loses if at its
                end a vCPU has a vector in its IRR that its guest does not take, a list is corrupt, or, for ours, a rule L1
                to L5 is broken. One letter for each search, in order. Ours was
                also searched with store buffers in five scenarios (AvicRacesTest), with the same letters.

                Ours loses in five scenarios and waits in one. These windows follow from the order of steps in Linux 6.17 to
                7.1, and from what the manual lets a unit cache; no hardware showed them. Scenarios 9 to 11 need a device
                that requests during the move: a guest that masks the vector meanwhile does not meet them.
                """);
        List<AvicScenario> scenarios = List.of(AvicScenario.values());
        StringBuilder head = new StringBuilder();
        for (int i = 0; i < scenarios.size(); i++) {
            System.out.printf("  %2d  %s%n", i + 1, scenarios.get(i).text());
            head.append(String.format(" %2d", i + 1));
        }
        System.out.println("\n" + head);
        int unexpected = 0;
        for (Map.Entry<AvicVariant, Map<AvicScenario, String>> row :
                AvicRaces.found().entrySet()) {
            Map<AvicScenario, String> expected = AvicRaces.expected(row.getKey());
            System.out.println("  " + String.join("  ", row.getValue().values()) + "  "
                    + row.getKey().text());
            for (AvicScenario scenario : scenarios) {
                if (!Objects.equals(expected.get(scenario), row.getValue().get(scenario))) {
                    System.out.println("    NOT AS EXPECTED: " + expected.get(scenario) + " in "
                            + (scenarios.indexOf(scenario) + 1));
                    unexpected++;
                }
            }
        }
        System.out.println(
                "\nThe shortest order that loses or waits, of each variant in its first such scenario, and of ours"
                        + " in each:");
        for (AvicVariant variant : AvicVariant.values()) {
            boolean told = false;
            for (AvicScenario scenario : scenarios) {
                if (!".".equals(AvicRaces.expected(variant).get(scenario)) && !(told && variant != AvicVariant.TODAY)) {
                    told = true;
                    System.out.print("\n  " + variant.text() + "\n    " + scenario.text() + "\n"
                            + RacesReport.text(scenario.explore(variant, Memory.SEQUENTIAL)));
                }
            }
        }
        return unexpected;
    }

    static int searches() {
        return AvicVariant.values().length * AvicScenario.values().length;
    }
}
