/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.arch.apic.PostedRaces;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Race;
import java.util.List;

/** Prints what is found in every order: states, orders that lose, and the shortest of them. Run by scripts/races. */
final class RacesReport {
    private int expected;
    private int unexpected;

    private RacesReport() {}

    public static void main(String[] arguments) {
        System.out.println("""
                A vCPU's thread enters the guest, exits, syncs, is preempted, loaded and put to sleep, while senders
                request vectors. Every order of their accesses to memory is tried, each state once: with every store
                seen at once ("in order"), and with stores held back in each processor's buffer as x86 does ("store
                buffers"). An order loses if at its end a vector is in no IRR and nobody is left to take it there. Of
                what loses, the shortest order is shown. ON, SN, PIR, IRR: see kvmirq races lost-interrupt-2019.
                Not searched: urgent requests, a LAPIC restored under way, the end of bypass, and preemption within a
                step of the thread; interrupts off only keep a processor's handler out.""");
        RacesReport report = new RacesReport();
        report.print("The repairs proposed in January 2019", PostedRaces.REPAIRS);
        report.print("Ours with one ordering dropped, or with barriers that x86 does not need", PostedRaces.ORDERINGS);
        long start = System.nanoTime();
        report.print("Ours", PostedRaces.OURS);
        System.out.printf(
                "%n%d searches as expected, %d not; ours, %d of them, %.1f s: 0 losing orders expected%n",
                report.expected,
                report.unexpected,
                PostedRaces.OURS.size() * Memory.values().length,
                (System.nanoTime() - start) / 1e9);
        System.exit(report.unexpected == 0 ? 0 : 1);
    }

    private void print(String title, List<Race> races) {
        System.out.println("\n" + title);
        for (Race race : races) {
            System.out.println("\n  " + race.variant() + "\n    " + race.scenario());
            boolean shown = false;
            for (Memory memory : Memory.values()) {
                Exploration found = race.explore(memory);
                boolean asExpected = found.loses() == race.loses(memory);
                expected += asExpected ? 1 : 0;
                unexpected += asExpected ? 0 : 1;
                System.out.printf(
                        "    %-14s %,8d states %,26d orders %,22d losing   %s, %s%n",
                        memory == Memory.SEQUENTIAL ? "in order" : "store buffers",
                        found.states(),
                        found.orders(),
                        found.losing(),
                        found.loses() ? "LOSES" : "keeps",
                        asExpected ? "as expected" : "NOT AS EXPECTED");
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
