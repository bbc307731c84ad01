/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.arch.apic.PostedRaces;
import io.kvmirq.arch.apic.Scenario;
import io.kvmirq.arch.apic.Variant;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** Prints which variant loses in which scenario, and the shortest order that loses of each. Run by scripts/races. */
final class RacesReport {
    private RacesReport() {}

    /** In the order in which they are listed, from 1. */
    private static int number(Scenario scenario) {
        return List.of(Scenario.values()).indexOf(scenario) + 1;
    }

    public static void main(String[] arguments) {
        System.out.println("""
                A vCPU's thread enters the guest, exits, syncs, is preempted, loaded and put to sleep, while senders
                request vectors. Every order of their accesses to memory is tried, each state once: with every store
                seen at once ("in order"), and with stores held back in each processor's buffer as x86 does ("store
                buffers"). An order loses if at its end a vCPU sleeps with a request in PIR or in its IRR, a guest runs
                with a request in PIR or with an IRR that RVI does not show it, or a vector went nowhere. ON, SN, PIR,
                IRR: see kvmirq races lost-interrupt-2019. Not searched: urgent requests, a LAPIC restored under way,
                the end of bypass, and preemption within a step of the thread; interrupts off only keep a processor's
                handler out.

                Two letters for each search, in order and with store buffers:
                  .  no order loses
                  h  an order leaves a request behind; it heals at the guest's next exit, and until then the guest waits
                  L  an order loses: the request stays behind for any number of entries
                """);
        for (Scenario scenario : Scenario.values()) {
            System.out.printf("  %2d  %s%n", number(scenario), scenario.text());
        }
        int unexpected = print(PostedRaces.found());
        System.out.println("\nThe shortest order that loses, of each variant that loses:");
        List.of(Variant.values()).parallelStream()
                .map(RacesReport::shortest)
                .toList()
                .forEach(System.out::print);
        unexpected += AvicRacesReport.print();
        int searches = Memory.values().length * Variant.values().length * Scenario.values().length
                + AvicRacesReport.searches();
        System.out.printf("%n%d searches as expected, %d not%n", searches - unexpected, unexpected);
        System.exit(unexpected == 0 ? 0 : 1);
    }

    /** @return how many verdicts are not as expected */
    private static int print(Map<Variant, Map<Scenario, String>> found) {
        StringBuilder head = new StringBuilder();
        for (Scenario scenario : Scenario.values()) {
            head.append(String.format(" %2d", number(scenario)));
        }
        System.out.println("\n" + head);
        int unexpected = 0;
        for (Map.Entry<Variant, Map<Scenario, String>> row : found.entrySet()) {
            System.out.println(" " + String.join(" ", row.getValue().values()) + "  "
                    + row.getKey().text());
            for (Map.Entry<Scenario, String> expected :
                    PostedRaces.expected(row.getKey()).entrySet()) {
                if (!expected.getValue().equals(row.getValue().get(expected.getKey()))) {
                    System.out.println(
                            "    NOT AS EXPECTED: " + expected.getValue() + " in " + number(expected.getKey()));
                    unexpected++;
                }
            }
        }
        return unexpected;
    }

    /** In the first scenario in which it loses. */
    private static String shortest(Variant variant) {
        for (Map.Entry<Scenario, String> cell : PostedRaces.expected(variant).entrySet()) {
            String verdict = cell.getValue();
            if (!verdict.equals("..")) {
                Memory memory = verdict.startsWith(".") ? Memory.STORE_BUFFERS : Memory.SEQUENTIAL;
                return "\n  " + variant.text() + "\n    " + cell.getKey().text() + ", "
                        + (memory == Memory.SEQUENTIAL ? "in order" : "store buffers") + "\n"
                        + text(cell.getKey().explore(variant, memory));
            }
        }
        return "";
    }

    static String text(Exploration found) {
        return String.format("    %,d states, %,d orders, %,d losing%n", found.states(), found.orders(), found.losing())
                + found.order().stream()
                        .filter(step -> !step.what().isEmpty())
                        .map(step ->
                                String.format("        %-10s %-18s %s%n", step.actor(), step.operation(), step.what()))
                        .collect(Collectors.joining())
                + "        " + found.why() + "\n";
    }
}
