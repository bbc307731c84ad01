/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import java.util.List;

/** Prints what is found in every order: states, orders that lose, and the shortest of them. Run by scripts/races. */
final class RacesReport {
    private boolean asSaid = true;

    private RacesReport() {}

    public static void main(String[] arguments) {
        RacesReport report = new RacesReport();
        report.print("The repairs proposed in January 2019", Race.REPAIRS);
        report.print("Ours with one ordering dropped, or with barriers that x86 does not need", Race.ORDERINGS);
        long start = System.nanoTime();
        report.print("Ours", Race.OURS);
        System.out.printf("%nours: all of it in %.1f s%n", (System.nanoTime() - start) / 1e9);
        System.exit(report.asSaid ? 0 : 1);
    }

    private void print(String title, List<Race> races) {
        System.out.println("\n" + title);
        for (Race race : races) {
            System.out.println(
                    "  " + race.variant().text() + "; " + race.scenario().text());
            boolean shown = false;
            for (Memory memory : Memory.values()) {
                Exploration found = race.scenario().explore(race.variant(), memory);
                boolean expected = found.loses() == race.loses(memory);
                asSaid &= expected;
                System.out.printf(
                        "    %-14s %7d states, %s orders, %s losing: %s%s%n",
                        memory == Memory.SEQUENTIAL ? "in order" : "store buffers",
                        found.states(),
                        found.orders(),
                        found.losing(),
                        found.loses() ? "LOSES" : "keeps",
                        expected ? "" : "   UNEXPECTED");
                if (found.loses() && !shown) {
                    shown = true;
                    print(found);
                }
            }
        }
    }

    private static void print(Exploration found) {
        for (Exploration.Step step : found.order()) {
            if (!step.what().isEmpty()) {
                System.out.printf("        %-10s %-18s %s%n", step.actor(), step.operation(), step.what());
            }
        }
        System.out.println("        " + found.why());
    }
}
