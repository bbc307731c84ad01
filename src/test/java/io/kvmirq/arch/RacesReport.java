/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.arch.amd.model.AvicRaces;
import io.kvmirq.arch.gic.model.VgicRaces;
import io.kvmirq.arch.intx.model.IntxRaces;
import io.kvmirq.arch.vtd.posting.PostedRaces;
import io.kvmirq.explorer.Verdicts;
import java.util.List;

/**
 * Prints which variant loses in which scenario, and the shortest order that loses of each; or the race of a thread that
 * it is given by name. Run by make races.
 */
final class RacesReport {
    /** A model: what its searches are about, and the searches. */
    record Part(String about, Verdicts<?, ?> verdicts) {}

    static final List<Part> PARTS = List.of(
            new Part("""
                A vCPU's thread enters the guest, exits, syncs, is preempted, loaded and put to sleep, while senders
                request vectors. Every order of their accesses to memory is tried, each state once: with every store
                seen at once ("in order"), and with stores held back in each processor's buffer as x86 does ("store
                buffers"). An order loses if at its end a vCPU sleeps with a request in PIR or in its IRR, a guest runs
                with a request in PIR or with an IRR that RVI does not show it, or a vector went nowhere. ON, SN, PIR,
                IRR: see make races T=lost-interrupt-2019. Not searched: urgent requests, a LAPIC restored under way,
                the end of bypass, and preemption within a step of the thread; interrupts off only keep a processor's
                handler out.

                Two letters for each search, in order and with store buffers:
                  .  no order loses
                  h  an order leaves a request behind; it heals at the guest's next exit, and until then the guest waits
                  L  an order loses: the request stays behind for any number of entries
                """, PostedRaces.VERDICTS),
            new Part("""
                AMD: a device's entry is posted to one of two vCPUs, each on a processor of its own. Their threads enter the
                guest, exit, are preempted, loaded and put to sleep, while KVM changes the entry. An order loses if at its
                end a vCPU has a vector in its IRR that its guest does not take, a list is corrupt, or, for ours, a rule L1
                to L6 is broken. One letter for each search, in order. Ours was
                also searched with store buffers in five scenarios (AvicRacesTest), with the same letters.

                Linux 6.17 to 7.1 loses in four scenarios and waits in one. These windows follow from the order of its steps
                and from what the manual lets a unit cache; no hardware showed them. Scenarios 9 to 11 need a device that
                requests during the move: a guest that masks the vector meanwhile does not meet them. Ours kicks the
                previous vCPU after the write, and asks under the list's lock whether AVIC is inhibited.
                """, AvicRaces.VERDICTS),
            new Part("""
                VFIO's INTx: a device asserts a level-triggered line, a handler masks it or has direct EOI, the worker of an
                irqfd raises the guest's pin, a vCPU takes the interrupt and ends it, and VFIO unmasks. An order loses if at
                its end a device waits, the line stays active, disabled or masked, the guest's pin stays high, or an eventfd
                was signalled after another was chosen. One letter for each search, in order.

                Linux 7.1 loses in scenario 4, from its source: a user masks a device without DisINTx while its handler
                runs, the handler disables the line once more, and one unmask enables it once.
                """, IntxRaces.VERDICTS),
            new Part("""
                ARM: a vCPU's thread fills list registers before its guest runs and reads them back after it exits, while
                devices and other vCPUs interrupt it, and its CPU takes maintenance interrupts. An order loses if at its end
                an interrupt is pending and its vCPU sleeps, or runs without having to exit, or if an edge or a source of an
                SGI was never taken. One letter for each search, in order. See make races T=vgic-late-maintenance.

                KVM as posted in 2012 loses the level in scenario 1: its entry looks at pending interrupts only if the vCPU's
                flag is set, so the level waits for another interrupt. If an entry always looks, the guest waits a round.

                In scenarios 9 and 10 the handler serves the wrong vCPU, or none: it cannot tell which vCPU an interrupt was
                raised for. Ours keeps the level in scenario 9, because the interrupt is level-sensitive and comes again when
                the list registers are loaded. Scenario 10 supposes hardware that raises it once, and ours loses. Hardware must
                not be that late.
                """, VgicRaces.VERDICTS));

    private RacesReport() {}

    public static void main(String[] arguments) {
        if (arguments.length > 0) {
            try {
                System.out.print(ToldRaces.tell(arguments[0]));
            } catch (IllegalArgumentException e) {
                System.err.println("races: " + e.getMessage());
                System.exit(2);
            }
            return;
        }
        int searches = 0;
        int unexpected = 0;
        for (Part part : PARTS) {
            System.out.println(part.about());
            Verdicts.Printed printed = part.verdicts().print();
            System.out.println(printed.text());
            System.out.println("The shortest order that loses or waits, of each variant in its first such scenario, and"
                    + " of ours in each:");
            System.out.println(part.verdicts().shortestOrders());
            searches += part.verdicts().searches();
            unexpected += printed.unexpected();
        }
        System.out.printf("%d searches as expected, %d not%n", searches - unexpected, unexpected);
        System.exit(unexpected == 0 ? 0 : 1);
    }
}
